// SPDX-License-Identifier: Apache-2.0
//
// One request and its answer as Beast parses and writes them; the connection is http_session.cc's.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "server/api_error.h"
#include "server/byte_budget.h"
#include "server/http.h"

namespace vkb {

// A body for Beast's parser: text that grows with what arrives, not with what was announced.
struct CollectedBody {
  struct value_type {  // NOLINT(readability-identifier-naming): Beast's name
    std::string text;
    Lease* lease = nullptr;
  };
  class reader {  // NOLINT(readability-identifier-naming): Beast's name
   public:
    using Fault = boost::beast::error_code;
    template <bool is_request, class Fields>
    reader(boost::beast::http::header<is_request, Fields>&, value_type& value) : value_(value) {}
    void init(const boost::optional<std::uint64_t>&, Fault& fault) { fault = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, Fault& fault) {
      fault = {};
      std::size_t size = 0;
      for (const boost::asio::const_buffer part : boost::beast::buffers_range_ref(buffers)) {
        if (!value_.lease->add(part.size())) {
          fault = boost::beast::http::error::buffer_overflow;
          return size;
        }
        value_.text.append(static_cast<const char*>(part.data()), part.size());
        size += part.size();
      }
      return size;
    }
    void finish(Fault& fault) { fault = {}; }

   private:
    value_type& value_;
  };
};
using RequestParser = boost::beast::http::request_parser<CollectedBody>;

// A request and what is remembered of it for the answer and the log.
struct Exchange {
  HttpRequest request{};
  std::string method{};  // as sent; empty until the head was read
  std::string target{};  // as sent, without the query
  std::string origin{};
  unsigned version = 11;
  bool keep_alive = false;
  bool is_complete = false;  // the whole request was read
  std::chrono::system_clock::time_point time = std::chrono::system_clock::now();
  double seconds = 0;
  std::uint64_t bytes_in = 0;
};

// Takes a parsed head into the exchange. Throws ApiError 400 for what HTTP forbids, or what two
// programs could read in two ways.
void read_head(const RequestParser::value_type& message, Exchange& exchange);

// The refusal of bytes that are no request; nothing when there is nobody to tell.
std::optional<ApiError> refusal_of(const boost::beast::error_code& fault);

// Runs the handler; what it throws is answered, too. Throws nothing.
HttpResponse run_handler(const HttpHandler& handler, const HttpRequest& request);

// The bytes of an answer, which has no body when the request was HEAD.
boost::beast::http::response<boost::beast::http::string_body> make_message(const Exchange& exchange,
                                                                           HttpResponse response);

}  // namespace vkb

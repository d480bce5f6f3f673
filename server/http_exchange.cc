// SPDX-License-Identifier: Apache-2.0
#include "server/http_exchange.h"

#include <ctime>
#include <utility>

#include "server/http_message.h"

namespace vkb {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;

std::string text_of(beast::string_view view) { return {view.data(), view.size()}; }

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[40];
  return std::string(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
}

// The value of a header that may be there once. Throws ApiError 400.
std::string single(const RequestParser::value_type& message, http::field name) {
  if (message.count(name) > 1) {
    throw ApiError(400, "the header " + text_of(http::to_string(name)) + " is there twice");
  }
  return text_of(message[name]);
}

}  // namespace

void read_head(const RequestParser::value_type& message, Exchange& exchange) {
  exchange.method = text_of(message.method_string());
  const std::string target = text_of(message.target());
  exchange.target = target.substr(0, target.find('?'));
  exchange.version = message.version();
  HttpRequest& request = exchange.request;
  request.method = message.method() == http::verb::head ? "GET" : exchange.method;
  exchange.origin = single(message, http::field::origin);
  single(message, http::field::host);
  if (exchange.version >= 11 && message.count(http::field::host) == 0) {
    throw ApiError(400, "the header Host is missing");
  }
  if (message.count(http::field::transfer_encoding) > 0 &&
      (exchange.version < 11 ||
       !beast::iequals(single(message, http::field::transfer_encoding), "chunked"))) {
    throw ApiError(400, "no Transfer-Encoding but chunked is understood");
  }
  HttpTarget parsed = parse_target(target);
  request.path = std::move(parsed.path);
  request.query = std::move(parsed.query);
  request.content_type = single(message, http::field::content_type);
  request.authorization = single(message, http::field::authorization);
  if (const auto token = message.find("x-chroma-token"); token != message.end()) {
    request.token = text_of(token->value());
  }
}

std::optional<ApiError> refusal_of(const beast::error_code& fault) {
  if (fault == http::error::header_limit) {
    return ApiError(431, "the request's header is larger than this server takes");
  }
  if (fault == http::error::buffer_overflow) {
    return ApiError(503, "the server holds as many bytes of requests as it may; try again");
  }
  if (fault.category() != http::make_error_code(http::error::bad_method).category() ||
      fault == http::error::end_of_stream || fault == http::error::partial_message) {
    return std::nullopt;
  }
  return ApiError(400, "malformed HTTP request: " + fault.message());
}

HttpResponse run_handler(const HttpHandler& handler, const HttpRequest& request) {
  try {
    return handler(request);
  } catch (const std::exception& error) {
    return refusal(to_api_error(error));
  }
}

http::response<http::string_body> make_message(const Exchange& exchange, HttpResponse response) {
  http::response<http::string_body> message;
  message.version(exchange.version);
  message.result(static_cast<unsigned>(response.status));
  if (!response.body.empty() && !response.content_type.empty()) {
    message.set(http::field::content_type, response.content_type);
  }
  for (const auto& [name, value] : response.headers) message.insert(name, value);
  message.set(http::field::date, http_date());
  message.content_length(response.body.size());
  message.keep_alive(exchange.keep_alive);
  if (exchange.method != "HEAD") message.body() = std::move(response.body);
  return message;
}

}  // namespace vkb

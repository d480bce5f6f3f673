// SPDX-License-Identifier: Apache-2.0
#include "server/http_session.h"

#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
// Boost 1.74's awaitable.hpp needs <utility> before it.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>

#include "server/access_log.h"
#include "server/auth.h"
#include "server/http_exchange.h"
#include "server/metrics.h"

namespace vkb {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using Clock = std::chrono::steady_clock;
using Fault = beast::error_code;

constexpr std::size_t kHeadRead = 4096;       // what a read of a head asks for
constexpr std::size_t kBodyRead = 64 * 1024;  // and of a body
// A refused client may have sent most of a body already; more than this is not waited for.
constexpr std::uint64_t kLingerBytes = std::uint64_t{256} << 20;

// What the log says of a request that was cut off, beside 408 and 503: nginx's number for it.
constexpr int kClientLeft = 499;

// The connection has ended, or was not worth keeping: nothing can be answered.
struct Gone {
  int status = kClientLeft;  // for the log, of a request that was on its way
  bool may_read = false;     // the client sends nothing more, and may still wait for an answer
};

// What a connection does after an answer.
enum class Next { request, linger, end };

template <typename Stream>
class Session final : public Connection, public std::enable_shared_from_this<Session<Stream>> {
 public:
  template <typename... Arguments>
  Session(ServerState& state, std::set<Connection*>& connections, Arguments&&... arguments)
      : state_(state),
        options_(state.options),
        connections_(connections),
        stream_(std::forward<Arguments>(arguments)...) {
    Fault ignored;
    socket().set_option(tcp::no_delay(true), ignored);
    const tcp::endpoint peer = socket().remote_endpoint(ignored);
    remote_ = ignored ? "" : peer.address().to_string() + ":" + std::to_string(peer.port());
    ++state_.connections;
    if (options_.metrics != nullptr) options_.metrics->connection_opened();
  }
  ~Session() override {
    --state_.connections;
    if (options_.metrics != nullptr) options_.metrics->connection_closed();
  }

  net::awaitable<void> run();
  void close_if_idle() override {
    if (is_idle_) close();
  }
  void close() override { beast::get_lowest_layer(stream_).close(); }

 private:
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;
  tcp::socket& socket() { return beast::get_lowest_layer(stream_).socket(); }
  void expire_at(Clock::time_point time) { beast::get_lowest_layer(stream_).expires_at(time); }

  net::awaitable<void> receive(Clock::time_point deadline, std::size_t size);
  net::awaitable<void> wait_for_request();
  net::awaitable<void> receive_head(RequestParser& parser);
  net::awaitable<void> receive_body(RequestParser& parser, Exchange& exchange);
  net::awaitable<void> admit(Exchange& exchange);
  template <typename Work>
  net::awaitable<void> run_in(Lane lane, Work work);
  net::awaitable<HttpResponse> answer_request(RequestParser& parser, Exchange& exchange);
  net::awaitable<void> respond(Exchange& exchange, HttpResponse response);
  net::awaitable<Next> serve_one();
  net::awaitable<void> linger();
  void log(const Exchange& exchange, int status, std::string_view operation,
           std::uint64_t bytes_out);

  ServerState& state_;
  const HttpOptions& options_;
  std::set<Connection*>& connections_;
  Stream stream_;
  beast::flat_buffer buffer_;
  std::string remote_;
  bool is_idle_ = true;
};

// Reads once into the buffer. Throws Gone at the end of the stream, or when time is over.
template <typename Stream>
net::awaitable<void> Session<Stream>::receive(Clock::time_point deadline, std::size_t size) {
  expire_at(deadline);
  Fault fault;
  const std::size_t count = co_await stream_.async_read_some(
      buffer_.prepare(size), net::redirect_error(net::use_awaitable, fault));
  if (fault == beast::error::timeout) throw Gone{.status = 408};
  if (fault == net::error::eof) throw Gone{.may_read = true};
  if (fault) throw Gone{.status = state_.stopping ? 503 : kClientLeft};
  buffer_.commit(count);
}

template <typename Stream>
net::awaitable<void> Session<Stream>::wait_for_request() {
  if (buffer_.size() > 0) co_return;  // the client did not wait for the last answer
  buffer_.shrink_to_fit();
  is_idle_ = true;
  if (state_.stopping) throw Gone{};
  co_await receive(Clock::now() + options_.idle_timeout, kHeadRead);
}

// Throws Gone, ApiError.
template <typename Stream>
net::awaitable<void> Session<Stream>::receive_head(RequestParser& parser) {
  const Clock::time_point deadline = Clock::now() + options_.header_timeout;
  parser.header_limit(options_.max_header_bytes);
  // The real limit is looked at when the path is known. (To Boost 1.74, none is less than any.)
  parser.body_limit(std::numeric_limits<std::uint64_t>::max());
  for (;;) {
    Fault fault;
    buffer_.consume(parser.put(buffer_.data(), fault));
    if (parser.is_header_done()) co_return;
    if (fault && fault != http::error::need_more) {
      const std::optional<ApiError> error = refusal_of(fault);
      if (!error) throw Gone{};
      throw *error;
    }
    co_await receive(deadline, kHeadRead);
  }
}

// Throws Gone, ApiError.
template <typename Stream>
net::awaitable<void> Session<Stream>::receive_body(RequestParser& parser, Exchange& exchange) {
  const auto too_large = [&] { return ApiError(413, "the body is too large"); };
  if (parser.content_length().value_or(0) > options_.max_body_bytes) throw too_large();
  const beast::string_view expect = parser.get()[http::field::expect];
  if (!expect.empty() && !parser.is_done() && exchange.version >= 11) {
    if (!beast::iequals(expect, "100-continue")) throw ApiError(417, "unknown expectation");
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    expire_at(Clock::now() + options_.header_timeout);
    Fault fault;
    co_await net::async_write(stream_, net::buffer(kContinue.data(), kContinue.size()),
                              net::redirect_error(net::use_awaitable, fault));
    if (fault) throw Gone{};
  }
  parser.eager(true);
  parser.body_limit(options_.max_body_bytes);
  std::string& body = parser.get().body().text;
  const auto deadline = [&, began = Clock::now()] {
    const std::uint64_t earned = body.size() * 1000 / options_.slowest_bytes_per_second;
    return began + options_.body_timeout + std::chrono::milliseconds(earned);
  };
  while (!parser.is_done()) {
    if (buffer_.size() == 0) co_await receive(deadline(), kBodyRead);
    Fault fault;
    buffer_.consume(parser.put(buffer_.data(), fault));
    exchange.bytes_in = body.size();
    if (fault == http::error::need_more) {  // a part of a chunk's head, or of the trailer
      if (buffer_.size() > options_.max_header_bytes) throw ApiError(400, "malformed chunk");
      co_await receive(deadline(), kBodyRead);
    } else if (fault == http::error::body_limit) {
      throw too_large();
    } else if (fault) {
      throw refusal_of(fault).value_or(ApiError(400, "malformed body"));
    }
  }
  exchange.request.body = std::move(body);
}

// Runs `work` on a thread of the lane. Throws ApiError 503 when too many wait there already.
template <typename Stream>
template <typename Work>
net::awaitable<void> Session<Stream>::run_in(Lane lane, Work work) {
  const auto executor = stream_.get_executor();
  const bool was_queued = co_await net::async_initiate<const net::use_awaitable_t<>&, void(bool)>(
      [&](auto resume) {
        // Tasks are copyable, the function that resumes this coroutine is not.
        const auto shared = std::make_shared<decltype(resume)>(std::move(resume));
        const auto done = [shared, executor](bool queued) {
          net::post(executor, [shared, queued] { (*shared)(queued); });
        };
        const auto task = [work = std::move(work), done] {
          work();
          done(true);
        };
        if (!state_.workers.submit(lane, task)) done(false);
      },
      net::use_awaitable);
  if (!was_queued) throw ApiError(503, "too many requests are waiting; try again");
}

// Finds out who asks. Throws ApiError 401, 503.
template <typename Stream>
net::awaitable<void> Session<Stream>::admit(Exchange& exchange) {
  if (options_.authenticator == nullptr || is_open_to_all(exchange.request)) co_return;
  Authenticator::Answer found = options_.authenticator->check(exchange.request);
  if (found.verdict == Authenticator::Verdict::undecided) {
    co_await run_in(Lane::password, [&found, &exchange, this] {
      try {
        found = options_.authenticator->check_password(exchange.request);
      } catch (const std::exception&) {
        found = {};  // out of memory
      }
    });
  }
  if (found.verdict != Authenticator::Verdict::accepted) {
    throw ApiError(401, "AuthError", "Unauthorized: a valid token or password is needed");
  }
  exchange.request.user = std::move(found.user);
}

// Everything between a head and its answer. Throws Gone, ApiError.
template <typename Stream>
net::awaitable<HttpResponse> Session<Stream>::answer_request(RequestParser& parser,
                                                             Exchange& exchange) {
  read_head(parser.get(), exchange);
  const bool is_preflight = exchange.method == "OPTIONS" && !options_.cors.origins.empty();
  if (!is_preflight) co_await admit(exchange);
  co_await receive_body(parser, exchange);
  exchange.is_complete = true;
  exchange.keep_alive = parser.keep_alive();
  if (is_preflight) co_return HttpResponse{.operation = "preflight"};
  HttpResponse response;
  const Clock::time_point began = Clock::now();
  co_await run_in(lane_of(exchange.request), [&response, &exchange, this] {
    response = run_handler(state_.handler, exchange.request);
  });
  exchange.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  co_return response;
}

// Throws Gone.
template <typename Stream>
net::awaitable<void> Session<Stream>::respond(Exchange& exchange, HttpResponse response) {
  Lease lease(state_.budget);
  if (!lease.add(response.body.size())) {
    const std::string_view operation = response.operation;
    response = refusal(ApiError(503, "the server holds as many bytes of answers as it may"));
    response.operation = operation;
  }
  add_cors_headers(options_.cors, exchange.origin, exchange.method == "OPTIONS", response);
  if (response.status >= 400) {
    response.headers.emplace_back("chroma-trace-id", std::string(32, '0'));
  }
  const int status = response.status;
  const std::string_view operation = response.operation;
  http::response<http::string_body> message = make_message(exchange, std::move(response));
  const std::uint64_t size = message.body().size();
  log(exchange, status, operation, size);
  expire_at(Clock::now() + options_.body_timeout +
            std::chrono::milliseconds(size * 1000 / options_.slowest_bytes_per_second));
  Fault fault;
  co_await http::async_write(stream_, message, net::redirect_error(net::use_awaitable, fault));
  if (fault) throw Gone{};
}

template <typename Stream>
void Session<Stream>::log(const Exchange& exchange, int status, std::string_view operation,
                          std::uint64_t bytes_out) {
  if (options_.metrics != nullptr) {
    options_.metrics->count_answer(operation, status, exchange.seconds);
  }
  if (options_.access_log == nullptr) return;
  options_.access_log->write({.time = exchange.time,
                              .remote = remote_,
                              .method = exchange.method,
                              .path = exchange.target,
                              .status = status,
                              .operation = operation,
                              .milliseconds = exchange.seconds * 1000,
                              .bytes_in = exchange.bytes_in,
                              .bytes_out = bytes_out,
                              .user = exchange.request.user});
}

// One request and its answer. Throws Gone.
template <typename Stream>
net::awaitable<Next> Session<Stream>::serve_one() {
  co_await wait_for_request();
  const RequestInFlight counted(options_.metrics);
  Exchange exchange;
  std::optional<HttpResponse> response;
  {
    Lease lease(state_.budget);
    RequestParser parser;
    parser.get().body().lease = &lease;
    try {
      co_await receive_head(parser);
      is_idle_ = false;
      response = co_await answer_request(parser, exchange);
    } catch (const ApiError& error) {
      response = error.status() == 413 ? body_too_large(exchange.request) : refusal(error);
    } catch (const Gone& gone) {
      if (exchange.method.empty()) throw;
      if (!gone.may_read) {
        log(exchange, gone.status, "cut_off", 0);
        throw;
      }
      response = refusal(ApiError(400, "Failed to buffer the request body: it is cut short"));
    }
    std::string().swap(exchange.request.body);
  }
  // What was not read cannot be told from a next request: the connection ends then.
  const bool may_go_on = exchange.is_complete && !state_.stopping;
  exchange.keep_alive = exchange.keep_alive && may_go_on;
  co_await respond(exchange, std::move(*response));
  if (!exchange.is_complete) co_return Next::linger;
  co_return exchange.keep_alive ? Next::request : Next::end;
}

// Lets a refused client read its answer: closing while it sends would make it lose it.
template <typename Stream>
net::awaitable<void> Session<Stream>::linger() {
  is_idle_ = true;
  if (state_.stopping) throw Gone{};
  Fault ignored;
  if constexpr (!kTls) socket().shutdown(tcp::socket::shutdown_send, ignored);
  const Clock::time_point deadline = Clock::now() + options_.linger_timeout;
  for (std::uint64_t count = 0; count < kLingerBytes; count += buffer_.size()) {
    buffer_.consume(buffer_.size());
    co_await receive(deadline, kBodyRead);
  }
}

template <typename Stream>
net::awaitable<void> Session<Stream>::run() {
  connections_.insert(this);
  try {
    if constexpr (kTls) {
      expire_at(Clock::now() + options_.header_timeout);
      co_await stream_.async_handshake(net::ssl::stream_base::server, net::use_awaitable);
    }
    Next next = Next::request;
    while (next == Next::request) next = co_await serve_one();
    if (next == Next::linger) co_await linger();
    if constexpr (kTls) {
      expire_at(Clock::now() + options_.linger_timeout);
      co_await stream_.async_shutdown(net::use_awaitable);
    }
    Fault ignored;
    socket().shutdown(tcp::socket::shutdown_send, ignored);
  } catch (const Gone&) {
  } catch (const std::exception&) {
    // A failed TLS handshake, or no memory for this connection: it is closed, the others go on.
  }
  connections_.erase(this);
}

template <typename Stream, typename... Arguments>
void spawn(net::io_context& context, Arguments&&... arguments) {
  const auto session = std::make_shared<Session<Stream>>(std::forward<Arguments>(arguments)...);
  net::co_spawn(
      context, [session] { return session->run(); }, net::detached);
}

}  // namespace

void serve_connection(ServerState& state, net::io_context& context, net::ssl::context* tls,
                      std::set<Connection*>& connections, int fd, bool is_ipv6) {
  tcp::socket socket(context, is_ipv6 ? tcp::v6() : tcp::v4(), fd);
  if (tls == nullptr) {
    spawn<beast::tcp_stream>(context, state, connections, std::move(socket));
  } else {
    spawn<beast::ssl_stream<beast::tcp_stream>>(context, state, connections, std::move(socket),
                                                *tls);
  }
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
// Boost 1.74's awaitable.hpp needs <utility> before it.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include "server/http_session.h"
#include "server/metrics.h"
#include "storage/error.h"
#include "storage/start_thread.h"

namespace vkb {
namespace {

namespace beast = boost::beast;
namespace net = boost::asio;
using tcp = net::ip::tcp;
using Fault = boost::system::error_code;

constexpr std::chrono::milliseconds kAcceptPause{50};  // when the system has no more descriptors
constexpr int kBacklog = 4096;                         // the system cuts it to what it allows

constexpr std::chrono::milliseconds kTurnAwayTime{1000};
constexpr std::size_t kMostTurnedAway = 64;  // told so at the same time; more are just closed
constexpr std::string_view kTurnedAway =
    "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-type: application/json\r\n"
    "content-length: 63\r\nretry-after: 1\r\n\r\n"
    "{\"error\":\"ChromaError\",\"message\":\"too many connections; retry\"}";

std::string error_text(const HttpOptions& options, const std::string& why) {
  return "cannot listen on " + options.host + " port " + std::to_string(options.port) + ": " + why;
}

std::string error_text(const HttpOptions& options, const Fault& fault) {
  return error_text(options, fault.message()) +
         (fault == net::error::no_descriptors
              ? "; raise how many files the process may open (ulimit -n)"
              : "");
}

tcp::endpoint resolve(net::io_context& context, const HttpOptions& options) {
  Fault fault;
  tcp::resolver resolver(context);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, fault);
  if (fault || found.empty()) {
    throw Error(ErrorCode::io_error, error_text(options, "the host is unknown"));
  }
  for (const auto& each : found) {  // "localhost" means 127.0.0.1 first
    if (each.endpoint().address().is_v4()) return each.endpoint();
  }
  return found.begin()->endpoint();
}

std::unique_ptr<net::ssl::context> make_tls(const HttpOptions& options) {
  if (options.tls_certificate.empty() && options.tls_key.empty()) return nullptr;
  if (options.tls_certificate.empty() || options.tls_key.empty()) {
    throw Error(ErrorCode::invalid_argument, "TLS needs a certificate and a key");
  }
  auto tls = std::make_unique<net::ssl::context>(net::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(tls->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(tls->native_handle(), SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(tls->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  Fault fault;
  tls->use_certificate_chain_file(options.tls_certificate, fault);
  if (fault) {
    throw Error(ErrorCode::invalid_argument,
                options.tls_certificate +
                    ": no certificate in PEM form can be read here: " + fault.message());
  }
  tls->use_private_key_file(options.tls_key, net::ssl::context::pem, fault);
  if (fault) {
    throw Error(ErrorCode::invalid_argument,
                options.tls_key +
                    ": no private key in PEM form that fits the certificate can be "
                    "read here: " +
                    fault.message());
  }
  return tls;
}

}  // namespace

class HttpServer::Implementation {
 public:
  Implementation(const HttpOptions& options, HttpHandler handler)
      : state_(options, std::move(handler)), tls_(make_tls(options)) {
    const std::size_t count = std::max<std::size_t>(options.io_threads, 1);
    for (std::size_t i = 0; i < count; ++i) threads_.emplace_back();
    listen();
    start();
  }
  ~Implementation() { end(); }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  const tcp::endpoint& endpoint() const { return endpoint_; }
  std::string address() const {
    const std::string host = endpoint_.address().to_string();
    return (tls_ ? "https://" : "http://") +
           (endpoint_.address().is_v6() ? "[" + host + "]" : host) + ":" +
           std::to_string(endpoint_.port());
  }

  void run() {
    net::co_spawn(
        threads_.front().context, [this] { return accept(); }, net::detached);
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return stop_asked_; });
    // On the thread that accepts: afterwards no other one gets a new connection.
    net::post(threads_.front().context, [this] { close_all(); });
    const auto all_ended = [this] { return ended_ == threads_.size(); };
    if (!changed_.wait_for(lock, state_.options.stop_timeout, all_ended)) {
      for (IoThread& each : threads_) {
        net::post(each.context, [&each] {
          const std::set<Connection*> connections = each.connections;
          for (Connection* connection : connections) connection->close();
        });
      }
    }
    lock.unlock();
    for (IoThread& each : threads_) each.thread.join();
  }

  void stop() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_asked_ = true;
    changed_.notify_all();
  }

 private:
  // Connections, and the one thread that moves their bytes.
  struct IoThread {
    net::io_context context{1};
    net::executor_work_guard<net::io_context::executor_type> work{context.get_executor()};
    std::set<Connection*> connections{};  // of this thread alone
    std::jthread thread{};
  };

  void start() {
    try {
      for (IoThread& each : threads_) {
        each.thread = start_thread("the server", [&] {
          return std::jthread([this, &each] {
            each.context.run();
            const std::lock_guard<std::mutex> lock(mutex_);
            ++ended_;
            changed_.notify_all();
          });
        });
      }
    } catch (...) {
      end();
      throw;
    }
  }

  // Of threads that run() has not ended, as it was not called.
  void end() noexcept {
    for (IoThread& each : threads_) each.context.stop();
    for (IoThread& each : threads_) {
      if (each.thread.joinable()) each.thread.join();
    }
  }

  void listen() {
    const HttpOptions& options = state_.options;
    const tcp::endpoint wanted = resolve(threads_.front().context, options);
    acceptor_.emplace(threads_.front().context);
    Fault fault;
    acceptor_->open(wanted.protocol(), fault);
    if (!fault) acceptor_->set_option(tcp::acceptor::reuse_address(true), fault);
    if (!fault) acceptor_->bind(wanted, fault);
    if (!fault) acceptor_->listen(kBacklog, fault);
    if (!fault) endpoint_ = acceptor_->local_endpoint(fault);
    if (fault) throw Error(ErrorCode::io_error, error_text(options, fault));
  }

  net::awaitable<void> accept() {
    for (std::size_t turn = 0; !state_.stopping; ++turn) {
      Fault fault;
      tcp::socket socket =
          co_await acceptor_->async_accept(net::redirect_error(net::use_awaitable, fault));
      if (state_.stopping) co_return;
      try {
        if (!fault) hand_over(std::move(socket), threads_[turn % threads_.size()]);
      } catch (const std::exception&) {
        // No memory or descriptors: this connection is lost, the next may not be.
        fault = net::error::no_memory;
      }
      if (fault && fault != net::error::connection_aborted) {
        net::steady_timer pause(threads_.front().context, kAcceptPause);
        co_await pause.async_wait(net::redirect_error(net::use_awaitable, fault));
      }
    }
  }

  void hand_over(tcp::socket socket, IoThread& thread) {
    const bool is_ipv6 = endpoint_.address().is_v6();
    if (state_.connections < state_.options.max_connections) {
      serve_connection(state_, thread.context, tls_.get(), thread.connections, socket.release(),
                       is_ipv6);
      return;
    }
    if (state_.options.metrics != nullptr) state_.options.metrics->connection_refused();
    if (tls_ || turned_away_ >= kMostTurnedAway) return;
    net::co_spawn(threads_.front().context, turn_away(beast::tcp_stream(std::move(socket))),
                  net::detached);
  }

  // Tells the other end that there are too many connections, and closes this one.
  net::awaitable<void> turn_away(beast::tcp_stream stream) {
    ++turned_away_;
    stream.expires_after(kTurnAwayTime);
    Fault fault;
    co_await net::async_write(stream, net::buffer(kTurnedAway.data(), kTurnedAway.size()),
                              net::redirect_error(net::use_awaitable, fault));
    stream.socket().shutdown(tcp::socket::shutdown_send, fault);
    std::array<char, 4096> rest;
    for (int i = 0; i < 16 && !fault; ++i) {  // else the client could lose the answer
      co_await stream.async_read_some(net::buffer(rest),
                                      net::redirect_error(net::use_awaitable, fault));
    }
    --turned_away_;
  }

  // Runs on the first thread.
  void close_all() {
    state_.stopping = true;
    Fault ignored;
    acceptor_->close(ignored);
    for (IoThread& each : threads_) {
      net::post(each.context, [&each] {
        const std::set<Connection*> connections = each.connections;
        for (Connection* connection : connections) connection->close_if_idle();
      });
      each.work.reset();
    }
  }

  ServerState state_;
  std::unique_ptr<net::ssl::context> tls_;
  std::deque<IoThread> threads_;  // the first one accepts
  std::optional<tcp::acceptor> acceptor_;
  std::size_t turned_away_ = 0;  // that still read their 503; of the first thread alone
  tcp::endpoint endpoint_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_asked_ = false;
  std::size_t ended_ = 0;
};

HttpServer::HttpServer(const HttpOptions& options, HttpHandler handler) try
    : implementation_(std::make_unique<Implementation>(options, std::move(handler))) {
} catch (const boost::system::system_error& error) {  // what it waits with is a descriptor too
  throw Error(ErrorCode::io_error, error_text(options, error.code()));
}
HttpServer::~HttpServer() = default;

std::string HttpServer::address() const { return implementation_->address(); }
std::uint16_t HttpServer::port() const noexcept { return implementation_->endpoint().port(); }
bool HttpServer::is_loopback() const { return implementation_->endpoint().address().is_loopback(); }
void HttpServer::run() { implementation_->run(); }
void HttpServer::stop() noexcept { implementation_->stop(); }

}  // namespace vkb

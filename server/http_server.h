// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/http.h"
#include "server/http_message.h"

namespace vkb {

class AccessLog;      // server/access_log.h
class Authenticator;  // server/auth.h
class Metrics;        // server/metrics.h

struct HttpOptions {
  std::string host = "127.0.0.1";  // a name or an address
  std::uint16_t port = 8000;       // 0: any that is free
  std::size_t io_threads = 2;      // which only move bytes
  std::size_t workers = 4;         // which run the handler: so many for reads, and for writes
  std::size_t queue_limit = 1024;  // requests that wait for a worker, of reads and of writes

  std::uint64_t max_body_bytes = 41943040;
  std::uint64_t max_bytes_in_flight = std::uint64_t{1} << 30;  // bodies, in and out, of all
  std::uint32_t max_header_bytes = 16384;
  std::size_t max_connections = 4096;

  using Milliseconds = std::chrono::milliseconds;
  Milliseconds idle_timeout{300'000};   // between requests
  Milliseconds header_timeout{10'000};  // from its first byte to its end; also for a TLS handshake
  // A body may take this long, in or out, and a second more for each so many bytes.
  Milliseconds body_timeout{30'000};
  std::uint64_t slowest_bytes_per_second = 100'000;
  Milliseconds linger_timeout{5'000};  // waiting for a refused client to stop sending
  Milliseconds stop_timeout{30'000};   // for requests in progress when stop() is called

  CorsPolicy cors{};
  std::string tls_certificate{};  // PEM files; both or none
  std::string tls_key{};

  // May be null; must outlive the server.
  Authenticator* authenticator = nullptr;
  Metrics* metrics = nullptr;
  const AccessLog* access_log = nullptr;
};

// Speaks HTTP/1.0 and 1.1 on one address and calls a handler for what comes in. What does not keep
// to the limits ends with an answer of its own or a closed connection, and never reaches the
// handler. Thread safety: stop() and address() from any thread; run() once.
class HttpServer {
 public:
  // Binds and listens: connections are accepted from here on, and served once run() is called.
  // Throws io_error when the address cannot be had, invalid_argument for TLS files that are none.
  HttpServer(const HttpOptions& options, HttpHandler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string address() const;  // "http://127.0.0.1:8000"
  std::uint16_t port() const noexcept;
  bool is_loopback() const;  // only this machine reaches it

  // Serves until stop(): then no connection is accepted, idle ones are closed, requests in progress
  // are finished, or cut off after stop_timeout. Returns when the last one has ended.
  void run();
  void stop() noexcept;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace vkb

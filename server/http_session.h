// SPDX-License-Identifier: Apache-2.0
//
// What the connections of one HTTP server share, and how one is served.
#pragma once

#include <atomic>
#include <cstdint>
#include <set>

#include "server/http_server.h"
#include "server/worker_pool.h"

namespace boost::asio {
class io_context;
namespace ssl {
class context;
}
}  // namespace boost::asio

namespace vkb {

// A number of bytes that all bodies together may take. Thread safety: all methods.
class ByteBudget {
 public:
  explicit ByteBudget(std::uint64_t limit) : limit_(limit) {}
  // Returns false, taking nothing, when `bytes` more would be too many.
  bool take(std::uint64_t bytes) noexcept {
    if (used_.fetch_add(bytes) + bytes <= limit_) return true;
    used_.fetch_sub(bytes);
    return false;
  }
  void give_back(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
};

// Bytes taken from the budget, given back at the end.
class Lease {
 public:
  explicit Lease(ByteBudget& budget) : budget_(budget) {}
  ~Lease() { budget_.give_back(bytes_); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  bool add(std::uint64_t bytes) noexcept {
    if (!budget_.take(bytes)) return false;
    bytes_ += bytes;
    return true;
  }

 private:
  ByteBudget& budget_;
  std::uint64_t bytes_ = 0;
};

// One connection, as the server sees it. Thread safety: its I/O thread only.
class Connection {
 public:
  virtual ~Connection() = default;
  // Closes it unless a request is in progress.
  virtual void close_if_idle() = 0;
  virtual void close() = 0;
};

struct ServerState {
  ServerState(const HttpOptions& given, HttpHandler call)
      : options(given),
        handler(std::move(call)),
        budget(given.max_bytes_in_flight),
        workers(given.workers, given.queue_limit) {}
  const HttpOptions options;
  const HttpHandler handler;
  ByteBudget budget;
  WorkerPool workers;
  std::atomic<bool> stopping{false};
  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> turned_away{0};  // that still read their 503
};

// Serves the connected socket `fd`, which it owns, until the connection ends; it is in
// `connections` meanwhile. Runs on `context`, whose one thread is the only one to touch
// `connections`. `tls` may be null.
void serve_connection(ServerState& state, boost::asio::io_context& context,
                      boost::asio::ssl::context* tls, std::set<Connection*>& connections, int fd,
                      bool is_ipv6);

// Tells the other end of the connected socket `fd`, which it owns, that there are too many
// connections, and closes it.
void turn_away(ServerState& state, boost::asio::io_context& context, int fd, bool is_ipv6);

}  // namespace vkb

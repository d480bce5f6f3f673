// SPDX-License-Identifier: Apache-2.0
//
// What the connections of one HTTP server share, and how one is served.
#pragma once

#include <atomic>
#include <set>

#include "server/byte_budget.h"
#include "server/http_server.h"
#include "server/worker_pool.h"

namespace boost::asio {
class io_context;
namespace ssl {
class context;
}
}  // namespace boost::asio

namespace vkb {

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
};

// Serves the connected socket `fd`, which it owns, until the connection ends; it is in
// `connections` meanwhile. Runs on `context`, whose one thread is the only one to touch
// `connections`. `tls` may be null.
void serve_connection(ServerState& state, boost::asio::io_context& context,
                      boost::asio::ssl::context* tls, std::set<Connection*>& connections, int fd,
                      bool is_ipv6);

}  // namespace vkb

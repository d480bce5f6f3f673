// SPDX-License-Identifier: Apache-2.0
//
// What a client sends on one connection, up to where it stops sending.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
// Boost 1.74's awaitable.hpp needs <utility> before it.
#include <boost/asio/io_context.hpp>

#include "server/auth.h"
#include "server/http_session.h"

namespace {

using namespace vkb;

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr std::size_t kMostBytes = 60'000;  // fits into a socket's buffer
constexpr std::uint64_t kMaxBody = 1000;

HttpResponse answer(const HttpRequest& request) {
  require(!request.method.empty() && request.method != "HEAD" && !request.path.empty());
  require(request.body.size() <= kMaxBody);
  require(request.user == "ann" || is_open_to_all(request));
  for (const std::string& segment : request.path) {
    require(segment.find('\0') == std::string::npos);
  }
  return {.body = request.path.back(), .content_type = "text/plain"};
}

Authenticator& authenticator() {
  static Authenticator only;
  static const bool is_filled = (only.add_token("token", "ann"), true);
  require(is_filled);
  return only;
}

HttpOptions options() {
  HttpOptions small;
  small.workers = 1;
  small.max_body_bytes = kMaxBody;
  small.max_header_bytes = 4000;
  small.cors.origins = {"*"};
  small.authenticator = &authenticator();
  return small;
}

std::string read_all(int fd) {
  std::string text;
  char buffer[65536];
  for (ssize_t count = 0; (count = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ServerState state(options(), answer);
  static boost::asio::io_context context{1};
  std::set<Connection*> connections;
  int ends[2];
  if (size > kMostBytes || socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 0;
  require(write(ends[0], data, size) == static_cast<ssize_t>(size));
  shutdown(ends[0], SHUT_WR);
  serve_connection(state, context, nullptr, connections, ends[1], false);
  context.restart();
  context.run();
  require(connections.empty() && state.connections == 0);
  const std::string text = read_all(ends[0]);
  require(text.empty() || text.starts_with("HTTP/1."));
  close(ends[0]);
  return 0;
}

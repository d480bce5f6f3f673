// SPDX-License-Identifier: Apache-2.0
//
// What the HTTP server decides by looking at a request: pure functions, without a socket.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/api_error.h"
#include "server/http.h"

namespace vkb {

struct HttpTarget {
  std::vector<std::string> path{};
  std::string query{};
};

// Takes a request target apart: "/a/b%20c?limit=1" is {"a", "b c"} and "limit=1"; the scheme and
// host of an absolute one are skipped. Segments are decoded once and kept even when they are empty
// or "..": they are names to look up, never files. Throws ApiError 400 for a bad escape, a NUL, or
// what is not UTF-8.
HttpTarget parse_target(std::string_view target);

// The names and values of a query string, in order, decoded as forms are: '+' is a space, and a '%'
// without two hex digits is a '%'. What they mean, and whether they are UTF-8, is not looked at.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);

// Which workers take a request. Writes wait for each other in the store, possibly for seconds, so
// they have their own; and so has checking hashed passwords, which is slow on purpose, and what
// tells whether the server is alive.
enum class Lane { probe, read, write, password };
inline constexpr std::size_t kLaneCount = 4;
Lane lane_of(const HttpRequest& request) noexcept;

// True for what everybody may ask: whether a server is there, and what it takes.
bool is_open_to_all(const HttpRequest& request) noexcept;

// The answer to a refused request.
HttpResponse refusal(const ApiError& error);
// The answer to a body that is larger than the server takes, as Chroma words it.
HttpResponse body_too_large(const HttpRequest& request);

// Which pages of other origins a browser lets read the answers.
struct CorsPolicy {
  std::vector<std::string> origins{};  // "*" or exact ones; none: no headers at all
  bool authorization = false;          // a page may send that header, which "*" does not cover
};
void add_cors_headers(const CorsPolicy& policy, std::string_view origin, bool preflight,
                      HttpResponse& response);

}  // namespace vkb

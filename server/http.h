// SPDX-License-Identifier: Apache-2.0
//
// What passes between the HTTP server and what it serves.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vkb {

struct HttpRequest {
  std::string method{};             // "GET"; HEAD arrives as GET, the server drops the body
  std::vector<std::string> path{};  // segments, percent-decoded: {"api", "v2", "heartbeat"}
  std::string query{};              // as sent, without the '?'
  std::string content_type{};       // empty when not given
  std::string authorization{};      // the Authorization header
  std::string token{};              // the X-Chroma-Token header
  std::string body{};
  std::string user{};  // who asks; empty when the server asks for no credentials
};

struct HttpResponse {
  int status = 200;
  std::string body{};
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers{};
  // What was done, for metrics and the access log: "query", "add", "heartbeat"; one of a fixed set.
  std::string_view operation = "other";
};

// Called from several threads at once. What it throws is answered with 500.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "server/http_message.h"

#include <algorithm>
#include <array>
#include <optional>

#include "storage/utf8.h"

namespace vkb {
namespace {

std::optional<int> hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// The byte that the '%' at `at` stands for, when two hex digits follow it.
std::optional<char> escaped_byte(std::string_view text, std::size_t at) noexcept {
  if (text.size() - at <= 2) return std::nullopt;
  const std::optional<int> high = hex_digit(text[at + 1]);
  const std::optional<int> low = hex_digit(text[at + 2]);
  if (!high || !low) return std::nullopt;
  return static_cast<char>(*high * 16 + *low);
}

std::string decode_segment(std::string_view text) {
  std::string segment;
  segment.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      segment += text[i];
      continue;
    }
    const std::optional<char> byte = escaped_byte(text, i);
    if (!byte) {
      throw ApiError(400, "Invalid URL: a '%' in the path is not followed by two hex digits");
    }
    segment += *byte;
    i += 2;
  }
  if (segment.find('\0') != std::string::npos) {
    throw ApiError(400, "Invalid URL: the path holds a NUL");
  }
  if (!is_utf8(segment)) throw ApiError(400, "Invalid URL: the path is not UTF-8");
  return segment;
}

std::string decode_form(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::optional<char> byte = text[i] == '%' ? escaped_byte(text, i) : std::nullopt;
    out += byte ? *byte : text[i] == '+' ? ' ' : text[i];
    if (byte) i += 2;
  }
  return out;
}

// "http://host:8000/api" -> "/api". Proxies may ask so.
std::string_view without_authority(std::string_view target) {
  if (target.starts_with('/')) return target;
  const std::size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return target;
  const std::size_t path = target.find_first_of("/?", scheme_end + 3);
  return path == std::string_view::npos ? "/" : target.substr(path);
}

template <std::size_t N>
bool is_one_of(std::string_view name, const std::array<std::string_view, N>& names) noexcept {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_api(const HttpRequest& request) noexcept {
  return request.path.size() >= 2 && request.path[0] == "api" && request.path[1] == "v2";
}

}  // namespace

HttpTarget parse_target(std::string_view target) {
  target = without_authority(target);
  HttpTarget result;
  const std::size_t question = target.find('?');
  if (question != std::string_view::npos) {
    result.query = target.substr(question + 1);
    target = target.substr(0, question);
  }
  if (target.starts_with('/')) target.remove_prefix(1);
  for (;;) {
    const std::size_t slash = target.find('/');
    result.path.push_back(decode_segment(target.substr(0, slash)));
    if (slash == std::string_view::npos) return result;
    target.remove_prefix(slash + 1);
  }
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> parameters;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
    parameters.emplace_back(decode_form(pair.substr(0, equals)), decode_form(value));
  }
  return parameters;
}

Lane lane_of(const HttpRequest& request) noexcept {
  const std::vector<std::string>& path = request.path;
  if (request.method == "GET" || request.method == "OPTIONS") {
    const bool in_api = is_api(request) && path.size() <= 4;
    const bool is_small = path.size() == 1 || (in_api && (path.size() <= 3 || path[2] == "auth"));
    return is_small ? Lane::probe : Lane::read;
  }
  static constexpr std::array<std::string_view, 3> kReads{"get", "query", "search"};
  const bool reads = request.method == "POST" && !path.empty() && is_one_of(path.back(), kReads);
  return reads ? Lane::read : Lane::write;
}

bool is_open_to_all(const HttpRequest& request) noexcept {
  if (request.method != "GET") return false;
  if (!is_api(request)) return request.path.size() == 1 && request.path[0] == "healthcheck";
  static constexpr std::array<std::string_view, 4> kOpen{"heartbeat", "version", "healthcheck",
                                                         "pre-flight-checks"};
  return request.path.size() == 2 ||
         (request.path.size() == 3 && is_one_of(request.path[2], kOpen));
}

HttpResponse refusal(const ApiError& error) {
  HttpResponse response{.status = error.status(), .body = to_json(error), .operation = "refused"};
  if (error.status() == 401) {
    response.headers.emplace_back("www-authenticate", "Bearer realm=\"vkb\"");
    response.headers.emplace_back("www-authenticate", "Basic realm=\"vkb\", charset=\"UTF-8\"");
  } else if (error.status() == 503) {
    response.headers.emplace_back("retry-after", "1");
  }
  return response;
}

HttpResponse body_too_large(const HttpRequest& request) {
  HttpResponse response =
      refusal(ApiError(413, "Failed to buffer the request body: length limit exceeded"));
  static constexpr std::array<std::string_view, 5> kPlain{"add", "update", "upsert", "query",
                                                          "search"};
  const bool in_collection = is_api(request) && request.path.size() > 3;
  if (request.method == "POST" && in_collection && is_one_of(request.path.back(), kPlain)) {
    response.body = "Payload too large";
    response.content_type = "";
  }
  return response;
}

void add_cors_headers(const CorsPolicy& policy, std::string_view origin, bool preflight,
                      HttpResponse& response) {
  const std::vector<std::string>& allowed = policy.origins;
  if (allowed.empty()) return;
  auto match = std::find(allowed.begin(), allowed.end(), "*");
  if (match == allowed.end()) match = std::find(allowed.begin(), allowed.end(), origin);
  response.headers.emplace_back(
      "vary", "origin, access-control-request-method, access-control-request-headers");
  if (preflight) {
    response.headers.emplace_back("access-control-allow-methods", "*");
    response.headers.emplace_back("access-control-allow-headers",
                                  policy.authorization ? "*, authorization" : "*");
  }
  if (match != allowed.end()) response.headers.emplace_back("access-control-allow-origin", *match);
}

}  // namespace vkb

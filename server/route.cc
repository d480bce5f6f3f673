// SPDX-License-Identifier: Apache-2.0
#include "server/route.h"

#include <algorithm>
#include <charconv>

#include "server/api_error.h"
#include "server/http_message.h"

namespace vkb {
namespace {

ApiError query_error(const std::string& why) {
  return ApiError(400, "Failed to deserialize query string: " + why);
}

// The values of the pattern's {parameters} when `path` fits it.
std::optional<std::vector<std::string>> match(std::string_view pattern,
                                              const std::vector<std::string>& path) {
  std::vector<std::string> parameters;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (pattern.empty()) return std::nullopt;
    pattern.remove_prefix(1);  // the slash
    const std::string_view expected = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(expected.size());
    if (expected.starts_with("{*")) {
      if (path[i].empty() && i + 1 == path.size()) return std::nullopt;
      return parameters;
    }
    if (expected.starts_with('{')) {
      if (path[i].empty()) return std::nullopt;
      parameters.push_back(path[i]);
    } else if (expected != path[i]) {
      return std::nullopt;
    }
  }
  if (!pattern.empty()) return std::nullopt;
  return parameters;
}

HttpResponse answer_route(const Route& route, const Call& call) {
  HttpResponse response;
  try {
    response = route.answer(call);
  } catch (const std::exception& exception) {
    const ApiError error = to_api_error(exception);
    response.status = error.status();
    response.body = to_json(error);
  }
  response.operation = route.info.operation;
  return response;
}

HttpResponse find_and_answer(ChromaService& service, const RouteSources& sources,
                             const HttpRequest& request) {
  // "/api/v2/" and "/api/v2" are one.
  std::vector<std::string> path = request.path;
  if (path.size() == 3 && path[0] == "api" && path[1] == "v2" && path[2].empty()) path.pop_back();
  std::string allowed;
  for (const std::span<const Route> routes : {system_routes(), api_routes()}) {
    for (const Route& route : routes) {
      std::optional<std::vector<std::string>> parameters = match(route.info.path, path);
      if (!parameters) continue;
      if (route.info.method == request.method) {
        return answer_route(route, {service, sources, request, *std::move(parameters)});
      }
      allowed += (allowed.empty() ? "" : ",") + std::string(route.info.method);
      if (route.info.method == "GET") allowed += ",HEAD";
    }
  }
  HttpResponse response{.status = allowed.empty() ? 404 : 405, .content_type = ""};
  if (!allowed.empty()) response.headers.emplace_back("allow", allowed);
  return response;
}

}  // namespace

HttpResponse answer_json(std::string body, int status) {
  return {.status = status, .body = std::move(body)};
}

const std::string& json_of(const Call& call) {
  std::string_view type = call.request.content_type;
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  std::string lower(type);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (!lower.empty() && lower != "application/json" && !lower.ends_with("+json")) {
    throw ApiError(415, "Expected request with `Content-Type: application/json`");
  }
  return call.request.body;
}

std::optional<std::string> query_value(const HttpRequest& request, std::string_view name) {
  std::optional<std::string> found;
  for (auto& [each, value] : parse_query(request.query)) {
    if (each != name) continue;
    if (found) throw query_error("duplicate field `" + std::string(name) + "`");
    found = std::move(value);
  }
  return found;
}

// In the words of Rust's parser, which Chroma's server answers with.
std::optional<std::uint32_t> query_number(const HttpRequest& request, std::string_view name) {
  const std::optional<std::string> value = query_value(request, name);
  if (!value) return std::nullopt;
  const std::string place = std::string(name) + ": ";
  if (value->empty()) throw query_error(place + "cannot parse integer from empty string");
  const std::string_view digits = std::string_view(*value).substr(value->starts_with('+') ? 1 : 0);
  std::uint32_t number = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, number);
  if (stop != end || error == std::errc::invalid_argument) {
    throw query_error(place + "invalid digit found in string");
  }
  if (error != std::errc()) {
    throw query_error(place + "number too large to fit in target type");
  }
  return number;
}

HttpHandler make_chroma_handler(ChromaService& service, const RouteSources& sources) {
  return [&service, sources](const HttpRequest& request) {
    return find_and_answer(service, sources, request);
  };
}

std::vector<RouteInfo> chroma_routes() {
  std::vector<RouteInfo> out;
  for (const std::span<const Route> routes : {system_routes(), api_routes()}) {
    for (const Route& route : routes) out.push_back(route.info);
  }
  return out;
}

}  // namespace vkb

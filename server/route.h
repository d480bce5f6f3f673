// SPDX-License-Identifier: Apache-2.0
//
// What the tables of routes are made of.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/chroma_routes.h"

namespace vkb {

// A request whose path fitted a route: the values of its {parameters}, in order.
struct Call {
  ChromaService& service;
  const RouteSources& sources;
  const HttpRequest& request;
  std::vector<std::string> parameters;
};

struct Route {
  RouteInfo info;
  HttpResponse (*answer)(const Call& call);
};
std::span<const Route> system_routes();  // system_routes.cc
std::span<const Route> api_routes();     // chroma_routes.cc

HttpResponse answer_json(std::string body, int status = 200);

// The request's body, unless it is said to be something else than JSON: ApiError 415.
const std::string& json_of(const Call& call);

// The decoded value of a query string's parameter. Throws ApiError 400 when it is there twice.
std::optional<std::string> query_value(const HttpRequest& request, std::string_view name);
// The same, as a whole number; ApiError 400 when it is none.
std::optional<std::uint32_t> query_number(const HttpRequest& request, std::string_view name);

}  // namespace vkb

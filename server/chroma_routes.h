// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/chroma_service.h"
#include "server/http.h"

namespace vkb {

class Metrics;      // server/metrics.h
class StoreHealth;  // server/store_health.h

// What some routes answer from beside the service. Null: the server has none.
struct RouteSources {
  const Metrics* metrics = nullptr;  // without it, GET /metrics is 404
  StoreHealth* health = nullptr;
};

// Answers Chroma's v2 REST API, whose paths and JSON are those of Chroma 1.5, and what is for
// operators. Uses service and sources as long as it lives. Thread safety: may be called from
// several threads at once.
HttpHandler make_chroma_handler(ChromaService& service, const RouteSources& sources = {});

// One route as the API's description lists it.
struct RouteInfo {
  std::string_view method;
  std::string_view path;  // "/api/v2/tenants/{tenant}"; a last "{*path}" takes all that follows
  std::string_view operation;
  std::string_view summary;
};
// All that the handler answers, but for what it refuses with 404 and 405.
std::vector<RouteInfo> chroma_routes();

// The OpenAPI 3.1 document of the routes.
std::string openapi_json();
// A page that lists them for people.
std::string docs_html();

}  // namespace vkb

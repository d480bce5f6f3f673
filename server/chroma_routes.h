// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/chroma_service.h"
#include "server/http.h"

namespace vkb {

// Answers Chroma's v2 REST API, whose paths and JSON are those of Chroma 1.5. Uses the service as
// long as it lives. Thread safety: may be called from several threads at once.
HttpHandler make_chroma_handler(ChromaService& service);

// One route as the API's description lists it.
struct RouteInfo {
  std::string_view method;
  std::string_view path;  // "/api/v2/tenants/{tenant}"
  std::string_view operation;
  std::string_view summary;
};
std::vector<RouteInfo> chroma_routes();

// The OpenAPI 3.1 document of the routes.
std::string openapi_json();

}  // namespace vkb

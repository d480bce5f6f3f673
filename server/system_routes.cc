// SPDX-License-Identifier: Apache-2.0
//
// Routes that tell about the server.
#include <chrono>

#include "server/api_error.h"
#include "server/json_text.h"
#include "server/metrics.h"
#include "server/route.h"
#include "server/store_health.h"

namespace vkb {
namespace {

// Chroma's clients refuse larger batches; the server takes what fits into a body.
constexpr int kMaxBatchSize = 5461;

HttpResponse heartbeat(const Call&) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return answer_json(
      "{\"nanosecond heartbeat\":" + std::to_string(std::chrono::nanoseconds(now).count()) + "}");
}

HttpResponse healthcheck(const Call& call) {
  // A store that cannot be read is not ready.
  std::string damage;
  try {
    call.service.check_tenant(std::string(kDefaultTenant));
    if (call.sources.health != nullptr) damage = call.sources.health->damage();
  } catch (const std::exception& error) {
    damage = error.what();
  }
  if (damage.empty()) {
    return answer_json("{\"is_executor_ready\":true,\"is_log_client_ready\":true}");
  }
  return answer_json("{\"is_executor_ready\":false,\"is_log_client_ready\":false,\"message\":" +
                         json_string(damage) + "}",
                     503);
}

// What Chroma's server says; clients only look at its form.
HttpResponse version(const Call&) { return answer_json("\"1.0.0\""); }

HttpResponse pre_flight_checks(const Call&) {
  return answer_json("{\"max_batch_size\":" + std::to_string(kMaxBatchSize) +
                     ",\"supports_base64_encoding\":true}");
}

HttpResponse identity(const Call& call) {
  return answer_json("{\"user_id\":" + json_string(call.request.user) +
                     ",\"tenant\":\"default_tenant\",\"databases\":[\"default_database\"]}");
}

HttpResponse reset(const Call& call) {
  call.service.reset();
  return answer_json("true");
}

HttpResponse openapi(const Call&) { return answer_json(openapi_json()); }

HttpResponse docs_redirect(const Call&) {
  return {.status = 303, .body = "", .content_type = "", .headers = {{"location", "/docs/"}}};
}

HttpResponse docs(const Call&) {
  return {.body = docs_html(), .content_type = "text/html; charset=utf-8"};
}

HttpResponse metrics(const Call& call) {
  if (call.sources.metrics == nullptr) return {.status = 404, .content_type = ""};
  return {.body = call.sources.metrics->text(),
          .content_type = std::string(Metrics::content_type())};
}

HttpResponse refuse_v1(const Call&) {
  throw ApiError(410, "Unimplemented", "The v1 API is deprecated. Please use /v2 apis");
}

constexpr Route kRoutes[] = {
    {{"GET", "/api/v2", "heartbeat", "The server's clock"}, heartbeat},
    {{"GET", "/api/v2/heartbeat", "heartbeat", "The server's clock"}, heartbeat},
    {{"GET", "/healthcheck", "healthcheck", "Whether the store can be read"}, healthcheck},
    {{"GET", "/api/v2/healthcheck", "healthcheck", "Whether the store can be read"}, healthcheck},
    {{"GET", "/api/v2/version", "version", "The version of the API"}, version},
    {{"GET", "/api/v2/pre-flight-checks", "pre_flight_checks", "What clients may send"},
     pre_flight_checks},
    {{"GET", "/api/v2/auth/identity", "identity", "Who the caller is"}, identity},
    {{"POST", "/api/v2/reset", "reset", "Deletes everything, where allowed"}, reset},
    {{"GET", "/openapi.json", "openapi", "This document"}, openapi},
    {{"GET", "/docs", "docs_redirect", "Leads to the list of operations"}, docs_redirect},
    {{"GET", "/docs/", "docs", "The operations, as a page"}, docs},
    {{"GET", "/metrics", "metrics", "What Prometheus collects"}, metrics},
    {{"GET", "/api/v1/{*path}", "v1", "The API before v2: gone"}, refuse_v1},
    {{"PUT", "/api/v1/{*path}", "v1", "The API before v2: gone"}, refuse_v1},
    {{"PATCH", "/api/v1/{*path}", "v1", "The API before v2: gone"}, refuse_v1},
    {{"DELETE", "/api/v1/{*path}", "v1", "The API before v2: gone"}, refuse_v1},
    {{"OPTIONS", "/api/v1/{*path}", "v1", "The API before v2: gone"}, refuse_v1},
};

}  // namespace

std::span<const Route> system_routes() { return kRoutes; }

}  // namespace vkb

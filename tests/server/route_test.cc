// SPDX-License-Identifier: Apache-2.0
#include "server/route.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "server/http_message.h"
#include "server/metrics.h"
#include "server/store_health.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

class RouteTest : public ::testing::Test {
 protected:
  HttpResponse ask(const std::string& method, std::string_view target) const {
    HttpTarget parsed = parse_target(target);
    return handler_(
        {.method = method, .path = std::move(parsed.path), .query = std::move(parsed.query)});
  }
  TempDirectory directory_;
  ChromaService service_{Store::open(directory_.path()), {}};
  StoreHealth health_{directory_.path()};
  Metrics metrics_{{}, [] { return StoreGauges{}; }};
  HttpHandler handler_ = make_chroma_handler(service_, {.metrics = &metrics_, .health = &health_});
};

// A path that fits the route: each parameter has a value.
std::string example_of(std::string_view path) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    out += path[i] == '{' ? 'x' : path[i];
    if (path[i] == '{') i = path.find('}', i);
  }
  return out;
}

TEST_F(RouteTest, EachRouteIsServedByItsOperation) {
  for (const RouteInfo& route : chroma_routes()) {
    const HttpResponse response = ask(std::string(route.method), example_of(route.path));
    EXPECT_EQ(response.operation, route.operation) << route.method << " " << route.path;
  }
}

TEST_F(RouteTest, TheDescriptionHasEachRouteAndNoOther) {
  const HttpResponse response = ask("GET", "/openapi.json");
  const Json paths = Json::parse(response.body).at("paths");
  std::set<std::string> described;
  std::set<std::string> ids;
  std::size_t operations = 0;
  for (const auto& [path, methods] : paths.items()) {
    for (const auto& [method, operation] : methods.items()) {
      ++operations;
      described.insert(method + " " + example_of(path));
      ids.insert(operation.at("operationId"));
      EXPECT_GE(operation.at("responses").size(), 2U);
    }
  }
  EXPECT_EQ(ids.size(), operations);
  std::set<std::string> served;
  for (const RouteInfo& route : chroma_routes()) {
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    served.insert(method + " " + example_of(route.path));
  }
  EXPECT_EQ(described, served);
  for (const char* each : {"get /metrics", "get /docs", "get /api/v1/x"}) {
    EXPECT_TRUE(described.count(each)) << each;
  }
}

TEST_F(RouteTest, TheDocsAreAPageThatListsTheOperations) {
  const HttpResponse redirect = ask("GET", "/docs");
  EXPECT_EQ(redirect.status, 303);
  ASSERT_EQ(redirect.headers.size(), 1U);
  EXPECT_EQ(redirect.headers[0].first, "location");
  const HttpResponse page = ask("GET", redirect.headers[0].second);
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_NE(page.body.find("<code>/api/v2/tenants/{tenant}</code>"), std::string::npos);
  EXPECT_NE(page.body.find("href=\"/openapi.json\""), std::string::npos);
}

TEST_F(RouteTest, MetricsAreThereWhenTheServerHasThem) {
  const HttpResponse text = ask("GET", "/metrics");
  EXPECT_EQ(text.status, 200);
  EXPECT_EQ(text.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(text.body.find("vkb_build_info"), std::string::npos);
  EXPECT_EQ(ask("POST", "/metrics").status, 405);
  EXPECT_EQ(make_chroma_handler(service_)({.method = "GET", .path = {"metrics"}}).status, 404);
}

TEST_F(RouteTest, VersionOneIsGone) {
  for (const char* method : {"GET", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
    const HttpResponse gone = ask(method, "/api/v1/collections/x");
    EXPECT_EQ(gone.status, 410) << method;
    EXPECT_EQ(gone.body,
              R"({"error":"Unimplemented","message":"The v1 API is deprecated. Please use /v2 )"
              R"(apis"})");
  }
  const HttpResponse post = ask("POST", "/api/v1/collections");
  EXPECT_EQ(post.status, 405);
  EXPECT_EQ(post.headers.at(0).second, "GET,HEAD,PUT,PATCH,DELETE,OPTIONS");
  EXPECT_EQ(ask("GET", "/api/v1").status, 404);
  EXPECT_EQ(ask("GET", "/api/v1/").status, 404);
}

TEST_F(RouteTest, OnlyTheRootMayEndInASlash) {
  EXPECT_EQ(ask("GET", "/api/v2/").status, 200);
  EXPECT_EQ(ask("GET", "/docs//").status, 404);
  EXPECT_EQ(ask("GET", "/api/v2/heartbeat/").status, 404);
}

constexpr const char* kDatabases = "/api/v2/tenants/default_tenant/databases";

TEST_F(RouteTest, QueryStringsAreDecoded) {
  service_.create_database({.database = "other"});
  const auto count = [&](const std::string& query) {
    const HttpResponse response = ask("GET", kDatabases + ("?" + query));
    EXPECT_EQ(response.status, 200) << query;
    return Json::parse(response.body).size();
  };
  EXPECT_EQ(count(""), 2U);
  for (const char* one : {"limit=1", "limit=%31", "li%6Dit=1", "limit=%2B1", "&&limit=01",
                          "limit=1&other=%zz", "offset=%31"}) {
    EXPECT_EQ(count(one), 1U) << one;
  }
}

TEST_F(RouteTest, WhatIsNoNumberIsRefusedInTheWordsOfChroma) {
  const std::pair<const char*, const char*> cases[] = {
      {"limit=+1", "limit: invalid digit found in string"},
      {"limit=1+", "limit: invalid digit found in string"},
      {"limit=-1", "limit: invalid digit found in string"},
      {"limit=%2B", "limit: invalid digit found in string"},
      {"limit=%2B-1", "limit: invalid digit found in string"},
      {"limit=%zz", "limit: invalid digit found in string"},
      {"offset=%", "offset: invalid digit found in string"},
      {"limit=%ff", "limit: invalid digit found in string"},
      {"limit=1;offset=0", "limit: invalid digit found in string"},
      {"limit=99999999999x", "limit: invalid digit found in string"},
      {"limit=4294967296", "limit: number too large to fit in target type"},
      {"limit", "limit: cannot parse integer from empty string"},
      {"offset=", "offset: cannot parse integer from empty string"},
      {"limit=1&limit=2", "duplicate field `limit`"},
  };
  for (const auto& [query, message] : cases) {
    const HttpResponse response = ask("GET", kDatabases + ("?" + std::string(query)));
    EXPECT_EQ(response.status, 400) << query;
    EXPECT_EQ(Json::parse(response.body).at("message"),
              std::string("Failed to deserialize query string: ") + message)
        << query;
  }
  const std::string count = std::string(kDatabases) + "/default_database/collections/x/count";
  EXPECT_EQ(ask("GET", count + "?read_level=index+only").status, 400);
  EXPECT_EQ(ask("GET", count + "?read_level=index%5Fonly").status, ask("GET", count).status);
}

}  // namespace
}  // namespace vkb

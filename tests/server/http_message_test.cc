// SPDX-License-Identifier: Apache-2.0
#include "server/http_message.h"

#include <gtest/gtest.h>

namespace vkb {
namespace {

using Path = std::vector<std::string>;

TEST(HttpTargetTest, SegmentsAreDecodedOnce) {
  const HttpTarget target = parse_target("/api/v2/a%20b/%2525?limit=1&offset=%20");
  EXPECT_EQ(target.path, (Path{"api", "v2", "a b", "%25"}));
  EXPECT_EQ(target.query, "limit=1&offset=%20");
}

TEST(HttpTargetTest, DotsAndEncodedSlashesAreOnlyCharacters) {
  EXPECT_EQ(parse_target("/../%2e%2e/a%2Fb/./").path, (Path{"..", "..", "a/b", ".", ""}));
}

TEST(HttpTargetTest, EmptySegmentsStay) {
  EXPECT_EQ(parse_target("/").path, (Path{""}));
  EXPECT_EQ(parse_target("//a//").path, (Path{"", "a", "", ""}));
  EXPECT_EQ(parse_target("/a?").path, (Path{"a"}));
}

TEST(HttpTargetTest, AnAbsoluteTargetIsItsPath) {
  EXPECT_EQ(parse_target("http://host:8000/api/v2?x").path, (Path{"api", "v2"}));
  EXPECT_EQ(parse_target("http://host").path, (Path{""}));
  EXPECT_EQ(parse_target("*").path, (Path{"*"}));
}

TEST(HttpTargetTest, BadEscapesNulsAndBadUtf8AreRefused) {
  for (const char* target : {"/%", "/a%4", "/%zz", "/%0", "/a%00b", "/%ff", "/%c3", "/%ed%a0%80",
                             "/%C0%AF", "/\xFF", "/ok/%e2%82"}) {
    try {
      parse_target(target);
      ADD_FAILURE() << target;
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status(), 400) << target;
      EXPECT_EQ(error.name(), "InvalidArgumentError") << target;
    }
  }
  EXPECT_EQ(parse_target("/%F0%9F%99%82").path, (Path{"\U0001F642"}));
}

using Parameters = std::vector<std::pair<std::string, std::string>>;

TEST(QueryTest, NamesAndValuesAreDecodedAsForms) {
  EXPECT_EQ(parse_query("limit=%31&li%6Dit=2"), (Parameters{{"limit", "1"}, {"limit", "2"}}));
  EXPECT_EQ(parse_query("a=1+2&b=%2B&c=x=y"), (Parameters{{"a", "1 2"}, {"b", "+"}, {"c", "x=y"}}));
  EXPECT_EQ(parse_query("&&a&=b&"), (Parameters{{"a", ""}, {"", "b"}}));
  EXPECT_EQ(parse_query(""), Parameters{});
}

TEST(QueryTest, WhatIsNoEscapeStays) {
  EXPECT_EQ(parse_query("a=%zz&b=%&c=%4"), (Parameters{{"a", "%zz"}, {"b", "%"}, {"c", "%4"}}));
  EXPECT_EQ(parse_query("a=%ff")[0].second, "\xFF");
}

Lane lane(const char* method, const char* target) {
  return lane_of({.method = method, .path = parse_target(target).path});
}

TEST(LaneTest, ProbesReadsAndWritesDoNotShareWorkers) {
  const std::string in = "/api/v2/tenants/t/databases/d/collections";
  for (const char* each : {"/api/v2", "/api/v2/heartbeat", "/api/v2/auth/identity", "/healthcheck",
                           "/api/v2/version", "/metrics", "/", "/nonsense"}) {
    EXPECT_EQ(lane("GET", each), Lane::probe) << each;
  }
  for (const char* each : {"/x/get", "/x/query", "/x/search"}) {
    EXPECT_EQ(lane("POST", (in + each).c_str()), Lane::read) << each;
  }
  EXPECT_EQ(lane("GET", in.c_str()), Lane::read);
  EXPECT_EQ(lane("GET", (in + "/x/count").c_str()), Lane::read);
  EXPECT_EQ(lane("GET", "/api/v2/tenants/default_tenant"), Lane::read);
  for (const char* each : {"/x/add", "/x/update", "/x/upsert", "/x/delete", "/x/fork", ""}) {
    EXPECT_EQ(lane("POST", (in + each).c_str()), Lane::write) << each;
  }
  EXPECT_EQ(lane("DELETE", (in + "/query").c_str()), Lane::write);
  EXPECT_EQ(lane("POST", "/api/v2/reset"), Lane::write);
}

TEST(OpenToAllTest, OnlyWhatTellsThatAServerIsThere) {
  const auto open = [](const char* method, const char* target) {
    return is_open_to_all({.method = method, .path = parse_target(target).path});
  };
  for (const char* each : {"/api/v2", "/api/v2/heartbeat", "/api/v2/version", "/healthcheck",
                           "/api/v2/healthcheck", "/api/v2/pre-flight-checks"}) {
    EXPECT_TRUE(open("GET", each)) << each;
  }
  for (const char* each : {"/metrics", "/api/v2/auth/identity", "/api/v2/tenants/t", "/", "/api",
                           "/api/v2/heartbeat/", "/api/v2/reset", "/openapi.json"}) {
    EXPECT_FALSE(open("GET", each)) << each;
  }
  EXPECT_FALSE(open("POST", "/api/v2/heartbeat"));
}

TEST(BodyTooLargeTest, RecordRoutesAnswerAsPlainTextAndOthersInJson) {
  const auto answer = [](const char* method, const char* target) {
    return body_too_large({.method = method, .path = parse_target(target).path});
  };
  for (const char* each : {"add", "update", "upsert", "query", "search"}) {
    const std::string target = std::string("/api/v2/tenants/t/databases/d/collections/c/") + each;
    EXPECT_EQ(answer("POST", target.c_str()).body, "Payload too large");
    EXPECT_EQ(answer("POST", target.c_str()).content_type, "");
  }
  for (const char* each : {"/api/v2/tenants/t/databases/d/collections/c/get", "/add",
                           "/api/v2/tenants/t/databases/d/collections"}) {
    EXPECT_EQ(answer("POST", each).status, 413);
    EXPECT_EQ(
        answer("POST", each).body,
        R"({"error":"ChromaError","message":"Failed to buffer the request body: length limit )"
        R"(exceeded"})");
    EXPECT_EQ(answer("POST", each).content_type, "application/json");
  }
}

std::string header(const HttpResponse& response, std::string_view name) {
  for (const auto& [each, value] : response.headers) {
    if (each == name) return value;
  }
  return "";
}

TEST(CorsTest, HeadersAreThoseOfChroma) {
  HttpResponse none;
  add_cors_headers({}, "http://a", true, none);
  EXPECT_TRUE(none.headers.empty());

  HttpResponse any;
  add_cors_headers({.origins = {"*"}}, "", false, any);
  EXPECT_EQ(header(any, "access-control-allow-origin"), "*");
  EXPECT_EQ(header(any, "vary"),
            "origin, access-control-request-method, access-control-request-headers");
  EXPECT_EQ(header(any, "access-control-allow-methods"), "");

  HttpResponse preflight;
  add_cors_headers({.origins = {"http://a", "https://b:3000"}}, "https://b:3000", true, preflight);
  EXPECT_EQ(header(preflight, "access-control-allow-origin"), "https://b:3000");
  EXPECT_EQ(header(preflight, "access-control-allow-methods"), "*");
  EXPECT_EQ(header(preflight, "access-control-allow-headers"), "*");

  HttpResponse other;
  add_cors_headers({.origins = {"http://a"}}, "http://a.evil", false, other);
  EXPECT_EQ(header(other, "access-control-allow-origin"), "");
  EXPECT_NE(header(other, "vary"), "");
}

}  // namespace
}  // namespace vkb

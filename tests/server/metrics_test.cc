// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "server/access_log.h"
#include "storage/error.h"
#include "tests/server/http_client.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

StoreGauges gauges() {
  return {.collections = {{.tenant = "t",
                           .database = "d",
                           .name = "a \"b\"\n",
                           .records = 7,
                           .unsealed = 2,
                           .tombstones = 1,
                           .segments = 3,
                           .bytes = 4096}},
          .collection_count = 1,
          .database_bytes = 100,
          .segment_bytes = 200};
}

bool has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

TEST(MetricsTest, CountsRequestsErrorsAndTimes) {
  Metrics metrics({.version = "1.2.3", .open_seconds = 0.5}, gauges);
  metrics.request_began();
  metrics.count_answer("query", 200, 0.0004);
  metrics.count_answer("query", 200, 0.15);
  metrics.count_answer("query", 400, 20);
  metrics.count_answer("add", 503, 0.001);
  const std::string text = metrics.text();
  EXPECT_TRUE(has(text, "vkb_requests_total{operation=\"query\",status=\"200\"} 2")) << text;
  EXPECT_TRUE(has(text, "vkb_requests_total{operation=\"query\",status=\"400\"} 1"));
  EXPECT_TRUE(has(text, "vkb_request_errors_total{operation=\"query\"} 0"));
  EXPECT_TRUE(has(text, "vkb_request_errors_total{operation=\"add\"} 1"));
  EXPECT_TRUE(has(text, "vkb_request_seconds_count{operation=\"query\"} 3"));
  EXPECT_TRUE(has(text, "vkb_request_seconds_bucket{operation=\"query\",le=\"0.0005\"} 1"));
  EXPECT_TRUE(has(text, "vkb_request_seconds_bucket{operation=\"query\",le=\"0.2\"} 2"));
  EXPECT_TRUE(has(text, "vkb_request_seconds_bucket{operation=\"query\",le=\"10\"} 2"));
  EXPECT_TRUE(has(text, "vkb_request_seconds_bucket{operation=\"query\",le=\"+Inf\"} 3"));
  EXPECT_TRUE(has(text, "vkb_requests_in_flight 1"));
  EXPECT_TRUE(has(text, "vkb_build_info{version=\"1.2.3\"} 1"));
  EXPECT_TRUE(has(text, "vkb_store_open_seconds 0.5"));
  metrics.request_left();
  EXPECT_TRUE(has(metrics.text(), "vkb_requests_in_flight 0"));
}

TEST(MetricsTest, StoreGaugesAreReadForEachText) {
  bool fails = false;
  const Metrics metrics({}, [&fails] {
    if (fails) throw Error(ErrorCode::io_error, "the disk is gone");
    return gauges();
  });
  const std::string text = metrics.text();
  const std::string labels = R"({tenant="t",database="d",collection="a \"b\"\n"})";
  EXPECT_TRUE(has(text, "vkb_collection_records" + labels + " 7")) << text;
  EXPECT_TRUE(has(text, "vkb_collection_unsealed_records" + labels + " 2"));
  EXPECT_TRUE(has(text, "vkb_collection_tombstones" + labels + " 1"));
  EXPECT_TRUE(has(text, "vkb_collection_segments" + labels + " 3"));
  EXPECT_TRUE(has(text, "vkb_collection_bytes" + labels + " 4096"));
  EXPECT_TRUE(has(text, "vkb_collections 1"));
  EXPECT_TRUE(has(text, "vkb_store_bytes{kind=\"segments\"} 200"));
  EXPECT_TRUE(has(text, "vkb_store_readable 1"));
  EXPECT_NE(text.find("\nprocess_resident_memory_bytes "), std::string::npos);
  fails = true;
  EXPECT_TRUE(has(metrics.text(), "vkb_store_readable 0"));
}

TEST(MetricsTest, LongNamesAreCutAndStayDifferent) {
  EXPECT_EQ(label_of(std::string(128, 'a')), std::string(128, 'a'));
  const std::string one = label_of(std::string(5000, 'a') + "1");
  EXPECT_EQ(one.size(), 128U);
  EXPECT_NE(one, label_of(std::string(5000, 'a') + "2"));
  EXPECT_EQ(one, label_of(std::string(5000, 'a') + "1"));
  std::string wide;
  for (int i = 0; i < 50; ++i) wide += "\U0001F642";  // 4 bytes, so that 111 is inside of one
  EXPECT_EQ(label_of(wide).substr(0, 109), wide.substr(0, 108) + "~");
  EXPECT_EQ(label_of(wide).size(), 125U);
}

TEST(MetricsTest, AStoreOfManyCollectionsHasABoundedText) {
  StoreGauges many;
  for (int i = 0; i < 1200; ++i) {
    many.collections.push_back({.tenant = std::string(100'000, 't'), .name = std::to_string(i)});
  }
  const Metrics metrics({}, [&many] { return many; });
  const std::string text = metrics.text();
  EXPECT_LT(text.size(), 2'000'000U);
  std::size_t shown = 0;
  for (std::size_t at = 0; (at = text.find("\nvkb_collection_records{", at)) != std::string::npos;
       ++at) {
    ++shown;
  }
  EXPECT_EQ(shown, StoreGauges::kMostCollections);
}

TEST(MetricsTest, TheServerCountsWhatItAnswers) {
  Metrics metrics({}, gauges);
  HttpOptions options;
  options.metrics = &metrics;
  RunningServer server(options, [&metrics](const HttpRequest& request) {
    return request.path[0] == "metrics" ? HttpResponse{.body = metrics.text()} : echo(request);
  });
  RawClient client(server.port());
  EXPECT_EQ(client.ask(get_request("/a")).status, 200);
  EXPECT_EQ(client.ask(get_request("/%zz")).status, 400);
  EXPECT_TRUE(client.is_closed());
  RawClient scraper(server.port());
  const Reply reply = scraper.ask(get_request("/metrics"));
  EXPECT_TRUE(has(reply.body, "vkb_requests_total{operation=\"echo\",status=\"200\"} 1"));
  EXPECT_TRUE(has(reply.body, "vkb_requests_total{operation=\"refused\",status=\"400\"} 1"));
  EXPECT_TRUE(has(reply.body, "vkb_requests_in_flight 1"));  // the scrape
}

TEST(AccessLogTest, ALineIsOneJsonObjectWhateverIsInIt) {
  const std::string line = to_json(AccessLog::Entry{
      .time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'700'000'000'042)),
      .remote = "127.0.0.1:5",
      .method = "GET",
      .path = "/\"\n\xFF",
      .status = 404,
      .operation = "get",
      .milliseconds = 1.23456,
      .bytes_in = 1,
      .bytes_out = 2,
      .user = "ann"});
  EXPECT_EQ(line,
            R"({"time":"2023-11-14T22:13:20.042Z","remote":"127.0.0.1:5","method":"GET",)"
            "\"path\":\"/\\\"\\n\xEF\xBF\xBD\",\"status\":404,\"operation\":\"get\",\"ms\":1.235,"
            R"("bytes_in":1,"bytes_out":2,"user":"ann"})");
}

// A server with an access log.
class AccessLogServerTest : public ::testing::Test {
 protected:
  AccessLogServerTest() { options_.access_log = &log_; }
  std::string text() const { return read_whole_file(directory_.file("access.log")); }
  std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> parsed;
    std::istringstream all(text());
    for (std::string line; std::getline(all, line);) parsed.push_back(nlohmann::json::parse(line));
    return parsed;
  }
  TempDirectory directory_;
  AccessLog log_{directory_.file("access.log")};
  HttpOptions options_;
};

TEST_F(AccessLogServerTest, EveryRequestHasItsLineAndNoSecrets) {
  {
    RunningServer server(options_, echo);
    RawClient client(server.port());
    client.ask(post_request("/a%20b?token=secret", "secret", "X-Chroma-Token: secret\r\n"));
    client.ask("BAD\r\n\r\n");
  }
  EXPECT_EQ(text().find("secret"), std::string::npos);
  const std::vector<nlohmann::json> found = lines();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0]["path"], "/a%20b");
  EXPECT_EQ(found[0]["status"], 200);
  EXPECT_EQ(found[0]["bytes_in"], 6);
  EXPECT_EQ(found[0]["operation"], "echo");
  EXPECT_EQ(found[1]["status"], 400);
  EXPECT_THROW(AccessLog(directory_.path()), Error);
}

TEST_F(AccessLogServerTest, WhatWasNotSentIsNotCounted) {
  {
    RunningServer server(options_, echo);
    RawClient client(server.port());
    client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + get_request("/a"));
    EXPECT_EQ(client.receive(true).header("content-length"), "11");
    EXPECT_EQ(client.receive().body.size(), 11U);
  }
  const std::vector<nlohmann::json> found = lines();
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0]["method"], "HEAD");
  EXPECT_EQ(found[0]["bytes_out"], 0);
  EXPECT_EQ(found[1]["bytes_out"], 11);
}

constexpr const char* kUnfinished = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123";

TEST_F(AccessLogServerTest, ABodyThatDoesNotComeHasALine) {
  options_.body_timeout = std::chrono::milliseconds(100);
  {
    RunningServer server(options_, echo);
    RawClient client(server.port());
    client.send(kUnfinished);
    EXPECT_TRUE(client.is_closed());
  }
  const std::vector<nlohmann::json> found = lines();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["status"], 408);
  EXPECT_EQ(found[0]["operation"], "cut_off");
  EXPECT_EQ(found[0]["path"], "/a");
  EXPECT_EQ(found[0]["bytes_in"], 3);
  EXPECT_EQ(found[0]["bytes_out"], 0);
}

TEST_F(AccessLogServerTest, AClientThatLeavesInItsBodyHasALine) {
  RunningServer server(options_, echo);
  {
    RawClient client(server.port());
    client.send(kUnfinished);
    const linger reset{.l_onoff = 1, .l_linger = 0};
    setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  while (lines().empty()) std::this_thread::yield();
  EXPECT_EQ(lines()[0]["status"], 499);
  EXPECT_EQ(lines()[0]["operation"], "cut_off");
}

TEST_F(AccessLogServerTest, AClientThatEndsInItsBodyIsToldSo) {
  {
    RunningServer server(options_, echo);
    RawClient client(server.port());
    client.send(kUnfinished);
    client.finish_sending();
    const Reply reply = client.receive();
    EXPECT_EQ(reply.status, 400);
    EXPECT_NE(reply.body.find("Failed to buffer the request body"), std::string::npos);
    EXPECT_TRUE(client.is_closed());
    RawClient silent(server.port());  // began none
    silent.send("GET /b HTT");
    silent.finish_sending();
    EXPECT_TRUE(silent.is_closed());
  }
  const std::vector<nlohmann::json> found = lines();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["status"], 400);
  EXPECT_EQ(found[0]["operation"], "refused");
  EXPECT_EQ(found[0]["bytes_in"], 3);
}

TEST_F(AccessLogServerTest, ARequestThatAStopCutsOffHasALine) {
  options_.stop_timeout = std::chrono::milliseconds(50);
  RunningServer server(options_, echo);
  RawClient client(server.port());
  const std::string request = post_request("/a", "0123456789", "Expect: 100-continue\r\n");
  EXPECT_EQ(client.ask(request.substr(0, request.size() - 10)).status, 100);  // in progress
  server.stop();
  const std::vector<nlohmann::json> found = lines();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0]["status"], 503);
}

}  // namespace
}  // namespace vkb

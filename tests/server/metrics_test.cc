// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

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

TEST(MetricsTest, TheServerCountsAndAnswersThem) {
  Metrics metrics({}, gauges);
  HttpOptions options;
  options.metrics = &metrics;
  RunningServer server(options, echo);
  RawClient client(server.port());
  EXPECT_EQ(client.ask(get_request("/a")).status, 200);
  EXPECT_EQ(client.ask(get_request("/%zz")).status, 400);
  EXPECT_TRUE(client.is_closed());
  RawClient scraper(server.port());
  const Reply reply = scraper.ask(get_request("/metrics"));
  EXPECT_EQ(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_TRUE(has(reply.body, "vkb_requests_total{operation=\"echo\",status=\"200\"} 1"));
  EXPECT_TRUE(has(reply.body, "vkb_requests_total{operation=\"refused\",status=\"400\"} 1"));
  EXPECT_TRUE(has(reply.body, "vkb_requests_in_flight 1"));  // the scrape
  EXPECT_EQ(scraper.ask(post_request("/metrics", "")).body, "POST [metrics] ?  ");
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

TEST(AccessLogTest, EveryRequestHasItsLineAndNoSecrets) {
  const TempDirectory directory;
  const AccessLog log(directory.file("access.log"));
  HttpOptions options;
  options.access_log = &log;
  {
    RunningServer server(options, echo);
    RawClient client(server.port());
    client.ask(post_request("/a%20b?token=secret", "secret", "X-Chroma-Token: secret\r\n"));
    client.ask("BAD\r\n\r\n");
  }
  std::ifstream file(directory.file("access.log"));
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str().find("secret"), std::string::npos);
  std::string line;
  ASSERT_TRUE(std::getline(text, line));
  const auto first = nlohmann::json::parse(line);
  EXPECT_EQ(first["path"], "/a%20b");
  EXPECT_EQ(first["status"], 200);
  EXPECT_EQ(first["bytes_in"], 6);
  EXPECT_EQ(first["operation"], "echo");
  ASSERT_TRUE(std::getline(text, line));
  EXPECT_EQ(nlohmann::json::parse(line)["status"], 400);
  EXPECT_FALSE(std::getline(text, line));
  EXPECT_THROW(AccessLog(directory.path()), Error);
}

}  // namespace
}  // namespace vkb

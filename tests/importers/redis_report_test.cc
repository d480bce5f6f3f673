// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_report.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "importers/line_file.h"

namespace vkb {
namespace {

RedisImportResult sample_result() {
  RedisImportResult result;
  result.collection = "kb";
  result.source = "redis://imp@host:6379/0";
  result.report = "kb/reports/1";
  result.records_seen = 12;
  result.counts.imported = 9;
  result.counts.unchanged = 1;
  result.counts.rejected = 2;
  result.counts.texts = {8, 1, 0, 1, 0};
  result.counts.reasons = {{"not_finite", 2}};
  result.rejects_file = "kb/reports/1/rejects.jsonl";
  result.plan.index = IndexInfo();
  result.plan.index->name = "idx<script>";
  result.rate = {{0.5, 3, "load"}, {1.0, 9, "load"}, {1.5, 9, "build"}};
  result.verification.emplace();
  result.verification->source_count = 10;
  result.verification->store_count = 10;
  result.verification->records_proved = 10;
  result.verification->count_ok = true;
  result.verification->overlap.queries = 5;
  result.verification->overlap.top10_overlap = 0.98;
  result.verification->overlap.reference = "redis";
  result.verification->overlap.source_recall_default = 0.6;
  result.verification->keys_digest = std::string(32, 'a');
  result.verification->poisoned = {"doc:nan"};
  result.verification->passed = true;
  return result;
}

TEST(RedisReportTest, TheResultHasTheMembersThatThePageOfTheProgramPromises) {
  const auto json = nlohmann::json::parse(import_result_json(sample_result()));
  for (const char* name : {"collection", "source", "index", "records_seen", "imported", "unchanged",
                           "rejected", "rejects_file", "documents_with_text", "seconds",
                           "vectors_per_second", "backup", "verification", "report"}) {
    EXPECT_TRUE(json.contains(name)) << name;
  }
  for (const char* name :
       {"source_count", "store_count", "count_ok", "samples_checked", "samples_equal",
        "documents_equal", "queries", "top10_overlap", "overlap_reference", "passed"}) {
    EXPECT_TRUE(json.at("verification").contains(name)) << name;
  }
  EXPECT_EQ(json.at("documents_with_text"), 9);
  EXPECT_TRUE(json.at("backup").is_null());
}

TEST(RedisReportTest, AReportIsReadBack) {
  const std::string directory = testing::TempDir() + "vkb-report";
  std::filesystem::create_directories(directory);
  replace_file(directory + "/report.json", report_json(sample_result(), "kb"));
  const ImportReport report = read_report(directory);
  EXPECT_TRUE(report.passed);
  EXPECT_EQ(report.source, "redis://imp@host:6379/0");
  EXPECT_EQ(report.index, "idx<script>");
  EXPECT_EQ(report.keys, 10u);
  EXPECT_EQ(report.keys_digest, std::string(32, 'a'));
  for (const char* text : {"", "[]", "{\"report_version\":1}", "{\"report_version\":99}"}) {
    replace_file(directory + "/report.json", text);
    EXPECT_THROW(read_report(directory), Error) << text;
  }
  std::filesystem::remove_all(directory);
  EXPECT_THROW(read_report(directory), Error);
}

TEST(RedisReportTest, ThePageForPeopleStandsAlone) {
  const std::string html = report_html(sample_result(), "kb");
  EXPECT_NE(html.find("<svg"), std::string::npos);
  EXPECT_NE(html.find("Passed."), std::string::npos);
  EXPECT_NE(html.find("idx&lt;script&gt;"), std::string::npos);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);  // nothing is fetched
}

}  // namespace
}  // namespace vkb

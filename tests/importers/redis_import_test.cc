// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_import.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "importers/line_file.h"
#include "importers/redis_record.h"
#include "tests/importers/llama_index_data.h"
#include "tests/importers/redis_server.h"

namespace vkb {
namespace {

constexpr std::size_t kDim = 8;

std::vector<float> vector_of_number(int number) {
  std::vector<float> vector;
  for (std::size_t i = 0; i < kDim; ++i) {
    vector.push_back(std::sin(static_cast<float>(number) * (1.3F + static_cast<float>(i))));
  }
  return vector;
}

std::map<std::string, nlohmann::json> read_rejects(const std::string& file) {
  std::map<std::string, nlohmann::json> rejects;
  std::istringstream lines(read_whole_file(file));
  for (std::string line; std::getline(lines, line);) {
    auto json = nlohmann::json::parse(line);
    const std::string key = json.at("key");
    EXPECT_TRUE(rejects.emplace(key, std::move(json)).second) << key << " twice";
  }
  return rejects;
}

class RedisImportTest : public testing::Test {
 protected:
  void SetUp() override {
    VKB_NEEDS_REDIS();
    server_.emplace();
    directory_ = testing::TempDir() + "vkb-import-" +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  RedisClient client() { return client_of(*server_); }

  void fill(int count, int first = 0) {
    std::vector<RedisCommand> commands;
    for (int i = first; i < first + count; ++i) {
      const std::string id = "node-" + std::to_string(i);
      commands.push_back(hset("doc:" + id, make_node(id, "text of " + id, vector_of_number(i), i)));
    }
    client().pipeline(commands);
  }

  // One key of each way to be odd; 8 of them are rejected.
  void fill_odd() {
    std::vector<RedisCommand> commands;
    for (const SampleHash& sample : read_samples()) {
      if (sample.layout == "0.14") commands.push_back(hset(sample.key, sample.fields));
    }
    commands.push_back({"SADD", "doc:a-set", "x"});
    commands.push_back({"SET", "document_status", "near the prefix"});
    commands.push_back({"HSET", "document_status:1", "status", "near the prefix"});
    client().pipeline(commands);
  }

  RedisImportOptions options() {
    RedisImportOptions options;
    options.url = server_->url();
    options.selection.prefix = "doc";
    options.store = directory_;
    options.collection = "kb-test";
    options.seed = 1;
    options.retry_for = std::chrono::seconds(10);
    return options;
  }

  Collection collection() { return Store::open(directory_).collection("kb-test"); }

  std::optional<RedisServer> server_;
  std::string directory_;
};

TEST_F(RedisImportTest, TakesAllAndProvesIt) {
  fill(2500);
  const RedisImportResult result = import_redis(options());
  EXPECT_EQ(result.counts.imported, 2500u);
  EXPECT_EQ(result.counts.rejected, 0u);
  EXPECT_EQ(result.rejects_file, "");
  ASSERT_TRUE(result.verification);
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
  EXPECT_EQ(result.verification->records_proved, 2500u);
  EXPECT_EQ(result.verification->samples_checked, 100u);
  EXPECT_EQ(result.verification->samples_equal, 100u);
  EXPECT_EQ(result.verification->documents_equal, 100u);
  EXPECT_EQ(result.verification->overlap.reference, "exact");
  EXPECT_GE(result.verification->overlap.top10_overlap, 0.95);

  const Collection kb = collection();
  EXPECT_EQ(kb.count(), 2500u);
  EXPECT_EQ(kb.info().options.dim, kDim);
  const std::vector<Record> found =
      kb.get({.ids = std::vector<std::string>{"node-7"}, .include = {.embeddings = true}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].document, "text of node-7");
  EXPECT_EQ(found[0].embedding, vector_of_number(7));
  EXPECT_EQ(found[0].metadata->at("number"), Value(std::int64_t{7}));
}

TEST_F(RedisImportTest, RepeatedItChangesNothingAndTakesWhatIsNew) {
  fill(1200);
  import_redis(options());
  const std::string uuid = collection().uuid();
  RedisImportResult again = import_redis(options());
  EXPECT_EQ(again.counts.imported, 0u);
  EXPECT_EQ(again.counts.unchanged, 1200u);
  EXPECT_TRUE(again.verification->passed);
  EXPECT_EQ(again.collection_uuid, uuid);

  fill(30, 1200);
  client().command(hset("doc:node-5", make_node("node-5", "changed", vector_of_number(5), 5)));
  client().command({"DEL", "doc:node-6"});
  again = import_redis(options());
  EXPECT_EQ(again.counts.imported, 31u);
  EXPECT_EQ(again.counts.unchanged, 1198u);
  EXPECT_TRUE(again.verification->passed) << testing::PrintToString(again.verification->problems);
  EXPECT_EQ(again.verification->gone_from_source, 1u);
  EXPECT_EQ(collection().get({.ids = std::vector<std::string>{"node-5"}})[0].document, "changed");

  RedisImportOptions fresh = options();
  fresh.fresh = true;
  again = import_redis(fresh);
  EXPECT_EQ(again.counts.imported, 1229u);
  EXPECT_NE(collection().uuid(), uuid);
}

TEST_F(RedisImportTest, EachBadRecordIsRejectedWithAllItsFieldsAndOthersAreLeftAlone) {
  fill(500);
  fill_odd();
  const RedisImportResult result = import_redis(options());
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
  EXPECT_EQ(result.counts.other_keys, 2u);
  const auto rejects = read_rejects(result.rejects_file);
  EXPECT_EQ(rejects.size(), result.counts.rejected);
  const std::map<std::string, std::string> reasons = {
      {"missing_vector", "missing_vector"},
      {"wrong_dim", "wrong_dimension"},
      {"odd_bytes", "vector_bytes_not_multiple_of_4"},
      {"float64", "wrong_dimension"},
      {"nan", "not_finite"},
      {"inf", "not_finite"},
      {"bad_utf8", "invalid_utf8"},
      {"empty_hash_like", "no_fields_of_the_layout"}};
  std::size_t duplicates = 0;
  for (const SampleHash& sample : read_samples()) {
    if (sample.layout != "0.14") continue;
    const auto reject = rejects.find(sample.key);
    const auto reason = reasons.find(sample.kind);
    if (sample.kind == "dup_id") {
      duplicates += reject == rejects.end() ? 0 : 1;
      if (reject != rejects.end()) {
        EXPECT_EQ(reject->second.at("reason"), "duplicate_id");
      }
      continue;
    }
    ASSERT_EQ(reject != rejects.end(), reason != reasons.end()) << sample.kind;
    if (reject == rejects.end()) continue;
    EXPECT_EQ(reject->second.at("reason"), reason->second);
    EXPECT_FALSE(reject->second.at("message").get<std::string>().empty());
    // Enough to do it again: every field, byte for byte.
    for (const auto& [name, value] : sample.fields) {
      const auto& field = reject->second.at("fields").at(name);
      EXPECT_EQ(field.is_object() ? base64_decode(field.at("base64").get<std::string>())
                                  : field.get<std::string>(),
                value);
    }
  }
  EXPECT_EQ(duplicates, 1u);
  EXPECT_EQ(rejects.at("doc:a-set").at("found"), "set");
  EXPECT_EQ(rejects.size(), reasons.size() + 2);
}

TEST_F(RedisImportTest, TheFirstOfTwoKeysWithOneIdStaysOnEveryRun) {
  fill(50);
  client().command(hset("doc:twin", make_node("node-3", "twin", vector_of_number(99), 99)));
  RedisImportResult result = import_redis(options());
  const std::vector<Record> kept =
      collection().get({.ids = std::vector<std::string>{"node-3"}, .include = {.origins = true}});
  const std::string first = read_origin(kept.at(0)).key;
  const std::string second = first == "doc:twin" ? "doc:node-3" : "doc:twin";
  auto rejects = read_rejects(result.rejects_file);
  EXPECT_NE(rejects.at(second).at("message").get<std::string>().find(first), std::string::npos);
  result = import_redis(options());
  EXPECT_EQ(result.counts.unchanged, 50u);
  EXPECT_EQ(read_rejects(result.rejects_file).count(second), 1u);
  // Once the first is gone, the second takes its place.
  client().command({"DEL", first});
  result = import_redis(options());
  EXPECT_EQ(result.counts.imported, 1u);
  EXPECT_EQ(result.counts.rejected, 0u);
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
}

TEST_F(RedisImportTest, StoppedItGoesOnWhereItStopped) {
  fill(2000);
  RedisImportOptions stopping = options();
  stopping.batch_size = 100;
  stopping.progress = [](const Progress& at) { return at.done < 500; };
  const RedisImportResult stopped = import_redis(stopping);
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.report, "");
  const std::uint64_t there = collection().count();
  EXPECT_GE(there, 500u);
  EXPECT_LT(there, 2000u);
  const RedisImportResult rest = import_redis(options());
  EXPECT_EQ(rest.counts.unchanged, there);
  EXPECT_EQ(rest.counts.imported, 2000 - there);
  EXPECT_TRUE(rest.verification->passed);
}

// Answers are compared in a thread beside the proof.
TEST_F(RedisImportTest, AStopWhileProvingStopsTheComparisonToo) {
  fill(6000);
  RedisImportOptions stopping = options();
  std::set<std::thread::id> threads;
  int after_false = 0;
  bool go_on = true;
  stopping.progress = [&](const Progress& at) {
    threads.insert(std::this_thread::get_id());
    after_false += go_on ? 0 : 1;
    go_on = at.step != "prove";
    return go_on;
  };
  const RedisImportResult stopped = import_redis(stopping);
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(after_false, 0);
  EXPECT_EQ(stopped.report, "");
  ASSERT_TRUE(stopped.verification);
  EXPECT_FALSE(stopped.verification->passed);
  EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
  const RedisImportResult result = import_redis(options());
  EXPECT_EQ(result.counts.unchanged, 6000u);
  EXPECT_EQ(result.verification->overlap.queries, 100u);
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
}

TEST_F(RedisImportTest, AServerThatGoesAwayForGoodIsAResumableError) {
  fill(3000);
  client().command({"SAVE"});
  RedisImportOptions doomed = options();
  doomed.batch_size = 100;
  doomed.retry_for = std::chrono::milliseconds(200);
  doomed.progress = [&](const Progress& at) {
    if (at.step == "load" && at.done >= 500 && at.done < 600) server_->kill_now();
    return true;
  };
  try {
    import_redis(doomed);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error);
    const std::string message = error.what();
    EXPECT_NE(message.find("run the same command again"), std::string::npos) << message;
  }
  EXPECT_GE(collection().count(), 500u);
  server_->start();
  const RedisImportResult result = import_redis(options());
  EXPECT_EQ(result.counts.accepted(), 3000u);
  EXPECT_GE(result.counts.unchanged, 500u);
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
}

TEST_F(RedisImportTest, ARestartInTheMiddleLosesNothing) {
  fill(3000);
  client().command({"SAVE"});
  RedisImportOptions patient = options();
  patient.batch_size = 100;
  bool restarted = false;
  patient.progress = [&](const Progress& at) {
    if (!restarted && at.done >= 500) {
      server_->kill_now();
      server_->start();
      restarted = true;
    }
    return true;
  };
  const RedisImportResult result = import_redis(patient);
  EXPECT_EQ(result.counts.imported, 3000u);
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
}

TEST_F(RedisImportTest, ADryRunWritesNothing) {
  fill(20);
  RedisImportOptions dry = options();
  dry.dry_run = true;
  const RedisImportResult result = import_redis(dry);
  EXPECT_TRUE(result.dry_run);
  EXPECT_EQ(result.plan.sample.good, 20u);
  EXPECT_FALSE(std::filesystem::exists(directory_));
}

TEST_F(RedisImportTest, ALimitIsKept) {
  fill(300);
  RedisImportOptions limited = options();
  limited.limit = 42;
  const RedisImportResult result = import_redis(limited);
  EXPECT_EQ(result.counts.imported, 42u);
  EXPECT_EQ(collection().count(), 42u);
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
}

TEST_F(RedisImportTest, RecordsWithoutAnyTextAreRefusedUnlessAllowed) {
  for (int i = 0; i < 20; ++i) {
    const std::string id = std::to_string(i);
    client().command(hset("doc:" + id, make_node(id, "", vector_of_number(i), i)));
  }
  try {
    import_redis(options());
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("--allow-missing-documents"), std::string::npos) << message;
    EXPECT_NE(message.find("_node_content.text"), std::string::npos) << message;
  }
  EXPECT_FALSE(std::filesystem::exists(directory_));
  RedisImportOptions allowed = options();
  allowed.allow_missing_documents = true;
  const RedisImportResult result = import_redis(allowed);
  EXPECT_EQ(result.counts.imported, 20u);
  EXPECT_EQ(result.counts.with_text(), 0u);
  EXPECT_TRUE(result.verification->passed);
}

TEST_F(RedisImportTest, ACollectionOfAnotherShapeIsNotMixedUp) {
  fill(20);
  Store::open(directory_).create_collection("kb-test", {.dim = 3});
  EXPECT_THROW(import_redis(options()), Error);
  RedisImportOptions fresh = options();
  fresh.fresh = true;
  EXPECT_TRUE(import_redis(fresh).verification->passed);
}

TEST_F(RedisImportTest, RecordsThatWereNotImportedStay) {
  fill(20);
  import_redis(options());
  {
    Collection kb = collection();
    kb.upsert(std::vector<Record>{{.id = "mine", .embedding = vector_of_number(1)}});
  }
  const RedisImportResult result = import_redis(options());
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
  EXPECT_EQ(result.verification->not_imported, 1u);
  EXPECT_EQ(collection().count(), 21u);
}

TEST_F(RedisImportTest, ADamagedRecordIsNoticed) {
  fill(200);
  import_redis(options());
  // A record that changed in the store, but still claims to be what Redis gave.
  {
    Collection kb = collection();
    const std::vector<std::string> ids = {"node-9"};
    Record record = kb.get({.ids = ids, .include = {.origins = true}}).at(0);
    record.document = "tampered";
    kb.update(std::vector<Record>{record});
  }
  const RedisImportResult result = import_redis(options());
  EXPECT_FALSE(result.verification->passed);
  EXPECT_EQ(result.verification->records_damaged, 1u);
  ASSERT_FALSE(result.verification->problems.empty());
  EXPECT_NE(result.verification->problems[0].find("doc:node-9"), std::string::npos);
}

TEST_F(RedisImportTest, TheServerCanSaveItselfFirst) {
  fill(20);
  RedisImportOptions backed = options();
  backed.backup = true;
  const RedisImportResult result = import_redis(backed);
  ASSERT_TRUE(result.backup);
  EXPECT_EQ(result.backup->file, server_->directory() + "/dump.rdb");
  EXPECT_TRUE(std::filesystem::exists(result.backup->file));
}

TEST_F(RedisImportTest, SavingWithoutTheRightIsAnErrorBeforeAnythingHappens) {
  fill(20);
  client().command({"ACL", "SETUSER", "imp", "on", ">pw", "~*", "+@all", "-bgsave"});
  RedisImportOptions backed = options();
  backed.url.user = "imp";
  backed.url.password = "pw";
  backed.backup = true;
  try {
    import_redis(backed);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("without --backup"), std::string::npos);
  }
  EXPECT_FALSE(std::filesystem::exists(directory_));
}

TEST_F(RedisImportTest, TheRightsInTheGuideAreEnough) {
  fill(50);
  client().command({"ACL", "SETUSER", "imp", "on", ">pw-secret", "~doc:*", "-@all", "+scan",
                    "+hgetall", "+hget", "+hmget", "+type", "+ping", "+info", "+dbsize"});
  RedisImportOptions least = options();
  least.url.user = "imp";
  least.url.password = "pw-secret";
  const RedisImportResult result = import_redis(least);
  EXPECT_TRUE(result.verification->passed) << testing::PrintToString(result.verification->problems);
  for (const char* file : {"/report.json", "/report.html", "/keys.tsv"}) {
    EXPECT_EQ(read_whole_file(result.report + file).find("pw-secret"), std::string::npos) << file;
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_cleanup.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "importers/line_file.h"
#include "importers/redis_import.h"
#include "tests/importers/llama_index_data.h"
#include "tests/importers/redis_server.h"

namespace vkb {
namespace {

std::vector<float> some_vector(int number) {
  const auto x = static_cast<float>(number);
  return {std::sin(x), std::cos(1.7F * x), std::sin(2.3F * x), std::cos(3.1F * x)};
}

class RedisCleanupTest : public testing::Test {
 protected:
  void SetUp() override {
    VKB_NEEDS_REDIS();
    server_.emplace();
    directory_ = testing::TempDir() + "vkb-cleanup-" +
                 testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    RedisClient client = client_of(*server_);
    for (int i = 0; i < 300; ++i) {
      const std::string id = "n" + std::to_string(i);
      client.command(hset("doc:" + id, make_node(id, "text", some_vector(i), i)));
    }
    client.command({"SADD", "doc:set", "rejected"});
    client.command({"HSET", "document_status:1", "status", "done"});
    client.command({"SET", "cache:1", "x"});
    import_options_.url = server_->url();
    import_options_.selection.prefix = "doc";
    import_options_.store = directory_;
    import_options_.collection = "kb-test";
    import_options_.report = directory_ + "/report";
    options_.url = server_->url();
    options_.report = directory_ + "/report";
  }
  void import() {
    const RedisImportResult result = import_redis(import_options_);
    ASSERT_TRUE(result.verification.has_value());
    ASSERT_TRUE(result.verification->passed)
        << testing::PrintToString(result.verification->problems);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::int64_t key_count() { return client_of(*server_).command({"DBSIZE"}).integer; }

  std::optional<RedisServer> server_;
  std::string directory_;
  RedisImportOptions import_options_;
  RedisCleanupOptions options_;
};

TEST_F(RedisCleanupTest, WithoutYesNothingIsDeleted) {
  import();
  const RedisCleanupResult result = cleanup_redis(options_);
  EXPECT_EQ(result.unchanged, 300u);
  EXPECT_EQ(result.deleted, 0u);
  EXPECT_EQ(key_count(), 303);
}

TEST_F(RedisCleanupTest, DeletesWhatWasImportedAndIsUnchangedAndNothingElse) {
  import();
  RedisClient client = client_of(*server_);
  client.command({"HSET", "doc:n1", "text", "changed since"});
  client.command({"DEL", "doc:n2"});
  client.command({"DEL", "doc:n3"});
  client.command({"SET", "doc:n3", "of another type now"});
  client.command(hset("doc:new", make_node("new", "text", some_vector(1), 1)));
  options_.yes = true;
  options_.batch_size = 50;
  const RedisCleanupResult result = cleanup_redis(options_);
  EXPECT_EQ(result.deleted, 297u);
  EXPECT_EQ(result.changed, 2u);
  EXPECT_EQ(result.gone, 1u);
  EXPECT_GT(result.used_memory_before, result.used_memory_after);
  for (const char* key :
       {"doc:n1", "doc:n3", "doc:new", "doc:set", "document_status:1", "cache:1"}) {
    EXPECT_EQ(client.command({"EXISTS", key}).integer, 1) << key;
  }
  EXPECT_EQ(key_count(), 6);
  const RedisCleanupResult again = cleanup_redis(options_);
  EXPECT_EQ(again.deleted, 0u);
  EXPECT_EQ(again.gone, 298u);
}

TEST_F(RedisCleanupTest, StoppedItGoesOn) {
  import();
  options_.yes = true;
  options_.batch_size = 50;
  options_.progress = [](const Progress& at) { return at.done < 100; };
  const RedisCleanupResult first = cleanup_redis(options_);
  EXPECT_TRUE(first.stopped);
  EXPECT_EQ(first.deleted, 100u);
  options_.progress = {};
  EXPECT_EQ(cleanup_redis(options_).deleted, 200u);
}

TEST_F(RedisCleanupTest, OnlyAPassedReportIsTaken) {
  import_options_.verify = false;
  import_redis(import_options_);
  options_.yes = true;
  EXPECT_THROW(cleanup_redis(options_), Error);
  import_options_.verify = true;
  import();
  nlohmann::json report = nlohmann::json::parse(read_whole_file(options_.report + "/report.json"));
  report["verification"]["passed"] = false;
  std::ofstream(options_.report + "/report.json") << report;
  EXPECT_THROW(cleanup_redis(options_), Error);
  options_.report = directory_;
  EXPECT_THROW(cleanup_redis(options_), Error);
  EXPECT_EQ(key_count(), 303);
}

TEST_F(RedisCleanupTest, AListOfOtherKeysIsRefused) {
  import();
  options_.yes = true;
  const std::string file = options_.report + "/keys.tsv";
  const std::string lines = read_whole_file(file);
  std::ofstream(file) << lines << "cache:1\t" << std::string(32, '0') << '\n';
  try {
    cleanup_redis(options_);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corruption);
  }
  EXPECT_EQ(key_count(), 303);
}

}  // namespace
}  // namespace vkb

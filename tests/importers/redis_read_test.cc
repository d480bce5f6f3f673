// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_read.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/importers/redis_server.h"

namespace vkb {
namespace {

std::set<std::string> scan_all(KeyScan& scan) {
  std::set<std::string> found;
  for (std::vector<std::string> keys; scan.next(keys);) found.insert(keys.begin(), keys.end());
  return found;
}

TEST(RedisReadTest, TheScanFindsAllKeysUnderItsPrefixesAndNoOthers) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  std::set<std::string> expected;
  std::vector<RedisCommand> commands;
  for (int i = 0; i < 3000; ++i) {
    const std::string number = std::to_string(i);
    for (const std::string& key : {"a*[" + number, "b:" + number}) {
      commands.push_back({"SET", key, "x"});
      expected.insert(key);
    }
    commands.push_back({"SET", "axx" + number, "x"});  // what the pattern a*[ would match
  }
  client.pipeline(commands);
  KeyScan scan(client, {"a*[", "b:"});
  EXPECT_EQ(scan_all(scan), expected);
}

TEST(RedisReadTest, TheScanBeginsAnewOnARestartedServer) {
  VKB_NEEDS_REDIS();
  RedisServer server;
  RedisClient client = client_of(server, std::chrono::seconds(20));
  std::vector<RedisCommand> commands;
  std::set<std::string> expected;
  for (int i = 0; i < 5000; ++i) {
    commands.push_back({"SET", "k" + std::to_string(i), "x"});
    expected.insert(commands.back()[1]);
  }
  client.pipeline(commands);
  client.command({"SAVE"});
  KeyScan scan(client, {"k"});
  std::vector<std::string> first;
  ASSERT_TRUE(scan.next(first));
  server.kill_now();
  server.start();
  EXPECT_EQ(scan_all(scan), expected);  // all of them after the restart, whatever came before it
}

TEST(RedisReadTest, RecordsComeInOrderWithWhatElseTheyAre) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  client.command({"HSET", "hash", "b", "2", "a", std::string("1\0", 2)});
  client.command({"SADD", "set", "x"});
  const std::vector<std::string> keys = {"set", "hash", "gone"};
  const std::vector<RawRecord> records = RecordReader(client, false).read_all(keys);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].wrong_type, "set");
  EXPECT_EQ(records[1].fields, (RedisFields{{"a", std::string("1\0", 2)}, {"b", "2"}}));
  EXPECT_TRUE(records[2].vanished);
}

TEST(RedisReadTest, LargeRecordsMakeSmallPipelines) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  std::vector<std::string> keys;
  for (int i = 0; i < 40; ++i) {
    keys.push_back("big" + std::to_string(i));
    client.command({"HSET", keys.back(), "text", std::string(1 << 20, 'x')});
  }
  RecordReader reader(client, false);
  std::span<const std::string> left = keys;
  left = left.subspan(reader.read_some(left).size());
  EXPECT_LE(reader.read_some(left).size(), 8u);
  EXPECT_GT(reader.bytes_read(), 8u << 20);
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/vkb.h"
#include "importers/redis_client.h"

namespace vkb {
namespace {

TEST(RedisUrlTest, TakesHostPortAndDatabase) {
  const RedisUrl url = parse_redis_url("redis://example.org:7000/3");
  EXPECT_EQ(url.host, "example.org");
  EXPECT_EQ(url.port, 7000);
  EXPECT_EQ(url.db, 3);
  EXPECT_FALSE(url.tls);
  EXPECT_EQ(url.name(), "redis://example.org:7000/3");
  EXPECT_EQ(parse_redis_url("redis://h").name(), "redis://h:6379/0");
  EXPECT_EQ(parse_redis_url("redis://h/2?db=5").db, 2);
  EXPECT_EQ(parse_redis_url("redis://h?db=5").db, 5);
  EXPECT_EQ(parse_redis_url("redis://[::1]:7/0").name(), "redis://[::1]:7/0");
  EXPECT_TRUE(parse_redis_url("rediss://h").tls);
}

TEST(RedisUrlTest, DecodesUserAndPassword) {
  const RedisUrl url = parse_redis_url("redis://imp:p%40ss%3A%2F%25@h/0");
  EXPECT_EQ(url.user, "imp");
  EXPECT_EQ(url.password, "p@ss:/%");
  EXPECT_EQ(url.name(), "redis://imp@h:6379/0");
  EXPECT_EQ(parse_redis_url("redis://:se@cret@h").password, "se@cret");
}

TEST(RedisUrlTest, TakesUnixSockets) {
  const RedisUrl url = parse_redis_url("unix://:pw@/run/my%20redis.sock?db=2");
  EXPECT_EQ(url.path, "/run/my redis.sock");
  EXPECT_EQ(url.db, 2);
  EXPECT_EQ(url.password, "pw");
  EXPECT_EQ(url.name(), "unix:///run/my redis.sock?db=2");
  EXPECT_EQ(parse_redis_url("unix:///tmp/r.sock").name(), "unix:///tmp/r.sock");
}

TEST(RedisUrlTest, TakesThePasswordFromTheEnvironmentWhenTheUrlHasNone) {
  setenv("VKB_REDIS_PASSWORD", "from-env", 1);
  EXPECT_EQ(parse_redis_url("redis://h").password, "from-env");
  EXPECT_EQ(parse_redis_url("redis://:own@h").password, "own");
  unsetenv("VKB_REDIS_PASSWORD");
  EXPECT_EQ(parse_redis_url("redis://h").password, "");
}

TEST(RedisUrlTest, RefusesWhatIsNoneWithoutRepeatingThePassword) {
  for (const char* text :
       {"localhost:6379", "http://:secret@h", "redis://:secret@h:99999", "redis://:secret@h/x",
        "redis://:secret%4@h", "redis://:secret@h?timeout=3", "unix://:secret@",
        "redis://:secret@[::1", "redis://:secret@h/-1"}) {
    try {
      parse_redis_url(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Detection from the data alone: a plain Redis has no indexes. With indexes:
// tests/importers/test_redis_stack.py.
#include "importers/redis_schema.h"

#include <gtest/gtest.h>

#include "tests/importers/llama_index_data.h"
#include "tests/importers/redis_server.h"

namespace vkb {
namespace {

std::string error_of(RedisClient& client, const RedisSelection& selection) {
  try {
    plan_redis_import(client, selection);
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

bool says(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

void fill(RedisClient& client, const std::string& prefix, int count) {
  for (int i = 0; i < count; ++i) {
    const std::string id = "n" + std::to_string(i);
    client.command(hset(prefix + id, make_node(id, "text", {1, 2, 3, static_cast<float>(i)}, i)));
  }
}

TEST(RedisSchemaTest, LlamaIndexIsFoundWithoutBeingTold) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  fill(client, "llama_index/vector_", 30);
  client.command({"SET", "cache:1", "x"});
  client.command({"HSET", "session:1", "id", "1", "text", "none of ours"});
  const RedisPlan plan = plan_redis_import(client, {});
  EXPECT_EQ(plan.mapping.layout, Layout::llama_index);
  EXPECT_EQ(plan.mapping.key_prefix, "llama_index/vector_");
  EXPECT_EQ(plan.mapping.vector_field, "vector");
  EXPECT_EQ(plan.mapping.dim, 4u);
  EXPECT_EQ(plan.space, Space::cosine);
  EXPECT_FALSE(plan.space_known);
  EXPECT_EQ(plan.sample.good, 30u);
  EXPECT_EQ(plan.sample.with_text, 30u);
}

TEST(RedisSchemaTest, SeveralKnowledgeBasesAreListed) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  fill(client, "doc:", 3);
  fill(client, "old_", 3);
  const std::string message = error_of(client, {});
  EXPECT_TRUE(says(message, "doc:") && says(message, "old_") && says(message, "--prefix"))
      << message;
  EXPECT_EQ(plan_redis_import(client, {.prefix = "old"}).mapping.key_prefix, "old_");
}

TEST(RedisSchemaTest, APrefixThatIsShorterThanTheKeysIsCompleted) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  fill(client, "doc:", 20);
  client.command({"HSET", "document_status:1", "status", "done"});
  const RedisPlan plan = plan_redis_import(client, {.prefix = "doc"});
  EXPECT_EQ(plan.scan_prefixes, std::vector<std::string>{"doc"});
  EXPECT_EQ(plan.mapping.key_prefix, "doc:");
  EXPECT_TRUE(plan.sample.rejected.empty());
}

TEST(RedisSchemaTest, NothingToFindSaysWhatIsThere) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  client.command({"SET", "cache:1", "x"});
  std::string message = error_of(client, {});
  EXPECT_TRUE(says(message, "cache:") && says(message, "--prefix")) << message;
  message = error_of(client, {.prefix = "doc:"});
  EXPECT_TRUE(says(message, "no key begins with doc:")) << message;
  message = error_of(client, {.index = "llama_index"});
  EXPECT_TRUE(says(message, "llama_index") && says(message, "no RediSearch")) << message;
}

TEST(RedisSchemaTest, LangChainIsToldByItsFields) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  const std::string vector(12, '\0');
  client.command({"HSET", "doc:idx:1", "content", "t", "content_vector", vector, "page", "3"});
  RedisPlan plan = plan_redis_import(client, {.prefix = "doc:idx"});
  EXPECT_EQ(plan.mapping.layout, Layout::langchain_community);
  EXPECT_EQ(plan.mapping.key_prefix, "doc:idx:");
  EXPECT_EQ(plan.mapping.dim, 3u);
  client.command({"HSET", "lc:1", "text", "t", "embedding", vector, "_metadata_json", "{}"});
  plan = plan_redis_import(client, {.prefix = "lc:"});
  EXPECT_EQ(plan.mapping.layout, Layout::langchain);
  EXPECT_EQ(plan.mapping.text_field, "text");
}

// A record without a usable id of its own is named after its key, in every run alike.
TEST(RedisSchemaTest, KeyTailsDoNotDependOnWhatElseWasSampled) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  const std::string vector(12, '\0');
  const auto put = [&](const std::string& key, const std::string& content) {
    client.command({"HSET", key, "text", "t", "vector", vector, "_node_content", content});
  };
  put("doc:a", R"({"id_": "a", "metadata": {}})");
  put("doc:broken", "{bad");
  for (const char* prefix : {"doc", "doc:"}) {
    EXPECT_EQ(plan_redis_import(client, {.prefix = prefix}).mapping.key_prefix, "doc:");
  }
  for (int i = 0; i < 20; ++i) {
    put("doc:key" + std::to_string(i), R"({"id_": "other)" + std::to_string(i) + R"("})");
  }
  for (const char* prefix : {"doc", "doc:"}) {
    EXPECT_EQ(plan_redis_import(client, {.prefix = prefix}).mapping.key_prefix, "doc:");
  }
}

TEST(RedisSchemaTest, OtherLayoutsNeedTheirFieldsNamed) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  client.command({"HSET", "my:1", "v", std::string(8, '\1'), "body", "some text", "uid", "u1"});
  std::string message = error_of(client, {.prefix = "my:"});
  EXPECT_TRUE(says(message, "--vector-field") && says(message, "body")) << message;
  message = error_of(client, {.prefix = "my:", .vector_field = "vec"});
  EXPECT_TRUE(says(message, "\"vec\"") && says(message, "body")) << message;
  const RedisPlan plan = plan_redis_import(client, {.prefix = "my:",
                                                    .vector_field = "v",
                                                    .text_field = "body",
                                                    .id_field = "uid",
                                                    .space = Space::ip});
  EXPECT_EQ(plan.mapping.dim, 2u);
  EXPECT_EQ(plan.space, Space::ip);
  EXPECT_EQ(plan.sample.with_text, 1u);
}

TEST(RedisSchemaTest, AnEmptyOtherDatabaseHintsAtDatabaseZero) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisUrl url = server.url();
  url.db = 1;
  RedisClient client(url);
  EXPECT_TRUE(says(error_of(client, {.prefix = "doc"}), "/0"));
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "tools/config.h"

#include <gtest/gtest.h>

#include "storage/error.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  std::string write(const std::string& text) { return directory_.write("vkb.yaml", text); }
  std::string error_of(const std::string& text) {
    try {
      load_config(write(text));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    ADD_FAILURE() << "no error for: " << text;
    return "";
  }
  TempDirectory directory_;
};

TEST_F(ConfigTest, ReadsEveryKey) {
  const Config config =
      load_config(write("vector_store: { provider: vkb, path: data/vkb, collection: notes }\n"
                        "embedding:\n"
                        "  provider: openai\n"
                        "  url: http://127.0.0.1:11434\n"
                        "  model: nomic-embed-text\n"
                        "  query_prefix: \"search_query: \"\n"
                        "  document_prefix: \"search_document: \"\n"
                        "redis: { url: 'redis://127.0.0.1:6379/0', index: llama_index }\n"
                        "server:\n"
                        "  host: 127.0.0.1\n"
                        "  port: 8000\n"
                        "  cors_allow_origins: ['http://a', '*']\n"
                        "  allow_reset: true\n"
                        "  read_only: no\n"
                        "  auth_token_file: tokens\n"
                        "  auth_basic_file: users\n"
                        "  tls_cert: cert.pem\n"
                        "  tls_key: key.pem\n"
                        "  access_log: '-'\n"));
  EXPECT_EQ(config.vector_store.provider, "vkb");
  EXPECT_EQ(config.vector_store.path, "data/vkb");
  EXPECT_EQ(config.vector_store.collection, "notes");
  EXPECT_EQ(config.embedding.provider, "openai");
  EXPECT_EQ(config.embedding.url, "http://127.0.0.1:11434");
  EXPECT_EQ(config.embedding.model, "nomic-embed-text");
  EXPECT_EQ(config.embedding.query_prefix, "search_query: ");
  EXPECT_EQ(config.embedding.document_prefix, "search_document: ");
  EXPECT_EQ(config.redis.url, "redis://127.0.0.1:6379/0");
  EXPECT_EQ(config.redis.index, "llama_index");
  EXPECT_EQ(config.server.host, "127.0.0.1");
  EXPECT_EQ(config.server.port, 8000);
  EXPECT_EQ(config.server.cors_allow_origins, (std::vector<std::string>{"http://a", "*"}));
  EXPECT_EQ(config.server.allow_reset, true);
  EXPECT_EQ(config.server.read_only, false);
  EXPECT_EQ(config.server.auth_token_file, "tokens");
  EXPECT_EQ(config.server.auth_basic_file, "users");
  EXPECT_EQ(config.server.tls_cert, "cert.pem");
  EXPECT_EQ(config.server.tls_key, "key.pem");
  EXPECT_EQ(config.server.access_log, "-");
}

TEST_F(ConfigTest, WhatIsAbsentIsNotSet) {
  for (const char* text : {"", "# nothing\n", "vector_store:\n", "embedding: { model: }\n"}) {
    const Config config = load_config(write(text));
    EXPECT_FALSE(config.vector_store.path) << text;
    EXPECT_FALSE(config.embedding.model) << text;
    EXPECT_FALSE(config.server.port) << text;
  }
}

TEST_F(ConfigTest, UnknownKeysAreNamedWithTheirLine) {
  const std::string inner = error_of("vector_store:\n  path: a\n  colection: b\n");
  EXPECT_NE(inner.find("line 3"), std::string::npos) << inner;
  EXPECT_NE(inner.find("vector_store.colection"), std::string::npos) << inner;
  EXPECT_NE(inner.find("collection"), std::string::npos) << inner;
  const std::string outer = error_of("\nvectorstore: {}\n");
  EXPECT_NE(outer.find("line 2"), std::string::npos) << outer;
  EXPECT_NE(outer.find("'vectorstore'"), std::string::npos) << outer;
}

TEST_F(ConfigTest, MistakesAreErrors) {
  EXPECT_NE(error_of("- a\n").find("mapping"), std::string::npos);
  EXPECT_NE(error_of("vector_store: here\n").find("mapping"), std::string::npos);
  EXPECT_NE(error_of("vector_store: { path: [a] }\n").find("vector_store.path"), std::string::npos);
  EXPECT_NE(error_of("vector_store: { provider: redis }\n").find("'redis'"), std::string::npos);
  EXPECT_NE(error_of("embedding: { provider: x }\n").find("ollama"), std::string::npos);
  EXPECT_NE(error_of("server: { port: 70000 }\n").find("65535"), std::string::npos);
  EXPECT_NE(error_of("server: { port: http }\n").find("server.port"), std::string::npos);
  EXPECT_NE(error_of("redis: { url: a, url: b }\n").find("twice"), std::string::npos);
  EXPECT_NE(error_of("a: [\n").find("line"), std::string::npos);
}

TEST_F(ConfigTest, AFileThatCannotBeReadIsNamed) {
  EXPECT_THROW(load_config(directory_.file("none.yaml")), Error);
  EXPECT_THROW(load_config(directory_.path()), Error);
}

}  // namespace
}  // namespace vkb

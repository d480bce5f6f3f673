// SPDX-License-Identifier: Apache-2.0
//
// FT.INFO replies recorded from Redis Stack 7.4 (RediSearch 2.10).
#include <gtest/gtest.h>

#include "importers/line_file.h"
#include "importers/redis_schema.h"

namespace vkb {
namespace {

IndexInfo recorded(const std::string& name) {
  return parse_ft_info(
      parse_reply(read_whole_file(std::string(VKB_IMPORTER_DATA) + "/" + name + ".resp2")));
}

TEST(RedisIndexTest, ReadsAnHnswIndexOfHashes) {
  const IndexInfo info = recorded("ftinfo_hash_hnsw");
  EXPECT_EQ(info.name, "llama_index");
  EXPECT_FALSE(info.json);
  EXPECT_EQ(info.prefixes, std::vector<std::string>{"doc"});
  EXPECT_EQ(info.num_docs, 3055u);
  EXPECT_EQ(info.failures, 3u);
  EXPECT_TRUE(info.complete);
  ASSERT_EQ(info.attributes.size(), 4u);
  EXPECT_EQ(info.attributes[2].identifier, "text");
  EXPECT_EQ(info.attributes[2].type, "TEXT");
  ASSERT_EQ(info.vectors().size(), 1u);
  const IndexAttribute& vector = *info.vectors()[0];
  EXPECT_EQ(vector.algorithm, "HNSW");
  EXPECT_EQ(vector.data_type, "FLOAT32");
  EXPECT_EQ(vector.metric, "COSINE");
  EXPECT_EQ(vector.dim, 768u);
  EXPECT_EQ(vector.m, 16u);
  EXPECT_EQ(vector.ef_construction, 200u);
}

TEST(RedisIndexTest, ReadsAnIndexOfJsonDocuments) {
  const IndexInfo info = recorded("ftinfo_json_flat");
  EXPECT_TRUE(info.json);
  EXPECT_EQ(info.prefixes, std::vector<std::string>{"jj:"});
  EXPECT_FALSE(info.complete);  // it was being built
  ASSERT_EQ(info.vectors().size(), 1u);
  EXPECT_EQ(info.vectors()[0]->identifier, "$.emb[*]");
  EXPECT_EQ(info.vectors()[0]->attribute, "emb");
  EXPECT_EQ(info.vectors()[0]->algorithm, "FLAT");
  EXPECT_EQ(info.vectors()[0]->data_type, "FLOAT16");
  EXPECT_EQ(info.vectors()[0]->metric, "IP");
  EXPECT_EQ(info.vectors()[0]->dim, 4u);
  EXPECT_FALSE(info.vectors()[0]->m);
}

TEST(RedisIndexTest, SkipsAttributeMembersThatStandAlone) {
  const IndexInfo info = recorded("ftinfo_variants_v1");
  EXPECT_EQ(info.prefixes, (std::vector<std::string>{"aa:", "bb:"}));
  ASSERT_EQ(info.attributes.size(), 4u);
  EXPECT_EQ(info.attributes[0].identifier, "title");  // SORTABLE NOSTEM
  EXPECT_EQ(info.attributes[0].attribute, "t");
  EXPECT_EQ(info.attributes[2].type, "NUMERIC");  // SORTABLE UNF
  EXPECT_EQ(info.vectors()[0]->data_type, "FLOAT64");
  EXPECT_EQ(info.vectors()[0]->metric, "L2");
}

TEST(RedisIndexTest, FindsSeveralVectorsAndTheEmptyPrefix) {
  const IndexInfo info = recorded("ftinfo_two_vectors");
  EXPECT_EQ(info.prefixes, std::vector<std::string>{""});
  EXPECT_EQ(info.vectors().size(), 2u);
}

TEST(RedisIndexTest, RefusesWhatIsNoIndex) {
  EXPECT_THROW(parse_ft_info(parse_reply("*2\r\n+a\r\n+b\r\n")), Error);
  EXPECT_THROW(parse_ft_info(parse_reply(":1\r\n")), Error);
  EXPECT_THROW(parse_reply("*2\r\n+a\r\n"), Error);  // cut off
}

}  // namespace
}  // namespace vkb

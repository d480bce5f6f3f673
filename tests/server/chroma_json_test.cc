// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_json.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "server/base64_embedding.h"
#include "server/chroma_schema.h"
#include "server/chroma_search.h"
#include "tests/server/refusal.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

TEST(ChromaJson, ReadsARecordBatch) {
  const RecordBatch batch = parse_record_batch(
      R"({"ids":["a","b"],"embeddings":["AACAPwAAAMA=","AACAPwAAIEA="],"documents":["\u00e9\n",null],
          "uris":null,"unknown":[{"x":[1,2,{}]}],
          "metadatas":[{"i":1,"f":2.0,"big":18446744073709551616,"s":"x","b":true,"is":[1,2],
                        "fs":[1,2.5],"none":[]},null]})",
      WriteKind::add);
  EXPECT_EQ(batch.ids, (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(batch.embeddings);
  EXPECT_EQ((*batch.embeddings)[0], (std::vector<float>{1, -2}));
  EXPECT_EQ((*batch.embeddings)[1], (std::vector<float>{1, 2.5}));
  ASSERT_TRUE(batch.documents);
  EXPECT_EQ((*batch.documents)[0], "\xC3\xA9\n");
  EXPECT_FALSE((*batch.documents)[1]);
  EXPECT_FALSE(batch.uris);
  const Metadata expected = {{"i", std::int64_t{1}},
                             {"f", 2.0},
                             {"big", 18446744073709551616.0},
                             {"s", std::string("x")},
                             {"b", true},
                             {"is", std::vector<std::int64_t>{1, 2}},
                             {"fs", std::vector<double>{1, 2.5}}};
  ASSERT_TRUE(batch.metadatas);
  EXPECT_EQ((*batch.metadatas)[0], expected);
  EXPECT_FALSE((*batch.metadatas)[1]);
}

TEST(ChromaJson, AFieldThatComesTwiceIsRefused) {
  const auto twice = [](const std::string& field) {
    return "422 Failed to deserialize the JSON body into the target type: duplicate field `" +
           field + "`";
  };
  EXPECT_EQ(refusal([] { parse_get(R"({"limit":1,"limit":1})"); }), twice("limit"));
  EXPECT_EQ(refusal([] { parse_get(R"({"where":null,"where":{"a":1}})"); }), twice("where"));
  EXPECT_EQ(refusal([] { parse_get(R"({"ids":[],"\u0069ds":[]})"); }), twice("ids"));
  EXPECT_EQ(refusal([] { parse_delete(R"({"ids":[],"ids":5})"); }), twice("ids"));
  EXPECT_EQ(refusal([] { parse_query(R"({"query_embeddings":[],"query_embeddings":[]})"); }),
            twice("query_embeddings"));
  EXPECT_EQ(refusal([] { parse_text_field(R"({"name":"a","name":"b"})", "name"); }), twice("name"));
  EXPECT_EQ(refusal([] { check_search_request(R"({"searches":[],"searches":[]})"); }),
            twice("searches"));
  for (const char* field : {"ids", "embeddings", "documents", "uris", "metadatas"}) {
    const std::string value = std::string("\"") + field + "\":[]";
    EXPECT_EQ(
        refusal([&] { parse_record_batch("{" + value + "," + value + "}", WriteKind::update); }),
        twice(field));
  }
  // As in Chroma, what nobody reads may, and of metadata the last counts.
  EXPECT_EQ(refusal([] { parse_get(R"({"x":1,"x":2})"); }), "");
  const CreateCollection made = parse_create_collection(R"({"name":"a","metadata":{"k":1,"k":2}})");
  EXPECT_EQ(made.metadata, (Metadata{{"k", std::int64_t{2}}}));
}

TEST(ChromaJson, ABatchHoldsNumbersOrBase64) {
  const auto add = [](const std::string& embeddings, WriteKind kind) {
    return refusal(
        [&] { parse_record_batch(R"({"ids":["a","b"],"embeddings":)" + embeddings + "}", kind); });
  };
  for (const WriteKind kind : {WriteKind::add, WriteKind::upsert, WriteKind::update}) {
    EXPECT_EQ(add(R"(["AACAPw==","AACAPw=="])", kind), "");
    for (const char* mixed :
         {R"(["AACAPw==",[1]])", R"([[1],"AACAPw=="])", R"([[],""])", R"([[1],5])"}) {
      const std::string refused = add(mixed, kind);
      EXPECT_TRUE(refused.starts_with("422 ")) << mixed << ": " << refused;
      EXPECT_NE(refused.find("embeddings[1]: data did not match any variant"), std::string::npos);
    }
  }
  EXPECT_EQ(add(R"([null,"AACAPw=="])", WriteKind::update), "");
  EXPECT_TRUE(add(R"([null,"AACAPw==",[1]])", WriteKind::update).starts_with("422 "));
}

TEST(ChromaJson, OnlyUpdatesMayLeaveEmbeddingsOut) {
  const std::string without = R"({"ids":["a"],"embeddings":null,"metadatas":[{"k":null}]})";
  EXPECT_FALSE(parse_record_batch(without, WriteKind::update).embeddings);
  for (const WriteKind kind : {WriteKind::add, WriteKind::upsert}) {
    EXPECT_TRUE(refusal([&] { parse_record_batch(without, kind); }).starts_with("422 "));
    EXPECT_TRUE(refusal([&] {
                  parse_record_batch(R"({"ids":["a"],"embeddings":[null]})", kind);
                }).starts_with("422 "));
  }
  const RecordBatch some =
      parse_record_batch(R"({"ids":["a","b"],"embeddings":[null,[1]]})", WriteKind::update);
  EXPECT_FALSE((*some.embeddings)[0]);
}

TEST(ChromaJson, RefusalsNameThePlace) {
  const auto add = [](const std::string& body) {
    return refusal([&] { parse_record_batch(body, WriteKind::add); });
  };
  EXPECT_NE(add(R"({"ids":["a",2],"embeddings":[]})").find("ids[1]: invalid type: number"),
            std::string::npos);
  EXPECT_NE(add(R"({"ids":["a"],"embeddings":[[1,"x"]]})").find("embeddings[0][1]"),
            std::string::npos);
  EXPECT_NE(add(R"({"ids":["a"],"embeddings":[[1]],"metadatas":[{"k":null}]})")
                .find("metadatas[0].k: data did not match any variant"),
            std::string::npos);
  for (const char* value : {R"({"x":1})", R"([1,"x"])", "[[1]]", "[null]", "[true,1]"}) {
    const std::string body =
        R"({"ids":["a"],"embeddings":[[1]],"metadatas":[{"k":)" + std::string(value) + "}]}";
    EXPECT_TRUE(add(body).starts_with("422 ")) << body;
  }
  EXPECT_TRUE(add(R"({"ids":["a"],"embeddings":[[1]],"metadatas":
                      [{"k":{"indices":[1],"values":[0.5]}}]})")
                  .starts_with("501 Unimplemented: Sparse vector"));
  EXPECT_NE(add(R"({"embeddings":[]})").find("missing field `ids`"), std::string::npos);
}

TEST(ChromaJson, WhatIsNotJsonIsRefused) {
  std::string nested = R"({"ids":[],"where":)";
  nested += std::string(100'000, '[');
  const std::string invalid_utf8 = "{\"ids\":[\"\xFF\"]}";
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("nonsense"), std::string("{\"ids\":[\"a\"]"),
        std::string(R"({"ids":["a"]} x)"), std::string(R"({"ids":["\ud800"]})"), invalid_utf8,
        nested, std::string(100'000, '[')}) {
    const std::string refused = refusal([&] { parse_get(body); });
    EXPECT_TRUE(refused.starts_with("400 ") || refused.starts_with("422 "))
        << body.substr(0, 40) << ": " << refused;
  }
  EXPECT_TRUE(refusal([] { parse_get("[]"); }).starts_with("422 "));
}

TEST(ChromaJson, DeepBodiesAreRefusedBeforeTheyBecomeTrees) {
  const auto nested = [](int levels) {
    return std::string(static_cast<std::size_t>(levels), '[') +
           std::string(static_cast<std::size_t>(levels), ']');
  };
  const auto create = [&](int levels) {
    return refusal([&] {
      const CreateCollection request = parse_create_collection(
          R"({"name":"abc","configuration":{"embedding_function":{"type":"known","name":"x","config":)" +
          nested(levels) + "}}}");
      make_schema(request.configuration_json, {}, {});
    });
  };
  EXPECT_EQ(create(124), "");
  for (const int levels : {125, 1000, 500'000}) {
    EXPECT_TRUE(create(levels).starts_with("400 Failed to parse")) << levels;
  }
  EXPECT_TRUE(refusal([&] {
                change_schema(schema_of(CollectionOptions{}), R"({"a":)" + nested(500'000) + "}");
              }).starts_with("400 "));
  for (const char* part : {"rank", "filter", "limit", "select", "group_by"}) {
    const std::string body =
        R"({"searches":[{")" + std::string(part) + "\":" + nested(500'000) + "}]}";
    EXPECT_TRUE(refusal([&] { check_search_request(body); }).starts_with("400 ")) << part;
  }
}

TEST(ChromaJson, Base64IsStrict) {
  EXPECT_EQ(decode_embedding("AACAPw=="), std::vector<float>{1});
  EXPECT_TRUE(decode_embedding("").empty());
  EXPECT_EQ(refusal([] { decode_embedding("AAAA"); }),
            "400 Invalid byte length: 3 bytes cannot be converted to f32 values (must be "
            "divisible by 4)");
  for (const auto& [bad, problem] : std::vector<std::pair<std::string, std::string>>{
           {"A", "Invalid input length: 1"},
           {"AAC", "Invalid padding"},
           {"AACAPw=", "Invalid padding"},
           {"AACAPw", "Invalid padding"},
           {"AAC!Pw==", "Invalid symbol 33, offset 3."},
           {"AACA\nw==", "Invalid symbol 10, offset 4."},
           {"====", "Invalid symbol 61, offset 0."},
           {"A===", "Invalid symbol 61, offset 1."},
           {"AACAPwAA====", "Invalid symbol 61, offset 8."},
           {"AA==AA==", "Invalid symbol 61, offset 2."},
           {"AA=A", "Invalid symbol 61, offset 2."},
           {"AACAPx==", "Invalid last symbol 120, offset 5."},
           {"AACAPwAAAEB=", "Invalid last symbol 66, offset 10."},
           {"AACAPwAAAEC=", "Invalid last symbol 67, offset 10."}}) {
    EXPECT_EQ(refusal([&, text = bad] { decode_embedding(text); }),
              "400 Invalid base64 string: " + problem)
        << bad;
  }
  EXPECT_EQ(refusal([] { decode_embedding("AADAfw=="); }),
            "400 Non-finite float value at embedding index 0: NaN");
}

TEST(ChromaJson, ReadsGetQueryAndDelete) {
  const GetRequest get = parse_get(
      R"({"ids":null,"where":{"a": {"$gt": 1}},"limit":4294967295,"offset":null,
          "include":["uris","distances"]})");
  EXPECT_FALSE(get.selection.ids);
  EXPECT_EQ(Json::parse(get.selection.where_json.value()), Json::parse(R"({"a":{"$gt":1}})"));
  EXPECT_EQ(get.limit, 4294967295u);
  EXPECT_TRUE(get.include.uris);
  EXPECT_FALSE(get.include.documents);
  for (const char* bad :
       {R"({"limit":-1})", R"({"limit":1.5})", R"({"limit":4294967296})", R"({"limit":"1"})",
        R"({"include":null})", R"({"include":["data"]})", R"({"ids":"a"})"}) {
    EXPECT_TRUE(refusal([&] { parse_get(bad); }).starts_with("422 ")) << bad;
  }
  for (const char* bad : {R"({"include":[null]})", R"({"include":[5]})", R"({"include":[{}]})"}) {
    EXPECT_EQ(refusal([&] { parse_get(bad); }),
              "400 Failed to parse the request body as JSON: include[0]: expected value")
        << bad;
  }
  const QueryRequest query = parse_query(R"({"query_embeddings":[[1,2],[]]})");
  EXPECT_EQ(query.n_results, 10u);
  EXPECT_EQ(query.queries.size(), 2u);
  EXPECT_TRUE(query.distances);
  EXPECT_TRUE(refusal([] { parse_query("{}"); }).find("query_embeddings") != std::string::npos);
  EXPECT_TRUE(
      refusal([] { parse_query(R"({"query_embeddings":["AACAPw=="]})"); }).starts_with("422 "));
  EXPECT_EQ(parse_delete(R"({"ids":["a"],"limit":3})").limit, 3u);
}

TEST(ChromaJson, AnswersHaveChromasColumns) {
  const std::vector<Record> records = {{.id = "a", .document = "text"}};
  EXPECT_EQ(Json::parse(get_response(records, parse_get("{}"))), Json::parse(R"(
      {"ids":["a"],"embeddings":null,"documents":["text"],"uris":null,"metadatas":[null],
       "include":["documents","metadatas"]})"));
  const QueryRequest request = parse_query(R"({"query_embeddings":[[1]],"include":["distances"]})");
  const float infinite = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Json::parse(query_response({{{.record = {.id = "a"}, .distance = infinite}}}, request)),
            Json::parse(R"({"ids":[["a"]],"embeddings":null,"documents":null,"uris":null,
                            "metadatas":null,"distances":[[null]],"include":["distances"]})"));
}

}  // namespace
}  // namespace vkb

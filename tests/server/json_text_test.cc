// SPDX-License-Identifier: Apache-2.0
#include "server/json_text.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace vkb {
namespace {

using Json = nlohmann::json;

std::string written(const std::function<void(const WriteText&)>& write) {
  std::string text;
  write([&text](std::string_view part) { text += part; });
  return text;
}

TEST(JsonText, FloatsAreShortAndComeBack) {
  std::string text;
  append_json(text, 0.1f);
  EXPECT_EQ(text, "0.1");
  text.clear();
  append_json(text, std::numeric_limits<float>::infinity());
  EXPECT_EQ(text, "null");
  text.clear();
  append_json(text, 2.0f);
  EXPECT_EQ(text, "2.0");
  const std::vector<float> values{1, -0.5f, 3e-30f};
  text.clear();
  append_json(text, std::span<const float>(values));
  EXPECT_EQ(Json::parse(text).get<std::vector<float>>(), values);
}

TEST(JsonText, TextIsEscapedAndAlwaysUtf8) {
  EXPECT_EQ(json_string("a\"\n\\"), R"("a\"\n\\")");
  EXPECT_EQ(json_string("\xFF"), "\"\xEF\xBF\xBD\"");
}

TEST(JsonText, ReadsOneOrSeveralVectors) {
  EXPECT_EQ(parse_vectors("[1, 2.5]"), (std::vector<std::vector<float>>{{1, 2.5f}}));
  EXPECT_EQ(parse_vectors("[[1],[2]]"), (std::vector<std::vector<float>>{{1}, {2}}));
  for (const char* bad :
       {"", "x", "{}", "3", "[]", "[[]]", "[[1],2]", "[1,[2]]", "[\"1\"]", "[null]", "[1e39]"}) {
    EXPECT_THROW(parse_vectors(bad), Error) << bad;
  }
}

TEST(JsonText, ColumnsAreChromasShapes) {
  const Record a{.id = "a", .embedding = {{1, 2}}, .document = "text", .uri = "u"};
  const Record b{.id = "b", .metadata = Metadata{{"k", Value(std::int64_t{1})}}};
  const Json get = Json::parse("{" + written([&](const WriteText& out) {
                                 write_columns(out, {{&a, &b}}, false, {.uris = false});
                                 write_include(out, {.uris = false}, false);
                               }) +
                               "}");
  EXPECT_EQ(get, Json::parse(R"({"ids":["a","b"],"embeddings":null,"documents":["text",null],
                     "uris":null,"metadatas":[null,{"k":1}],"include":["documents","metadatas"]})"));
  const Include all{.embeddings = true, .uris = true};
  const Json query = Json::parse("{" + written([&](const WriteText& out) {
                                   write_columns(out, {{&a}, {}, {&b}}, true, all);
                                 }) +
                                 "}");
  EXPECT_EQ(query, Json::parse(R"({"ids":[["a"],[],["b"]],"embeddings":[[[1.0,2.0]],[],[null]],
                     "documents":[["text"],[],[null]],"uris":[["u"],[],[null]],
                     "metadatas":[[null],[],[{"k":1}]]})"));
}

TEST(JsonText, DistancesOfEachQuery) {
  const std::vector<std::vector<Hit>> answers = {{{.record = {.id = "a"}, .distance = 0.5f}}, {}};
  EXPECT_EQ(written([&](const WriteText& out) { write_distances(out, answers); }),
            ",\"distances\":[[0.5],[]]");
}

TEST(JsonText, NoRecordsAreEmptyColumns) {
  const Json get = Json::parse(
      "{" + written([](const WriteText& out) { write_columns(out, {{}}, false, {}); }) + "}");
  EXPECT_EQ(get["ids"], Json::array());
  EXPECT_EQ(get["documents"], Json::array());
}

}  // namespace
}  // namespace vkb

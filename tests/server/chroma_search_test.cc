// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/server/refusal.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

// Records r0..r5 at 0, 1, .. 5 on a line, l2, so that the distance to 0 is the square of the
// number.
class ChromaSearch : public ::testing::Test {
 protected:
  ChromaSearch() {
    std::vector<Record> records;
    for (int i = 0; i < 6; ++i) {
      records.push_back(
          {.id = "r" + std::to_string(i),
           .embedding = std::vector{static_cast<float>(i)},
           .document = "text " + std::to_string(i),
           .metadata = Metadata{{"n", std::int64_t{i}},
                                {"group", std::string(i % 2 == 0 ? "even" : "odd")}}});
    }
    collection_.add(records);
  }

  Json search(const Json& request) const {
    return Json::parse(
        search_collection(collection_, Json{{"searches", Json::array({request})}}.dump()));
  }
  // The ids and scores of the answer.
  std::pair<std::vector<std::string>, std::vector<float>> ranked(Json request) const {
    request["select"] = {{"keys", {"#score"}}};
    const Json answer = search(request);
    return {answer["ids"][0].get<std::vector<std::string>>(),
            answer["scores"][0].get<std::vector<float>>()};
  }
  static Json knn(float at, int limit, Json more = Json::object()) {
    more["query"] = {at};
    more["limit"] = limit;
    return {{"$knn", more}};
  }
  std::string refused(const Json& request) const {
    return refusal([&] { search(request); });
  }

  TempDirectory directory_;
  Store store_ = Store::open(directory_.path());
  Collection collection_ = store_.create_collection("line", {.space = Space::l2});
};

using Ids = std::vector<std::string>;
using Scores = std::vector<float>;

TEST_F(ChromaSearch, RanksByDistanceOrByPosition) {
  EXPECT_EQ(ranked({{"rank", knn(0, 3)}}), std::pair(Ids{"r0", "r1", "r2"}, Scores{0, 1, 4}));
  EXPECT_EQ(ranked({{"rank", knn(5, 3, {{"return_rank", true}})}}),
            std::pair(Ids{"r5", "r4", "r3"}, Scores{0, 1, 2}));
}

TEST_F(ChromaSearch, ExpressionsJoinTheirSides) {
  // Without defaults: the records that both know.
  const Json both = {{"$sum", {knn(0, 4), knn(5, 4)}}};
  EXPECT_EQ(ranked({{"rank", both}}), std::pair(Ids{"r2", "r3"}, Scores{13, 13}));
  // With a default on one side: the records of the other.
  const Json left = {{"$sum", {knn(0, 2), knn(5, 2, {{"default", 100}})}}};
  EXPECT_EQ(ranked({{"rank", left}}), std::pair(Ids{"r0", "r1"}, Scores{100, 101}));
  // With defaults on both: all.
  const Json all = {{"$sum", {knn(0, 1, {{"default", 10}}), knn(5, 1, {{"default", 20}})}}};
  EXPECT_EQ(ranked({{"rank", all}}), std::pair(Ids{"r5", "r0"}, Scores{10, 20}));
  // Constants bring no records.
  EXPECT_EQ(ranked({{"rank", {{"$val", 1}}}}), std::pair(Ids{}, Scores{}));
}

TEST_F(ChromaSearch, Arithmetic) {
  const auto first = [&](const Json& rank) { return ranked({{"rank", rank}}).second.at(0); };
  const Json one = knn(4, 1);  // r4 at distance 0
  const Json four = knn(2, 1);
  EXPECT_FLOAT_EQ(first({{"$sum", {one, {{"$val", 2}}, {{"$val", 3}}}}}), 5);
  EXPECT_FLOAT_EQ(first({{"$mul", {{{"$sum", {four, {{"$val", 3}}}}}, {{"$val", 2}}}}}), 6);
  EXPECT_FLOAT_EQ(first({{"$sub", {{"left", one}, {"right", {{"$val", 2}}}}}}), -2);
  EXPECT_FLOAT_EQ(first({{"$abs", {{"$sub", {{"left", one}, {"right", {{"$val", 2}}}}}}}}), 2);
  EXPECT_FLOAT_EQ(first({{"$exp", one}}), 1);
  EXPECT_FLOAT_EQ(first({{"$log", {{"$sum", {one, {{"$val", 1}}}}}}}), 0);
  EXPECT_FLOAT_EQ(first({{"$max", {one, {{"$val", 7}}}}}), 7);
  EXPECT_FLOAT_EQ(first({{"$min", {one, {{"$val", -7}}}}}), -7);
  EXPECT_FLOAT_EQ(
      first({{"$div", {{"left", {{"$sum", {one, {{"$val", 1}}}}}}, {"right", {{"$val", 4}}}}}}),
      0.25F);
}

TEST_F(ChromaSearch, FiltersPagesAndSelects) {
  const Json answer =
      search({{"filter",
               {{"$and", {{{"group", "even"}}, {{"#id", {{"$in", {"r0", "r2", "r4", "r5"}}}}}}}}},
              {"rank", knn(0, 16)},
              {"limit", {{"offset", 1}, {"limit", 1}}},
              {"select", {{"keys", {"#document", "n", "#embedding"}}}}});
  EXPECT_EQ(answer, Json::parse(R"({"ids":[["r2"]],"documents":[["text 2"]],"embeddings":[[[2.0]]],
      "metadatas":[[{"n":2}]],"scores":[null],"select":[["#document","#embedding","n"]]})"));
}

TEST_F(ChromaSearch, IdsAreAConditionAnywhereInTheFilter) {
  const auto found = [&](const Json& filter) { return ranked({{"filter", filter}}).first; };
  const Json some = {{"#id", {{"$in", {"r4", "r0", "nobody"}}}}};
  EXPECT_EQ(found({{"#id", "r3"}}), Ids{"r3"});
  EXPECT_EQ(found({{"#id", {{"$eq", "r3"}}}}), Ids{"r3"});
  EXPECT_EQ(found(some), (Ids{"r0", "r4"}));
  EXPECT_EQ(found({{"#id", {{"$ne", "r3"}}}}), (Ids{"r0", "r1", "r2", "r4", "r5"}));
  EXPECT_EQ(found({{"#id", {{"$nin", {"r0", "r1", "r2"}}}}}), (Ids{"r3", "r4", "r5"}));
  EXPECT_EQ(found({{"$or", {some, {{"n", 3}}}}}), (Ids{"r0", "r3", "r4"}));
  EXPECT_EQ(found({{"$and", {some, {{"$or", {{{"#id", "r0"}}, {{"n", 3}}}}}}}}), Ids{"r0"});
  EXPECT_EQ(ranked({{"filter", {{"#id", {{"$ne", "r0"}}}}}, {"rank", knn(0, 2)}}),
            std::pair(Ids{"r1", "r2"}, Scores{1, 4}));
}

TEST_F(ChromaSearch, WithoutARankInsertionOrder) {
  EXPECT_EQ(ranked({{"filter", {{"group", "odd"}}}, {"limit", {{"offset", 1}}}}),
            std::pair(Ids{"r3", "r5"}, Scores{0, 1}));
  EXPECT_EQ(ranked({{"filter", {{"#document", {{"$contains", "4"}}}}}}).first, Ids{"r4"});
}

TEST_F(ChromaSearch, GroupsKeepTheirBest) {
  const Json by_score = {{"keys", {"group"}},
                         {"aggregate", {{"$min_k", {{"keys", {"#score"}}, {"k", 1}}}}}};
  EXPECT_EQ(ranked({{"rank", knn(0, 6)}, {"group_by", by_score}}).first, (Ids{"r0", "r1"}));
  const Json largest = {{"keys", {"group"}},
                        {"aggregate", {{"$max_k", {{"keys", {"n"}}, {"k", 2}}}}}};
  EXPECT_EQ(ranked({{"rank", knn(0, 6)}, {"group_by", largest}}).first,
            (Ids{"r2", "r3", "r4", "r5"}));
}

TEST_F(ChromaSearch, SeveralSearchesAnswerInOrder) {
  const Json request = {{"searches", {{{"rank", knn(0, 1)}}, {{"rank", knn(5, 1)}}}}};
  const Json answer = Json::parse(search_collection(collection_, request.dump()));
  EXPECT_EQ(answer["ids"], Json::parse(R"([["r0"],["r5"]])"));
  EXPECT_EQ(answer["documents"], Json::parse("[null,null]"));
}

TEST_F(ChromaSearch, BadRequestsAreNamed) {
  EXPECT_TRUE(refused({{"rank", {{"$foo", 1}}}}).starts_with("400 Invalid search: rank: unknown"));
  EXPECT_TRUE(refused({{"rank", {{"$knn", {{"query", "text"}}}}}}).starts_with("400 "));
  EXPECT_TRUE(refused({{"rank", {{"$knn", {{"query", {{"indices", {1}}, {"values", {1}}}}}}}}})
                  .starts_with("501 "));
  EXPECT_TRUE(refused({{"limit", {{"limit", -1}}}}).starts_with("400 "));
  EXPECT_TRUE(refused({{"select", {{"keys", {"#foo"}}}}}).starts_with("400 "));
  EXPECT_TRUE(refused({{"group_by", {{"keys", {"a"}}}}}).starts_with("400 "));
  for (const Json& condition : {Json(5), Json{{"$gt", 1}}, Json{{"$contains", "r0"}}}) {
    EXPECT_TRUE(refused({{"filter", {{"#id", condition}}}}).find("'#id' takes") !=
                std::string::npos);
  }
  Json deep = {{"$val", 1}};
  for (int i = 0; i < 70; ++i) deep = {{"$abs", deep}};
  EXPECT_TRUE(refused({{"rank", deep}}).find("too deep") != std::string::npos);
  EXPECT_THROW(search_collection(collection_, "{"), ApiError);
  EXPECT_THROW(search_collection(collection_, "{}"), ApiError);
  EXPECT_THROW(search_collection(collection_, R"({"searches":5})"), ApiError);
}

}  // namespace
}  // namespace vkb

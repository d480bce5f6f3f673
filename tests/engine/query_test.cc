// SPDX-License-Identifier: Apache-2.0
#include "engine/query.h"

#include <gtest/gtest.h>

#include <limits>

#include "engine/explanation.h"
#include "engine/tuning.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

class Query : public ::testing::TestWithParam<Space> {
 protected:
  Query()
      : store_(Store::open(directory_.path())),
        collection_(store_.create_collection(
            "asked", {.space = GetParam(), .m = 8, .ef_construction = 40})) {}

  void expect_right(const std::vector<float>& query, const QueryOptions& options,
                    const Expected& candidates) {
    EXPECT_EQ(wrong_answer(GetParam(), query, options.k, candidates,
                           collection_.query(query, options), options.exact),
              "");
  }

  TempDirectory directory_;
  Store store_;
  Collection collection_;
};

// A graph segment, a flat segment and the log together, each with dead rows.
TEST_P(Query, MergesAllPlacesAVectorCanBeIn) {
  std::vector<Record> records = test_records(kGraphMinRows + 1300, 6);
  const auto part = [&](std::size_t from, std::size_t to) {
    return std::span(records).subspan(from, to - from);
  };
  collection_.add(part(0, kGraphMinRows + 1000));
  collection_.compact();
  VectorSource some({part(kGraphMinRows + 1000, kGraphMinRows + 1200).begin(),
                     part(kGraphMinRows + 1000, kGraphMinRows + 1200).end()},
                    200);
  collection_.load(some);
  collection_.add(part(kGraphMinRows + 1200, records.size()));
  const std::vector<std::string> removed{"r5", numbered("r", kGraphMinRows + 1100),
                                         numbered("r", kGraphMinRows + 1250)};
  collection_.remove(removed);
  Expected expected = expected_of(records);
  for (const std::string& id : removed) expected.erase(id);
  const CollectionInfo info = collection_.info();
  ASSERT_EQ(info.segments.size(), 2u);
  ASSERT_GT(info.unsealed_count, 0u);
  ASSERT_EQ(info.tombstone_count, 2u);

  Expected group;
  Expected others;
  std::vector<std::string> ids;
  Expected named;
  for (const auto& [id, record] : expected) {
    if (std::get<std::string>(record.metadata->at("group")) == "g5") group.emplace(id, record);
    if (!group.contains(id)) others.emplace(id, record);
    if (id.back() != '7') continue;
    ids.push_back(id);
    named.emplace(id, record);
  }
  const Filter filter = Filter::compare(Filter::Op::eq, "group", std::string("g5"));
  const Filter complement = Filter::compare(Filter::Op::ne, "group", std::string("g5"));
  TestRandom random(5);
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> query = random_vector(random, 6);
    for (const bool exact : {false, true}) {
      expect_right(query, {.k = 10, .exact = exact}, expected);
      expect_right(query, {.k = 10, .exact = exact, .ids = {}, .filter = filter}, group);
      expect_right(query, {.k = 10, .exact = exact, .ids = {}, .filter = complement}, others);
      expect_right(query, {.k = 10, .exact = exact, .ids = ids, .filter = complement}, named);
      expect_right(query, {.k = 10, .exact = exact, .ids = ids}, named);
    }
  }
  // More than there are, one, none.
  const std::vector<float> query = random_vector(random, 6);
  expect_right(query, {.k = 100'000, .exact = true}, expected);
  expect_right(query, {.k = std::numeric_limits<std::uint32_t>::max()}, expected);
  expect_right(query, {.k = 1}, expected);
  EXPECT_TRUE(collection_.query(query, {.k = 0}).empty());
  EXPECT_TRUE(collection_.query(query, {.ids = std::vector<std::string>{}}).empty());
  EXPECT_TRUE(collection_.query(query, {.ids = std::vector<std::string>{"none"}}).empty());
  EXPECT_TRUE(
      collection_.query(query, {.ids = {}, .filter = Filter::compare(Filter::Op::eq, "no", true)})
          .empty());
}

TEST_P(Query, RefusesWhatIsNotAVectorOfItsDimension) {
  collection_.add(test_records(3, 4));
  VKB_EXPECT_ERROR(collection_.query(std::vector<float>{1, 2, 3}), ErrorCode::invalid_argument,
                   "dimension of 4, got 3");
  VKB_EXPECT_ERROR(collection_.query({}), ErrorCode::invalid_argument, "got 0");
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    VKB_EXPECT_ERROR(collection_.query(std::vector<float>{1, bad, 3, 4}),
                     ErrorCode::invalid_argument, "NaN or infinity");
  }
}

TEST_P(Query, TakesExtremeFiniteVectors) {
  const float most = std::numeric_limits<float>::max();
  const float least = std::numeric_limits<float>::denorm_min();
  const std::vector<Record> records = {
      test_record("zero", {0, 0, 0, 0}), test_record("most", {most, most, most, most}),
      test_record("least", {least, 0, 0, 0}), test_record("minus", {-most, most, -most, 1})};
  collection_.add(records);
  for (int pass = 0; pass < 2; ++pass) {
    for (const Record& record : records) {
      const auto hits = collection_.query(*record.embedding, {.k = 4});
      ASSERT_EQ(hits.size(), 4u);
      for (const Hit& hit : hits) EXPECT_FALSE(std::isnan(hit.distance)) << hit.record.id;
    }
    collection_.compact();
  }
}

// Many equal vectors make graphs whose nodes are hard to reach: still k hits.
TEST_P(Query, FindsKAmongManyEqualVectors) {
  TestRandom random(3);
  std::vector<Record> records;
  for (std::uint64_t i = 0; i < 50; ++i) {
    const std::vector<float> vector = random_vector(random, 8);
    for (std::uint64_t j = 0; j < 100; ++j) {
      records.push_back(test_record(numbered("r", 100 * i + j), vector));
    }
  }
  collection_.add(records);
  collection_.compact();
  ASSERT_TRUE(collection_.info().segments.at(0).has_graph);
  const Expected expected = expected_of(records);
  for (int i = 0; i < 10; ++i) {
    const std::vector<float> query = random_vector(random, 8);
    for (const std::uint32_t k : {10U, 100U, 1000U}) {
      EXPECT_EQ(collection_.query(query, {.k = k}).size(), k);
    }
    EXPECT_EQ(collection_.query(query, {.k = 5000}).size(), 5000u);
  }
}

TEST_P(Query, IncludesWhatIsAskedFor) {
  collection_.add(test_records(3, 4));
  const std::vector<float> query(4, 0.5F);
  const Hit plain = collection_.query(query, {.k = 1})[0];
  EXPECT_TRUE(plain.record.document && plain.record.metadata && !plain.record.embedding);
  const Hit all = collection_.query(query, {.k = 1, .include = kIncludeAll})[0];
  ASSERT_TRUE(all.record.embedding);
  EXPECT_NEAR(all.distance, true_distance(GetParam(), query, *all.record.embedding), 1e-5);
}

TEST_P(Query, ExplainsWhatItDid) {
  const std::vector<Record> records = test_records(kGraphMinRows + 100, 6);
  const auto part = [&](std::size_t from, std::size_t to) {
    return std::span(records).subspan(from, to - from);
  };
  collection_.add(part(0, kGraphMinRows));
  collection_.compact();
  VectorSource some({part(kGraphMinRows, kGraphMinRows + 90).begin(),
                     part(kGraphMinRows, kGraphMinRows + 90).end()},
                    90);
  collection_.load(some);
  collection_.add(part(kGraphMinRows + 90, records.size()));
  const std::vector<std::string> removed{"r3", "r13", "r4"};
  collection_.remove(removed);
  ASSERT_EQ(collection_.info().segments.size(), 2u);

  const auto group = [](int below) {
    return Filter::compare(Filter::Op::lt, "n", std::int64_t{below});
  };
  const auto explain = [&](QueryOptions options) {
    Explanation explanation;
    options.explain = &explanation;
    collection_.query(std::vector<float>(6, 0.5F), options);
    EXPECT_EQ(explanation.log_rows, 10u);
    EXPECT_EQ(explanation.segments.size(), 2u);
    EXPECT_EQ(explanation.segments.at(0).rows, kGraphMinRows - 3);
    EXPECT_EQ(explanation.segments.at(1).rows, 90u);
    EXPECT_GE(explanation.total_us, explanation.snapshot_us + explanation.filter_us +
                                        explanation.search_us + explanation.records_us);
    return explanation;
  };
  const Explanation plain = explain({.k = 5, .ef = 20});
  EXPECT_EQ(plain.ef, 20u);
  EXPECT_FALSE(plain.has_filter);
  EXPECT_EQ(plain.segments[0].plan, "graph");
  EXPECT_EQ(plain.segments[0].selected, kGraphMinRows - 3);
  EXPECT_LT(plain.segments[0].ranked, kGraphMinRows);
  EXPECT_EQ(plain.segments[1].plan, "flat");
  const Explanation exact = explain({.k = 5, .exact = true});
  EXPECT_EQ(exact.segments[0].plan, "exact");
  EXPECT_EQ(exact.segments[0].compared, kGraphMinRows - 3);
  const Explanation few = explain({.k = 5, .filter = group(10)});
  EXPECT_TRUE(few.has_filter && !few.filter_from_cache);
  EXPECT_EQ(few.segments[0].plan, "flat");
  EXPECT_EQ(few.segments[0].selected, 8u);  // r3 and r4 are gone
  EXPECT_EQ(few.segments[0].compared, 8u);
  EXPECT_EQ(few.segments[1].plan, "none");
  EXPECT_TRUE(explain({.k = 5, .filter = group(10)}).filter_from_cache);
  const Explanation most = explain({.k = 5, .filter = group(kGraphMinRows)});
  EXPECT_EQ(most.segments[0].plan, "filtered graph");
  EXPECT_EQ(most.segments[0].selected, kGraphMinRows - 3);
  // Sums over a batch.
  Explanation batch;
  const std::vector<std::vector<float>> twice(2, std::vector<float>(6, 0.5F));
  collection_.query_batch(twice, {.k = 5, .exact = true, .explain = &batch});
  EXPECT_EQ(batch.segments.at(0).compared, 2 * (kGraphMinRows - 3));
}

// Asked for ids alone, a segment with a graph gives them; SQLite those too long for it, and those
// in the log.
TEST_P(Query, IdsAloneAreThoseOfTheRecords) {
  std::vector<Record> records = test_records(kGraphMinRows, 6);
  records[1].id = std::string(63, 'x');
  records[2].id = std::string(64, 'x');
  records[3].id = std::string(500, 'x');
  collection_.add(records);
  collection_.compact();
  records.push_back(test_record("new", {9, 9, 9, 9, 9, 9}));
  records[4].embedding = {9, 9, 9, 9, 9, 8};
  const std::vector<Record> changed{records[4], records.back()};
  collection_.upsert(changed);
  ASSERT_EQ(collection_.info().unsealed_count, 2u);
  for (const std::size_t at : {0UL, 1UL, 2UL, 3UL, 4UL, 5UL, records.size() - 1}) {
    const std::vector<Hit> alone = collection_.query(
        *records[at].embedding, {.k = 10, .exact = true, .include = {false, false}});
    const std::vector<Hit> whole =
        collection_.query(*records[at].embedding, {.k = 10, .exact = true});
    ASSERT_EQ(alone.size(), whole.size());
    for (std::size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(alone[i].record.id, whole[i].record.id);
      EXPECT_EQ(alone[i].distance, whole[i].distance);
      EXPECT_FALSE(alone[i].record.document || alone[i].record.metadata);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Spaces, Query, ::testing::Values(Space::cosine, Space::l2, Space::ip),
                         [](const auto& test) { return std::string(to_string(test.param)); });

// One byte a component cannot tell such neighbours apart, so low dimensions are searched by f32.
TEST(QueryLowDimension, CloseNeighboursAreToldApart) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("narrow", {.space = Space::l2});
  std::vector<Record> records;
  for (int i = 0; i < 300; ++i) {
    records.push_back(
        test_record(numbered("r", static_cast<std::uint64_t>(i)), {1.0F, static_cast<float>(i)}));
  }
  VectorSource source(records, 100);
  collection.load(source);
  ASSERT_EQ(collection.info().segments.size(), 1u);
  for (const Record& record : records) {
    const QueryOptions options{.k = 10};
    EXPECT_EQ(wrong_answer(Space::l2, *record.embedding, options.k, expected_of(records),
                           collection.query(*record.embedding, options), true),
              "");
  }
}

}  // namespace
}  // namespace vkb

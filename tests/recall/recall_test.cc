// SPDX-License-Identifier: Apache-2.0
//
// How much of the exact answer the graph finds, with and without filters, on clustered data with a
// fixed seed. The floor is recall@10 >= 0.95 at the default beam width; graphs are built by several
// threads, so the figure moves a little from run to run.
#include <gtest/gtest.h>

#include <set>

#include "engine/tuning.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

constexpr double kFloor = 0.95;
constexpr std::size_t kRows = 6000;
constexpr std::size_t kClusters = 60;
constexpr std::size_t kQueries = 60;

// Points around centres: neighbours are near, as embeddings' are, and not all alike far.
class Clusters {
 public:
  Clusters(std::size_t dim, std::uint64_t seed) : random_(seed) {
    for (std::size_t i = 0; i < kClusters; ++i) centres_.push_back(random_vector(random_, dim));
  }
  std::vector<float> next() {
    std::vector<float> vector = centres_[random_.below(kClusters)];
    for (float& value : vector) value += 0.3F * random_.real();
    return vector;
  }
  TestRandom& random() { return random_; }

 private:
  TestRandom random_;
  std::vector<std::vector<float>> centres_;
};

double recall(const Collection& collection, const std::vector<std::vector<float>>& queries,
              const std::optional<Filter>& filter) {
  std::size_t found = 0;
  std::size_t wanted = 0;
  const Include none{.documents = false, .metadatas = false};
  for (const std::vector<float>& query : queries) {
    std::set<std::string> exact;
    for (const Hit& hit :
         collection.query(query, {.exact = true, .ids = {}, .filter = filter, .include = none})) {
      exact.insert(hit.record.id);
    }
    wanted += exact.size();
    for (const Hit& hit : collection.query(query, {.ids = {}, .filter = filter, .include = none})) {
      found += exact.contains(hit.record.id);
    }
  }
  return static_cast<double>(found) / static_cast<double>(wanted);
}

class Recall : public ::testing::TestWithParam<std::tuple<Space, std::size_t>> {};

TEST_P(Recall, IsAboveTheFloor) {
  const auto [space, dim] = GetParam();
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("clusters", {.space = space});
  Clusters clusters(dim, 7);
  std::vector<Record> records;
  for (std::size_t i = 0; i < kRows; ++i) {
    records.push_back(test_record(numbered("r", i), clusters.next()));
    records.back().metadata =
        Metadata{{"percent", static_cast<std::int64_t>(clusters.random().below(100))}};
  }
  VectorSource source(std::move(records), 2000);
  collection.load(source);
  ASSERT_EQ(collection.info().segments.size(), 1u);
  ASSERT_TRUE(collection.info().segments[0].has_graph);
  std::vector<std::vector<float>> queries;
  for (std::size_t i = 0; i < kQueries; ++i) queries.push_back(clusters.next());
  EXPECT_GE(recall(collection, queries, {}), kFloor);
  for (const std::int64_t percent : {1, 10, 50}) {
    EXPECT_GE(recall(collection, queries, Filter::compare(Filter::Op::lt, "percent", percent)),
              kFloor)
        << percent << " % of rows match";
  }
  // With a third of the rows removed, which the walk passes through.
  collection.remove(Filter::compare(Filter::Op::gte, "percent", std::int64_t{70}));
  EXPECT_GE(recall(collection, queries, {}), kFloor);
}

// Some texts come many times, and so do their vectors, which graphs do not like.
TEST(RecallOfDuplicates, IsAboveTheFloor) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("copies", {.space = Space::cosine});
  Clusters clusters(32, 9);
  std::vector<Record> records;
  std::vector<std::vector<float>> originals;
  while (records.size() < kRows) {
    const std::vector<float> vector = clusters.next();
    std::uint64_t copies = 1;
    if (records.size() % 50 == 0) {
      copies = 1 + clusters.random().below(100);
      originals.push_back(vector);
    }
    for (; copies > 0; --copies) {
      records.push_back(test_record(numbered("r", records.size()), vector));
    }
  }
  VectorSource source(std::move(records), 2000);
  collection.load(source);
  std::size_t found = 0;
  std::size_t wanted = 0;
  for (std::size_t i = 0; i < 2 * kQueries; ++i) {
    const std::vector<float> query =
        i % 2 == 0 ? clusters.next() : originals[clusters.random().below(originals.size())];
    const auto exact = collection.query(query, {.exact = true});
    const auto hits = collection.query(query);
    ASSERT_EQ(hits.size(), exact.size());
    // By distance: which of equal vectors is found does not matter.
    for (std::size_t j = 0; j < exact.size(); ++j, ++wanted) {
      found += hits[j].distance <= exact[j].distance + 1e-5F;
    }
  }
  EXPECT_GE(static_cast<double>(found), kFloor * static_cast<double>(wanted))
      << found << " of " << wanted;
}

INSTANTIATE_TEST_SUITE_P(Settings, Recall,
                         ::testing::Combine(::testing::Values(Space::cosine, Space::l2, Space::ip),
                                            ::testing::Values(32, 128)),
                         [](const auto& test) {
                           return std::string(to_string(std::get<0>(test.param))) +
                                  std::to_string(std::get<1>(test.param));
                         });

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <thread>

#include "engine/codes.h"
#include "engine/tuning.h"
#include "storage/error.h"
#include "tests/engine/sample_segment.h"
#include "tests/support/seal_segment.h"
#include "tests/support/test_data.h"

namespace vkb {
namespace {

constexpr Space kSpaces[] = {Space::cosine, Space::l2, Space::ip};

std::string segment_path() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "." + test->name() + ".vseg";
  std::ranges::replace(name, '/', '_');
  return testing::TempDir() + name;
}

std::shared_ptr<const Segment> segment_of(std::span<const float> vectors, std::uint32_t dim,
                                          const SampleOptions& options = {}) {
  return make_segment(segment_path(), vectors, dim, options);
}

std::vector<PreparedQuery> queries_of(std::span<const float> vectors, std::uint32_t dim,
                                      Space space, std::size_t count) {
  std::mt19937_64 random(7);
  std::normal_distribution<float> noise(0.0F, 0.5F);
  std::vector<PreparedQuery> queries;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t row = random() % (vectors.size() / dim);
    std::vector<float> query(vectors.begin() + static_cast<std::ptrdiff_t>(row * dim),
                             vectors.begin() + static_cast<std::ptrdiff_t>((row + 1) * dim));
    for (float& x : query) x += noise(random);
    queries.emplace_back(query, space);
  }
  return queries;
}

// All selected rows, ordered by the plainest means.
std::vector<Neighbour> brute_force(const Segment& segment, const PreparedQuery& query,
                                   std::size_t k, const RowSelection& selection = {}) {
  std::vector<Neighbour> all;
  for (std::uint32_t slot = 0; slot < segment.row_count(); ++slot) {
    if (!selection.takes(slot)) continue;
    all.push_back({exact_distance(query.space(), query.vector(), query.norm(), segment.vector(slot),
                                  segment.norm(slot), segment.dim(), kernels()),
                   segment.row_id(slot)});
  }
  std::ranges::sort(all, [](const Neighbour& a, const Neighbour& b) { return a < b; });
  all.resize(std::min(k, all.size()));
  return all;
}

// Share of `expected` rows that `found` holds. A row at the distance of the last expected one
// counts, as ties may be broken either way.
double recall(const std::vector<Neighbour>& found, const std::vector<Neighbour>& expected) {
  if (expected.empty()) return 1;
  const auto hits = std::ranges::count_if(found, [&](const Neighbour& neighbour) {
    return neighbour.distance <= expected.back().distance;
  });
  return static_cast<double>(hits) / static_cast<double>(expected.size());
}

Bitmap random_bitmap(std::size_t size, double share, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::bernoulli_distribution chosen(share);
  Bitmap bitmap(size);
  for (std::size_t i = 0; i < size; ++i) {
    if (chosen(random)) bitmap.set(i);
  }
  return bitmap;
}

TEST(BitmapTest, CountsAndChanges) {
  for (const std::size_t size : {0, 1, 63, 64, 65, 128, 200}) {
    EXPECT_EQ(Bitmap(size).count(), 0U);
    EXPECT_EQ(Bitmap(size, true).count(), size);
  }
  Bitmap bitmap(70, true);
  bitmap.reset(69);
  bitmap.reset(3);
  EXPECT_EQ(bitmap.count(), 68U);
  EXPECT_FALSE(bitmap.test(69));
  bitmap.set(3);
  EXPECT_TRUE(bitmap.test(3));
}

class SearchSpaceTest : public testing::TestWithParam<Space> {};

TEST_P(SearchSpaceTest, GraphRecall) {
  for (const std::uint32_t dim : {8U, 96U, 301U}) {
    const auto vectors = clustered_vectors(3000, dim, dim);
    const auto segment = segment_of(vectors, dim, {.space = GetParam(), .ef_construction = 100});
    double total = 0;
    const auto queries = queries_of(vectors, dim, GetParam(), 100);
    for (const PreparedQuery& query : queries) {
      const auto found = search_graph(*segment, query, 10, 100, {});
      ASSERT_EQ(found.size(), 10U);
      const auto expected = brute_force(*segment, query, 10);
      total += recall(found, expected);
      for (const Neighbour& neighbour : found) {  // distances are exact, whatever was found
        const auto slot = segment->slot_of(neighbour.row_id);
        ASSERT_TRUE(slot.has_value());
        EXPECT_EQ(neighbour.distance,
                  exact_distance(query.space(), query.vector(), query.norm(),
                                 segment->vector(*slot), segment->norm(*slot), dim, kernels()));
      }
      EXPECT_TRUE(std::ranges::is_sorted(
          found, [](const Neighbour& a, const Neighbour& b) { return a < b; }));
    }
    EXPECT_GE(total / 100, 0.98) << "dim " << dim;
  }
}

TEST_P(SearchSpaceTest, FlatSearchFindsWhatThereIs) {
  const std::uint32_t dim = 40;
  const auto vectors = clustered_vectors(1000, dim, 1);
  const auto segment = segment_of(vectors, dim, {.space = GetParam(), .graph = false});
  const auto dead = random_bitmap(1000, 0.3, 2);
  const auto accepted = random_bitmap(1000, 0.1, 3);
  const RowSelection selections[] = {
      {}, {.dead = &dead}, {.accepted = &accepted}, {.dead = &dead, .accepted = &accepted}};
  double by_codes = 0;
  for (const PreparedQuery& query : queries_of(vectors, dim, GetParam(), 20)) {
    for (const RowSelection& selection : selections) {
      for (const std::uint32_t k : {1U, 10U, 1000U, 5000U}) {
        EXPECT_EQ(search_flat(*segment, query, k, true, selection),
                  brute_force(*segment, query, k, selection));
      }
      const auto found = search_flat(*segment, query, 10, false, selection);
      by_codes += recall(found, brute_force(*segment, query, 10, selection)) / 80;
    }
  }
  EXPECT_GE(by_codes, 0.999);
}

TEST_P(SearchSpaceTest, FilteredGraphSearchFindsSelectedRowsOnly) {
  const std::uint32_t dim = 32;
  const auto vectors = clustered_vectors(3000, dim, 4);
  const auto segment = segment_of(vectors, dim, {.space = GetParam(), .ef_construction = 100});
  for (const double share : {0.16, 0.3, 0.6}) {
    const auto dead = random_bitmap(3000, 0.2, 5);
    const auto accepted = random_bitmap(3000, share, 6);
    const RowSelection selection{.dead = &dead, .accepted = &accepted};
    double total = 0;
    for (const PreparedQuery& query : queries_of(vectors, dim, GetParam(), 50)) {
      const auto found = search_graph(*segment, query, 10, 60, selection);
      EXPECT_EQ(found.size(), 10U);
      for (const Neighbour& neighbour : found) {
        EXPECT_TRUE(selection.takes(segment->slot_of(neighbour.row_id).value()));
      }
      total += recall(found, brute_force(*segment, query, 10, selection)) / 50;
    }
    EXPECT_GE(total, 0.98) << share;
  }
}

// Walks that take turns find what each finds alone.
TEST_P(SearchSpaceTest, SeveralQueriesAtOnceAreAnsweredAsOneByOne) {
  const std::uint32_t dim = 32;
  const auto vectors = clustered_vectors(3000, dim, 4);
  const auto segment = segment_of(vectors, dim, {.space = GetParam(), .ef_construction = 100});
  const auto accepted = random_bitmap(3000, 0.4, 6);
  const auto queries = queries_of(vectors, dim, GetParam(), kWalksAtOnce);
  for (const RowSelection& selection : {RowSelection{}, RowSelection{.accepted = &accepted}}) {
    for (std::size_t count = 1; count <= queries.size(); ++count) {
      const auto some = std::span(queries).first(count);
      SearchCounts together;
      SearchCounts alone;
      const auto found = search_graph(*segment, some, 10, 60, selection, &together);
      ASSERT_EQ(found.size(), count);
      for (std::size_t i = 0; i < count; ++i) {
        EXPECT_EQ(found[i], search_graph(*segment, some[i], 10, 60, selection, &alone)) << i;
      }
      EXPECT_EQ(together.ranked, alone.ranked);
    }
  }
}

TEST_P(SearchSpaceTest, SmallSegmentsAreAnsweredCompletely) {
  const std::uint32_t dim = 24;
  for (const std::size_t count : {1, 2, 10, 64, 150}) {
    const auto vectors = clustered_vectors(count, dim, count);
    const auto segment = segment_of(vectors, dim, {.space = GetParam()});
    const auto dead = random_bitmap(count, 0.4, 8);
    for (const PreparedQuery& query : queries_of(vectors, dim, GetParam(), 5)) {
      for (const RowSelection& selection : {RowSelection{}, RowSelection{.dead = &dead}}) {
        const auto all = static_cast<std::uint32_t>(count);
        EXPECT_EQ(search_graph(*segment, query, all + 5, 1, selection),
                  brute_force(*segment, query, all + 5, selection));
        EXPECT_EQ(search_graph(*segment, query, 3, all, selection),
                  brute_force(*segment, query, 3, selection));
      }
    }
  }
}

TEST_P(SearchSpaceTest, NoneSelectedNoneFound) {
  const auto vectors = clustered_vectors(500, 8, 9);
  const auto segment = segment_of(vectors, 8, {.space = GetParam()});
  const PreparedQuery query(std::span<const float>(vectors).first(8), GetParam());
  const Bitmap none(500);
  const Bitmap all(500, true);
  for (const RowSelection& selection : {RowSelection{.dead = &all}, {.accepted = &none}}) {
    EXPECT_TRUE(search_graph(*segment, query, 10, 50, selection).empty());
    EXPECT_TRUE(search_flat(*segment, query, 10, true, selection).empty());
    EXPECT_TRUE(search_flat(*segment, query, 10, false, selection).empty());
  }
  EXPECT_TRUE(search_graph(*segment, query, 0, 50, {}).empty());
  EXPECT_TRUE(search_flat(*segment, query, 0, true, {}).empty());
}

INSTANTIATE_TEST_SUITE_P(Spaces, SearchSpaceTest, testing::ValuesIn(kSpaces),
                         [](const auto& space) {
                           return std::string(space.param == Space::cosine ? "cosine"
                                              : space.param == Space::l2   ? "l2"
                                                                           : "ip");
                         });

TEST(SearchTest, EmptyFlatSegment) {
  const auto segment = segment_of({}, 3, {.graph = false});
  const PreparedQuery query(std::vector<float>{1, 2, 3}, Space::cosine);
  EXPECT_TRUE(search_flat(*segment, query, 10, true, {}).empty());
  EXPECT_TRUE(search_flat(*segment, query, 10, false, {}).empty());
}

TEST(SearchTest, FlatSegmentWithoutCodesIsComparedExactly) {
  const auto vectors = clustered_vectors(200, 5, 1);
  const auto segment = segment_of(vectors, 5, {.space = Space::l2, .codes = false, .graph = false});
  const PreparedQuery query(std::span<const float>(vectors).first(5), Space::l2);
  EXPECT_EQ(search_flat(*segment, query, 7, false, {}), brute_force(*segment, query, 7));
}

TEST(SearchTest, TiesAreOrderedByRowId) {
  const std::vector<float> vectors(200 * 3, 0.25F);
  const auto segment = segment_of(vectors, 3, {.space = Space::l2});
  const PreparedQuery query(std::vector<float>{1, 0, 0}, Space::l2);
  const auto found = search_flat(*segment, query, 5, true, {});
  ASSERT_EQ(found.size(), 5U);
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_EQ(found[i].row_id, sample_row_id(i));
  const auto walked = search_graph(*segment, query, 5, 200, {});
  ASSERT_EQ(walked.size(), 5U);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_LT(walked[i - 1].row_id, walked[i].row_id);
}

TEST(SearchTest, ZeroVectorsHaveCosineDistanceOne) {
  std::vector<float> vectors = clustered_vectors(100, 4, 1);
  std::fill(vectors.begin() + 40, vectors.begin() + 80, 0.0F);
  const auto segment = segment_of(vectors, 4);
  const PreparedQuery zero(std::vector<float>(4, 0.0F), Space::cosine);
  for (const Neighbour& neighbour : search_graph(*segment, zero, 10, 100, {})) {
    EXPECT_EQ(neighbour.distance, 1.0F);
  }
  const PreparedQuery query(std::span<const float>(vectors).first(4), Space::cosine);
  for (const Neighbour& neighbour : search_flat(*segment, query, 100, true, {})) {
    const std::uint64_t ordinal = (neighbour.row_id - 5) / 3;
    EXPECT_TRUE(ordinal < 10 || ordinal >= 20 || neighbour.distance == 1.0F);
  }
}

// Callers refuse such queries; still nothing may crash, and each row is answered once.
TEST(SearchTest, QueriesThatAreNotNumbersDoNoHarm) {
  const auto vectors = clustered_vectors(300, 6, 1);
  for (const Space space : kSpaces) {
    const auto segment = segment_of(vectors, 6, {.space = space});
    const Bitmap dead = random_bitmap(300, 0.5, 1);
    for (const float x :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38F}) {
      const PreparedQuery query(std::vector<float>{x, 1, -x, 0, 2, x}, space);
      EXPECT_EQ(search_graph(*segment, query, 10, 50, {}).size(), 10U);
      EXPECT_EQ(search_graph(*segment, query, 10, 50, {.dead = &dead}).size(), 10U);
      EXPECT_EQ(search_flat(*segment, query, 10, true, {}).size(), 10U);
      EXPECT_EQ(search_flat(*segment, query, 10, false, {}).size(), 10U);
    }
  }
}

TEST(SearchTest, ManyThreadsAndSegmentsInTurn) {
  const std::uint32_t dim = 16;
  const auto vectors = clustered_vectors(2000, dim, 1);
  const auto large = segment_of(vectors, dim, {.space = Space::l2, .ef_construction = 60});
  const auto small = make_segment(segment_path() + ".small", std::span(vectors).first(100 * dim),
                                  dim, {.space = Space::l2});
  const auto queries = queries_of(vectors, dim, Space::l2, 40);
  const auto answers = [&] {
    std::vector<std::vector<Neighbour>> all;
    for (int round = 0; round < 8; ++round) {  // more walks than the marks of one epoch
      for (const PreparedQuery& query : queries) {
        all.push_back(search_graph(*large, query, 5, 30, {}));
        all.push_back(search_graph(*small, query, 5, 30, {}));
      }
    }
    return all;
  };
  const auto expected = answers();
  for (std::size_t i = 80; i < expected.size(); ++i) EXPECT_EQ(expected[i], expected[i % 80]);
  std::vector<std::vector<std::vector<Neighbour>>> found(4);
  {
    std::vector<std::jthread> threads;
    for (auto& result : found) threads.emplace_back([&] { result = answers(); });
  }
  for (const auto& result : found) EXPECT_EQ(result, expected);
}

// R8: what a damaged file says is never followed, and the error names place and value.
class DamagedGraphTest : public testing::Test {
 protected:
  DamagedGraphTest()
      : vectors_(clustered_vectors(2000, 8, 1)),
        segment_(segment_of(vectors_, 8, {.space = Space::l2, .m = 4, .ef_construction = 30})) {}

  // Overwrites each `step`th u32 of a section, and makes the checksums fit.
  void damage(SectionKind kind, std::size_t step, std::uint32_t value) {
    std::string bytes = read_whole_file(segment_->path());
    for (const SectionEntry& section : segment_->sections()) {
      if (section.kind != static_cast<std::uint32_t>(kind)) continue;
      for (std::size_t at = 0; at < section.bytes; at += step * sizeof(value)) {
        std::memcpy(bytes.data() + section.offset + at, &value, sizeof(value));
      }
    }
    seal_segment(bytes);
    write_whole_file(segment_->path(), bytes);
    segment_ = Segment::open(posix_file_system(), segment_->path());
  }

  std::string message(const RowSelection& selection = {}) const {
    const PreparedQuery query(std::span<const float>(vectors_).first(8), Space::l2);
    try {
      search_graph(*segment_, query, 10, 50, selection);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corruption);
      return error.what();
    }
    return "no error";
  }

  std::vector<float> vectors_;
  std::shared_ptr<const Segment> segment_;
};

TEST_F(DamagedGraphTest, NeighbourOutsideIsNamed) {
  damage(SectionKind::links0, 8, 2000);
  const Bitmap dead(2000);
  for (const std::string& text : {message(), message({.dead = &dead})}) {
    EXPECT_NE(text.find(segment_->path()), std::string::npos) << text;
    EXPECT_NE(text.find("links0 of slot "), std::string::npos) << text;
    EXPECT_NE(text.find("holds 2000, expected a slot below 2000"), std::string::npos) << text;
  }
}

TEST_F(DamagedGraphTest, UpperNeighbourOutsideIsNamed) {
  ASSERT_GT(segment_->header().max_level, 1U);
  damage(SectionKind::upper_links, 4, 0x7FFFFFFF);
  EXPECT_NE(message().find("holds 2147483647, expected a position below "), std::string::npos)
      << message();
}

TEST_F(DamagedGraphTest, UpperNeighbourThatDoesNotReachTheLevelIsNamed) {
  const std::uint32_t lower = segment_->header().level_count[1] - 1;
  damage(SectionKind::upper_links, 4, lower);
  const std::string text = message();
  EXPECT_NE(text.find("upper_links of level " + std::to_string(segment_->header().max_level)),
            std::string::npos)
      << text;
}

TEST_F(DamagedGraphTest, UpperSlotOutsideIsNamed) {
  damage(SectionKind::upper_slots, 1, 4000000000);
  EXPECT_NE(message().find("upper_slots at position 0 holds 4000000000"), std::string::npos)
      << message();
}

// Bytes that pass every check may still be wrong; the walk then ends with some answer.
TEST_F(DamagedGraphTest, LinksToOneRowEndTheWalk) {
  damage(SectionKind::links0, 1, 17);
  damage(SectionKind::codes_int8, 1, 0x7FC00000);  // NaN as a scale
  EXPECT_EQ(message(), "no error");
}

// Thousands of equal vectors, of which each could know copies alone, cost no other row its place.
TEST(SearchTest, CopiesOfAVectorLeaveTheWayOut) {
  constexpr std::uint32_t kWidth = 96;
  auto vectors = clustered_vectors(8000, kWidth, 3);
  const auto row = [&](std::size_t i) { return std::span(vectors).subspan(i * kWidth, kWidth); };
  for (std::size_t i = 0; i < 8000; i += 4) std::ranges::copy(row(1), row(i).begin());
  const auto segment = segment_of(vectors, kWidth, {.ef_construction = 100, .threads = 2});
  std::size_t lost = 0;
  for (std::size_t i = 1; i < 8000; i += 2) {
    const auto found = search_graph(*segment, PreparedQuery(row(i), Space::cosine), 1, 50, {});
    lost += found.empty() || found.front().distance > 1e-5F ? 1 : 0;
  }
  EXPECT_LE(lost, 8U);  // of 4000
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/bit_codes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/codes.h"
#include "engine/search.h"
#include "engine/tuning.h"
#include "tests/engine/sample_segment.h"
#include "tests/support/seal_segment.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_data.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

constexpr Space kSpaces[] = {Space::cosine, Space::l2, Space::ip};

// Rows with their codes, and what a query makes of them.
class Coded {
 public:
  Coded(Space space, std::size_t dim, std::vector<float> vectors)
      : space_(space), dim_(dim), vectors_(std::move(vectors)) {
    projection_ = fit_bit_projection(space, dim, count(), [&](std::size_t i) { return row(i); });
    codes_.resize(count() * kBitCodeBytes);
    for (std::size_t i = 0; i < count(); ++i) {
      projector().encode(space, int8_code(row(i)).data(), codes_.data() + i * kBitCodeBytes);
    }
  }
  std::size_t count() const { return vectors_.size() / dim_; }
  const float* row(std::size_t i) const { return vectors_.data() + i * dim_; }
  const BitProjection& projection() const { return projection_; }

  std::vector<float> estimates(const float* query, const Kernels& set = kernels()) const {
    BitQuery bits;
    bits.prepare(projector(), int8_code(query).data());
    std::vector<float> out(count());
    std::vector<std::uint32_t> numbers(count());
    std::iota(numbers.begin(), numbers.end(), 0U);
    for (std::size_t i = 0; i < count(); i += BitQuery::kMostEstimates) {
      const std::size_t some = std::min(BitQuery::kMostEstimates, count() - i);
      bits.estimate(codes_.data(), std::span(numbers).subspan(i, some), out.data() + i, set);
    }
    return out;
  }
  std::vector<float> distances(const float* query) const {
    std::vector<float> out;
    for (std::size_t i = 0; i < count(); ++i) {
      out.push_back(exact_distance(space_, query, norm_of({query, dim_}), row(i),
                                   norm_of({row(i), dim_}), dim_, kernels()));
    }
    return out;
  }

 private:
  BitProjector projector() const { return {projection_.directions, projection_.centre, dim_}; }
  std::vector<std::byte> int8_code(const float* vector) const {
    std::vector<std::byte> code(code_bytes(dim_));
    encode_int8({vector, dim_}, norm_of({vector, dim_}), space_, code.data());
    return code;
  }

  Space space_;
  std::size_t dim_;
  std::vector<float> vectors_;
  BitProjection projection_;
  std::vector<std::byte> codes_;
};

double correlation(const std::vector<float>& a, const std::vector<float>& b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0;
  double aa = 0;
  double bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return ab / std::sqrt(aa * bb);
}

// Vectors as embeddings are: far from the origin together, and spread more along some axes than
// others.
std::vector<float> embeddings(std::size_t count, std::uint32_t dim) {
  std::vector<float> vectors = clustered_vectors(count, dim, 3);
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const auto axis = static_cast<float>(i % dim);
    vectors[i] = 0.5F + vectors[i] / (1 + axis / 50);
  }
  return vectors;
}

TEST(BitCodesTest, EstimatesFollowDistances) {
  for (const Space space : kSpaces) {
    for (const std::uint32_t dim : {128U, 300U, 480U, 768U, 1024U}) {
      SCOPED_TRACE(std::to_string(static_cast<int>(space)) + " of " + std::to_string(dim));
      const Coded coded(space, dim, embeddings(600, dim));
      double sum = 0;
      for (std::size_t query = 0; query < 20; ++query) {
        const float* vector = coded.row(query * 30);
        sum += correlation(coded.estimates(vector), coded.distances(vector));
      }
      EXPECT_GT(sum / 20, 0.98);
    }
  }
}

// Differences of estimates are differences of distances: no factor between them.
TEST(BitCodesTest, EstimatesAreInTheUnitsOfTheSpace) {
  for (const Space space : kSpaces) {
    const Coded coded(space, 256, embeddings(400, 256));
    const std::vector<float> estimates = coded.estimates(coded.row(7));
    const std::vector<float> distances = coded.distances(coded.row(7));
    const auto spread = [](const std::vector<float>& x) {
      const double mean = std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
      double sum = 0;
      for (const float each : x) sum += std::abs(each - mean);
      return sum / static_cast<double>(x.size());
    };
    EXPECT_NEAR(spread(estimates) / spread(distances), 1, 0.1) << static_cast<int>(space);
  }
}

TEST(BitCodesTest, EveryKernelEstimatesAlike) {
  const Coded coded(Space::cosine, 384, embeddings(100, 384));
  const std::vector<float> expected = coded.estimates(coded.row(3), *available_kernels().front());
  for (const Kernels* set : available_kernels()) {
    EXPECT_EQ(coded.estimates(coded.row(3), *set), expected) << set->name;
  }
}

TEST(BitCodesTest, AFitIsTheSameEachTime) {
  const Coded one(Space::l2, 200, embeddings(300, 200));
  const Coded other(Space::l2, 200, embeddings(300, 200));
  EXPECT_EQ(one.projection().directions, other.projection().directions);
  EXPECT_EQ(one.projection().centre, other.projection().centre);
}

TEST(BitCodesTest, ARowOfNoLengthLeavesTheOthersTheirDirections) {
  constexpr std::size_t kFew = 64;
  TestRandom random(5);
  std::vector<std::vector<float>> rows;
  for (int i = 0; i < 200; ++i) rows.push_back(random_vector(random, kFew));
  rows[17].assign(kFew, 0.0F);
  const auto fit = [&] {
    return fit_bit_projection(Space::cosine, kFew, rows.size(),
                              [&](std::size_t i) { return rows[i].data(); });
  };
  const BitProjection zero = fit();
  rows[17].assign(kFew, 1e-42F);
  const BitProjection tiny = fit();
  EXPECT_EQ(tiny.directions, zero.directions);
  EXPECT_EQ(tiny.centre, zero.centre);
}

TEST(BitCodesTest, OddRowsGiveNumbers) {
  constexpr std::size_t kDim = 128;
  const float huge = std::numeric_limits<float>::max();
  const std::vector<std::vector<float>> oddities = {
      std::vector<float>(kDim, 0.0F),        // zero vectors
      std::vector<float>(3 * kDim, 2.0F),    // equal ones
      std::vector<float>(5 * kDim, huge),    // whose squares are no floats
      std::vector<float>(2 * kDim, 1e-44F),  // denormal ones
  };
  for (const Space space : kSpaces) {
    for (const std::vector<float>& vectors : oddities) {
      const Coded coded(space, kDim, vectors);
      for (const float estimate : coded.estimates(vectors.data())) {
        EXPECT_FALSE(std::isnan(estimate)) << static_cast<int>(space) << ' ' << vectors.front();
      }
    }
  }
}

// The dimensions of segments that rank what a walk found by int8 codes, and by four-bit codes.
class RankedBitCodesTest : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(Dims, RankedBitCodesTest, testing::Values(256, 400));

// The walk by one-bit codes finds what the walk by int8 codes finds, at the same ef, and distances
// are exact either way.
TEST_P(RankedBitCodesTest, SearchFindsTheSameWithThem) {
  const TempDirectory directory;
  const std::uint32_t dim = GetParam();
  const std::vector<float> vectors = embeddings(6000, dim);
  const auto plain = make_segment(directory.file("plain"), vectors, dim, {.space = Space::cosine});
  const auto coded =
      make_segment(directory.file("coded"), vectors, dim, {.bit_codes = true, .threads = 1});
  ASSERT_FALSE(plain->has_bit_codes());
  ASSERT_TRUE(coded->has_bit_codes());
  ASSERT_EQ(coded->has_int4_codes(), dim == 400);
  ASSERT_NE(coded->has_int4_codes(), coded->has_int8_codes());
  Bitmap accepted(coded->row_count());
  for (std::uint32_t slot = 0; slot < coded->row_count(); slot += 3) accepted.set(slot);
  for (const bool filtered : {false, true}) {
    const RowSelection selection{.accepted = filtered ? &accepted : nullptr};
    std::size_t found_plain = 0;
    std::size_t found_coded = 0;
    for (std::size_t i = 0; i < 100; ++i) {
      const PreparedQuery query({vectors.data() + i * 59 * dim, dim}, Space::cosine);
      const auto truth = search_flat(*coded, query, 10, true, selection);
      const auto hits = [&](const std::vector<Neighbour>& found) {
        return static_cast<std::size_t>(std::ranges::count_if(found, [&](const Neighbour& each) {
          return std::ranges::find(truth, each) != truth.end();  // the distance, too
        }));
      };
      found_plain += hits(search_graph(*plain, query, 10, 64, selection));
      found_coded += hits(search_graph(*coded, query, 10, 64, selection));
    }
    EXPECT_GE(found_coded, 960U) << filtered;
    EXPECT_GE(found_coded + 25, found_plain) << filtered;
  }
}

// What walks that take turns find is what each finds alone: none uses the bits, the marks or the
// candidates of another.
TEST_P(RankedBitCodesTest, SeveralQueriesAtOnceAreAnsweredAsOneByOne) {
  const TempDirectory directory;
  const std::uint32_t dim = GetParam();
  const std::vector<float> vectors = embeddings(3000, dim);
  const auto segment =
      make_segment(directory.file("segment"), vectors, dim, {.bit_codes = true, .threads = 1});
  Bitmap accepted(segment->row_count());
  for (std::uint32_t slot = 0; slot < segment->row_count(); slot += 3) accepted.set(slot);
  std::vector<PreparedQuery> queries;
  for (std::size_t i = 0; i < kWalksAtOnce; ++i) {
    queries.emplace_back(std::span(vectors).subspan(i * 700 * dim, dim), Space::cosine);
  }
  for (const RowSelection& selection : {RowSelection{}, RowSelection{.accepted = &accepted}}) {
    for (std::size_t count = 2; count <= queries.size(); ++count) {
      const auto some = std::span<const PreparedQuery>(queries).first(count);
      SearchCounts together;
      SearchCounts alone;
      const auto found = search_graph(*segment, some, 10, 60, selection, &together);
      ASSERT_EQ(found.size(), count);
      for (std::size_t i = 0; i < count; ++i) {
        EXPECT_EQ(found[i].size(), 10U);
        EXPECT_EQ(found[i], search_graph(*segment, some[i], 10, 60, selection, &alone)) << i;
      }
      EXPECT_GT(together.estimated, 0U);
      EXPECT_EQ(together.estimated, alone.estimated);
      EXPECT_EQ(together.ranked, alone.ranked);
      EXPECT_EQ(together.compared, alone.compared);
    }
  }
}

// Every row is estimated; what may be near is ranked by the longer codes, and the best of that
// compared exactly.
TEST_P(RankedBitCodesTest, FlatSearchGoesFromBitsToCodesToVectors) {
  const TempDirectory directory;
  const std::uint32_t dim = GetParam();
  const std::size_t count = 6000;
  const std::vector<float> vectors = embeddings(count, dim);
  const auto segment =
      make_segment(directory.file("segment"), vectors, dim, {.bit_codes = true, .graph = false});
  Bitmap dead(count);
  Bitmap accepted(count);
  for (std::uint32_t slot = 0; slot < count; ++slot) {
    if (slot % 5 == 0) dead.set(slot);
    if (slot % 3 == 0) accepted.set(slot);
  }
  const std::uint32_t k = 10;
  for (const RowSelection& selection :
       {RowSelection{}, RowSelection{.dead = &dead, .accepted = &accepted}}) {
    std::size_t selected = 0;
    for (std::uint32_t slot = 0; slot < count; ++slot) selected += selection.takes(slot) ? 1 : 0;
    std::size_t found_by_codes = 0;
    for (std::size_t i = 0; i < 50; ++i) {
      const PreparedQuery query({vectors.data() + i * 119 * dim, dim}, Space::cosine);
      const auto truth = search_flat(*segment, query, k, true, selection);
      SearchCounts counts;
      const auto found = search_flat(*segment, query, k, false, selection, &counts);
      EXPECT_EQ(found.size(), k);
      EXPECT_EQ(counts.estimated, selected);
      EXPECT_EQ(counts.ranked, kFlatBitFactor * k + kFlatBitExtra);
      EXPECT_EQ(counts.compared, kFlatRerankFactor * k + kFlatRerankExtra);
      EXPECT_TRUE(std::is_sorted(found.begin(), found.end()));
      found_by_codes += static_cast<std::size_t>(std::ranges::count_if(found, [&](const auto& row) {
        return std::ranges::find(truth, row) != truth.end();  // the distance, too
      }));
    }
    EXPECT_GE(found_by_codes, 490U);
    // When the codes leave nobody out, nobody is lost.
    const PreparedQuery query({vectors.data(), dim}, Space::cosine);
    EXPECT_EQ(search_flat(*segment, query, count, false, selection),
              search_flat(*segment, query, count, true, selection));
  }
}

// R8: whatever the bytes, a search ends, and what it gives has its exact distance.
TEST_P(RankedBitCodesTest, DamagedOnesCostRecallAndNothingElse) {
  const TempDirectory directory;
  const std::uint32_t dim = GetParam();
  const std::vector<float> vectors = embeddings(3000, dim);
  const std::string path = directory.file("segment");
  const auto sound = make_segment(path, vectors, dim, {.bit_codes = true});
  const std::string bytes = read_whole_file(path);
  std::mt19937_64 random(7);
  for (const SectionEntry& section : sound->sections()) {
    if (section.kind < static_cast<std::uint32_t>(SectionKind::bit_directions)) continue;
    for (const bool ones : {false, true}) {
      std::string damaged = bytes;
      for (std::size_t i = 0; i < section.bytes; ++i) {
        damaged[section.offset + i] = ones ? '\xFF' : static_cast<char>(random());
      }
      seal_segment(damaged);
      write_whole_file(directory.file("damaged"), damaged);
      const auto segment = Segment::open(posix_file_system(), directory.file("damaged"));
      for (std::size_t i = 0; i < 20; ++i) {
        const PreparedQuery query({vectors.data() + i * dim, dim}, Space::cosine);
        const auto truth = search_flat(*segment, query, 3000, true, {});
        for (const Neighbour& found : search_graph(*segment, query, 10, 50, {})) {
          EXPECT_NE(std::ranges::find(truth, found), truth.end());
        }
      }
    }
  }
}

// From a load to a repair: segments large enough have them, check compares them, repair makes them
// anew (R9).
TEST(BitCodesTest, AStoreMakesChecksAndRepairsThem) {
  const TempDirectory directory;
  constexpr std::size_t kDim = 384;
  std::string path;
  const auto is_sound_with_codes = [&] {
    Store store = Store::open(directory.path());
    if (!is_sound(store)) return false;
    const auto segments = store.collection("many").info().segments;
    path = directory.path() + "/segments/" + segments.at(0).file;
    if (segments.size() != 1) return false;
    const auto segment = Segment::open(posix_file_system(), path);
    return segment->has_bit_codes() && segment->has_int4_codes();
  };
  {
    Store store = Store::open(directory.path());
    Collection many = store.create_collection("many", {.m = 4, .ef_construction = 10});
    VectorSource source(test_records(kBitCodesMinRows, kDim), 5000);
    many.load(source);
  }
  ASSERT_TRUE(is_sound_with_codes());
  for (const std::string section : {"codes_1bit", "codes_int4"}) {
    std::string bytes = read_whole_file(path);
    const auto segment = Segment::open(posix_file_system(), path);
    const std::byte* code =
        section == "codes_1bit" ? segment->bit_code(17) : segment->int4_code(17);
    bytes[static_cast<std::size_t>(code - segment->file().bytes().data()) + 9] ^= 1;
    write_whole_file(path, bytes);
    {
      Store store = Store::open(directory.path());
      const CheckResult result = store.check(true);
      ASSERT_FALSE(result.problems.empty());
      EXPECT_NE(result.problems[0].message.find(section), std::string::npos)
          << result.problems[0].message;
      store.repair();
    }
    EXPECT_TRUE(is_sound_with_codes()) << section;
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/build_rows.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "tests/engine/sample_segment.h"

namespace vkb {
namespace {

constexpr Space kSpaces[] = {Space::cosine, Space::l2, Space::ip};
constexpr std::uint32_t kDim = 160;

std::vector<std::uint32_t> up_to(std::uint32_t begin, std::uint32_t end) {
  std::vector<std::uint32_t> rows(end - begin);
  std::iota(rows.begin(), rows.end(), begin);
  return rows;
}

// The int8 codes of some vectors.
class Codes {
 public:
  Codes(Space space, std::uint32_t count) {
    const std::vector<float> vectors = clustered_vectors(count, kDim, 1);
    for (std::uint32_t row = 0; row < count; ++row) {
      const auto vector = std::span(vectors).subspan(std::size_t{row} * kDim, kDim);
      codes_.emplace_back(code_bytes(kDim));
      encode_int8(vector, norm_of(vector), space, codes_.back().data());
    }
  }
  const std::byte* operator[](std::uint32_t row) const { return codes_[row].data(); }

 private:
  std::vector<std::vector<std::byte>> codes_;
};

TEST(BuildRowsTest, RowsAreKeptWhenRoomIsMade) {
  for (const Space space : kSpaces) {
    const Codes codes(space, 300);
    BuildRows rows(space, kDim);
    BitQuery unused;
    rows.grow(100);
    for (std::uint32_t row = 0; row < 100; ++row) rows.put(row, codes[row], unused);
    rows.grow(300);
    for (std::uint32_t row = 100; row < 300; ++row) rows.put(row, codes[row], unused);
    EXPECT_FALSE(rows.has_bits());
    const std::vector<std::uint32_t> others = {299, 0, 17, 100, 17};
    std::vector<std::uint32_t> met;
    CodeDistances(rows, 7).each(others, [&](std::uint32_t other, float distance) {
      met.push_back(other);
      EXPECT_EQ(distance, code_distance(space, codes[7], codes[other], kDim, kernels()));
    });
    EXPECT_EQ(met, others);
    for (std::uint32_t row = 0; row < 300; ++row) {
      EXPECT_EQ(std::memcmp(rows.code(row), codes[row], code_bytes(kDim)), 0) << row;
    }
  }
}

// Rows from before there were bits and those from after have them by the same projection, and the
// query that put() made ready is that row's.
TEST(BuildRowsTest, AllRowsGetBitsOnceThereIsAProjection) {
  for (const Space space : kSpaces) {
    const Codes codes(space, 300);
    BuildRows rows(space, kDim);
    BitQuery query;
    rows.grow(200);
    for (std::uint32_t row = 0; row < 200; ++row) rows.put(row, codes[row], query);
    auto fitted = rows.fit(up_to(0, 200));
    const BitProjection projection = *fitted;
    rows.use_bits(std::move(fitted), up_to(0, 200));
    ASSERT_TRUE(rows.has_bits());
    rows.grow(300);
    for (std::uint32_t row = 200; row < 300; ++row) rows.put(row, codes[row], query);

    const BitProjector projector(projection.directions, projection.centre, kDim);
    std::array<std::byte, kBitCodeBytes> expected;
    for (std::uint32_t row = 0; row < 300; ++row) {
      projector.encode(space, codes[row], expected.data());
      EXPECT_EQ(std::memcmp(rows.bit_code(row), expected.data(), kBitCodeBytes), 0) << row;
    }
    BitQuery last;
    last.prepare(projector, codes[299]);
    std::uint32_t met = 0;
    // More than one call of estimate() takes.
    BitDistances(rows, query).each(up_to(0, 300), [&](std::uint32_t other, float distance) {
      EXPECT_EQ(other, met++);
      float estimate = 0;
      last.estimate(rows.bit_code(0), {&other, 1}, &estimate, kernels());
      EXPECT_EQ(distance, estimate) << other;
    });
    EXPECT_EQ(met, 300U);
  }
}

TEST(BuildRowsTest, ClearedRowsBeginAnew) {
  const Codes codes(Space::l2, 60);
  BuildRows rows(Space::l2, kDim);
  BitQuery query;
  for (int turn = 0; turn < 2; ++turn) {
    rows.grow(60);
    EXPECT_FALSE(rows.has_bits());
    for (std::uint32_t row = 0; row < 60; ++row) rows.put(row, codes[59 - row], query);
    EXPECT_EQ(rows.distance(0, 59), code_distance(Space::l2, codes[59], codes[0], kDim, kernels()));
    rows.use_bits(rows.fit(up_to(0, 60)), up_to(0, 60));
    rows.clear();
  }
}

}  // namespace
}  // namespace vkb

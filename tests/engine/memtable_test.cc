// SPDX-License-Identifier: Apache-2.0
#include "engine/memtable.h"

#include <gtest/gtest.h>

#include "tests/support/test_records.h"

namespace vkb {
namespace {

std::vector<std::uint64_t> ids_of(const std::vector<Neighbour>& neighbours) {
  std::vector<std::uint64_t> ids;
  for (const Neighbour& neighbour : neighbours) ids.push_back(neighbour.row_id);
  return ids;
}

std::vector<float> at(float x) { return {x, 0}; }

TEST(Memtable, FindsTheNearestLiveRows) {
  Memtable memtable(2);
  memtable.apply(1, 10, at(5));
  memtable.apply(2, 11, at(1));
  memtable.apply(3, 12, at(3));
  const PreparedQuery query(at(0), Space::l2);
  const MemtableView view = memtable.view(3);
  EXPECT_EQ(ids_of(view.search(query, 2, nullptr)), (std::vector<std::uint64_t>{11, 12}));
  EXPECT_EQ(ids_of(view.search(query, 9, nullptr)), (std::vector<std::uint64_t>{11, 12, 10}));
  Selection accepted{{10, 12}};
  EXPECT_EQ(ids_of(view.search(query, 1, &accepted)), (std::vector<std::uint64_t>{12}));
  accepted.complement = true;
  EXPECT_EQ(ids_of(view.search(query, 9, &accepted)), (std::vector<std::uint64_t>{11}));
  EXPECT_EQ(view.live_count(), 3u);
}

TEST(Memtable, EqualDistancesAreOrderedByRow) {
  Memtable memtable(2);
  for (std::int64_t row : {9, 3, 7, 5}) memtable.apply(row, row, at(1));
  const PreparedQuery query(at(0), Space::l2);
  EXPECT_EQ(ids_of(memtable.view(9).search(query, 2, nullptr)), (std::vector<std::uint64_t>{3, 5}));
}

// R7: a view goes on showing what was there when it was made.
TEST(Memtable, AnOlderViewDoesNotSeeWhatCameLater) {
  Memtable memtable(2);
  memtable.apply(1, 10, at(5));
  const MemtableView first = memtable.view(1);
  memtable.apply(2, 10, at(7));
  const MemtableView second = memtable.view(2);
  memtable.apply(3, 10, {});
  memtable.apply(4, 11, at(1));
  const MemtableView third = memtable.view(4);
  ASSERT_EQ(first.find(10), 0u);
  EXPECT_EQ(first.vector(0)[0], 5);
  ASSERT_EQ(second.find(10), 1u);
  EXPECT_EQ(second.vector(1)[0], 7);
  EXPECT_EQ(third.find(10), std::nullopt);
  EXPECT_EQ(first.find(11), std::nullopt);
  EXPECT_EQ(first.live_count(), 1u);
  EXPECT_EQ(second.live_count(), 1u);
  EXPECT_EQ(third.live_count(), 1u);
}

TEST(Memtable, KeepsVectorsOfManyBlocksBitForBit) {
  constexpr std::size_t kRows = 3 * MemtableView::kBlockRows + 7;
  TestRandom random(1);
  Memtable memtable(5);
  std::vector<std::vector<float>> vectors;
  for (std::size_t i = 0; i < kRows; ++i) {
    vectors.push_back(random_vector(random, 5));
    memtable.apply(static_cast<std::int64_t>(i + 1), static_cast<std::int64_t>(i), vectors.back());
  }
  const MemtableView view = memtable.view(kRows);
  ASSERT_EQ(view.entry_count(), kRows);
  for (std::size_t i = 0; i < kRows; ++i) {
    const auto vector = view.vector(i);
    EXPECT_TRUE(same_bits(vectors[i], {vector.begin(), vector.end()}));
  }
}

TEST(Memtable, RemovingAnUnknownRowChangesNothing) {
  Memtable memtable(2);
  memtable.apply(1, 10, {});
  EXPECT_EQ(memtable.view(1).entry_count(), 0u);
  EXPECT_TRUE(memtable.view(1).search(PreparedQuery(at(0), Space::ip), 3, nullptr).empty());
}

}  // namespace
}  // namespace vkb

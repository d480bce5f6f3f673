// SPDX-License-Identifier: Apache-2.0
#include "engine/candidates.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace vkb {
namespace {

std::vector<std::uint32_t> slots_of(const CandidatePool& pool, std::size_t count) {
  std::vector<std::uint32_t> slots;
  pool.nearest_slots(count, slots);
  return slots;
}

TEST(CandidatePoolTest, KeepsTheNearestInOrder) {
  CandidatePool pool;
  pool.reset(3);
  for (const Candidate candidate : {Candidate{5, 0}, {3, 1}, {9, 2}, {1, 3}, {7, 4}, {3, 5}}) {
    pool.offer(candidate);
  }
  EXPECT_TRUE(pool.full());
  EXPECT_EQ(slots_of(pool, 10), (std::vector<std::uint32_t>{3, 1, 5}));
  EXPECT_EQ(slots_of(pool, 2), (std::vector<std::uint32_t>{3, 1}));
  EXPECT_EQ(pool.size(), 3U);
  std::vector<Candidate> nearest;
  pool.nearest(nearest);
  ASSERT_EQ(nearest.size(), 3U);
  EXPECT_EQ(nearest[0].slot, 3U);
  EXPECT_EQ(nearest[0].distance, 1);
  EXPECT_EQ(nearest[2].slot, 5U);
  EXPECT_EQ(nearest[2].distance, 3);
  EXPECT_FALSE(pool.admits(3));
  EXPECT_TRUE(pool.admits(2.5));
}

TEST(CandidatePoolTest, HandsOutTheNearestNotTakenEvenWhenItComesLate) {
  CandidatePool pool;
  pool.reset(4);
  EXPECT_FALSE(pool.next().has_value());
  pool.offer({2, 20});
  pool.offer({4, 40});
  EXPECT_EQ(pool.next(), 20U);
  pool.take();
  EXPECT_EQ(pool.next(), 40U);
  pool.offer({1, 10});
  EXPECT_EQ(pool.next(), 10U);
  pool.take();
  EXPECT_EQ(pool.next(), 40U);
  pool.take();
  EXPECT_FALSE(pool.next().has_value());
}

// Against a plain set, with many equal distances.
TEST(CandidatePoolTest, ExpandsLikeAnUnboundedQueueCutToItsCapacity) {
  std::mt19937_64 random(1);
  for (const std::size_t capacity : {1, 2, 7, 64}) {
    CandidatePool pool;
    pool.reset(capacity);
    std::set<std::pair<float, std::uint32_t>> kept;
    std::set<std::uint32_t> taken;
    for (std::uint32_t slot = 0; slot < 500; ++slot) {
      const auto distance = static_cast<float>(random() % 50);
      pool.offer({distance, slot});
      if (kept.size() < capacity || distance < kept.rbegin()->first) kept.insert({distance, slot});
      if (kept.size() > capacity) kept.erase(std::prev(kept.end()));
      if (random() % 3 != 0) continue;
      std::optional<std::uint32_t> expected;
      for (const auto& [unused, candidate] : kept) {
        if (taken.contains(candidate)) continue;
        expected = candidate;
        break;
      }
      ASSERT_EQ(pool.next(), expected);
      if (!expected) continue;
      pool.take();
      taken.insert(*expected);
    }
  }
}

TEST(VisitedMarksTest, EachWalkBeginsAfresh) {
  VisitedMarks visited;
  for (int walk = 0; walk < 600; ++walk) {  // the marks start over after 255
    const std::size_t rows = walk % 7 == 0 ? 20 : 10;
    visited.begin(rows);
    for (std::uint32_t slot = walk % 2; slot < rows; slot += 2) {
      ASSERT_TRUE(visited.first_visit(slot));
      ASSERT_FALSE(visited.first_visit(slot));
    }
  }
}

TEST(SmallestTest, KeepsTheSmallest) {
  Smallest<Candidate> smallest(3);
  EXPECT_TRUE(smallest.admits(1e30F));
  for (const Candidate candidate : {Candidate{5, 0}, {1, 4}, {4, 2}, {1, 3}, {9, 4}, {2, 5}}) {
    smallest.offer(candidate);
  }
  EXPECT_TRUE(smallest.admits(2));  // another value at the same distance may be smaller
  EXPECT_FALSE(smallest.admits(3));
  std::vector<std::uint32_t> slots;
  for (const Candidate& candidate : smallest.take_sorted()) slots.push_back(candidate.slot);
  EXPECT_EQ(slots, (std::vector<std::uint32_t>{3, 4, 5}));
}

}  // namespace
}  // namespace vkb

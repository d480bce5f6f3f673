// SPDX-License-Identifier: Apache-2.0
#include "engine/link_lists.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <latch>
#include <thread>
#include <vector>

namespace vkb {
namespace {

std::vector<std::uint32_t> met(const LinkLists& lists, std::uint32_t node, std::uint32_t level) {
  std::vector<std::uint32_t> nodes;
  lists.for_each(node, level, [&](std::uint32_t neighbour) { nodes.push_back(neighbour); });
  return nodes;
}

TEST(LinkListsTest, ListsAreWrittenFromAPlaceOn) {
  LinkLists lists(3);
  lists.grow(10);
  EXPECT_FALSE(lists.has(4));
  lists.add(4);
  EXPECT_TRUE(lists.has(4));
  EXPECT_EQ(met(lists, 4, 0), std::vector<std::uint32_t>{});
  lists.write(4, 0, 0, std::array{7U, 8U, 9U});
  lists.write(4, 0, 3, std::array{1U});
  EXPECT_EQ(met(lists, 4, 0), (std::vector<std::uint32_t>{7, 8, 9, 1}));
  lists.write(4, 0, 1, std::array{2U});
  EXPECT_EQ(met(lists, 4, 0), (std::vector<std::uint32_t>{7, 2}));
  EXPECT_EQ(lists.neighbours(4, 0).size(), 2U);
  EXPECT_EQ(lists.list(4, 0).size(), 6U);
}

// Malkov & Yashunin 2018, alg. 1: one node in m reaches each next level; and growing in steps gives
// the levels and lists that growing at once gives.
TEST(LinkListsTest, LevelsAreAFunctionOfTheOrdinal) {
  const std::uint32_t count = 40'000;
  LinkLists once(4);
  once.grow(count);
  LinkLists steps(4);
  std::array<std::uint32_t, kMaxLevels> level_count{};
  for (const std::uint64_t capacity : {1U, 100U, 100U, 30'000U, count}) {
    steps.grow(capacity);
    EXPECT_EQ(steps.capacity(), capacity);
  }
  for (std::uint32_t node = 0; node < count; ++node) {
    EXPECT_EQ(once.level(node), steps.level(node));
    steps.add(node);
    for (std::uint32_t level = 0; level <= steps.level(node); ++level) {
      ++level_count[level];
      steps.write(node, level, 0, std::array{node + level});
    }
  }
  for (std::uint32_t level = 1; level < 4; ++level) {
    const double expected = count * std::pow(0.25, level);
    EXPECT_NEAR(level_count[level], expected, 5 * std::sqrt(expected)) << level;
  }
  for (std::uint32_t node = 0; node < count; ++node) {  // no two lists share a place
    for (std::uint32_t level = 0; level <= steps.level(node); ++level) {
      EXPECT_EQ(met(steps, node, level), std::vector<std::uint32_t>{node + level});
    }
  }
}

// Appending finds the end and writes there: without the lock two writers find the same end, and one
// of their nodes is lost. The list is long and the writers begin together, so that they meet.
TEST(LinkListsTest, WritersWaitForEachOtherAndReadersForNobody) {
  constexpr std::uint32_t kWriters = 4;
  constexpr std::uint32_t kEach = 256;
  constexpr std::uint32_t kAll = kWriters * kEach;
  for (int round = 0; round < 80; ++round) {
    LinkLists lists(kAll / 2);  // a list at level 0 has room for all of them
    lists.grow(1);
    lists.add(0);
    std::atomic<bool> stop{false};
    std::jthread reader([&] {
      while (!stop) {
        for (const std::uint32_t neighbour : met(lists, 0, 0)) EXPECT_LT(neighbour, kAll);
      }
    });
    {
      std::latch begin(kWriters);
      std::vector<std::jthread> writers;
      for (std::uint32_t writer = 0; writer < kWriters; ++writer) {
        writers.emplace_back([&lists, &begin, writer] {
          begin.arrive_and_wait();
          for (std::uint32_t i = 0; i < kEach; ++i) {
            const LinkLists::Lock lock(lists, 0);
            lists.write(0, 0, lists.neighbours(0, 0).size(), std::array{kEach * writer + i});
          }
        });
      }
    }
    stop = true;
    std::vector<std::uint32_t> all = met(lists, 0, 0);
    std::ranges::sort(all);
    ASSERT_EQ(all.size(), kAll) << round;
    for (std::uint32_t i = 0; i < kAll; ++i) ASSERT_EQ(all[i], i) << round;
  }
}

}  // namespace
}  // namespace vkb

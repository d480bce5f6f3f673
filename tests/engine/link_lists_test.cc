// SPDX-License-Identifier: Apache-2.0
#include "engine/link_lists.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
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

TEST(LinkListsTest, WritersWaitForEachOtherAndReadersForNobody) {
  LinkLists lists(16);
  lists.grow(1);
  lists.add(0);
  std::atomic<bool> stop{false};
  std::jthread reader([&] {
    while (!stop) {
      for (const std::uint32_t neighbour : met(lists, 0, 0)) EXPECT_LT(neighbour, 32U);
    }
  });
  {
    std::vector<std::jthread> writers;
    for (std::uint32_t thread = 0; thread < 4; ++thread) {
      writers.emplace_back([&lists, thread] {
        for (std::uint32_t i = 0; i < 8; ++i) {
          const LinkLists::Lock lock(lists, 0);
          lists.write(0, 0, lists.neighbours(0, 0).size(), std::array{8 * thread + i});
        }
      });
    }
  }
  stop = true;
  std::vector<std::uint32_t> all = met(lists, 0, 0);
  std::ranges::sort(all);
  ASSERT_EQ(all.size(), 32U);
  for (std::uint32_t i = 0; i < 32; ++i) EXPECT_EQ(all[i], i);
}

}  // namespace
}  // namespace vkb

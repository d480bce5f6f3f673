// SPDX-License-Identifier: Apache-2.0
#include "engine/graph_export.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <span>
#include <vector>

#include "engine/codes.h"
#include "engine/tuning.h"

namespace vkb {
namespace {

using Nodes = std::vector<std::uint32_t>;

Nodes named_by(LinkLists& lists, std::uint32_t node, std::uint32_t level = 0) {
  const auto neighbours = lists.neighbours(node, level);
  return {neighbours.begin(), neighbours.end()};
}

// Nodes 0 .. count - 1, which name nobody yet.
void add_nodes(LinkLists& lists, std::uint32_t count) {
  lists.grow(count);
  for (std::uint32_t node = 0; node < count; ++node) lists.add(node);
}

// Nodes at these places on a line, and what each names at level 0, in lists of four places.
class Line {
 public:
  Line(const std::vector<float>& places, const std::vector<Nodes>& named) {
    add_nodes(lists_, static_cast<std::uint32_t>(named.size()));
    rows_.grow(places.size());
    BitQuery unused;
    for (std::uint32_t node = 0; node < places.size(); ++node) {
      std::vector<std::byte> code(code_bytes(1));
      encode_int8({&places[node], 1}, norm_of({&places[node], 1}), Space::l2, code.data());
      rows_.put(node, code.data(), unused);
      lists_.write(node, 0, 0, named[node]);
    }
  }
  // What each names after node 0 was to reach all.
  std::vector<Nodes> connected() {
    const auto count = static_cast<std::uint32_t>(lists_.capacity());
    connect_unreached(lists_, rows_, 0, count);
    std::vector<Nodes> named;
    for (std::uint32_t node = 0; node < count; ++node) named.push_back(named_by(lists_, node));
    return named;
  }

 private:
  LinkLists lists_{2};
  BuildRows rows_{Space::l2, 1};
};

TEST(ConnectUnreachedTest, NothingIsAddedWhereAllAreReached) {
  const std::vector<Nodes> named = {{1}, {2}, {0}};
  EXPECT_EQ(Line({1, 2, 3}, named).connected(), named);
}

// Among its neighbours and theirs: 3 knows 1 only, and 2 is nearer to it than 0 and 1 are.
TEST(ConnectUnreachedTest, TheNearestNodeAroundNamesTheOneNobodyNames) {
  EXPECT_EQ(Line({10, 20, 30, 31}, {{1}, {0, 2}, {1}, {1}}).connected(),
            (std::vector<Nodes>{{1}, {0, 2}, {1, 3}, {1}}));
}

TEST(ConnectUnreachedTest, AFullListIsPassedOver) {
  EXPECT_EQ(Line({10, 20, 30, 40, 50, 51}, {{4, 1}, {0}, {1}, {2}, {0, 1, 2, 3}, {4}}).connected(),
            (std::vector<Nodes>{{4, 1}, {0}, {1}, {2, 5}, {0, 1, 2, 3}, {4}}));
}

TEST(ConnectUnreachedTest, ANodeThatKnowsFullListsOnlyStaysUnnamed) {
  const std::vector<Nodes> named = {
      {1, 2, 3, 4}, {0, 2, 3, 4}, {0, 1, 3, 4}, {0, 1, 2, 4}, {0, 1, 2, 3}, {0, 4}, {}};
  EXPECT_EQ(Line({1, 2, 3, 4, 5, 6, 7}, named).connected(), named);
}

// 1 knows 2, which knows 3, which knows 0: when 1 has its turn, nobody within two steps of it is
// reached. 2 finds 0, and brings 3 along; the second round finds 2 for 1.
TEST(ConnectUnreachedTest, AChainTakesASecondRound) {
  EXPECT_EQ(Line({40, 10, 20, 30}, {{}, {2}, {3}, {0}}).connected(),
            (std::vector<Nodes>{{2}, {2}, {3, 1}, {0}}));
}

// With so many places a list no node below a hundred reaches level 1.
constexpr std::uint32_t kFlatM = 4096;

Nodes up_to(std::uint32_t begin, std::uint32_t end) {
  Nodes nodes(end - begin);
  std::iota(nodes.begin(), nodes.end(), begin);
  return nodes;
}

TEST(ExportGraphTest, AGroupGrowsByTheNodeThatMostOfItNames) {
  LinkLists lists(kFlatM);
  add_nodes(lists, 8);
  lists.write(3, 0, 0, Nodes{7, 6, 5});
  lists.write(5, 0, 0, Nodes{7, 4, 3});
  lists.write(7, 0, 0, Nodes{3, 5});
  const Graph graph = export_graph(lists, 3, 8);
  // 5 is the lowest that 3 names; with it, two name 7; then 4 and 6 have one each; the others none.
  EXPECT_EQ(graph.order, (Nodes{3, 5, 7, 4, 6, 0, 1, 2}));
  const auto links = [&](std::size_t slot) {
    const std::span list = std::span(graph.links0).subspan(slot * lists.width(0), lists.width(0));
    const auto end = std::ranges::find(list, kNoNeighbour);
    EXPECT_TRUE(std::all_of(end, list.end(), [](auto link) { return link == kNoNeighbour; }));
    return Nodes(list.begin(), end);
  };
  ASSERT_EQ(graph.links0.size(), 8U * lists.width(0));
  EXPECT_EQ(links(0), (Nodes{2, 4, 1}));
  EXPECT_EQ(links(1), (Nodes{2, 3, 0}));
  EXPECT_EQ(links(2), (Nodes{0, 1}));
  for (std::size_t slot = 3; slot < 8; ++slot) EXPECT_EQ(links(slot), Nodes{});
  EXPECT_EQ(graph.m, lists.m());
  EXPECT_EQ(graph.max_level, 0U);
  EXPECT_EQ(graph.level_count[0], 8U);
  EXPECT_TRUE(graph.upper_slots.empty());
  EXPECT_TRUE(graph.upper_links.empty());
}

// Node 0 and those that it names, from 2 on, fill a group. The next begins with the one that was to
// come next, not with 1, and knows nothing of the first: that node 0 names kNext + 4, too, does not
// put it before kNext + 2, and kNext + 1, which only node 0 names, comes after both.
TEST(ExportGraphTest, AGroupEndsWhenItIsFull) {
  constexpr std::uint32_t kNext = kGraphGroup + 1;
  constexpr std::uint32_t kCount = kNext + 6;
  LinkLists lists(kFlatM);
  add_nodes(lists, kCount);
  Nodes named = up_to(2, kNext + 2);
  named.push_back(kNext + 4);
  lists.write(0, 0, 0, named);
  lists.write(kNext, 0, 0, Nodes{kNext + 4, kNext + 2});
  Nodes expected = {0};
  for (const std::uint32_t node : up_to(2, kNext + 1)) expected.push_back(node);
  for (const std::uint32_t node : {kNext + 2, kNext + 4, 1U, kNext + 1, kNext + 3, kNext + 5}) {
    expected.push_back(node);
  }
  const Graph graph = export_graph(lists, 0, kCount);
  EXPECT_EQ(graph.order, expected);
  EXPECT_TRUE(graph.upper_slots.empty());
}

// Levels are a function of the ordinal; each node names the two that follow it at its levels.
TEST(ExportGraphTest, UpperLevelsAreInOneOrderFromTheEntryPointOn) {
  constexpr std::uint32_t kCount = 200;
  LinkLists lists(2);
  add_nodes(lists, kCount);
  std::vector<Nodes> of_level(kMaxLevels);
  for (std::uint32_t node = 0; node < kCount; ++node) {
    for (std::uint32_t level = 0; level <= lists.level(node); ++level) {
      of_level[level].push_back(node);
    }
  }
  std::uint32_t top = 0;
  for (std::uint32_t level = 0; level < kMaxLevels && !of_level[level].empty(); ++level) {
    top = level;
    const Nodes& nodes = of_level[level];
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      Nodes next;
      for (std::size_t j = i + 1; j < std::min(i + 3, nodes.size()); ++j) next.push_back(nodes[j]);
      lists.write(nodes[i], level, 0, next);
    }
  }
  ASSERT_GE(top, 3U);
  const std::uint32_t entry = of_level[top].front();

  const Graph graph = export_graph(lists, entry, kCount);
  EXPECT_EQ(graph.order.front(), entry);
  Nodes all = graph.order;
  std::ranges::sort(all);
  EXPECT_EQ(all, up_to(0, kCount));
  EXPECT_EQ(graph.max_level, top);
  ASSERT_EQ(graph.upper_slots.size(), of_level[1].size());
  EXPECT_EQ(graph.upper_slots.front(), 0U);
  const auto node_at = [&](std::uint32_t position) {
    return graph.order[graph.upper_slots[position]];
  };
  std::size_t begin = 0;
  for (std::uint32_t level = 1; level < kMaxLevels; ++level) {
    ASSERT_EQ(graph.level_count[level], of_level[level].size());
    for (std::uint32_t position = 0; position < graph.level_count[level]; ++position) {
      EXPECT_GE(lists.level(node_at(position)), level);
      const std::span list = std::span(graph.upper_links).subspan(begin, 2);
      begin += 2;
      Nodes named;
      for (const std::uint32_t link : list) {
        if (link != kNoNeighbour) named.push_back(node_at(link));
      }
      EXPECT_EQ(named, named_by(lists, node_at(position), level));
    }
  }
  EXPECT_EQ(begin, graph.upper_links.size());
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/hnsw_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <set>
#include <thread>

#include "engine/codes.h"
#include "engine/tuning.h"
#include "tests/engine/sample_segment.h"

namespace vkb {
namespace {

std::vector<std::byte> code_of(std::span<const float> vector, Space space) {
  std::vector<std::byte> code(code_bytes(vector.size()));
  encode_int8(vector, norm_of(vector), space, code.data());
  return code;
}

std::span<const std::uint32_t> links_of(const Graph& graph, std::size_t slot) {
  const std::size_t width = 2 * std::size_t{graph.m};
  const auto row = std::span(graph.links0).subspan(slot * width, width);
  return row.first(static_cast<std::size_t>(std::ranges::find(row, kNoNeighbour) - row.begin()));
}

// What every graph must be, whatever the data.
void expect_sound(const Graph& graph, std::size_t count, std::uint32_t m) {
  ASSERT_EQ(graph.m, m);
  ASSERT_EQ(graph.order.size(), count);
  ASSERT_EQ(graph.links0.size(), count * 2 * m);
  auto ordinals = graph.order;
  std::ranges::sort(ordinals);
  for (std::uint32_t i = 0; i < count; ++i) ASSERT_EQ(ordinals[i], i);

  for (std::size_t slot = 0; slot < count; ++slot) {
    const auto links = links_of(graph, slot);
    const std::set<std::uint32_t> distinct(links.begin(), links.end());
    EXPECT_EQ(distinct.size(), links.size());
    EXPECT_FALSE(distinct.contains(static_cast<std::uint32_t>(slot)));
    EXPECT_TRUE(links.empty() || *distinct.rbegin() < count);
    for (std::size_t i = links.size(); i < 2 * m; ++i) {
      ASSERT_EQ(graph.links0[slot * 2 * m + i], kNoNeighbour);
    }
  }

  EXPECT_LT(graph.max_level, kMaxLevels);
  EXPECT_EQ(graph.level_count[0], count);
  EXPECT_EQ(graph.level_count[1], graph.upper_slots.size());
  EXPECT_TRUE(graph.upper_slots.empty() || graph.upper_slots.front() == 0);
  std::size_t at = 0;
  for (std::uint32_t level = 1; level < kMaxLevels; ++level) {
    EXPECT_EQ(graph.level_count[level] > 0, level <= graph.max_level);
    EXPECT_LE(graph.level_count[level], graph.level_count[level - 1]);
    for (std::uint32_t position = 0; position < graph.level_count[level]; ++position, at += m) {
      bool ended = false;
      for (std::size_t i = 0; i < m; ++i) {
        const std::uint32_t link = graph.upper_links[at + i];
        ended = ended || link == kNoNeighbour;
        if (ended) {
          ASSERT_EQ(link, kNoNeighbour);
        } else {
          ASSERT_LT(link, graph.level_count[level]);
          ASSERT_NE(link, position);
        }
      }
    }
  }
  EXPECT_EQ(at, graph.upper_links.size());
}

// Slots in the order in which a breadth-first walk from slot 0 meets them.
std::vector<std::uint32_t> breadth_first(const Graph& graph) {
  std::vector<bool> seen(graph.order.size(), false);
  std::vector<std::uint32_t> queue{0};
  seen[0] = true;
  for (std::size_t next = 0; next < queue.size(); ++next) {
    for (const std::uint32_t link : links_of(graph, queue[next])) {
      if (seen[link]) continue;
      seen[link] = true;
      queue.push_back(link);
    }
  }
  return queue;
}

// Links between rows that share a page of one-bit codes when row `slot` is at place_of[slot].
std::size_t links_within_pages(const Graph& graph, const std::vector<std::uint32_t>& place_of) {
  constexpr std::uint32_t kPageRows = 64;
  std::size_t count = 0;
  for (std::uint32_t slot = 0; slot < graph.order.size(); ++slot) {
    for (const std::uint32_t link : links_of(graph, slot)) {
      count += place_of[slot] / kPageRows == place_of[link] / kPageRows ? 1 : 0;
    }
  }
  return count;
}

TEST(HnswBuilderTest, EmptyGraph) {
  HnswBuilder builder(Space::l2, 4, 16, 200, 0);
  EXPECT_EQ(builder.size(), 0U);
  const Graph graph = builder.finish();
  expect_sound(graph, 0, 16);
  EXPECT_EQ(graph.max_level, 0U);
}

TEST(HnswBuilderTest, OneNode) {
  const std::vector<float> vector{1, 2, 3};
  const Graph graph = build_graph(vector, 3, {.space = Space::cosine});
  expect_sound(graph, 1, 16);
  EXPECT_EQ(graph.order, std::vector<std::uint32_t>{0});
}

TEST(HnswBuilderTest, GraphIsSoundAndConnected) {
  for (const Space space : {Space::cosine, Space::l2, Space::ip}) {
    for (const std::uint32_t m : {2U, 5U, 16U}) {
      const auto vectors = clustered_vectors(1500, 12, 1);
      const Graph graph = build_graph(vectors, 12, {.space = space, .m = m, .ef_construction = 60});
      expect_sound(graph, 1500, m);
      const std::size_t reached = breadth_first(graph).size();
      EXPECT_GE(reached, m == 2 ? 1000U : 1500U) << m;  // at 2 most lists nearby are full
    }
  }
}

// At m = 2 a level has half the nodes of the one below, and ordinal 30,320 draws level 16.
TEST(HnswBuilderTest, LevelsStayWithinTheFormat) {
  const std::size_t count = 31000;
  const std::vector<float> vectors = clustered_vectors(count, 1, 2);
  const Graph graph =
      build_graph(vectors, 1, {.space = Space::l2, .m = 2, .ef_construction = 2, .threads = 2});
  expect_sound(graph, count, 2);
  EXPECT_EQ(graph.max_level, kMaxLevels - 1);
}

TEST(HnswBuilderTest, ManyThreadsBuildACompleteGraph) {
  const auto vectors = clustered_vectors(4000, 16, 3);
  const Graph alone = build_graph(vectors, 16, {.ef_construction = 60, .threads = 1});
  const Graph together = build_graph(vectors, 16, {.ef_construction = 60, .threads = 4});
  expect_sound(together, 4000, 16);
  EXPECT_EQ(breadth_first(together).size(), 4000U);
  EXPECT_EQ(together.level_count, alone.level_count);  // levels depend on ordinals only
}

// Twice as many as a breadth-first order has.
TEST(HnswBuilderTest, LinkedRowsShareMemory) {
  const Graph graph = build_graph(clustered_vectors(4000, 16, 3), 16, {.ef_construction = 60});
  std::vector<std::uint32_t> stored(graph.order.size());
  std::iota(stored.begin(), stored.end(), 0U);
  std::vector<std::uint32_t> by_breadth(graph.order.size());
  const std::vector<std::uint32_t> order = breadth_first(graph);
  for (std::uint32_t place = 0; place < order.size(); ++place) by_breadth[order[place]] = place;
  EXPECT_GT(links_within_pages(graph, stored), 2 * links_within_pages(graph, by_breadth));
}

TEST(HnswBuilderTest, OneThreadBuildsTheSameGraphEachTime) {
  const auto vectors = clustered_vectors(800, 8, 4);
  const Graph first = build_graph(vectors, 8, {.ef_construction = 40});
  const Graph second = build_graph(vectors, 8, {.ef_construction = 40});
  EXPECT_EQ(first.order, second.order);
  EXPECT_EQ(first.links0, second.links0);
  EXPECT_EQ(first.upper_slots, second.upper_slots);
  EXPECT_EQ(first.upper_links, second.upper_links);
}

// Enough rows that later ones are added by one-bit codes, and room for the last is made then.
Graph large_graph(std::span<const float> vectors, std::uint32_t dim, unsigned threads) {
  const auto count = static_cast<std::uint32_t>(vectors.size() / dim);
  HnswBuilder builder(Space::cosine, dim, 8, 24, kBuildBitRows + 500);
  std::atomic<std::uint32_t> next{0};
  const auto add_below = [&](std::uint32_t end) {
    const auto work = [&] {
      for (std::uint32_t i = next++; i < end; i = next++) {
        builder.add(i, code_of(vectors.subspan(i * dim, dim), Space::cosine).data());
      }
    };
    std::vector<std::jthread> helpers;
    for (unsigned i = 1; i < threads; ++i) helpers.emplace_back(work);
    work();
  };
  add_below(kBuildBitRows + 500);
  builder.reserve(count);
  next = kBuildBitRows + 500;
  add_below(count);
  return builder.finish();
}

TEST(HnswBuilderTest, LargeGraphsAreSoundAndTheSameEachTime) {
  const std::uint32_t dim = 128;
  const std::size_t count = kBuildBitRows + 2000;
  const auto vectors = clustered_vectors(count, dim, 6);
  const Graph first = large_graph(vectors, dim, 1);
  expect_sound(first, count, 8);
  const Graph second = large_graph(vectors, dim, 1);
  EXPECT_EQ(first.order, second.order);
  EXPECT_EQ(first.links0, second.links0);
  EXPECT_EQ(first.upper_links, second.upper_links);
  const Graph together = large_graph(vectors, dim, 4);
  expect_sound(together, count, 8);
  EXPECT_EQ(together.level_count, first.level_count);
}

TEST(HnswBuilderTest, EqualVectorsDoNoHarm) {
  const std::vector<float> vectors(500 * 4, 0.5F);
  for (const Space space : {Space::cosine, Space::l2, Space::ip}) {
    const Graph graph = build_graph(vectors, 4, {.space = space, .threads = 3});
    expect_sound(graph, 500, 16);
  }
}

TEST(HnswBuilderTest, GrowsKeepsCodesAndStartsAnew) {
  const std::uint32_t dim = 7;
  const auto vectors = clustered_vectors(300, dim, 5);
  const auto code = [&](std::uint32_t i) {
    return code_of(std::span(vectors).subspan(i * dim, dim), Space::l2);
  };
  HnswBuilder builder(Space::l2, dim, 16, 50, 100);
  for (int round = 0; round < 2; ++round) {
    builder.reserve(100);
    for (std::uint32_t i = 0; i < 100; ++i) builder.add(99 - i, code(99 - i).data());
    builder.reserve(300);
    EXPECT_EQ(builder.capacity(), 300U);
    builder.reserve(50);  // never shrinks
    EXPECT_EQ(builder.capacity(), 300U);
    for (std::uint32_t i = 100; i < 300; ++i) builder.add(i, code(i).data());
    EXPECT_EQ(builder.size(), 300U);
    expect_sound(builder.finish(), 300, 16);
    EXPECT_EQ(builder.size(), 0U);
    EXPECT_EQ(builder.capacity(), 0U);
  }
}

template <typename Work>
std::string message_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  return "no error";
}

TEST(HnswBuilderTest, MisuseIsAnError) {
  const auto code = code_of(std::vector<float>{1, 2}, Space::l2);
  HnswBuilder builder(Space::l2, 2, 16, 50, 5);
  EXPECT_NE(message_of([&] { builder.add(5, code.data()); }).find("beyond the capacity 5"),
            std::string::npos);
  EXPECT_NE(message_of([&] { builder.reserve(std::uint64_t{1} << 32); }).find("4294967294"),
            std::string::npos);
  builder.add(0, code.data());
  builder.add(3, code.data());
  EXPECT_NE(message_of([&] { builder.finish(); }).find("among them ordinal 3"), std::string::npos);
}

}  // namespace
}  // namespace vkb

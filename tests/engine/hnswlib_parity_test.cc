// SPDX-License-Identifier: Apache-2.0
//
// Our search against hnswlib's own, over the same graph and codes at the same ef; and our graph
// against hnswlib's own, over the same codes by the same search.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/codes.h"
#include "engine/search.h"
#include "tests/engine/hnswlib_codes.h"
#include "tests/engine/sample_segment.h"

namespace vkb {
namespace {

using Index = hnswlib::HierarchicalNSW<float>;

template <typename NodeOf>
void copy_links(Index& index, hnswlib::linklistsizeint* list, const std::uint32_t* links,
                std::uint32_t width, const NodeOf& node_of) {
  std::uint32_t count = 0;
  for (; count < width && links[count] != kNoNeighbour; ++count) {
    list[1 + count] = node_of(links[count]);
  }
  index.setListCount(list, static_cast<unsigned short>(count));
}

// Gives an empty index the graph of a segment; node numbers and labels are slots.
void fill(Index& index, const Segment& segment) {
  for (std::uint32_t slot = 0; slot < segment.row_count(); ++slot) {
    std::memset(index.get_linklist0(slot), 0, index.size_data_per_element_);
    std::memcpy(index.getDataByInternalId(slot), segment.code(slot), code_bytes(segment.dim()));
    index.setExternalLabel(slot, slot);
    copy_links(index, index.get_linklist0(slot), segment.links0(slot), segment.links0_width(),
               [](std::uint32_t neighbour) { return neighbour; });
    index.element_levels_[slot] = 0;
  }
  const SegmentHeader& header = segment.header();
  for (std::uint32_t level = 1; level <= header.max_level; ++level) {
    for (std::uint32_t position = 0; position < header.level_count[level]; ++position) {
      ++index.element_levels_[segment.upper_slots()[position]];
    }
  }
  for (const std::uint32_t slot : segment.upper_slots()) {
    const auto levels = static_cast<std::size_t>(index.element_levels_[slot]);
    // Freed by hnswlib.
    index.linkLists_[slot] =
        static_cast<char*>(std::calloc(levels + 1, index.size_links_per_element_));
  }
  for (std::uint32_t level = 1; level <= header.max_level; ++level) {
    for (std::uint32_t position = 0; position < header.level_count[level]; ++position) {
      copy_links(index,
                 index.get_linklist(segment.upper_slots()[position], static_cast<int>(level)),
                 segment.upper_links(level, position), header.m,
                 [&](std::uint32_t neighbour) { return segment.upper_slots()[neighbour]; });
    }
  }
  index.cur_element_count = segment.row_count();
  index.maxlevel_ = static_cast<int>(header.max_level);
  index.enterpoint_node_ = 0;
}

TEST(HnswlibParityTest, SameGraphSameEfSameRows) {
  const std::uint32_t dim = 48;
  const auto vectors = clustered_vectors(5000, dim, 1);
  for (const Space space : {Space::cosine, Space::l2, Space::ip}) {
    const auto segment = make_segment(testing::TempDir() + "HnswlibParityTest.vseg", vectors, dim,
                                      {.space = space, .m = 8, .ef_construction = 60});
    HnswlibCodes codes(space, dim);
    Index index(&codes, segment->row_count(), segment->header().m);
    fill(index, *segment);
    for (const std::uint32_t ef : {10U, 40U, 160U}) {
      std::size_t common = 0;
      for (std::size_t i = 0; i < 50; ++i) {
        const PreparedQuery query(std::span<const float>(vectors).subspan(97 * i * dim, dim),
                                  space);
        std::set<std::uint64_t> theirs;
        index.setEf(ef);
        for (auto found = index.searchKnn(query.code(), ef); !found.empty(); found.pop()) {
          theirs.insert(segment->row_id(static_cast<std::uint32_t>(found.top().second)));
        }
        EXPECT_EQ(theirs.size(), ef);
        for (const Neighbour& neighbour : search_graph(*segment, query, ef, ef, {})) {
          common += theirs.contains(neighbour.row_id) ? 1 : 0;
        }
      }
      // Not all, because equal distances of codes may be ordered differently.
      EXPECT_GE(common, 50 * ef * 995 / 1000) << ef;
    }
  }
}

// What both graphs are asked: rows moved a little, and the ten nearest of each by codes.
struct Questions {
  std::vector<std::vector<std::byte>> codes;
  std::vector<std::set<std::size_t>> truth;  // ordinals
};

Questions make_questions(std::span<const float> vectors, const Segment& segment) {
  const std::uint32_t dim = segment.dim();
  const auto space = static_cast<Space>(segment.header().space);
  const auto elsewhere = clustered_vectors(200, dim, 9);
  Questions questions;
  for (std::size_t i = 0; i < 200; ++i) {
    std::vector<float> query(dim);
    for (std::uint32_t j = 0; j < dim; ++j) {
      query[j] = vectors[(23 * i + 7) * dim + j] + 0.3F * elsewhere[i * dim + j];
    }
    auto& code = questions.codes.emplace_back(code_bytes(dim));
    encode_int8(query, norm_of(query), space, code.data());
    std::vector<std::pair<float, std::size_t>> all;
    for (std::uint32_t slot = 0; slot < segment.row_count(); ++slot) {
      all.emplace_back(code_distance(space, code.data(), segment.code(slot), dim, kernels()),
                       (segment.row_id(slot) - sample_row_id(0)) / 3);
    }
    std::ranges::partial_sort(all, all.begin() + 10);
    auto& truth = questions.truth.emplace_back();
    for (std::size_t n = 0; n < 10; ++n) truth.insert(all[n].second);
  }
  return questions;
}

// How many of the nearest hnswlib's search finds.
std::size_t found_of(Index& index, const Questions& questions, std::size_t ef) {
  index.setEf(ef);
  std::size_t hits = 0;
  for (std::size_t i = 0; i < questions.codes.size(); ++i) {
    for (auto found = index.searchKnn(questions.codes[i].data(), 10); !found.empty(); found.pop()) {
      hits += questions.truth[i].count(found.top().second);
    }
  }
  return hits;
}

// A graph by int8 codes alone, and one whose last rows one-bit codes found the places of.
TEST(HnswlibParityTest, GraphsFindAsManyAtEqualEf) {
  for (const auto& [count, dim] : {std::pair{6000U, 32U}, std::pair{24'000U, 128U}}) {
    const auto vectors = clustered_vectors(count, dim, 1);
    const SampleOptions options{.space = Space::l2, .m = 8, .ef_construction = 40};
    const auto segment =
        make_segment(testing::TempDir() + "HnswlibGraphs.vseg", vectors, dim, options);
    HnswlibCodes codes(options.space, dim);
    Index ours(&codes, count, options.m);
    fill(ours, *segment);
    Index theirs(&codes, count, options.m, options.ef_construction);
    std::vector<std::byte> code(codes.get_data_size());
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto vector = std::span(vectors).subspan(std::size_t{i} * dim, dim);
      encode_int8(vector, norm_of(vector), options.space, code.data());
      theirs.addPoint(code.data(), i);
    }
    for (std::uint32_t slot = 0; slot < count; ++slot) {  // ordinals, as in the other
      ours.setExternalLabel(slot, (segment->row_id(slot) - sample_row_id(0)) / 3);
    }
    const Questions questions = make_questions(vectors, *segment);
    for (const std::size_t ef : {10U, 20U, 80U}) {
      const std::size_t our_hits = found_of(ours, questions, ef);
      const std::size_t their_hits = found_of(theirs, questions, ef);
      EXPECT_GE(our_hits + 40, their_hits) << dim << " " << ef;  // of 2,000
      EXPECT_GE(our_hits, 1000U) << dim << " " << ef;
      RecordProperty(std::to_string(dim) + "_" + std::to_string(ef),
                     std::to_string(our_hits) + " " + std::to_string(their_hits));
    }
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Our search against hnswlib's own, over the same graph and codes at the same ef.
#include <gtest/gtest.h>
#include <hnswlib/hnswlib.h>

#include <cstdlib>
#include <cstring>
#include <set>

#include "engine/codes.h"
#include "engine/search.h"
#include "tests/engine/sample_segment.h"

namespace vkb {
namespace {

struct CodeSpace final : hnswlib::SpaceInterface<float> {
  CodeSpace(Space the_space, std::uint32_t the_dim) : space(the_space), dim(the_dim) {}
  std::size_t get_data_size() override { return code_bytes(dim); }
  hnswlib::DISTFUNC<float> get_dist_func() override {
    return [](const void* a, const void* b, const void* self) {
      const auto& codes = *static_cast<const CodeSpace*>(self);
      return code_distance(codes.space, static_cast<const std::byte*>(a),
                           static_cast<const std::byte*>(b), codes.dim, kernels());
    };
  }
  void* get_dist_func_param() override { return this; }
  Space space;
  std::uint32_t dim;
};

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
    CodeSpace codes(space, dim);
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

}  // namespace
}  // namespace vkb

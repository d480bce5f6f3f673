// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/vkb.h"
#include "storage/segment_format.h"

namespace vkb {

// A finished graph, renumbered for reading: node `order[slot]` of the builder is row `slot` of the
// segment, the entry point first, in groups that link to each other, so that neighbours share pages
// and cache lines.
struct Graph {
  std::uint32_t m = 0;
  std::uint32_t max_level = 0;
  std::array<std::uint32_t, kMaxLevels> level_count{};
  std::vector<std::uint32_t> order;        // [n] slot -> ordinal as passed to add()
  std::vector<std::uint32_t> links0;       // [n][2m] slots, padded with kNoNeighbour
  std::vector<std::uint32_t> upper_slots;  // as the sections of the same names
  std::vector<std::uint32_t> upper_links;
};

// Builds an HNSW graph (Malkov & Yashunin 2018, alg. 1, 2 and 4) over int8 codes, with hnswlib's
// choice of neighbours, so that a graph is as good as hnswlib's at equal m and ef_construction.
// What differs: once there are some 20,000 rows, walks are steered by one-bit codes, and whom they
// find is ranked by int8 codes; levels are a function of the ordinal and below kMaxLevels; a node
// that the entry point does not reach at level 0 is linked from a node nearby, where one has room
// (not so with equal vectors in large numbers). One thread builds the same graph each time. Errors:
// invalid_argument for ordinals and capacities out of range, io_error when there is not enough
// memory, after which the builder can only be destroyed. Thread safety: add() from many threads at
// once, each ordinal once; everything else from one thread, with no add() running.
class HnswBuilder {
 public:
  HnswBuilder(Space space, std::uint32_t dim, std::uint32_t m, std::uint32_t ef_construction,
              std::uint64_t capacity);
  ~HnswBuilder();

  std::uint64_t capacity() const noexcept;
  std::uint64_t size() const noexcept;
  // Makes room for more nodes, copying none; not while add() runs.
  void reserve(std::uint64_t capacity);
  // code: code_bytes(dim) bytes, copied. Ordinals are given by the caller, 0 .. capacity-1, each
  // once.
  void add(std::uint32_t ordinal, const std::byte* code);
  // All ordinals 0 .. size()-1 must have been added. Leaves the builder empty.
  Graph finish();

 private:
  class Impl;
  void reset();

  Space space_;
  std::uint32_t dim_;
  std::uint32_t m_;
  std::uint32_t ef_construction_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vkb

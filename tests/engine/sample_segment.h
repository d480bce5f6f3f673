// SPDX-License-Identifier: Apache-2.0
//
// Random data and segment files of it, for tests and benchmarks of searching.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/hnsw_builder.h"
#include "engine/vkb.h"
#include "storage/segment.h"

namespace vkb {

struct SampleOptions {
  Space space = Space::cosine;
  std::uint32_t m = 16;
  std::uint32_t ef_construction = 200;
  bool codes = true;
  bool bit_codes = false;  // needs codes, and a dimension that has them
  bool graph = true;
  bool record_ids = false;  // "r" and the row_id
  unsigned threads = 1;     // that build the graph
};

// [count][dim] floats around count / 50 random centres, the same for the same arguments.
std::vector<float> clustered_vectors(std::size_t count, std::uint32_t dim, std::uint64_t seed);

// Row `ordinal` of the data has this row_id in a sample segment: ascending, with gaps.
constexpr std::uint64_t sample_row_id(std::uint64_t ordinal) { return 5 + 3 * ordinal; }

// The graph of [n][dim] vectors.
Graph build_graph(std::span<const float> vectors, std::uint32_t dim, const SampleOptions& options);

// Writes [n][dim] vectors as the segment file `path`, replacing what is there, and opens it.
std::shared_ptr<const Segment> make_segment(const std::string& path, std::span<const float> vectors,
                                            std::uint32_t dim, const SampleOptions& options);

}  // namespace vkb

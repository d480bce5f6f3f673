// SPDX-License-Identifier: Apache-2.0
//
// Writing a segment file from rows that are in memory, or in other segments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "engine/hnsw_builder.h"
#include "engine/open_store.h"
#include "engine/thread_pool.h"
#include "storage/manifest.h"
#include "storage/segment.h"

namespace vkb {

// One row of a segment that is being written.
struct RowSource {
  std::int64_t row_id;
  const float* vector;
  const Segment* coded;  // whose row `slot` has this vector's code and norm; null: to be computed
  std::uint32_t slot;
};

// The row in a slot of the new segment. Called by several threads at once.
using RowAt = std::function<RowSource(std::size_t slot)>;

struct SegmentRows {
  const Graph& graph;  // m = 0: none
  std::size_t count;
  const RowAt& row_at;
};

// Writes and syncs a segment (R2), in memory for its ids, norms and one-bit codes and some thousand
// rows. pool: has nothing to do now; null to do everything on this thread. Calls `tick`, when there
// is one, now and then with how many rows are as good as done.
SegmentRow write_segment(OpenStore& store, const CollectionRow& collection, const SegmentRows& rows,
                         ThreadPool* pool, const std::function<void(std::size_t)>& tick);

}  // namespace vkb

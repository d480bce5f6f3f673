// SPDX-License-Identifier: Apache-2.0
//
// How vectors move: from the log into a segment (seal), from segments into one with a graph
// (merge), and when (maintain_collection).
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/hnsw_builder.h"
#include "engine/open_store.h"
#include "engine/thread_pool.h"
#include "engine/vkb.h"

namespace vkb {

// Rows on their way into a flat segment.
struct FlatRows {
  std::vector<std::int64_t> row_ids;  // ascending
  std::vector<const float*> vectors;
};

// Writes and syncs a segment without a graph (R2). Naming it in the manifest is up to the caller.
SegmentRow write_flat_segment(OpenStore& store, const CollectionRow& collection,
                              const FlatRows& rows);

// Merges segments into one, building its graph while further segments still arrive. Rows that die
// meanwhile are marked in the new segment when it replaces the old ones. Thread safety: one thread
// at a time; the caller holds the collection's reshape_mutex.
class Merger {
 public:
  // expected_rows: about how many rows there will be, 0 when unknown.
  Merger(OpenStore& store, OpenCollection& collection, const CollectionRow& row,
         std::uint64_t expected_rows);
  ~Merger();

  // Takes in the segment's live rows; the graph over them is built in the background. reuse_codes:
  // its codes and norms are taken as they are, when their checksums are right, else made anew.
  // Throws invalid_argument for a segment that fits() not even alone.
  void add(const SegmentView& view, bool reuse_codes = false);
  std::uint64_t row_count() const noexcept { return sources_.size(); }
  // Whether the segment's rows and those taken in are few enough for the store's memory limit.
  bool fits(const SegmentView& view) const noexcept {
    return sources_.size() + view.live_count() <= most_rows_;
  }
  // Waits for the graph, writes the merged segment and replaces the inputs by it. Without enough
  // rows for a graph it is flat. Returns false, changing nothing, when `progress` asks to stop.
  bool finish(const ProgressFunction& progress);

 private:
  struct Origin {
    std::uint32_t input;
    std::uint32_t slot;
  };

  struct Input {
    SegmentView view;
    bool coded;  // its codes and norms are used
  };
  struct GraphRow {
    const Segment* segment;
    std::uint32_t slot;
    bool coded;
  };

  void build_graph(std::size_t first, const std::vector<GraphRow>& rows);
  Graph finish_graph();
  std::uint64_t row_id_of(std::uint32_t ordinal) const;
  // A row that was replaced while inputs still arrived is here twice. Its older slot, which
  // replace_inputs() marks dead, is written with an id of its own: ids in a segment are unique.
  std::unordered_set<std::uint32_t> superseded_ordinals() const;
  void replace_inputs(const std::optional<SegmentRow>& merged, const Graph& graph);

  OpenStore& store_;
  OpenCollection& collection_;
  const CollectionRow row_;
  const std::uint64_t most_rows_;
  std::vector<Input> inputs_;
  std::vector<Origin> sources_;  // by ordinal
  std::uint64_t queued_ = 0;     // ordinals below this are with the builder
  HnswBuilder builder_;
  ThreadPool pool_;  // last: its threads use the members above
};

// Moves the log's live vectors into a flat segment. The caller holds reshape_mutex and a
// WriterHold. Returns false when the log was empty.
bool seal(OpenStore& store, OpenCollection& collection);

// Which segments are worth merging now, as positions in `segments`; none is a usual answer.
// Together they have at most so many live rows.
std::vector<std::size_t> choose_merge(std::span<const SegmentView> segments,
                                      std::uint64_t most_rows);

// Brings the document index up to date, batch by batch, so that writers do not wait long. A
// collection of fewer than kIndexRows records that has none gets none. Returns false when
// `progress` asked to stop; what was done stays.
bool index_documents(OpenStore& store, OpenCollection& collection,
                     const ProgressFunction& progress);

// The same for some `rows` of them, or a few more, in one transaction.
void index_batch(OpenStore& store, OpenCollection& collection, std::uint64_t rows);

// Seals a log that has grown long, indexes documents when many are not, and merges segments that
// have become many or half dead.
void maintain_collection(OpenStore& store, OpenCollection& collection);

// Moves pending metadata postings into the index and gives free database pages back to the file
// system.
void tidy_database(OpenStore& store);

}  // namespace vkb

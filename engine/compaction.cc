// SPDX-License-Identifier: Apache-2.0
#include "engine/compaction.h"

#include <algorithm>
#include <numeric>

#include "engine/codes.h"
#include "engine/findings.h"
#include "engine/tuning.h"
#include "engine/write_segment.h"
#include "storage/error.h"
#include "storage/records.h"
#include "storage/vector_log.h"

namespace vkb {
namespace {

// Rows that a worker adds to the graph in one task.
constexpr std::size_t kTaskRows = 128;
constexpr std::uint32_t kNowhere = 0xFFFFFFFF;
// No row has an id with this bit: SQLite's are signed.
constexpr std::uint64_t kNoRow = std::uint64_t{1} << 63;

struct StopRequested {};

}  // namespace

SegmentRow write_flat_segment(OpenStore& store, const CollectionRow& collection,
                              const FlatRows& rows) {
  const Graph none;
  const RowAt row_at = [&](std::size_t slot) {
    return RowSource{rows.row_ids[slot], rows.vectors[slot], nullptr, 0};
  };
  return write_segment(store, collection, {none, rows.row_ids.size(), row_at}, nullptr, {});
}

Merger::Merger(OpenStore& store, OpenCollection& collection, const CollectionRow& row,
               std::uint64_t expected_rows)
    : store_(store),
      collection_(collection),
      row_(row),
      most_rows_(store.budget().graph_rows(*row.dim, row.m)),
      builder_(static_cast<Space>(row.space), *row.dim, row.m, row.ef_construction,
               std::clamp<std::uint64_t>(expected_rows, kGraphMinRows, most_rows_)) {}

Merger::~Merger() = default;

void Merger::add(const SegmentView& view, bool reuse_codes) {
  // Damage in what nothing can rebuild must not get a new, matching checksum (R9): pages with
  // checksums are looked at when they are read.
  const Segment& segment = *view.segment;
  if (!fits(view)) {
    throw Error(ErrorCode::invalid_argument,
                segment_name(view.row) + ": the memory limit of " +
                    std::to_string(store_.budget().limit() >> 20) + " MB is enough to build " +
                    std::to_string(most_rows_) + " rows anew, it has " +
                    std::to_string(view.live_count()) + "; open the store with a larger one");
  }
  bool coded = reuse_codes && segment.has_int8_codes();
  for (const SectionEntry& section : segment.sections()) {
    const auto kind = static_cast<SectionKind>(section.kind);
    const bool is_code = kind == SectionKind::codes_int8 || kind == SectionKind::norms;
    const bool is_data = kind == SectionKind::vectors || kind == SectionKind::row_ids;
    if (is_data && !segment.has_page_checksums()) segment.verify(section);
    if (!coded || !is_code) continue;
    try {
      segment.verify(section);
    } catch (const Error&) {
      coded = false;  // they are made anew
    }
  }
  segment.release_rows();  // the builder may be far from reading them again
  const auto number = static_cast<std::uint32_t>(inputs_.size());
  inputs_.push_back({view, coded});
  // In row order, which is the order of insertion: the graph does not depend on how rows were
  // batched. By the row ids themselves, as this is how `vkb repair` rebuilds a segment whose sorted
  // sections are damaged.
  std::vector<std::pair<std::uint64_t, std::uint32_t>> rows;
  for (std::uint32_t slot = 0; slot < segment.row_count(); ++slot) {
    if (!view.is_dead(slot)) rows.emplace_back(segment.row_id(slot), slot);
  }
  std::sort(rows.begin(), rows.end());
  for (const auto& [row_id, slot] : rows) sources_.push_back({number, slot});
  if (sources_.size() < kGraphMinRows) return;
  if (sources_.size() > builder_.capacity()) {
    pool_.wait();
    builder_.reserve(sources_.size() + sources_.size() / 2);
  }
  for (; queued_ < sources_.size();
       queued_ = std::min<std::uint64_t>(queued_ + kTaskRows, sources_.size())) {
    const std::size_t first = queued_;
    const std::size_t last = std::min(first + kTaskRows, sources_.size());
    // Copies: sources_ and inputs_ may move while the task waits. The segments stay.
    std::vector<GraphRow> task;
    task.reserve(last - first);
    for (std::size_t ordinal = first; ordinal < last; ++ordinal) {
      const Input& input = inputs_[sources_[ordinal].input];
      task.push_back({input.view.segment.get(), sources_[ordinal].slot, input.coded});
    }
    pool_.run([this, first, task = std::move(task)] { build_graph(first, task); });
  }
}

void Merger::build_graph(std::size_t first, const std::vector<GraphRow>& rows) {
  std::vector<std::byte> own(code_bytes(*row_.dim));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& [segment, slot, coded] = rows[i];
    if (!coded) {
      const std::span<const float> vector(segment->vector(slot), segment->dim());
      encode_int8(vector, norm_of(vector), static_cast<Space>(row_.space), own.data());
    }
    builder_.add(static_cast<std::uint32_t>(first + i), coded ? segment->code(slot) : own.data());
  }
  if (!rows.empty()) rows.back().segment->release_rows();
}

bool Merger::finish(const ProgressFunction& progress) {
  const auto report = [&](std::string_view step, std::uint64_t done) {
    if (progress && !progress({.step = step, .done = done, .total = sources_.size()})) {
      throw StopRequested{};
    }
  };
  try {
    while (!pool_.wait(0, 200)) {
      const std::uint64_t waiting = pool_.unfinished() * kTaskRows;
      report("build", queued_ - std::min(queued_, waiting));
    }
    const Graph graph = finish_graph();
    const std::unordered_set<std::uint32_t> superseded = superseded_ordinals();
    const RowAt row_at = [&](std::size_t slot) {
      const std::uint32_t ordinal = graph.order[slot];
      const Origin& origin = sources_[ordinal];
      const Input& input = inputs_[origin.input];
      const Segment& segment = *input.view.segment;
      const bool is_old = !superseded.empty() && superseded.contains(ordinal);
      const std::uint64_t id = is_old ? kNoRow | ordinal : segment.row_id(origin.slot);
      return RowSource{static_cast<std::int64_t>(id), segment.vector(origin.slot),
                       input.coded ? &segment : nullptr, origin.slot};
    };
    const auto tick = [&](std::size_t done) {
      for (const Input& input : inputs_) input.view.segment->release_rows();
      report("copy", done);
    };
    std::optional<SegmentRow> merged;
    if (!sources_.empty()) {
      merged = write_segment(store_, row_, {graph, sources_.size(), row_at}, &pool_, tick);
    }
    replace_inputs(merged, graph);
    store_.budget().trim();
    return true;
  } catch (const StopRequested&) {
    return false;
  }
}

Graph Merger::finish_graph() {
  if (queued_ > 0) return builder_.finish();
  // Too few rows for a graph to pay: a flat segment, in insertion order.
  Graph flat;
  flat.order.resize(sources_.size());
  std::iota(flat.order.begin(), flat.order.end(), 0U);
  std::sort(flat.order.begin(), flat.order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return row_id_of(a) < row_id_of(b); });
  return flat;
}

std::uint64_t Merger::row_id_of(std::uint32_t ordinal) const {
  const Origin& origin = sources_[ordinal];
  return inputs_[origin.input].view.segment->row_id(origin.slot);
}

std::unordered_set<std::uint32_t> Merger::superseded_ordinals() const {
  std::vector<std::uint32_t> by_row(sources_.size());
  std::iota(by_row.begin(), by_row.end(), 0U);
  std::sort(by_row.begin(), by_row.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::pair(row_id_of(a), a) < std::pair(row_id_of(b), b);
  });
  std::unordered_set<std::uint32_t> superseded;
  for (std::size_t i = 1; i < by_row.size(); ++i) {
    if (row_id_of(by_row[i - 1]) == row_id_of(by_row[i])) superseded.insert(by_row[i - 1]);
  }
  return superseded;
}

void Merger::replace_inputs(const std::optional<SegmentRow>& merged, const Graph& graph) {
  std::vector<std::vector<std::uint32_t>> moved_to;
  for (const Input& input : inputs_) {
    moved_to.emplace_back(input.view.segment->row_count(), kNowhere);
  }
  for (std::uint32_t slot = 0; slot < graph.order.size(); ++slot) {
    const Origin& origin = sources_[graph.order[slot]];
    moved_to[origin.input][origin.slot] = slot;
  }
  store_.write([&](Database& db) {
    collection_.row(db);  // throws when the collection was deleted meanwhile
    const std::int64_t merged_id =
        merged ? insert_segment(db, collection_.collection_id, *merged) : 0;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      // Rows that died since their segment was taken in are dead in the new one too (R5).
      for (const Tombstone& dead : list_tombstones(db, inputs_[i].view.row.segment_id, 0)) {
        const std::uint32_t slot =
            dead.slot < moved_to[i].size() ? moved_to[i][dead.slot] : kNowhere;
        if (slot != kNowhere) insert_tombstone(db, merged_id, {.slot = slot, .seq = dead.seq});
      }
      delete_segment(db, inputs_[i].view.row.segment_id);
    }
    touch_collection(db, collection_.collection_id, 0, 0, true);
    store_.files().reached("merge_before_commit");
  });
  store_.files().reached("merge_committed");
  std::vector<std::string> files;
  for (const Input& input : inputs_) files.push_back(input.view.row.file);
  store_.remove_segment_files(files);
}

bool seal(OpenStore& store, OpenCollection& collection) {
  CollectionRow row;
  std::shared_ptr<const Snapshot> snapshot;
  const std::uint64_t log_entries = store.read([&](Database& db) {
    row = collection.row(db);
    snapshot = collection.snapshot(db, row);
    return count_log(db, collection.collection_id);
  });
  if (log_entries == 0) return false;

  const MemtableView& log = snapshot->memtable;
  std::vector<std::pair<std::int64_t, const float*>> live;
  for (std::size_t entry = 0; entry < log.entry_count(); ++entry) {
    if (log.is_live(entry)) live.emplace_back(log.row_id(entry), log.vector(entry).data());
  }
  std::sort(live.begin(), live.end());
  FlatRows rows;
  for (const auto& [row_id, vector] : live) {
    rows.row_ids.push_back(row_id);
    rows.vectors.push_back(vector);
  }
  std::optional<SegmentRow> sealed;
  if (!live.empty()) sealed = write_flat_segment(store, row, rows);

  store.write([&](Database& db) {
    collection.row(db);
    const std::int64_t segment_id =
        sealed ? insert_segment(db, collection.collection_id, *sealed) : 0;
    // Rows that changed while the segment was written: their newer log entry counts (R5).
    read_log(db, collection.collection_id, snapshot->last_seq, *row.dim,
             [&](const LogEntry& entry) {
               const auto found =
                   std::lower_bound(rows.row_ids.begin(), rows.row_ids.end(), entry.row_id);
               if (found == rows.row_ids.end() || *found != entry.row_id) return;
               const auto slot = static_cast<std::uint32_t>(found - rows.row_ids.begin());
               insert_tombstone(db, segment_id, {.slot = slot, .seq = entry.seq});
             });
    trim_log(db, collection.collection_id, snapshot->last_seq);
    touch_collection(db, collection.collection_id, 0, 0, true);
    store.files().reached("seal_before_commit");
  });
  store.files().reached("seal_committed");
  snapshot.reset();
  store.budget().trim();
  return true;
}

}  // namespace vkb

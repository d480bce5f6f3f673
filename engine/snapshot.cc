// SPDX-License-Identifier: Apache-2.0
#include "engine/snapshot.h"

#include "storage/error.h"
#include "storage/vector_log.h"

namespace vkb {
namespace {

// `view` with the tombstones after `after` added, on a copy of its bitmap.
void add_tombstones(Database& db, SegmentView& view, std::int64_t after) {
  const std::vector<Tombstone> tombstones = list_tombstones(db, view.row.segment_id, after);
  if (tombstones.empty()) return;
  auto dead = view.dead ? std::make_shared<Bitmap>(*view.dead)
                        : std::make_shared<Bitmap>(view.segment->row_count());
  for (const Tombstone& tombstone : tombstones) {
    if (tombstone.slot >= view.segment->row_count()) {
      throw Error(ErrorCode::corruption, db.path() + ": tombstone for slot " +
                                             std::to_string(tombstone.slot) + " of " +
                                             view.row.file + ", which has " +
                                             std::to_string(view.segment->row_count()) + " rows");
    }
    if (!dead->test(tombstone.slot)) ++view.dead_count;
    dead->set(tombstone.slot);
  }
  view.dead = std::move(dead);
}

}  // namespace

std::optional<Snapshot::Place> Snapshot::find_in_segments(std::int64_t row_id) const {
  for (auto view = segments.rbegin(); view != segments.rend(); ++view) {
    const std::optional<std::uint32_t> slot =
        view->segment->slot_of(static_cast<std::uint64_t>(row_id));
    if (slot && !view->is_dead(*slot)) return Place{&*view, *slot};
  }
  return std::nullopt;
}

std::optional<std::string_view> Snapshot::record_id(std::int64_t row_id) const {
  // Also from a slot that is dead: a row keeps its id when its vector is replaced.
  for (const SegmentView& view : segments) {
    if (const auto id = view.segment->record_id(static_cast<std::uint64_t>(row_id))) return id;
  }
  return std::nullopt;
}

std::optional<std::vector<float>> Snapshot::vector_of(std::int64_t row_id) const {
  if (const auto place = find_in_segments(row_id)) {
    const float* vector = place->view->segment->vector(place->slot);
    return std::vector<float>(vector, vector + place->view->segment->dim());
  }
  if (const auto entry = memtable.find(row_id)) {
    const std::span<const float> vector = memtable.vector(*entry);
    return std::vector<float>(vector.begin(), vector.end());
  }
  return std::nullopt;
}

std::shared_ptr<const Snapshot> SnapshotCache::at(Database& db, const CollectionState& collection) {
  const std::scoped_lock lock(mutex_);
  const Snapshot* newest = newest_.snapshot.get();
  const bool same_manifest = newest && newest->manifest_version == collection.manifest_version;
  if (same_manifest && newest->last_seq == collection.last_seq) return newest_.snapshot;
  if (same_manifest && newest->last_seq < collection.last_seq) {
    advance(db, collection);
    return newest_.snapshot;
  }
  Loaded loaded = load(db, collection);
  // A transaction that began before the newest snapshot's gets one of its own.
  const bool older = newest && newest->manifest_version >= collection.manifest_version &&
                     newest->last_seq >= collection.last_seq;
  if (older) return loaded.snapshot;
  newest_ = std::move(loaded);
  return newest_.snapshot;
}

std::shared_ptr<const Segment> open_named_segment(FileSystem& files, const std::string& directory,
                                                  const SegmentRow& row,
                                                  const CollectionState& collection) {
  std::shared_ptr<const Segment> segment = Segment::open(files, directory + "/" + row.file);
  if (segment->row_count() != row.row_count || segment->dim() != collection.dim.value_or(0) ||
      segment->header().space != collection.space ||
      segment->header().header_checksum != row.checksum) {
    throw Error(ErrorCode::corruption,
                "segment " + row.file + ": not the file that the store wrote (" +
                    std::to_string(segment->row_count()) + " rows of dimension " +
                    std::to_string(segment->dim()) + ", expected " + std::to_string(row.row_count) +
                    " of " + std::to_string(collection.dim.value_or(0)) +
                    ", or another checksum); run `vkb check`, or restore a backup");
  }
  return segment;
}

SnapshotCache::Loaded SnapshotCache::load(Database& db, const CollectionState& collection) const {
  Loaded loaded{.snapshot = nullptr, .memtable = Memtable(collection.dim.value_or(0))};
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->last_seq = collection.last_seq;
  snapshot->manifest_version = collection.manifest_version;
  for (SegmentRow& row : list_segments(db, collection.collection_id)) {
    SegmentView view{.row = std::move(row), .segment = nullptr, .dead = nullptr, .dead_count = 0};
    if (newest_.snapshot) {
      for (const SegmentView& known : newest_.snapshot->segments) {
        if (known.row.segment_id == view.row.segment_id) view.segment = known.segment;
      }
    }
    if (!view.segment) {
      try {
        view.segment = open_named_segment(files_, segment_directory_, view.row, collection);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::not_found) throw;
        throw SegmentMissing(error.what() + std::string("; run `vkb check`, or restore a backup"),
                             collection.manifest_version);
      }
    }
    add_tombstones(db, view, 0);
    snapshot->segments.push_back(std::move(view));
  }
  read_log(db, collection.collection_id, 0, collection.dim.value_or(0), [&](const LogEntry& entry) {
    loaded.memtable.apply(entry.seq, entry.row_id, entry.vector);
  });
  snapshot->memtable = loaded.memtable.view(collection.last_seq);
  loaded.snapshot = std::move(snapshot);
  return loaded;
}

void SnapshotCache::advance(Database& db, const CollectionState& collection) {
  auto next = std::make_shared<Snapshot>(*newest_.snapshot);
  const std::int64_t after = next->last_seq;
  next->last_seq = collection.last_seq;
  for (SegmentView& view : next->segments) add_tombstones(db, view, after);
  // A log that cannot be read to its end leaves the memtable ahead of the snapshot: drop both.
  try {
    read_log(db, collection.collection_id, after, collection.dim.value_or(0),
             [&](const LogEntry& entry) {
               newest_.memtable.apply(entry.seq, entry.row_id, entry.vector);
             });
  } catch (...) {
    newest_ = Loaded{};
    throw;
  }
  next->memtable = newest_.memtable.view(collection.last_seq);
  newest_.snapshot = std::move(next);
}

}  // namespace vkb

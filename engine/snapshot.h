// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/memtable.h"
#include "engine/search.h"
#include "storage/catalog.h"
#include "storage/error.h"
#include "storage/file.h"
#include "storage/manifest.h"
#include "storage/segment.h"
#include "storage/sqlite.h"

namespace vkb {

// A segment as one snapshot sees it.
struct SegmentView {
  SegmentRow row;
  std::shared_ptr<const Segment> segment;
  std::shared_ptr<const Bitmap> dead;  // null: none
  std::uint64_t dead_count = 0;

  std::uint64_t live_count() const noexcept { return row.row_count - dead_count; }
  bool is_dead(std::uint32_t slot) const noexcept { return dead && dead->test(slot); }
};

// All vectors of a collection at one moment: what a query searches (R7).
// Thread safety: immutable.
struct Snapshot {
  std::int64_t last_seq = 0;
  std::int64_t manifest_version = 0;
  std::vector<SegmentView> segments;  // oldest first
  MemtableView memtable;

  // Where a row's vector is in a segment, if in any (R5).
  struct Place {
    const SegmentView* view;
    std::uint32_t slot;
  };
  std::optional<Place> find_in_segments(std::int64_t row_id) const;
  // The id of a live row's record, where a segment keeps it; SQLite knows all others.
  std::optional<std::string_view> record_id(std::int64_t row_id) const;
  // The row's vector, from wherever it is.
  std::optional<std::vector<float>> vector_of(std::int64_t row_id) const;
};

// A segment file that the manifest names is gone. Damage, unless a compaction took it away since
// the transaction began.
class SegmentMissing : public Error {
 public:
  SegmentMissing(const std::string& message, std::int64_t manifest_version)
      : Error(ErrorCode::corruption, message), manifest_version_(manifest_version) {}
  std::int64_t manifest_version() const noexcept { return manifest_version_; }

 private:
  std::int64_t manifest_version_;
};

// Opens a segment that the manifest names. Throws not_found when it is gone, corruption when it is
// damaged or another one.
std::shared_ptr<const Segment> open_named_segment(FileSystem& files, const std::string& directory,
                                                  const SegmentRow& row,
                                                  const CollectionState& collection);

// Gives out the snapshot that belongs to a transaction, and keeps the newest for the next. One code
// path for the writer, other threads and other processes: the transaction alone says what is seen
// (R7). Thread safety: all methods.
class SnapshotCache {
 public:
  SnapshotCache(FileSystem& files, std::string segment_directory)
      : files_(files), segment_directory_(std::move(segment_directory)) {}

  // `collection` must have been read in the transaction that `db` is in.
  // Throws not_found when a segment file is gone: then the transaction is older than a compaction
  // and must be begun anew; corruption for a damaged file.
  std::shared_ptr<const Snapshot> at(Database& db, const CollectionState& collection);

 private:
  struct Loaded {
    std::shared_ptr<const Snapshot> snapshot;
    Memtable memtable;
  };
  Loaded load(Database& db, const CollectionState& collection) const;
  void advance(Database& db, const CollectionState& collection);

  FileSystem& files_;
  const std::string segment_directory_;
  std::mutex mutex_;
  Loaded newest_;  // guarded by mutex_
};

}  // namespace vkb

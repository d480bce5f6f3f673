// SPDX-License-Identifier: Apache-2.0
//
// The manifest: which segment files make up a collection, and which of their slots are dead. Free
// functions; the caller holds the transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "storage/sqlite.h"

namespace vkb {

struct SegmentRow {
  std::int64_t segment_id = 0;
  std::string file;  // name in DIR/segments
  std::uint64_t row_count = 0;
  std::uint64_t byte_count = 0;
  std::uint64_t checksum = 0;  // of the header, which holds those of the sections
  bool has_graph = false;
};

// The collection's segments, oldest first.
std::vector<SegmentRow> list_segments(Database& db, std::int64_t collection_id);
// Every file that a segment row names, of all collections.
std::vector<std::string> list_segment_files(Database& db);
// Returns the new segment_id, never used before.
std::int64_t insert_segment(Database& db, std::int64_t collection_id, const SegmentRow& segment);
// Takes out the segment's row and its tombstones.
void delete_segment(Database& db, std::int64_t segment_id);

struct Tombstone {
  std::uint32_t slot = 0;
  std::int64_t seq = 0;
};
// A slot may be named again; the first seq stays.
void insert_tombstone(Database& db, std::int64_t segment_id, const Tombstone& tombstone);
// Drops tombstones for slots that their segments do not have.
void remove_stray_tombstones(Database& db, std::int64_t collection_id);
// The segment's tombstones with seq > after.
std::vector<Tombstone> list_tombstones(Database& db, std::int64_t segment_id, std::int64_t after);

}  // namespace vkb

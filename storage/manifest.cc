// SPDX-License-Identifier: Apache-2.0
#include "storage/manifest.h"

namespace vkb {

std::vector<SegmentRow> list_segments(Database& db, std::int64_t collection_id) {
  Statement rows(db,
                 "SELECT segment_id, file, row_count, byte_count, checksum, has_graph FROM segment"
                 " WHERE collection_id=? ORDER BY segment_id");
  rows.bind(collection_id);
  std::vector<SegmentRow> out;
  while (rows.step()) {
    out.push_back({.segment_id = rows.integer(0),
                   .file = std::string(rows.text(1)),
                   .row_count = static_cast<std::uint64_t>(rows.integer(2)),
                   .byte_count = static_cast<std::uint64_t>(rows.integer(3)),
                   .checksum = static_cast<std::uint64_t>(rows.integer(4)),
                   .has_graph = rows.integer(5) != 0});
  }
  return out;
}

std::vector<std::string> list_segment_files(Database& db) {
  // Else SQLite reads the index of file: damage in it would keep writers, who repair it, out.
  Statement rows(db, "SELECT file FROM segment NOT INDEXED");
  std::vector<std::string> out;
  while (rows.step()) out.emplace_back(rows.text(0));
  return out;
}

std::int64_t insert_segment(Database& db, std::int64_t collection_id, const SegmentRow& segment) {
  Statement(db,
            "INSERT INTO segment(collection_id, file, row_count, byte_count, checksum, has_graph)"
            " VALUES(?,?,?,?,?,?)")
      .bind(collection_id, segment.file, segment.row_count, segment.byte_count, segment.checksum,
            segment.has_graph ? 1 : 0)
      .run();
  return db.last_insert_rowid();
}

void delete_segment(Database& db, std::int64_t segment_id) {
  Statement(db, "DELETE FROM tombstone WHERE segment_id=?").bind(segment_id).run();
  Statement(db, "DELETE FROM segment WHERE segment_id=?").bind(segment_id).run();
}

void insert_tombstone(Database& db, std::int64_t segment_id, const Tombstone& tombstone) {
  Statement(db, "INSERT OR IGNORE INTO tombstone(segment_id, slot, seq) VALUES(?,?,?)")
      .bind(segment_id, tombstone.slot, tombstone.seq)
      .run();
}

void remove_stray_tombstones(Database& db, std::int64_t collection_id) {
  Statement(db,
            "DELETE FROM tombstone WHERE EXISTS(SELECT 1 FROM segment"
            " WHERE segment.segment_id=tombstone.segment_id AND collection_id=?"
            " AND slot>=row_count)")
      .bind(collection_id)
      .run();
}

std::vector<Tombstone> list_tombstones(Database& db, std::int64_t segment_id, std::int64_t after) {
  Statement rows(db, "SELECT slot, seq FROM tombstone WHERE segment_id=? AND seq>?");
  rows.bind(segment_id, after);
  std::vector<Tombstone> out;
  while (rows.step()) {
    out.push_back({.slot = static_cast<std::uint32_t>(rows.integer(0)), .seq = rows.integer(1)});
  }
  return out;
}

}  // namespace vkb

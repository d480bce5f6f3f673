// SPDX-License-Identifier: Apache-2.0
//
// Rebuilding what can be rebuilt (R9), and parting with what cannot.
#include <algorithm>
#include <functional>
#include <map>
#include <string_view>

#include "engine/compaction.h"
#include "engine/findings.h"
#include "engine/leftovers.h"
#include "engine/open_store.h"
#include "engine/record_writer.h"
#include "storage/document_index.h"
#include "storage/error.h"
#include "storage/manifest.h"
#include "storage/posting_index.h"
#include "storage/records.h"
#include "storage/salvage.h"
#include "storage/vector_log.h"

namespace vkb {
namespace {

bool names(const CheckResult& result, std::string_view object) {
  return std::ranges::any_of(result.problems,
                             [&](const Problem& problem) { return problem.object == object; });
}
bool names(const CheckResult& result, const std::string& object, bool repairable) {
  return std::ranges::any_of(result.problems, [&](const Problem& problem) {
    return problem.object == object && problem.repairable == repairable;
  });
}

// Called with records that are about to go, and what is left of them.
using Take = std::function<void(OpenCollection&, std::span<const Record>)>;

// Without its embedding.
Record record_of(RecordRow row) {
  return {.id = std::move(row.id),
          .embedding = {},
          .document = std::move(row.document),
          .metadata = std::move(row.metadata),
          .uri = std::move(row.uri),
          .origin = std::move(row.origin)};
}

// Nothing when it is on a damaged page of a segment.
template <typename Read>
auto if_sound(const Read& read) -> std::optional<decltype(read())> {
  try {
    return read();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
    return std::nullopt;
  }
}

class Repair {
 public:
  Repair(OpenStore& store, const CheckResult& findings, const ProgressFunction& progress)
      : store_(store), findings_(findings), progress_(progress) {}

  // take(collection, records): when given, records that are lost are given up.
  void rebuild_database(const std::vector<CollectionRow>& rows, const Take& take) {
    const bool has_lost = names(findings_, kDatabaseObject, false);
    if (has_lost && !take) return;  // it cannot be written either
    const bool is_salvaged = has_lost || names(findings_, kDatabaseObject, true);
    if (is_salvaged) {
      store_.maintain([&](Database& db) { salvage(db, has_lost); });
    } else {
      store_.write([](Database& db) { db.execute("REINDEX"); });
    }
    for (const CollectionRow& row : rows) {
      const bool has_halves = has_lost || names(findings_, collection_name(row), false);
      if (take) give_up_segments(*store_.open_collection(row));
      if (!take || !has_halves) continue;
      try {
        give_up_halves(*store_.open_collection(row), take);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::corruption) throw;  // a segment: its own damage is seen to
      }
    }
    for (const CollectionRow& row : rows) {
      store_.write([&](Database& db) {
        rebuild_postings(db, row.collection_id);
        Statement(db,
                  "UPDATE collection SET changes=changes+1, manifest_version=manifest_version+1,"
                  " record_count="
                  "(SELECT count(*) FROM record WHERE collection_id=?1), last_seq=max(last_seq, "
                  "(SELECT coalesce(max(seq), 0) FROM vector_log WHERE collection_id=?1))"
                  " WHERE collection_id=?1")
            .bind(row.collection_id)
            .run();
        remove_stray_tombstones(db, row.collection_id);
      });
    }
    store_.write([](Database& db) { merge_postings(db); });
    for (const CollectionRow& row : rows) {
      if (!is_salvaged) {
        if (!names(findings_, document_index_name(row), true)) continue;
        store_.write([&](Database& db) { drop_document_index(db, row.collection_id); });
      }
      index_documents(store_, *store_.open_collection(row), progress_);
    }
  }

  // Writes the damaged segments of a collection anew, from their vectors. Those with damaged
  // vectors only when there is somebody to take the records.
  void rebuild_segments(OpenCollection& collection, const Take& take) {
    const std::scoped_lock reshape(collection.reshape_mutex);
    const std::shared_ptr<const Snapshot> before = snapshot_of(collection);
    for (const SegmentView& view : before->segments) {
      const std::string object = segment_name(view.row);
      const bool is_lasting = names(findings_, object, false);
      if (!is_lasting && !names(findings_, object, true)) continue;
      try {
        if (!rebuild_segment(collection, view, is_lasting, take)) return;
      } catch (const Error& error) {
        // What is left says the check; other segments can still be repaired.
        if (error.code() != ErrorCode::corruption) throw;
      }
    }
  }

 private:
  // Returns false when `progress` asked to stop.
  bool rebuild_segment(OpenCollection& collection, const SegmentView& view, bool is_lasting,
                       const Take& take) {
    if (view.segment->has_page_checksums()) {
      const DamagedRows rows = find_damaged_rows(*view.segment, view.dead.get());
      if (!rows.lost.empty() && !take) return true;
      if (!rows.lost.empty() || !rows.nameless.empty()) move_out(collection, view, rows, take);
    } else if (is_lasting) {
      return true;  // what an older vkb wrote does not tell which of its rows are damaged
    }
    const std::shared_ptr<const Snapshot> after = snapshot_of(collection);
    for (const SegmentView& now : after->segments) {
      if (now.row.segment_id != view.row.segment_id) continue;
      Merger merger(store_, collection, row_of(collection), now.live_count());
      merger.add(now);
      return merger.finish(progress_);
    }
    return true;
  }

  CollectionRow row_of(OpenCollection& collection) {
    return store_.read([&](Database& db) { return collection.row(db); });
  }
  std::shared_ptr<const Snapshot> snapshot_of(OpenCollection& collection) {
    return store_.read([&](Database& db) { return collection.snapshot(db, collection.row(db)); });
  }

  // Segments that cannot be opened go; their files are kept, among the reports.
  void give_up_segments(OpenCollection& collection) {
    std::vector<std::string> files;
    store_.write([&](Database& db) {
      const CollectionRow row = collection.row(db);
      for (const SegmentRow& segment : list_segments(db, row.collection_id)) {
        try {
          open_named_segment(store_.files(), store_.segment_directory(), segment, row);
        } catch (const Error& error) {
          if (error.code() != ErrorCode::corruption && error.code() != ErrorCode::not_found) throw;
          delete_segment(db, segment.segment_id);
          files.push_back(segment.file);
        }
      }
      if (files.empty()) return;
      touch_collection(db, row.collection_id, 0, 0, true);
      // What nothing names may be what is looked for, under the database of another time.
      std::vector<std::string> named = list_segment_files(db);
      std::ranges::sort(named);
      for (const std::string& file : store_.files().list(store_.segment_directory())) {
        if (std::ranges::binary_search(named, file)) continue;
        const bool is_given_up = std::ranges::find(files, file) != files.end();
        keep_file(file, is_given_up ? ".damaged" : ".unnamed");
      }
    });
    store_.remove_segment_files(files);
  }

  // Among the reports, before it is no longer named: from then on any writer removes it.
  void keep_file(const std::string& file, std::string_view suffix) {
    FileSystem& files = store_.files();
    const std::string path = store_.segment_directory() + "/" + file;
    const std::string reports = store_.directory() + "/" + std::string(kReportFolder);
    const std::string kept = reports + "/" + file + std::string(suffix);
    files.make_directory(reports);
    files.remove(kept);  // of a repair that was cut short
    files.hard_link_or_copy(path, kept);
  }

  // After records or entries of the log were lost: vectors without a record go, and records without
  // a vector. Of records without both there may be an id. Nothing is asked of what finds a slot by
  // its row: that may be damaged too.
  void give_up_halves(OpenCollection& collection, const Take& take) {
    store_.write([&](Database& db) {
      RecordWriter writer(db, collection);
      const std::int64_t id = collection.collection_id;
      const std::shared_ptr<const Snapshot> snapshot = collection.snapshot(db, writer.row());
      std::vector<std::int64_t> placed;
      std::vector<Record> lost;
      const auto has_record = [&](std::int64_t row_id) {
        placed.push_back(row_id);
        return writer.records().id_of(row_id).has_value();
      };
      const LostIds ids = lost_ids(db, id);
      const auto id_of = [&](std::int64_t row_id) {
        const auto known = ids.find(row_id);
        return known != ids.end() ? known->second
                                  : std::string(snapshot->record_id(row_id).value_or(""));
      };
      const auto lose = [&](std::int64_t row_id, std::optional<std::vector<float>> vector) {
        lost.push_back({.id = if_sound([&] { return id_of(row_id); }).value_or(""),
                        .embedding = std::move(vector)});
        return append_removal(db, id, row_id);
      };
      for (const SegmentView& view : snapshot->segments) {
        RowIds rows(*view.segment);
        for (std::uint32_t slot = 0; slot < view.segment->row_count(); ++slot) {
          if (view.is_dead(slot)) continue;
          const auto row_id = static_cast<std::int64_t>(rows.of(slot));
          if (has_record(row_id)) continue;
          const std::int64_t seq = lose(row_id, if_sound([&] {
                                          const float* vector = view.segment->vector(slot);
                                          return std::vector(vector, vector + view.segment->dim());
                                        }));
          insert_tombstone(db, view.row.segment_id, {.slot = slot, .seq = seq});
        }
      }
      std::map<std::int64_t, std::vector<float>> in_log;  // of each row its last entry
      read_log(db, id, 0, writer.row().dim.value_or(0), [&](const LogEntry& entry) {
        in_log[entry.row_id].assign(entry.vector.begin(), entry.vector.end());
      });
      for (auto& [row_id, vector] : in_log) {
        if (!vector.empty() && !has_record(row_id)) lose(row_id, std::move(vector));
      }
      std::ranges::sort(placed);
      const auto is_placed = [&](std::int64_t row_id) {
        return std::ranges::binary_search(placed, row_id);
      };
      for (const std::int64_t row_id : writer.records().row_ids(0, 0, UINT64_MAX)) {
        if (is_placed(row_id)) continue;
        lost.push_back(record_of(writer.records().read(row_id)));
        writer.records().remove(row_id);  // counted anew at the end
      }
      for (const auto& [row_id, lost_id] : ids) {
        if (!is_placed(row_id)) lost.push_back({.id = lost_id});
      }
      forget_lost_ids(db, id);
      writer.finish();
      if (!lost.empty()) take(collection, lost);
    });
  }

  // Leaves only sound rows in the segment. What is lost is handed out when nothing but the commit
  // can fail any more: it is not handed out again.
  void move_out(OpenCollection& collection, const SegmentView& view, const DamagedRows& rows,
                const Take& take) {
    const std::int64_t segment_id = view.row.segment_id;
    store_.write([&](Database& db) {
      RecordWriter writer(db, collection);
      Bitmap dead(view.segment->row_count());  // by now
      for (const Tombstone& tombstone : list_tombstones(db, segment_id, 0)) {
        dead.set(tombstone.slot);
      }
      for (const auto& [row_id, slot] : rows.nameless) {
        if (dead.test(slot)) continue;
        const float* vector = view.segment->vector(slot);
        writer.unseal(row_id, {vector, view.segment->dim()}, segment_id, slot);
      }
      std::vector<Record> lost;
      for (const auto& [row_id, slot] : rows.lost) {
        if (dead.test(slot)) continue;
        lost.push_back(record_of(writer.records().read(row_id)));
        writer.remove_sealed(row_id, segment_id, slot);
      }
      writer.finish();
      if (!lost.empty()) take(collection, lost);
    });
  }

  OpenStore& store_;
  const CheckResult& findings_;
  const ProgressFunction& progress_;
};

}  // namespace

CheckResult Store::repair(const ProgressFunction& progress, const LostFunction& lost) {
  const OpenStore::WriterHold hold(*open_);
  CheckResult findings = check(true, progress);
  if (std::ranges::none_of(findings.problems, [&](const Problem& problem) {
        return problem.repairable || problem.object.starts_with(kSegmentPrefix) ||
               (lost && (problem.object == kDatabaseObject ||
                         problem.object.starts_with(kCollectionPrefix)));
      })) {
    return findings;
  }
  const std::vector<CollectionRow> rows =
      open_->read([](Database& db) { return list_all_collections(db); });
  Take take;
  if (lost) {
    take = [&](OpenCollection& collection, std::span<const Record> records) {
      lost(collection_by_uuid(collection.uuid), records);
    };
  }
  Repair repair(*open_, findings, progress);
  repair.rebuild_database(rows, take);
  // What stood behind damage of the database could not be looked at.
  if (names(findings, kDatabaseObject)) findings = check(true, progress);
  for (const CollectionRow& row : rows) {
    try {
      repair.rebuild_segments(*open_->open_collection(row), take);
    } catch (const Error& error) {
      // A segment that cannot be opened. What is left says the check; other collections can still
      // be repaired.
      if (error.code() != ErrorCode::corruption && error.code() != ErrorCode::unsupported) throw;
    }
  }
  return check(true, progress);
}

}  // namespace vkb

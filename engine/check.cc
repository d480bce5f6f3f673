// SPDX-License-Identifier: Apache-2.0
//
// Looking for damage.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>

#include "engine/bit_codes.h"
#include "engine/check_graph.h"
#include "engine/codes.h"
#include "engine/findings.h"
#include "engine/leftovers.h"
#include "engine/open_store.h"
#include "storage/backup_manifest.h"
#include "storage/document_index.h"
#include "storage/error.h"
#include "storage/manifest.h"
#include "storage/posting_index.h"
#include "storage/records.h"
#include "storage/salvage.h"
#include "storage/schema.h"
#include "storage/vector_log.h"

namespace vkb {
namespace {

struct StopRequested {};

// Findings of one kind that are worth naming one by one; more are counted.
constexpr std::size_t kMostNamed = 20;

class Checker {
 public:
  Checker(OpenStore& store, Database& db, bool deep, const ProgressFunction& progress)
      : store_(store), db_(db), deep_(deep), progress_(progress) {}

  CheckResult run() {
    const std::vector<std::string> findings = db_.quick_check();
    can_salvage_ = !findings.empty() && can_salvage(db_);
    for (const std::string& finding : findings) report(kDatabaseObject, finding, can_salvage_);
    if (deep_) {
      if (findings.empty()) check_free_pages();
      check_references();
      check_backup();
    }
    count_orphans();
    const std::vector<CollectionRow> collections = readable_collections();
    for (const CollectionRow& row : collections) total_ += row.record_count;
    for (const CollectionRow& row : collections) {
      try {
        check_collection(row);
      } catch (const SegmentMissing&) {
        throw;  // no damage: the check begins anew
      } catch (const Error& error) {
        if (error.code() != ErrorCode::corruption) throw;
        report(kDatabaseObject, error.what(), can_salvage_);  // what it cannot get past
      }
    }
    if (asked_ > 0) result_.recall = static_cast<double>(found_) / static_cast<double>(asked_);
    return std::move(result_);
  }

 private:
  void report(std::string object, std::string message, bool repairable) {
    // An error caught here names its object already.
    if (message.starts_with(object + ": ")) message.erase(0, object.size() + 2);
    result_.problems.push_back({std::move(object), std::move(message), repairable});
  }

  void tick(std::uint64_t done) {
    if (progress_ && !progress_({.step = "check", .done = done, .total = total_})) {
      throw StopRequested{};
    }
  }

  // Files that a writer left when it died or could not remove, or that wait for readers. They are
  // no damage: the next writer removes them. One that is at work now may be about to name them, so
  // they are not counted then; and what it named before it ended is in what is read after the
  // listing.
  void count_orphans() {
    const std::string& directory = store_.segment_directory();
    if (!store_.files().exists(directory) || !store_.writer_holder().empty()) return;
    const std::vector<std::string> found = store_.files().list(directory);
    std::vector<std::string> named = files_now();
    if (!store_.writer_holder().empty()) return;
    std::ranges::sort(named);
    result_.orphans =
        static_cast<std::uint64_t>(std::ranges::count_if(found, [&](const std::string& name) {
          return name.ends_with(kSegmentSuffix) && !std::ranges::binary_search(named, name);
        }));
  }

  // A backup that programs have written to is a store of its own, as backup() has it.
  void check_backup() {
    const std::string& directory = store_.directory();
    if (store_.files().exists(directory + "/" + std::string(kWriterLock))) return;
    for (const std::string& finding : backup_findings(store_.files(), directory)) {
      report(std::string(kBackupManifest), finding, false);
    }
  }

  // SQLite reads the others. These only a backup does, which would fail.
  void check_free_pages() {
    for (const std::uint64_t number : db_.damaged_pages()) {
      report(kDatabaseObject,
             "page " + std::to_string(number) +
                 " does not match its checksum; nothing is kept in it, but no backup can be made",
             true);
    }
  }

  // Rows of SQLite's whose collection, segment or database is not there: nothing would ever read
  // them.
  void check_references() {
    std::size_t wrong = 0;
    try {
      Statement rows(db_, "PRAGMA foreign_key_check");
      while (rows.step()) {
        if (++wrong > kMostNamed) continue;
        report("table " + std::string(rows.text(0)),
               "has a row that belongs to a " + std::string(rows.text(2)) + " which is not there",
               false);
      }
    } catch (const Error& error) {
      report(kDatabaseObject, error.what(), can_salvage_);  // a damaged page
    }
    if (wrong > kMostNamed) {
      report("tables", std::to_string(wrong - kMostNamed) + " more rows of this kind", false);
    }
  }

  // All of them; what is wrong with those that cannot be read is reported.
  std::vector<CollectionRow> readable_collections() {
    std::vector<std::int64_t> ids;
    Statement all(db_, "SELECT collection_id FROM collection ORDER BY collection_id");
    while (all.step()) ids.push_back(all.integer(0));
    std::vector<CollectionRow> collections;
    for (const std::int64_t id : ids) {
      const std::string object = "collection number " + std::to_string(id);
      try {
        const std::optional<CollectionRow> row = find_collection(db_, id);
        if (!row) {
          report(object, "is in no database", false);
          continue;
        }
        collections.push_back(*row);
        if (row->metadata) parse_metadata(*row->metadata);
      } catch (const Error& error) {
        report(object, error.what(), false);
      }
    }
    return collections;
  }

  void check_collection(const CollectionRow& row) {
    const std::string object = collection_name(row);
    Records records(db_, row.collection_id);
    const std::uint64_t counted = records.count();
    if (counted != row.record_count) {
      report(object,
             "counts " + std::to_string(row.record_count) + " records, holds " +
                 std::to_string(counted),
             true);
    }
    if (const std::size_t lost = lost_ids(db_, row.collection_id).size(); lost > 0) {
      report(object,
             "lost " + std::to_string(lost) +
                 " records to damaged pages, in a repair that did not come to its end",
             false);
    }
    result_.records += counted;
    std::vector<std::uint64_t> placed;  // row ids with a live vector, once per place
    for (const SegmentRow& segment : list_segments(db_, row.collection_id)) {
      check_segment(row, segment, placed);
    }
    check_log(row, placed);
    check_bijection(row, records, counted, placed);
    if (deep_) {
      check_records(row, records);
      const std::string finding =
          check_document_index(db_, row.collection_id, [this] { tick(result_.records); });
      if (!finding.empty()) report(document_index_name(row), finding, true);
    }
    tick(result_.records);
  }

  void check_segment(const CollectionRow& row, const SegmentRow& named,
                     std::vector<std::uint64_t>& placed) {
    ++result_.segments;
    const std::string object = segment_name(named);
    try {
      const std::shared_ptr<const Segment> segment =
          Segment::open(store_.files(), store_.segment_directory() + "/" + named.file);
      const SegmentHeader& header = segment->header();
      if (header.header_checksum != named.checksum || header.row_count != named.row_count ||
          header.dim != row.dim.value_or(0) || header.space != row.space ||
          header.file_bytes != named.byte_count || segment->has_graph() != named.has_graph) {
        return report(object, "is not the file that the store wrote", false);
      }
      const std::size_t before = result_.problems.size();
      if (deep_) check_sections(object, *segment);
      const bool is_lasting = std::any_of(
          result_.problems.begin() + static_cast<std::ptrdiff_t>(before), result_.problems.end(),
          [](const Problem& found) { return !found.repairable; });
      Bitmap dead(segment->row_count());
      for (const Tombstone& tombstone : list_tombstones(db_, named.segment_id, 0)) {
        if (tombstone.slot >= segment->row_count()) {
          report(object,
                 "tombstone for slot " + std::to_string(tombstone.slot) + " of " +
                     std::to_string(segment->row_count()),
                 true);
        } else {
          dead.set(tombstone.slot);
        }
      }
      if (is_lasting && segment->has_page_checksums()) name_lost(row, *segment, dead);
      std::uint64_t damaged_ids = 0;
      RowIds rows(*segment);
      for (std::uint32_t slot = 0; slot < segment->row_count(); ++slot) {
        if (dead.test(slot)) continue;
        placed.push_back(rows.of(slot));
        damaged_ids += rows.was_damaged();
      }
      count(object, "damaged row ids", damaged_ids);
      if (deep_ && result_.problems.size() == before) {
        check_contents(object, *segment);
        check_record_ids(object, row, *segment);
        if (segment->has_graph()) check_links(object, row, *segment, dead);
      }
    } catch (const Error& error) {
      if (error.code() == ErrorCode::not_found &&
          std::ranges::count(files_now(), named.file) == 0) {
        throw SegmentMissing(error.what(), row.manifest_version);  // begins anew
      }
      report(object, error.what(), false);
    }
  }

  // Nothing when there is no such record, or its page is damaged.
  static std::optional<std::string> id_of(Records& records, std::int64_t row_id) {
    try {
      return records.id_of(row_id);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corruption) throw;
      return std::nullopt;
    }
  }
  static std::string name_of(Records& records, std::int64_t row_id) {
    const std::optional<std::string> id = id_of(records, row_id);
    return id ? record_name(*id) : "record of row " + std::to_string(row_id);
  }

  // The id that a segment keeps beside a vector, for one whose record is gone.
  std::optional<std::string> id_in_segments(const CollectionRow& row, std::uint64_t row_id) const {
    for (const SegmentRow& named : list_segments(db_, row.collection_id)) {
      try {
        const auto segment =
            Segment::open(store_.files(), store_.segment_directory() + "/" + named.file);
        if (const auto id = segment->record_id(row_id)) return std::string(*id);
      } catch (const Error&) {
        // Damaged, or taken away: it is looked at elsewhere.
      }
    }
    return std::nullopt;
  }

  // The segments of the store as it is now, not only as this check's transaction sees it: a
  // compaction may have taken one away.
  std::vector<std::string> files_now() const {
    return store_.read([](Database& now) { return list_segment_files(now); });
  }

  void check_sections(const std::string& object, const Segment& segment) {
    for (const SectionEntry& section : segment.sections()) {
      const auto kind = static_cast<SectionKind>(section.kind);
      try {
        segment.verify(section);
        result_.bytes += section.bytes;
      } catch (const Error& error) {
        // Row ids are in sorted_row_ids as well: pages tell which of the two to believe.
        const bool is_cache = kind != SectionKind::vectors &&
                              (kind != SectionKind::row_ids || segment.has_page_checksums());
        report(object, error.what(), is_cache);
      }
      tick(result_.records);
    }
    count(object, "pages that do not match their checksums", segment.count_damaged_pages());
  }

  // What the checksums cannot tell: that the bytes, as written, fit each other.
  void check_contents(const std::string& object, const Segment& segment) {
    std::uint64_t wrong_order = 0;
    std::uint64_t wrong_codes = 0;
    const std::uint32_t rows = segment.row_count();
    const auto sorted_ids = segment.sorted_row_ids();
    const auto sorted_slots = segment.sorted_slots();
    std::vector<std::byte> code(code_bytes(segment.dim()));
    std::vector<std::byte> int4(int4_code_bytes(segment.dim()));
    std::array<std::byte, kBitCodeBytes> bits{};
    const BitProjector projector(segment.bit_directions(), segment.bit_centre(), segment.dim());
    const auto space = static_cast<Space>(segment.header().space);
    for (std::uint32_t i = 0; i < rows; ++i) {
      wrong_order += (i > 0 && sorted_ids[i - 1] >= sorted_ids[i]) || sorted_slots[i] >= rows ||
                     segment.row_id(sorted_slots[i]) != sorted_ids[i];
      const std::span<const float> vector(segment.vector(i), segment.dim());
      const float norm = norm_of(vector);
      encode_int8(vector, norm, space, code.data());
      if (segment.has_int4_codes()) encode_int4(code.data(), segment.dim(), int4.data());
      if (segment.has_bit_codes()) projector.encode(space, code.data(), bits.data());
      wrong_codes += norm != segment.norm(i) ||
                     (segment.has_int8_codes() &&
                      std::memcmp(code.data(), segment.code(i), code.size()) != 0) ||
                     (segment.has_int4_codes() &&
                      std::memcmp(int4.data(), segment.int4_code(i), int4.size()) != 0) ||
                     (segment.has_bit_codes() &&
                      std::memcmp(bits.data(), segment.bit_code(i), bits.size()) != 0);
    }
    count(object, "rows out of order in sorted_row_ids", wrong_order);
    count(object, "codes or norms that differ from their vectors", wrong_codes);
  }

  // Whose vectors are damaged.
  void name_lost(const CollectionRow& row, const Segment& segment, const Bitmap& dead) {
    const std::vector<DamagedRows::Row> lost = find_damaged_rows(segment, &dead).lost;
    Records records(db_, row.collection_id);
    for (std::size_t i = 0; i < std::min(lost.size(), kMostNamed); ++i) {
      report(name_of(records, lost[i].row_id),
             "its vector, in segment " + std::filesystem::path(segment.path()).filename().string() +
                 ", is damaged",
             false);
    }
    if (lost.size() > kMostNamed) {
      report(collection_name(row),
             std::to_string(lost.size() - kMostNamed) + " more records whose vectors are damaged",
             false);
    }
  }

  void check_record_ids(const std::string& object, const CollectionRow& row,
                        const Segment& segment) {
    Records records(db_, row.collection_id);
    std::uint64_t wrong = 0;
    for (const std::uint64_t row_id : segment.sorted_row_ids()) {
      const std::optional<std::string_view> kept = segment.record_id(row_id);
      if (!kept) continue;
      const std::optional<std::string> id = records.id_of(static_cast<std::int64_t>(row_id));
      wrong += id && *id != *kept;
    }
    count(object, "record ids that differ from the records'", wrong);
  }

  void check_links(const std::string& object, const CollectionRow& row, const Segment& segment,
                   const Bitmap& dead) {
    const GraphFindings graph =
        check_graph(segment, dead, row.ef_search, [this] { tick(result_.records); });
    for (const std::string& problem : graph.problems) report(object, problem, true);
    asked_ += graph.asked;
    found_ += graph.found;
  }

  void count(const std::string& object, const std::string& what, std::uint64_t number) {
    if (number > 0) report(object, std::to_string(number) + " " + what, true);
  }

  void check_log(const CollectionRow& row, std::vector<std::uint64_t>& placed) {
    const std::string object = collection_name(row);
    Records records(db_, row.collection_id);
    std::map<std::int64_t, bool> live;
    std::int64_t last_seq = 0;
    try {
      read_log(db_, row.collection_id, 0, row.dim.value_or(0), [&](const LogEntry& entry) {
        live[entry.row_id] = !entry.vector.empty();
        last_seq = entry.seq;
        if (std::ranges::all_of(entry.vector, [](float x) { return std::isfinite(x); })) return;
        report(object,
               "vector_log entry " + std::to_string(entry.seq) + ", the vector of " +
                   name_of(records, entry.row_id) + ", holds NaN or infinity",
               false);
      });
    } catch (const Error& error) {
      report(object, error.what(), false);
    }
    if (last_seq > row.last_seq) {
      report(object,
             "its log goes on to entry " + std::to_string(last_seq) + ", it knows " +
                 std::to_string(row.last_seq),
             true);
    }
    for (const auto& [row_id, has_vector] : live) {
      if (has_vector) placed.push_back(static_cast<std::uint64_t>(row_id));
    }
  }

  // Each record has exactly one live vector, and each live vector a record (R5).
  void check_bijection(const CollectionRow& row, Records& records, std::uint64_t counted,
                       std::vector<std::uint64_t>& placed) {
    const std::string object = collection_name(row);
    std::sort(placed.begin(), placed.end());
    const auto rows = records.row_ids(0, 0, UINT64_MAX);
    if (rows.size() != counted) {
      report(object, std::to_string(counted - rows.size()) + " records have no row id of ours",
             false);
    }
    auto at = placed.begin();
    std::size_t wrong = 0;
    const auto name = [&](std::uint64_t row_id, const char* what) {
      if (++wrong > kMostNamed) return;
      std::optional<std::string> id = id_of(records, static_cast<std::int64_t>(row_id));
      if (!id) id = id_in_segments(row, row_id);
      report(object, (id ? "id '" + *id + "'" : "row " + std::to_string(row_id)) + what, false);
    };
    for (const std::int64_t found : rows) {
      const auto row_id = static_cast<std::uint64_t>(found);
      for (; at != placed.end() && *at < row_id; ++at) name(*at, " has a vector but no record");
      if (at == placed.end() || *at != row_id) {
        name(row_id, " has a record but no vector");
        continue;
      }
      ++at;
      for (; at != placed.end() && *at == row_id; ++at) name(row_id, " has more than one vector");
    }
    for (; at != placed.end(); ++at) name(*at, " has a vector but no record");
    if (wrong > kMostNamed) {
      report(object, std::to_string(wrong - kMostNamed) + " more rows of this kind", false);
    }
  }

  // Each record's metadata can be read, and the index holds that and nothing else.
  void check_records(const CollectionRow& row, Records& records) {
    PostingDigest expected;
    std::uint64_t visited = 0;
    for (const std::int64_t row_id : records.row_ids(0, 0, UINT64_MAX)) {
      if (++visited % 1000 == 0) tick(visited);
      try {
        const RecordRow record = records.read(row_id);
        if (record.metadata) add_expected(records, row_id, *record.metadata, expected);
      } catch (const Error& error) {
        report(name_of(records, row_id), error.what(), false);
      }
    }
    const std::string object = collection_name(row);
    try {
      const PostingDigest found =
          digest_postings(db_, row.collection_id, [this] { tick(result_.records); });
      if (found == expected) return;
      report(object,
             "the metadata index does not agree with the records: it has " +
                 std::to_string(found.count) + " entries, expected " +
                 std::to_string(expected.count),
             true);
    } catch (const Error& error) {
      report(object, error.what(), true);
    }
  }

  // A key that the index does not know gets a number that no key has.
  static void add_expected(Records& records, std::int64_t row_id, const Metadata& metadata,
                           PostingDigest& expected) {
    for (const auto& [key, value] : metadata) {
      const std::int64_t key_id = records.key_id(key, kind_of(value)).value_or(0);
      for (const PostingValue& posting : posting_values(value)) {
        expected.add(key_id, posting, row_id);
      }
    }
  }

  OpenStore& store_;
  Database& db_;
  const bool deep_;
  const ProgressFunction& progress_;
  CheckResult result_;
  std::uint64_t total_ = 0;
  bool can_salvage_ = false;  // what is damaged in vkb.sqlite3
  std::uint64_t asked_ = 0;   // see GraphFindings
  std::uint64_t found_ = 0;
};

}  // namespace

CheckResult Store::check(bool deep, const ProgressFunction& progress) const {
  try {
    return open_->read([&](Database& db) { return Checker(*open_, db, deep, progress).run(); });
  } catch (const StopRequested&) {
    return {};
  }
}

}  // namespace vkb

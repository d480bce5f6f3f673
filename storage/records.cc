// SPDX-License-Identifier: Apache-2.0
#include "storage/records.h"

#include <algorithm>

#include "storage/compression.h"
#include "storage/document_index.h"
#include "storage/error.h"

namespace vkb {
namespace {

// Nothing in SQL looks into metadata; the postings are for that. LlamaIndex's runs to 2 kB a
// record, more than its text.
constexpr std::size_t kLongestPlainMetadata = 512;

PackedMetadata packed(const std::optional<Metadata>& metadata) {
  if (!metadata) return {};
  std::string json = to_json(*metadata);
  if (json.size() <= kLongestPlainMetadata) return json;
  return compress(json);
}

}  // namespace

std::string record_name(std::string_view id) {
  return "record '" + std::string(id.substr(0, 200)) + "'";
}

std::optional<Metadata> unpack(const PackedMetadata& packed, const std::string& path,
                               std::string_view id) {
  try {
    if (const auto* text = std::get_if<std::string>(&packed)) return parse_metadata(*text);
    if (const auto* bytes = std::get_if<std::vector<std::byte>>(&packed)) {
      return parse_metadata(decompress(*bytes, "metadata"));
    }
  } catch (const Error& error) {
    throw Error(ErrorCode::corruption,
                path + ": " + record_name(id) + ": " + error.what() + "; restore a backup");
  }
  return std::nullopt;
}

std::optional<std::int64_t> Records::find(std::string_view id) {
  Statement found(db_, "SELECT row_id FROM record WHERE collection_id=? AND id=?");
  found.bind(collection_id_, id);
  if (!found.step()) return std::nullopt;
  return found.integer(0);
}

std::optional<std::string> Records::id_of(std::int64_t row_id) {
  Statement found(db_, "SELECT id FROM record WHERE row_id=? AND collection_id=?");
  found.bind(row_id, collection_id_);
  if (!found.step()) return std::nullopt;
  return std::string(found.text(0));
}

void Records::for_each_id(
    const std::function<void(std::int64_t row_id, std::string_view id)>& visit) {
  Statement all(db_, "SELECT row_id, id FROM record WHERE collection_id=? ORDER BY id");
  all.bind(collection_id_);
  while (all.step()) visit(all.integer(0), all.text(1));
}

std::int64_t Records::insert(const RecordRow& record, bool bulk) {
  Statement(db_,
            "INSERT INTO record(collection_id, id, uri, origin, metadata, document)"
            " VALUES(?,?,?,?,?,?)")
      .bind(collection_id_, record.id, record.uri, record.origin, packed(record.metadata),
            record.document)
      .run();
  const std::int64_t row_id = db_.last_insert_rowid();
  insert_postings(db_, row_id, entries_of(record.metadata), bulk);
  return row_id;
}

void Records::replace(const RecordRow& record, bool bulk) {
  const RecordRow old =
      read(record.row_id, {.document = false, .uri = false, .metadata = true, .origin = false});
  before_document_change(db_, collection_id_, record.row_id, record.document);
  Statement(db_, "UPDATE record SET uri=?, origin=?, metadata=?, document=? WHERE row_id=?")
      .bind(record.uri, record.origin, packed(record.metadata), record.document, record.row_id)
      .run();
  if (old.metadata == record.metadata) return;
  change_postings(db_, record.row_id, entries_of(old.metadata), entries_of(record.metadata), bulk);
}

void Records::remove(std::int64_t row_id) {
  const RecordRow old =
      read(row_id, {.document = false, .uri = false, .metadata = true, .origin = false});
  change_postings(db_, row_id, entries_of(old.metadata), {}, false);
  before_document_change(db_, collection_id_, row_id, std::nullopt);
  Statement(db_, "DELETE FROM record WHERE row_id=?").bind(row_id).run();
}

void Records::reindex(std::int64_t row_id) {
  const RecordRow row =
      read(row_id, {.document = false, .uri = false, .metadata = true, .origin = false});
  insert_postings(db_, row_id, entries_of(row.metadata), true);
}

RecordRow Records::read(std::int64_t row_id, const RecordColumns& columns, PackedMetadata* packed) {
  Statement row(db_, reading_sql(columns));
  row.bind(row_id, collection_id_);
  if (!row.step()) {
    throw Error(ErrorCode::corruption, db_.path() + ": row " + std::to_string(row_id) +
                                           " has a vector but no record; run `vkb check --deep`");
  }
  RecordRow out{.row_id = row_id,
                .id = std::string(row.text(0)),
                .document = row.optional_text(4),
                .uri = row.optional_text(1),
                .metadata = std::nullopt,
                .origin = row.optional_text(2)};
  if (row.is_null(3)) return out;
  PackedMetadata found;
  if (row.is_blob(3)) {
    const std::span<const std::byte> bytes = row.blob(3);
    found.emplace<std::vector<std::byte>>(bytes.begin(), bytes.end());
  } else {
    found.emplace<std::string>(row.text(3));
  }
  if (packed) {
    *packed = std::move(found);
  } else {
    out.metadata = unpack(found, db_.path(), out.id);
  }
  return out;
}

const std::string& Records::reading_sql(const RecordColumns& columns) {
  if (!reading_sql_.empty() && columns == reading_columns_) return reading_sql_;
  std::string sql = "SELECT id";
  for (const auto& [wanted, column] : {std::pair(columns.uri, "uri"),
                                       {columns.origin, "origin"},
                                       {columns.metadata, "metadata"},
                                       {columns.document, "document"}}) {
    sql += wanted ? std::string(", ") + column : ", NULL";
  }
  reading_columns_ = columns;
  return reading_sql_ = sql + " FROM record WHERE row_id=? AND collection_id=?";
}

std::vector<std::int64_t> Records::row_ids(std::int64_t after, std::uint64_t offset,
                                           std::uint64_t limit) {
  // SQLite reads a negative limit as "no limit".
  constexpr std::uint64_t kMost = INT64_MAX;
  Statement rows(db_,
                 "SELECT row_id FROM record INDEXED BY record_by_collection"
                 " WHERE collection_id=? AND row_id>? ORDER BY row_id LIMIT ? OFFSET ?");
  rows.bind(collection_id_, after, std::min(limit, kMost), std::min(offset, kMost));
  std::vector<std::int64_t> out;
  while (rows.step()) out.push_back(rows.integer(0));
  return out;
}

std::uint64_t Records::count() {
  Statement rows(db_, "SELECT count(*) FROM record WHERE collection_id=?");
  rows.bind(collection_id_);
  return rows.step() ? static_cast<std::uint64_t>(rows.integer(0)) : 0;
}

std::optional<std::int64_t> Records::key_id(std::string_view key, ValueKind kind) {
  const auto name = std::pair(std::string(key), kind);
  if (auto known = key_ids_.find(name); known != key_ids_.end()) return known->second;
  Statement found(db_,
                  "SELECT key_id FROM metadata_key WHERE collection_id=? AND key=? AND kind=?");
  found.bind(collection_id_, key, static_cast<int>(kind));
  if (!found.step()) return std::nullopt;
  return key_ids_[name] = found.integer(0);
}

std::int64_t Records::make_key_id(std::string_view key, ValueKind kind) {
  if (auto known = key_id(key, kind)) return *known;
  Statement(db_, "INSERT INTO metadata_key(collection_id, key, kind) VALUES(?,?,?)")
      .bind(collection_id_, key, static_cast<int>(kind))
      .run();
  return key_ids_[{std::string(key), kind}] = db_.last_insert_rowid();
}

std::vector<PostingEntry> Records::entries_of(const std::optional<Metadata>& metadata) {
  std::vector<PostingEntry> entries;
  if (!metadata) return entries;
  for (const auto& [key, value] : *metadata) {
    const std::int64_t key_number = make_key_id(key, kind_of(value));
    for (PostingValue& posting : posting_values(value)) {
      entries.push_back({key_number, std::move(posting)});
    }
  }
  return entries;
}

std::vector<std::pair<std::string, ValueKind>> metadata_keys(Database& db,
                                                             std::int64_t collection_id) {
  Statement keys(db, "SELECT key, kind FROM metadata_key WHERE collection_id=? ORDER BY key_id");
  keys.bind(collection_id);
  std::vector<std::pair<std::string, ValueKind>> out;
  while (keys.step()) out.emplace_back(keys.text(0), static_cast<ValueKind>(keys.integer(1)));
  return out;
}

void remove_unused_keys(Database& db, std::int64_t collection_id) {
  std::vector<std::int64_t> keys;
  {
    std::string unused = "SELECT key_id FROM metadata_key m WHERE collection_id=?";
    for (const char* table : {"posting_block", "posting", "posting_removed", "posting_pending"}) {
      unused +=
          std::string(" AND NOT EXISTS(SELECT 1 FROM ") + table + " p WHERE p.key_id=m.key_id)";
    }
    Statement found(db, unused);
    found.bind(collection_id);
    while (found.step()) keys.push_back(found.integer(0));
  }
  Statement remove(db, "DELETE FROM metadata_key WHERE key_id=?");
  for (const std::int64_t key : keys) remove.bind(key).run();
}

void rebuild_postings(Database& db, std::int64_t collection_id) {
  drop_postings(db, collection_id);
  Records records(db, collection_id);
  std::int64_t after = 0;
  for (auto rows = records.row_ids(after, 0, 10'000); !rows.empty();
       rows = records.row_ids(after, 0, 10'000)) {
    for (const std::int64_t row_id : rows) records.reindex(row_id);
    after = rows.back();
  }
}

}  // namespace vkb

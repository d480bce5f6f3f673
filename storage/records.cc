// SPDX-License-Identifier: Apache-2.0
#include "storage/records.h"

#include <xxhash.h>

#include <algorithm>

#include "storage/compression.h"
#include "storage/document_index.h"
#include "storage/error.h"

namespace vkb {
namespace {

// Texts longer than this are indexed by hash. UUIDs (36) and most categories stay readable.
constexpr std::size_t kLongestPostingText = 40;
// Begins a hashed text; a text that begins so itself is hashed whatever its length.
constexpr char kHashMark = '\x01';

PostingValue text_posting(const std::string& text) {
  if (text.size() <= kLongestPostingText && (text.empty() || text.front() != kHashMark)) {
    return text;
  }
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(text.data(), text.size()));
  std::string out(1, kHashMark);
  for (const unsigned char byte : hash.digest) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 0xF];
  }
  return out;
}

// Metadata as the record table holds it: JSON text, or, when long, a compressed blob. Nothing in
// SQL looks into it; the postings are for that. LlamaIndex's runs to 2 kB a record, more than its
// text.
constexpr std::size_t kLongestPlainMetadata = 512;

using StoredMetadata = std::variant<std::nullptr_t, std::string, std::vector<std::byte>>;

StoredMetadata stored(const std::optional<Metadata>& metadata) {
  if (!metadata) return nullptr;
  std::string json = to_json(*metadata);
  if (json.size() <= kLongestPlainMetadata) return json;
  return compress(json);
}

struct Postings {
  std::vector<PostingValue> out;

  void operator()(std::monostate) {}
  void operator()(bool value) { out.emplace_back(std::int64_t{value}); }
  void operator()(std::int64_t value) { out.emplace_back(value); }
  void operator()(double value) { out.emplace_back(value); }
  void operator()(const std::string& value) { out.push_back(text_posting(value)); }
  template <typename T>
  void operator()(const std::vector<T>& values) {
    for (const auto& value : values) (*this)(static_cast<T>(value));
  }
};

}  // namespace

ValueKind kind_of(const Value& value) {
  switch (value.index()) {
    case 1:
      return ValueKind::boolean;
    case 2:
      return ValueKind::integer;
    case 3:
      return ValueKind::floating;
    case 4:
      return ValueKind::text;
    case 5:
      return ValueKind::boolean_array;
    case 6:
      return ValueKind::integer_array;
    case 7:
      return ValueKind::float_array;
    case 8:
      return ValueKind::text_array;
    default:
      throw Error(ErrorCode::invalid_argument, "metadata: a null value has no kind");
  }
}

ValueKind array_kind_of(const Value& scalar) {
  if (std::holds_alternative<bool>(scalar)) return ValueKind::boolean_array;
  if (std::holds_alternative<std::int64_t>(scalar)) return ValueKind::integer_array;
  if (std::holds_alternative<double>(scalar)) return ValueKind::float_array;
  return ValueKind::text_array;
}

std::vector<PostingValue> posting_values(const Value& value) {
  Postings postings;
  std::visit(postings, value);
  return std::move(postings.out);
}

void bind_posting(Statement& statement, const PostingValue& value) {
  std::visit([&](const auto& scalar) { statement.bind(scalar); }, value);
}

std::optional<std::int64_t> Records::find(std::string_view id) {
  Statement found(db_, "SELECT row_id FROM record WHERE collection_id=? AND id=?");
  found.bind(collection_id_, id);
  if (!found.step()) return std::nullopt;
  return found.integer(0);
}

std::int64_t Records::insert(const RecordRow& record, bool bulk) {
  Statement(db_,
            "INSERT INTO record(collection_id, id, uri, origin, metadata, document)"
            " VALUES(?,?,?,?,?,?)")
      .bind(collection_id_, record.id, record.uri, record.origin, stored(record.metadata),
            record.document)
      .run();
  const std::int64_t row_id = db_.last_insert_rowid();
  if (record.metadata) add_postings(row_id, *record.metadata, bulk);
  return row_id;
}

void Records::replace(const RecordRow& record, bool bulk) {
  const RecordRow old =
      read(record.row_id, {.document = false, .uri = false, .metadata = true, .origin = false});
  before_document_change(db_, collection_id_, record.row_id, record.document);
  Statement(db_, "UPDATE record SET uri=?, origin=?, metadata=?, document=? WHERE row_id=?")
      .bind(record.uri, record.origin, stored(record.metadata), record.document, record.row_id)
      .run();
  if (old.metadata == record.metadata) return;
  if (old.metadata) remove_postings(record.row_id, *old.metadata);
  if (record.metadata) add_postings(record.row_id, *record.metadata, bulk);
}

void Records::remove(std::int64_t row_id) {
  const RecordRow old =
      read(row_id, {.document = false, .uri = false, .metadata = true, .origin = false});
  if (old.metadata) remove_postings(row_id, *old.metadata);
  before_document_change(db_, collection_id_, row_id, std::nullopt);
  Statement(db_, "DELETE FROM record WHERE row_id=?").bind(row_id).run();
}

void Records::reindex(std::int64_t row_id) {
  const RecordRow row =
      read(row_id, {.document = false, .uri = false, .metadata = true, .origin = false});
  if (row.metadata) add_postings(row_id, *row.metadata, true);
}

RecordRow Records::read(std::int64_t row_id, const RecordColumns& columns) {
  std::string sql = "SELECT id";
  for (const auto& [wanted, column] : {std::pair(columns.uri, "uri"),
                                       {columns.origin, "origin"},
                                       {columns.metadata, "metadata"},
                                       {columns.document, "document"}}) {
    sql += wanted ? std::string(", ") + column : ", NULL";
  }
  Statement row(db_, sql + " FROM record WHERE row_id=? AND collection_id=?");
  row.bind(row_id, collection_id_);
  if (!row.step()) {
    throw Error(ErrorCode::corruption, db_.path() + ": record " + std::to_string(row_id) +
                                           " has a vector but no row; run `vkb check --deep`");
  }
  RecordRow out{.row_id = row_id,
                .id = std::string(row.text(0)),
                .document = row.optional_text(4),
                .uri = row.optional_text(1),
                .metadata = std::nullopt,
                .origin = row.optional_text(2)};
  if (!row.is_null(3)) {
    try {
      out.metadata = row.is_blob(3) ? parse_metadata(decompress(row.blob(3), "metadata"))
                                    : parse_metadata(row.text(3));
    } catch (const Error& error) {
      throw Error(ErrorCode::corruption,
                  db_.path() + ": record " + std::to_string(row_id) + ": " + error.what());
    }
  }
  return out;
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

void Records::add_postings(std::int64_t row_id, const Metadata& metadata, bool bulk) {
  // An array may hold a value twice: OR IGNORE.
  Statement insert(
      db_, bulk ? "INSERT OR IGNORE INTO posting_pending(row_id, key_id, value) VALUES(?,?,?)"
                : "INSERT OR IGNORE INTO posting(row_id, key_id, value) VALUES(?,?,?)");
  for (const auto& [key, value] : metadata) {
    const std::int64_t key_number = make_key_id(key, kind_of(value));
    for (const PostingValue& posting : posting_values(value)) {
      insert.bind(row_id, key_number);
      bind_posting(insert, posting);
      insert.run();
    }
  }
}

void Records::remove_postings(std::int64_t row_id, const Metadata& metadata) {
  for (const char* sql : {"DELETE FROM posting WHERE row_id=? AND key_id=? AND value=?",
                          "DELETE FROM posting_pending WHERE row_id=? AND key_id=? AND value=?"}) {
    Statement remove(db_, sql);
    for (const auto& [key, value] : metadata) {
      const std::int64_t key_number = make_key_id(key, kind_of(value));
      for (const PostingValue& posting : posting_values(value)) {
        remove.bind(row_id, key_number);
        bind_posting(remove, posting);
        remove.run();
      }
    }
  }
}

std::vector<std::pair<std::string, ValueKind>> metadata_keys(Database& db,
                                                             std::int64_t collection_id) {
  Statement keys(db, "SELECT key, kind FROM metadata_key WHERE collection_id=? ORDER BY key_id");
  keys.bind(collection_id);
  std::vector<std::pair<std::string, ValueKind>> out;
  while (keys.step()) out.emplace_back(keys.text(0), static_cast<ValueKind>(keys.integer(1)));
  return out;
}

std::uint64_t count_postings(Database& db, std::int64_t collection_id) {
  Statement entries(db,
                    "SELECT (SELECT count(*) FROM posting JOIN metadata_key USING(key_id)"
                    " WHERE collection_id=?1) + (SELECT count(*) FROM posting_pending"
                    " JOIN metadata_key USING(key_id) WHERE collection_id=?1)");
  entries.bind(collection_id);
  return entries.step() ? static_cast<std::uint64_t>(entries.integer(0)) : 0;
}

void merge_pending_postings(Database& db) {
  db.execute(
      "INSERT OR IGNORE INTO posting(key_id, value, row_id)"
      " SELECT key_id, value, row_id FROM posting_pending ORDER BY key_id, value, row_id;"
      "DELETE FROM posting_pending;");
}

void rebuild_postings(Database& db, std::int64_t collection_id) {
  for (const char* sql : {"DELETE FROM posting WHERE key_id IN"
                          " (SELECT key_id FROM metadata_key WHERE collection_id=?)",
                          "DELETE FROM posting_pending WHERE key_id IN"
                          " (SELECT key_id FROM metadata_key WHERE collection_id=?)"}) {
    Statement(db, sql).bind(collection_id).run();
  }
  Records records(db, collection_id);
  std::int64_t after = 0;
  for (auto rows = records.row_ids(after, 0, 10'000); !rows.empty();
       rows = records.row_ids(after, 0, 10'000)) {
    for (const std::int64_t row_id : rows) records.reindex(row_id);
    after = rows.back();
  }
  merge_pending_postings(db);
}

}  // namespace vkb

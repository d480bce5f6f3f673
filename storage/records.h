// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "storage/sqlite.h"
#include "storage/value.h"

namespace vkb {

// A record without its vector.
struct RecordRow {
  std::int64_t row_id = 0;
  std::string id;
  std::optional<std::string> document;
  std::optional<std::string> uri;
  std::optional<Metadata> metadata;
  std::optional<std::string> origin;
};

// Which columns to read beside row_id and id.
struct RecordColumns {
  bool document = true;
  bool uri = true;
  bool metadata = true;
  bool origin = true;
};

// The kind of a metadata key's values. DO NOT CHANGE THESE VALUES: they are in databases.
enum class ValueKind : int {
  text = 0,
  integer = 1,  // compares with floats
  boolean = 2,
  text_array = 3,  // arrays: one posting an element; integers and floats are apart
  integer_array = 4,
  float_array = 5,
  boolean_array = 6,
  floating = 7,  // compares with integers
};

// What the metadata index holds for a value: its kind and one SQLite value for each scalar in it.
using PostingValue = std::variant<std::int64_t, double, std::string>;
ValueKind kind_of(const Value& value);
// Kind of an array that would hold `scalar`.
ValueKind array_kind_of(const Value& scalar);
// Long texts are indexed by their 128-bit hash, so that an index entry stays small.
std::vector<PostingValue> posting_values(const Value& value);
void bind_posting(Statement& statement, const PostingValue& value);

// The records of one collection and their metadata index; what changes of documents is noted for
// the document index. Lives inside one transaction: it remembers key ids that a rollback would take
// back. Thread safety: one thread at a time.
class Records {
 public:
  Records(Database& db, std::int64_t collection_id) : db_(db), collection_id_(collection_id) {}

  std::optional<std::int64_t> find(std::string_view id);
  // bulk: put the metadata into posting_pending, see storage/schema.cc. Returns the new row_id.
  std::int64_t insert(const RecordRow& record, bool bulk = false);
  // Writes every column of `record` at record.row_id anew.
  void replace(const RecordRow& record, bool bulk = false);
  void remove(std::int64_t row_id);
  // Adds the row's metadata, as stored, to posting_pending.
  void reindex(std::int64_t row_id);

  // Throws corruption when the row is missing or its metadata is not JSON.
  RecordRow read(std::int64_t row_id, const RecordColumns& columns = {});
  // Row ids in insertion order, greater than `after`.
  std::vector<std::int64_t> row_ids(std::int64_t after, std::uint64_t offset, std::uint64_t limit);
  std::uint64_t count();

  // Key id of (key, kind), if such a value was ever stored.
  std::optional<std::int64_t> key_id(std::string_view key, ValueKind kind);

 private:
  std::int64_t make_key_id(std::string_view key, ValueKind kind);
  void add_postings(std::int64_t row_id, const Metadata& metadata, bool bulk);
  void remove_postings(std::int64_t row_id, const Metadata& metadata);

  Database& db_;
  std::int64_t collection_id_;
  std::map<std::pair<std::string, ValueKind>, std::int64_t> key_ids_;
};

// The metadata keys of a collection, each with a kind its values have or had.
std::vector<std::pair<std::string, ValueKind>> metadata_keys(Database& db,
                                                             std::int64_t collection_id);
// Entries of the collection's metadata index, pending ones included.
std::uint64_t count_postings(Database& db, std::int64_t collection_id);
// Moves posting_pending into posting, in value order. In a write transaction.
void merge_pending_postings(Database& db);
// Rebuilds the collection's metadata index from its records (R9). In a write transaction.
void rebuild_postings(Database& db, std::int64_t collection_id);

}  // namespace vkb

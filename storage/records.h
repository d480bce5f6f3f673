// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "storage/posting_index.h"
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

// Metadata as the record table holds it: none, JSON text, or, when long, the same compressed.
using PackedMetadata = std::variant<std::monostate, std::string, std::vector<std::byte>>;
// Throws corruption when it is not such metadata; `path` and `id` are named then.
std::optional<Metadata> unpack(const PackedMetadata& packed, const std::string& path,
                               std::string_view id);

// How messages name a record: by its id, of which a long one is cut.
std::string record_name(std::string_view id);

// Which columns to read beside row_id and id.
struct RecordColumns {
  bool document = true;
  bool uri = true;
  bool metadata = true;
  bool origin = true;
  bool operator==(const RecordColumns&) const = default;
};

// The records of one collection and their metadata index; what changes of documents is noted for
// the document index. Lives inside one transaction: it remembers key ids that a rollback would take
// back. Thread safety: one thread at a time.
class Records {
 public:
  Records(Database& db, std::int64_t collection_id) : db_(db), collection_id_(collection_id) {}

  std::optional<std::int64_t> find(std::string_view id);
  // The other way round. A row's id never changes.
  std::optional<std::string> id_of(std::int64_t row_id);
  // All of the collection's row ids and ids, in the order of ids: read from an index that has both,
  // without touching records.
  void for_each_id(const std::function<void(std::int64_t row_id, std::string_view id)>& visit);
  // bulk: the metadata is indexed by a merge later, see storage/posting_index.h. Returns the new
  // row_id.
  std::int64_t insert(const RecordRow& record, bool bulk = false);
  // Writes every column of `record` at record.row_id anew.
  void replace(const RecordRow& record, bool bulk = false);
  void remove(std::int64_t row_id);
  // Adds the row's metadata, as stored, to the index, which has none of it.
  void reindex(std::int64_t row_id);

  // Throws corruption when the row is missing or its metadata is not JSON.
  // With `packed` the metadata goes there as it is, for unpack(), which may be another thread's
  // work.
  RecordRow read(std::int64_t row_id, const RecordColumns& columns = {},
                 PackedMetadata* packed = nullptr);
  // Row ids in insertion order, greater than `after`.
  std::vector<std::int64_t> row_ids(std::int64_t after, std::uint64_t offset, std::uint64_t limit);
  std::uint64_t count();

  // Key id of (key, kind), if such a value was ever stored.
  std::optional<std::int64_t> key_id(std::string_view key, ValueKind kind);

 private:
  std::int64_t make_key_id(std::string_view key, ValueKind kind);
  std::vector<PostingEntry> entries_of(const std::optional<Metadata>& metadata);
  const std::string& reading_sql(const RecordColumns& columns);

  Database& db_;
  std::int64_t collection_id_;
  std::map<std::pair<std::string, ValueKind>, std::int64_t> key_ids_;
  std::string reading_sql_;        // what read() ran last,
  RecordColumns reading_columns_;  // for these columns
};

// The metadata keys of a collection, each with a kind its values have or had.
std::vector<std::pair<std::string, ValueKind>> metadata_keys(Database& db,
                                                             std::int64_t collection_id);
// Forgets keys that no entry of the metadata index has. In a write transaction.
void remove_unused_keys(Database& db, std::int64_t collection_id);
// Rebuilds the collection's metadata index from its records (R9). In a write transaction. A merge
// should follow, when no other collection's index is damaged.
void rebuild_postings(Database& db, std::int64_t collection_id);

}  // namespace vkb

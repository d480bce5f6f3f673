// SPDX-License-Identifier: Apache-2.0
//
// The tables. docs/overview.md says what each is for.
#include "storage/schema.h"

#include <string>

#include "storage/document_index.h"
#include "storage/error.h"

namespace vkb {
namespace {

// "vkb1": tells our databases from other programs'.
constexpr int kApplicationId = 0x766B6231;

constexpr const char* kVersion1 = R"sql(
CREATE TABLE tenant(name TEXT PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE database(
  database_id INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,  -- need not be in the tenant table, as in Chroma
  name TEXT NOT NULL,
  UNIQUE(tenant, name));

-- last_seq and manifest_version tell a reader whether a snapshot it has is still the newest.
CREATE TABLE collection(
  collection_id INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid TEXT NOT NULL UNIQUE,
  database_id INTEGER NOT NULL REFERENCES database(database_id),
  name TEXT NOT NULL,
  dim INTEGER,
  space INTEGER NOT NULL,
  m INTEGER NOT NULL,
  ef_construction INTEGER NOT NULL,
  ef_search INTEGER NOT NULL,
  model TEXT,
  metadata TEXT,
  extra TEXT,
  record_count INTEGER NOT NULL DEFAULT 0,
  last_seq INTEGER NOT NULL DEFAULT 0,
  manifest_version INTEGER NOT NULL DEFAULT 0,
  UNIQUE(database_id, name));

-- AUTOINCREMENT: a row_id is never given out twice (R4).
CREATE TABLE record(
  row_id INTEGER PRIMARY KEY AUTOINCREMENT,
  collection_id INTEGER NOT NULL REFERENCES collection(collection_id),
  id TEXT NOT NULL,
  uri TEXT,
  origin BLOB,
  metadata,  -- JSON text, or the same compressed: a blob (storage/compression.h)
  document TEXT,
  UNIQUE(collection_id, id));
CREATE INDEX record_by_collection ON record(collection_id);

-- A metadata key together with the kind of its values, as a small number.
CREATE TABLE metadata_key(
  key_id INTEGER PRIMARY KEY AUTOINCREMENT,
  collection_id INTEGER NOT NULL REFERENCES collection(collection_id),
  key TEXT NOT NULL,
  kind INTEGER NOT NULL,
  UNIQUE(collection_id, key, kind));

-- The metadata index, a cache of record.metadata (R9), ordered for filters. Bulk loads append to
-- posting_pending, in row order, which is cheap, and merge it when they end; filters read both.
CREATE TABLE posting(
  key_id INTEGER NOT NULL, value NOT NULL, row_id INTEGER NOT NULL,
  PRIMARY KEY(key_id, value, row_id)) WITHOUT ROWID;
CREATE TABLE posting_pending(
  row_id INTEGER NOT NULL, key_id INTEGER NOT NULL, value NOT NULL,
  PRIMARY KEY(row_id, key_id, value)) WITHOUT ROWID;

-- The document index of a collection (storage/document_index.h), a cache of record.document (R9), is
-- an FTS5 table of its own, made when the collection has grown. It holds the rows up to
-- indexed_through with the documents they have, except those pending: with the document given here.
CREATE TABLE document_index(
  collection_id INTEGER PRIMARY KEY REFERENCES collection(collection_id),
  indexed_through INTEGER NOT NULL);
CREATE TABLE document_pending(
  row_id INTEGER PRIMARY KEY,
  collection_id INTEGER NOT NULL REFERENCES collection(collection_id),
  document TEXT);
CREATE INDEX document_pending_by_collection ON document_pending(collection_id);

-- The only home of vectors that are in no segment yet. NULL vector: the row's vector in this log, or the
-- slot that a tombstone of the same seq names, is no longer live.
CREATE TABLE vector_log(
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  collection_id INTEGER NOT NULL REFERENCES collection(collection_id),
  row_id INTEGER NOT NULL,
  vector BLOB);
CREATE INDEX vector_log_by_collection ON vector_log(collection_id);

-- The manifest: a segment file counts only while it is named here (R2, R3).
CREATE TABLE segment(
  segment_id INTEGER PRIMARY KEY AUTOINCREMENT,
  collection_id INTEGER NOT NULL REFERENCES collection(collection_id),
  file TEXT NOT NULL UNIQUE,
  row_count INTEGER NOT NULL,
  byte_count INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  has_graph INTEGER NOT NULL);
CREATE INDEX segment_by_collection ON segment(collection_id);

CREATE TABLE tombstone(
  segment_id INTEGER NOT NULL REFERENCES segment(segment_id),
  slot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY(segment_id, slot)) WITHOUT ROWID;
CREATE INDEX tombstone_by_seq ON tombstone(segment_id, seq);

INSERT INTO tenant VALUES('default_tenant');
INSERT INTO database(uuid, tenant, name)
  VALUES('00000000-0000-0000-0000-000000000000', 'default_tenant', 'default_database');
)sql";

constexpr const char* kVersion2 = R"sql(
-- What posting and posting_pending had, merged into blocks (storage/posting_index.h). A block holds
-- all entries of a range of values; rows: a set of rows, or NULL when it must be made from
-- entries; entries: NULL when the block is of one value.
CREATE TABLE posting_block(
  block_id INTEGER PRIMARY KEY,
  key_id INTEGER NOT NULL,
  first_value NOT NULL,
  last_value NOT NULL,
  entry_count INTEGER NOT NULL,
  rows BLOB,
  entries BLOB);
CREATE UNIQUE INDEX posting_block_by_value ON posting_block(key_id, first_value);

-- Entries of blocks that are no more. posting has those that are in no block yet.
CREATE TABLE posting_removed(
  key_id INTEGER NOT NULL, value NOT NULL, row_id INTEGER NOT NULL,
  PRIMARY KEY(key_id, value, row_id)) WITHOUT ROWID;

-- Transactions that wrote to the collection: tells whether a filter compiled before is still right.
ALTER TABLE collection ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
)sql";

std::int64_t pragma(Database& database, const char* name) {
  Statement statement(database, std::string("PRAGMA ") + name);
  return statement.step() ? statement.integer(0) : 0;
}

}  // namespace

int schema_version(Database& database) {
  return static_cast<int>(pragma(database, "user_version"));
}

bool is_blank(Database& database) {
  return pragma(database, "schema_version") == 0 && schema_version(database) == 0 &&
         pragma(database, "application_id") == 0;
}

void check_schema(Database& database) {
  const int version = schema_version(database);
  // First: another program's version number says nothing.
  if (version < 1 || pragma(database, "application_id") != kApplicationId) {
    throw Error(ErrorCode::corruption, database.path() + ": not a vkb store (application id " +
                                           std::to_string(pragma(database, "application_id")) +
                                           ", schema " + std::to_string(version) + ")");
  }
  if (version > kSchemaVersion) {
    throw Error(ErrorCode::unsupported, database.path() + ": written by a newer vkb (schema " +
                                            std::to_string(version) + ", this build reads up to " +
                                            std::to_string(kSchemaVersion) + "); use that version");
  }
  if (version >= 4 && !database.has_page_checksums()) {
    throw Error(ErrorCode::corruption, database.path() +
                                           ": its header does not say that its pages have "
                                           "checksums, as those of schema " +
                                           std::to_string(version) +
                                           " do; run `vkb check`, or restore a backup");
  }
}

void migrate(Database& writer) {
  Transaction transaction(writer, Transaction::Kind::write);
  if (is_blank(writer)) {
    writer.execute(kVersion1);
    writer.execute("PRAGMA application_id=" + std::to_string(kApplicationId) +
                   "; PRAGMA user_version=1;");
  }
  check_schema(writer);
  if (schema_version(writer) == 1) {
    writer.execute(kVersion2);
    writer.execute("PRAGMA user_version=2;");
  }
  if (schema_version(writer) == 2) {
    // Of documents in lower case: made anew by whoever indexes documents next (R9).
    drop_document_indexes(writer);
    writer.execute("PRAGMA user_version=3;");
  }
  const bool is_checked = writer.has_page_checksums();
  if (schema_version(writer) == 3 && is_checked) writer.execute("PRAGMA user_version=4;");
  transaction.commit();
  if (is_checked) return;
  writer.add_page_checksums();
  // The file's header tells readers of them. While a reader keeps it in the log, this is schema 3
  // still, and the next writer does it anew.
  if (writer.has_page_checksums()) writer.execute("PRAGMA user_version=4;");
}

}  // namespace vkb

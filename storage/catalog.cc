// SPDX-License-Identifier: Apache-2.0
#include "storage/catalog.h"

#include <arpa/inet.h>

#include <algorithm>
#include <random>

#include "storage/document_index.h"
#include "storage/error.h"
#include "storage/posting_index.h"
#include "storage/schema.h"
#include "storage/segment_format.h"

namespace vkb {
namespace {

constexpr std::string_view kSelectCollection =
    "SELECT c.collection_id, c.uuid, c.name, d.tenant, d.name, c.dim, c.space, c.m,"
    " c.ef_construction, c.ef_search, c.model, c.metadata, c.record_count, c.last_seq,"
    " c.manifest_version, c.extra FROM collection c JOIN database d USING(database_id) ";

// R8: other values would make arrays of any size.
std::uint32_t checked(const Statement& row, int column, const char* what, std::uint32_t least,
                      std::uint32_t most) {
  const std::int64_t value = row.integer(column);
  if (value >= least && value <= most) return static_cast<std::uint32_t>(value);
  throw Error(ErrorCode::corruption, "vkb.sqlite3: a collection's " + std::string(what) + " is " +
                                         std::to_string(value) + ", expected " +
                                         std::to_string(least) + " to " + std::to_string(most) +
                                         "; restore a backup");
}

CollectionRow read_row(const Statement& row) {
  CollectionRow out;
  out.collection_id = row.integer(0);
  out.uuid = row.text(1);
  out.name = row.text(2);
  out.tenant = row.text(3);
  out.database = row.text(4);
  if (!row.is_null(5)) out.dim = checked(row, 5, "dim", 1, kMaxDim);
  out.space = checked(row, 6, "space", 0, kMaxSpace);
  out.m = checked(row, 7, "m", kMinM, kMaxM);
  out.ef_construction = checked(row, 8, "ef_construction", 1, kMaxEf);
  out.ef_search = checked(row, 9, "ef_search", 1, kMaxEf);
  out.model = row.optional_text(10);
  out.metadata = row.optional_text(11);
  out.record_count = static_cast<std::uint64_t>(row.integer(12));
  out.last_seq = row.integer(13);
  out.manifest_version = row.integer(14);
  out.extra = row.optional_text(15);
  return out;
}

std::vector<CollectionRow> read_all(Statement& statement) {
  std::vector<CollectionRow> rows;
  while (statement.step()) rows.push_back(read_row(statement));
  return rows;
}

std::string select_collection(std::string_view tail) {
  return std::string(kSelectCollection) + std::string(tail);
}

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_ip_address(const std::string& name) {
  unsigned char parsed[sizeof(in6_addr)];
  return inet_pton(AF_INET, name.c_str(), parsed) == 1 ||
         inet_pton(AF_INET6, name.c_str(), parsed) == 1;
}

}  // namespace

std::string make_uuid() {
  thread_local std::random_device device;
  std::uint8_t bytes[16];
  for (std::size_t i = 0; i < sizeof bytes; i += 4) {
    const unsigned random = device();
    for (unsigned b = 0; b < 4; ++b) bytes[i + b] = static_cast<std::uint8_t>(random >> (8 * b));
  }
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3F) | 0x80);
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < sizeof bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += kHex[bytes[i] >> 4];
    out += kHex[bytes[i] & 0xF];
  }
  return out;
}

void check_name(std::string_view what, std::string_view name) {
  const bool characters = std::all_of(name.begin(), name.end(), [](char c) {
    return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
  });
  std::string problem;
  if (name.size() < 3 || name.size() > 512 || !characters || !is_letter_or_digit(name.front()) ||
      !is_letter_or_digit(name.back())) {
    problem =
        "Expected a name containing 3-512 characters from [a-zA-Z0-9._-], starting and ending with "
        "a character in [a-zA-Z0-9]. Got: ";
  } else if (name.find("..") != std::string_view::npos) {
    problem = "Expected a name that does not contains two consecutive periods (..). Got ";
  } else if (is_ip_address(std::string(name))) {
    problem = "Expected a name that is not a valid ip address. Got ";
  } else {
    return;
  }
  std::string shown(name.substr(0, 600));
  // A NUL would end the message, and leave what could be a good name.
  for (std::size_t at = shown.find('\0'); at != std::string::npos; at = shown.find('\0', at)) {
    shown.replace(at, 1, "\\u0000");
  }
  throw Error(ErrorCode::invalid_argument, std::string(what) + ": " + problem + shown);
}

void create_tenant(Database& db, std::string_view name) {
  if (name.size() < 3) {
    throw Error(ErrorCode::invalid_argument,
                "tenant name '" + std::string(name) + "': expected at least 3 characters");
  }
  if (tenant_exists(db, name)) {
    throw Error(ErrorCode::already_exists, "Tenant [" + std::string(name) + "] already exists");
  }
  Statement(db, "INSERT INTO tenant VALUES(?)").bind(name).run();
}

bool tenant_exists(Database& db, std::string_view name) {
  Statement found(db, "SELECT 1 FROM tenant WHERE name=?");
  found.bind(name);
  return found.step();
}

void create_database(Database& db, std::string_view tenant, std::string_view name) {
  check_name("database", name);
  Statement found(db, "SELECT 1 FROM database WHERE tenant=? AND name=?");
  found.bind(tenant, name);
  if (found.step()) {
    throw Error(ErrorCode::already_exists, "Database [" + std::string(name) + "] already exists");
  }
  Statement(db, "INSERT INTO database(uuid, tenant, name) VALUES(?,?,?)")
      .bind(make_uuid(), tenant, name)
      .run();
}

std::int64_t database_id(Database& db, std::string_view tenant, std::string_view name) {
  Statement found(db, "SELECT database_id FROM database WHERE tenant=? AND name=?");
  found.bind(tenant, name);
  if (!found.step()) {
    throw Error(ErrorCode::not_found,
                "Database [" + std::string(name) + "] not found. Are you sure it exists?");
  }
  return found.integer(0);
}

std::string database_uuid(Database& db, std::int64_t id) {
  Statement found(db, "SELECT uuid FROM database WHERE database_id=?");
  found.bind(id);
  return found.step() ? std::string(found.text(0)) : std::string();
}

std::vector<std::string> list_databases(Database& db, std::string_view tenant) {
  Statement names(db, "SELECT name FROM database WHERE tenant=? ORDER BY name");
  names.bind(tenant);
  std::vector<std::string> out;
  while (names.step()) out.emplace_back(names.text(0));
  return out;
}

void delete_database(Database& db, std::int64_t id) {
  Statement(db, "DELETE FROM database WHERE database_id=?").bind(id).run();
}

void reset_tenants_and_databases(Database& db) {
  db.execute(
      "DELETE FROM database WHERE NOT(tenant='default_tenant' AND name='default_database');"
      "DELETE FROM tenant WHERE name<>'default_tenant';"
      "INSERT OR IGNORE INTO tenant VALUES('default_tenant');"
      "INSERT OR IGNORE INTO database(uuid, tenant, name) VALUES"
      "('00000000-0000-0000-0000-000000000000', 'default_tenant', 'default_database')");
}

CollectionRow insert_collection(Database& db, std::string_view tenant, std::string_view database,
                                CollectionRow row) {
  check_name("collection", row.name);
  const std::int64_t in = database_id(db, tenant, database);
  if (find_collection(db, tenant, database, row.name)) {
    throw Error(ErrorCode::already_exists, "Collection [" + row.name + "] already exists");
  }
  row.uuid = make_uuid();
  row.tenant = tenant;
  row.database = database;
  Statement(db,
            "INSERT INTO collection(uuid, database_id, name, dim, space, m, ef_construction,"
            " ef_search, model, metadata, extra) VALUES(?,?,?,?,?,?,?,?,?,?,?)")
      .bind(row.uuid, in, row.name, row.dim, row.space, row.m, row.ef_construction, row.ef_search,
            row.model, row.metadata, row.extra)
      .run();
  row.collection_id = db.last_insert_rowid();
  return row;
}

std::optional<CollectionRow> find_collection(Database& db, std::string_view tenant,
                                             std::string_view database, std::string_view name) {
  Statement found(db, select_collection("WHERE d.tenant=? AND d.name=? AND c.name=?"));
  found.bind(tenant, database, name);
  if (!found.step()) return std::nullopt;
  return read_row(found);
}

std::optional<CollectionRow> find_collection(Database& db, std::int64_t collection_id) {
  Statement found(db, select_collection("WHERE c.collection_id=?"));
  found.bind(collection_id);
  if (!found.step()) return std::nullopt;
  return read_row(found);
}

std::optional<CollectionState> collection_state(Database& db, std::int64_t collection_id) {
  Statement found(db,
                  "SELECT dim, space, ef_search, record_count, last_seq, manifest_version"
                  " FROM collection WHERE collection_id=?");
  found.bind(collection_id);
  if (!found.step()) return std::nullopt;
  CollectionState state{.collection_id = collection_id,
                        .dim = std::nullopt,
                        .space = checked(found, 1, "space", 0, kMaxSpace),
                        .ef_search = checked(found, 2, "ef_search", 1, kMaxEf),
                        .record_count = static_cast<std::uint64_t>(found.integer(3)),
                        .last_seq = found.integer(4),
                        .manifest_version = found.integer(5)};
  if (!found.is_null(0)) state.dim = checked(found, 0, "dim", 1, kMaxDim);
  return state;
}

std::optional<CollectionRow> find_collection_by_uuid(Database& db, std::string_view uuid) {
  Statement found(db, select_collection("WHERE c.uuid=?"));
  found.bind(uuid);
  if (!found.step()) return std::nullopt;
  return read_row(found);
}

std::vector<CollectionRow> list_collections(Database& db, std::int64_t in) {
  Statement rows(db, select_collection("WHERE c.database_id=? ORDER BY c.name"));
  rows.bind(in);
  return read_all(rows);
}

std::vector<CollectionRow> list_all_collections(Database& db) {
  Statement rows(db, select_collection("ORDER BY c.collection_id"));
  return read_all(rows);
}

void update_collection(Database& db, const CollectionRow& row) {
  Statement(db,
            "UPDATE collection SET name=?, dim=?, ef_search=?, model=?, metadata=?, extra=?"
            " WHERE collection_id=?")
      .bind(row.name, row.dim, row.ef_search, row.model, row.metadata, row.extra, row.collection_id)
      .run();
}

std::vector<std::string> delete_collection(Database& db, std::int64_t collection_id) {
  std::vector<std::string> files;
  {
    Statement segments(db, "SELECT file FROM segment WHERE collection_id=?");
    segments.bind(collection_id);
    while (segments.step()) files.emplace_back(segments.text(0));
  }
  drop_document_index(db, collection_id);
  drop_postings(db, collection_id);
  for (const char* sql : {
           "DELETE FROM tombstone WHERE segment_id IN"
           " (SELECT segment_id FROM segment WHERE collection_id=?)",
           "DELETE FROM segment WHERE collection_id=?",
           "DELETE FROM vector_log WHERE collection_id=?",
           "DELETE FROM metadata_key WHERE collection_id=?",
           "DELETE FROM record WHERE collection_id=?",
           "DELETE FROM collection WHERE collection_id=?",
       }) {
    Statement(db, sql).bind(collection_id).run();
  }
  return files;
}

void touch_collection(Database& db, std::int64_t collection_id, std::int64_t count_change,
                      std::int64_t last_seq, bool manifest_changed) {
  Statement(db,
            "UPDATE collection SET record_count=record_count+?, last_seq=max(last_seq,?),"
            " manifest_version=manifest_version+?, changes=changes+1 WHERE collection_id=?")
      .bind(count_change, last_seq, manifest_changed ? 1 : 0, collection_id)
      .run();
}

std::optional<std::int64_t> collection_changes(Database& db, std::int64_t collection_id) {
  if (schema_version(db) < 2) return std::nullopt;
  Statement changes(db, "SELECT changes FROM collection WHERE collection_id=?");
  changes.bind(collection_id);
  if (!changes.step()) return std::nullopt;
  return changes.integer(0);
}

}  // namespace vkb

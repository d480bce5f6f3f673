// SPDX-License-Identifier: Apache-2.0
//
// Tenants, databases and collections: the rows that say what exists. Free functions over a
// connection; the caller holds the transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/sqlite.h"

namespace vkb {

// Of ef_construction and ef_search.
inline constexpr std::uint32_t kMaxEf = 100'000;

// What a query needs to know of a collection.
struct CollectionState {
  std::int64_t collection_id = 0;
  std::optional<std::uint32_t> dim;
  std::uint32_t space = 0;
  std::uint32_t ef_search = 0;
  std::uint64_t record_count = 0;
  std::int64_t last_seq = 0;
  std::int64_t manifest_version = 0;
};

// A collection's row. Numbers of the graph as in engine/vkb.h's CollectionOptions.
struct CollectionRow : CollectionState {
  std::string uuid;
  std::string name;
  std::string tenant;
  std::string database;
  std::uint32_t m = 0;
  std::uint32_t ef_construction = 0;
  std::optional<std::string> model;
  std::optional<std::string> metadata;  // JSON
  std::optional<std::string> extra;
};

// A random UUID (RFC 4122, version 4), lower case.
std::string make_uuid();

// Throws invalid_argument for a name that Chroma would not take; `what` begins the message.
void check_name(std::string_view what, std::string_view name);

void create_tenant(Database& db, std::string_view name);
bool tenant_exists(Database& db, std::string_view name);
void create_database(Database& db, std::string_view tenant, std::string_view name);
// The database's id; throws not_found.
std::int64_t database_id(Database& db, std::string_view tenant, std::string_view name);
std::string database_uuid(Database& db, std::int64_t database_id);
std::vector<std::string> list_databases(Database& db, std::string_view tenant);
// Takes the row out; its collections must be gone.
void delete_database(Database& db, std::int64_t database_id);
// Leaves the default tenant and database alone, made anew if need be; collections must be gone.
void reset_tenants_and_databases(Database& db);

// Inserts a collection and gives it a uuid and an id. Throws already_exists.
CollectionRow insert_collection(Database& db, std::string_view tenant, std::string_view database,
                                CollectionRow row);
std::optional<CollectionRow> find_collection(Database& db, std::string_view tenant,
                                             std::string_view database, std::string_view name);
std::optional<CollectionRow> find_collection(Database& db, std::int64_t collection_id);
// The same without texts, which every query would copy for nothing.
std::optional<CollectionState> collection_state(Database& db, std::int64_t collection_id);
std::optional<CollectionRow> find_collection_by_uuid(Database& db, std::string_view uuid);
std::vector<CollectionRow> list_collections(Database& db, std::int64_t database_id);
std::vector<CollectionRow> list_all_collections(Database& db);
// Writes name, dim, ef_search, model, metadata and extra of `row`.
void update_collection(Database& db, const CollectionRow& row);
// Removes the collection with everything that refers to it; returns the files its segments had, to
// be unlinked after the commit (R3).
std::vector<std::string> delete_collection(Database& db, std::int64_t collection_id);

// Adds to the record count, sets last_seq when it is greater, and raises manifest_version on
// request.
void touch_collection(Database& db, std::int64_t collection_id, std::int64_t count_change,
                      std::int64_t last_seq, bool manifest_changed);
// How often the collection was written to: where this is equal, its records are. Nothing in a store
// of schema 1, which does not count.
std::optional<std::int64_t> collection_changes(Database& db, std::int64_t collection_id);

}  // namespace vkb

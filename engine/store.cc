// SPDX-License-Identifier: Apache-2.0

#include "engine/open_store.h"
#include "engine/vkb.h"
#include "storage/catalog.h"
#include "storage/error.h"
#include "storage/manifest.h"
#include "storage/schema.h"
#include "storage/segment_format.h"

namespace vkb {
namespace {

constexpr std::uint32_t kMaxM = 512;

void check_range(std::string_view what, std::uint32_t value, std::uint32_t low,
                 std::uint32_t high) {
  if (value < low || value > high) {
    throw Error(ErrorCode::invalid_argument,
                "collection option " + std::string(what) + ": expected " + std::to_string(low) +
                    " to " + std::to_string(high) + ", found " + std::to_string(value));
  }
}

CollectionRow row_from(const std::string& name, const CollectionOptions& options) {
  if (options.dim) check_range("dim", *options.dim, 1, kMaxDim);
  check_range("m", options.m, 2, kMaxM);
  check_range("ef_construction", options.ef_construction, 1, kMaxEf);
  check_ef_search(options.ef_search);
  CollectionRow row;
  row.name = name;
  row.dim = options.dim;
  row.space = static_cast<std::uint32_t>(options.space);
  row.m = options.m;
  row.ef_construction = options.ef_construction;
  row.ef_search = options.ef_search;
  row.model = options.model;
  row.extra = options.extra;
  if (options.metadata) row.metadata = to_json(*options.metadata);
  return row;
}

// Deletes the collections that choose(Database&) returns, and what finish(Database&) deletes, in
// one transaction.
template <typename Choose, typename Finish>
void delete_collections(OpenStore& store, Choose choose, Finish finish) {
  std::vector<CollectionRow> rows;
  std::vector<std::string> files;
  store.write([&](Database& db) {
    rows = choose(db);
    for (const CollectionRow& row : rows) {
      for (std::string& file : delete_collection(db, row.collection_id)) {
        files.push_back(std::move(file));
      }
    }
    finish(db);
  });
  for (const CollectionRow& row : rows) store.forget(row.collection_id);
  store.remove_segment_files(files);  // after the commit (R3)
}

}  // namespace

void check_ef_search(std::uint32_t ef_search) { check_range("ef_search", ef_search, 1, kMaxEf); }

std::string_view to_string(Space space) noexcept {
  switch (space) {
    case Space::cosine:
      return "cosine";
    case Space::l2:
      return "l2";
    case Space::ip:
      return "ip";
  }
  return "unknown";
}

Space parse_space(std::string_view name) {
  for (const Space space : {Space::cosine, Space::l2, Space::ip}) {
    if (to_string(space) == name) return space;
  }
  throw Error(ErrorCode::invalid_argument,
              "space '" + std::string(name) + "': expected cosine, l2 or ip");
}

Store::Store(std::shared_ptr<OpenStore> open) : open_(std::move(open)) {}

Store Store::open(const std::string& directory, const OpenOptions& options) {
  auto owner = std::make_unique<OpenStore>(directory, options);
  OpenStore* store = owner.get();
  return Store(std::shared_ptr<OpenStore>(store, [owner = std::move(owner)](OpenStore*) mutable {
    if (owner->is_forked()) static_cast<void>(owner.release());
    owner.reset();
  }));
}

const std::string& Store::directory() const noexcept { return open_->directory(); }

void Store::create_tenant(const std::string& name) {
  open_->write([&](Database& db) { vkb::create_tenant(db, name); });
}

bool Store::has_tenant(const std::string& name) const {
  return open_->read([&](Database& db) { return tenant_exists(db, name); });
}

void Store::create_database(const std::string& name, std::string_view tenant) {
  open_->write([&](Database& db) { vkb::create_database(db, tenant, name); });
}

void Store::delete_database(const std::string& name, std::string_view tenant) {
  delete_collections(
      *open_, [&](Database& db) { return list_collections(db, database_id(db, tenant, name)); },
      [&](Database& db) { vkb::delete_database(db, database_id(db, tenant, name)); });
}

void Store::reset() {
  delete_collections(*open_, list_all_collections, reset_tenants_and_databases);
}

std::string Store::database_uuid(const std::string& name, std::string_view tenant) const {
  return open_->read(
      [&](Database& db) { return vkb::database_uuid(db, database_id(db, tenant, name)); });
}

std::vector<std::string> Store::databases(std::string_view tenant) const {
  return open_->read([&](Database& db) { return list_databases(db, tenant); });
}

void Store::check_collection_name(const std::string& name) { check_name("collection", name); }

Collection Store::create_collection(const std::string& name, const CollectionOptions& options,
                                    std::string_view database, std::string_view tenant) {
  const CollectionRow row = open_->write([&](Database& db) {
    return insert_collection(db, tenant, database, row_from(name, options));
  });
  return Collection(open_, open_->open_collection(row));
}

Collection Store::collection(const std::string& name, std::string_view database,
                             std::string_view tenant) const {
  const std::optional<CollectionRow> row =
      open_->read([&](Database& db) { return find_collection(db, tenant, database, name); });
  if (!row) throw Error(ErrorCode::not_found, "Collection [" + name + "] does not exist");
  return Collection(open_, open_->open_collection(*row));
}

Collection Store::collection_by_uuid(const std::string& uuid) const {
  const std::optional<CollectionRow> row =
      open_->read([&](Database& db) { return find_collection_by_uuid(db, uuid); });
  if (!row) throw Error(ErrorCode::not_found, "Collection [" + uuid + "] does not exist");
  return Collection(open_, open_->open_collection(*row));
}

std::vector<Collection> Store::all_collections() const {
  std::vector<Collection> collections;
  for (const CollectionRow& row : open_->read(list_all_collections)) {
    collections.push_back(Collection(open_, open_->open_collection(row)));
  }
  return collections;
}

Collection Store::get_or_create_collection(const std::string& name,
                                           const CollectionOptions& options,
                                           std::string_view database, std::string_view tenant) {
  // Reads first: a collection that is there costs no writer lock.
  std::optional<CollectionRow> row =
      open_->read([&](Database& db) { return find_collection(db, tenant, database, name); });
  if (!row) {
    row = open_->write([&](Database& db) {
      std::optional<CollectionRow> known = find_collection(db, tenant, database, name);
      return known ? *std::move(known)
                   : insert_collection(db, tenant, database, row_from(name, options));
    });
  }
  return Collection(open_, open_->open_collection(*row));
}

std::vector<std::string> Store::collections(std::string_view database,
                                            std::string_view tenant) const {
  return open_->read([&](Database& db) {
    std::vector<std::string> names;
    for (CollectionRow& row : list_collections(db, database_id(db, tenant, database))) {
      names.push_back(std::move(row.name));
    }
    return names;
  });
}

void Store::delete_collection(const std::string& name, std::string_view database,
                              std::string_view tenant) {
  delete_collections(
      *open_,
      [&](Database& db) {
        std::optional<CollectionRow> row = find_collection(db, tenant, database, name);
        if (!row) throw Error(ErrorCode::not_found, "Collection [" + name + "] does not exist");
        return std::vector{*std::move(row)};
      },
      [](Database&) {});
}

StoreInfo Store::info() const {
  StoreInfo info;
  info.schema_version = open_->read([](Database& db) { return schema_version(db); });
  FileSystem& files = open_->files();
  for (const char* suffix : {"", "-wal", "-shm"}) {
    info.database_bytes += files.file_size(directory() + "/vkb.sqlite3" + suffix);
  }
  for (const std::string& name : files.list(open_->segment_directory())) {
    info.segment_bytes += files.file_size(open_->segment_directory() + "/" + name);
  }
  info.writer = open_->writer_holder();
  return info;
}

}  // namespace vkb

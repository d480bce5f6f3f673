// SPDX-License-Identifier: Apache-2.0
//
// Chroma's API over a Store: its checks, its words, its answers. What it takes and gives are C++
// values, so that the HTTP server and the Python package are one behaviour with two transports.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/vkb.h"

namespace vkb {

// A collection as Chroma describes it.
struct CollectionModel {
  std::string id;  // UUID
  std::string name;
  std::string tenant;
  std::string database;
  std::string configuration_json;  // JSON objects
  std::string schema_json;
  std::optional<Metadata> metadata{};
  std::optional<std::uint32_t> dimension{};
};

struct DatabaseModel {
  std::string id;  // UUID
  std::string name;
  std::string tenant;
};

struct DatabasePlace {
  std::string tenant = std::string(kDefaultTenant);
  std::string database = std::string(kDefaultDatabase);
};
struct CollectionPlace {
  DatabasePlace in{};
  std::string id;  // UUID in any of its text forms
};

// JSON texts of objects, absent for null.
struct CreateCollection {
  std::string name;
  std::optional<Metadata> metadata{};
  std::optional<std::string> configuration_json{};
  std::optional<std::string> schema_json{};
  bool get_or_create = false;
};

struct ModifyCollection {
  std::optional<std::string> name{};
  std::optional<Metadata> metadata{};  // replaces all; null values are dropped
  std::optional<std::string> configuration_json{};
};

// The columns of add, update and upsert: each absent, or as long as ids.
struct RecordBatch {
  std::vector<std::string> ids;
  std::optional<std::vector<std::optional<std::vector<float>>>> embeddings{};
  std::optional<std::vector<std::optional<std::string>>> documents{};
  std::optional<std::vector<std::optional<std::string>>> uris{};
  std::optional<std::vector<std::optional<Metadata>>> metadatas{};
};

// Which records: those that satisfy all that is given. JSON texts of where clauses.
struct RecordSelection {
  std::optional<std::vector<std::string>> ids{};
  std::optional<std::string> where_json{};
  std::optional<std::string> where_document_json{};
};

// How much of a collection's writes the graph holds.
struct IndexingStatus {
  std::uint64_t total = 0;
  std::uint64_t indexed = 0;
};

// Throws ApiError and vkb::Error (see to_api_error). Tenant and database name the place a
// collection must be in: one that is elsewhere does not exist. Thread safety: all methods.
class ChromaService {
 public:
  struct Options {
    bool allow_reset = false;
    bool read_only = false;
  };
  explicit ChromaService(Store store, const Options& options)
      : store_(std::move(store)), options_(options) {}

  Store& store() noexcept { return store_; }

  void reset();
  void create_tenant(const std::string& name);
  void check_tenant(const std::string& name) const;  // throws 404
  void create_database(const DatabasePlace& place);
  DatabaseModel get_database(const DatabasePlace& place) const;
  void delete_database(const DatabasePlace& place);
  std::vector<DatabaseModel> list_databases(const std::string& tenant,
                                            std::optional<std::uint32_t> limit,
                                            std::uint32_t offset) const;

  CollectionModel create_collection(const DatabasePlace& place, const CreateCollection& request);
  CollectionModel get_collection(const DatabasePlace& place, const std::string& name) const;
  CollectionModel get_collection_by_id(const CollectionPlace& place) const;
  std::vector<CollectionModel> list_collections(const DatabasePlace& place,
                                                std::optional<std::uint32_t> limit,
                                                std::uint32_t offset) const;
  std::uint64_t count_collections(const DatabasePlace& place) const;
  void modify_collection(const CollectionPlace& place, const ModifyCollection& request);
  void delete_collection(const DatabasePlace& place, const std::string& name);
  CollectionModel fork_collection(const CollectionPlace& place, const std::string& new_name);
  IndexingStatus indexing_status(const CollectionPlace& place) const;

  void add(const CollectionPlace& place, RecordBatch batch);
  void update(const CollectionPlace& place, RecordBatch batch);
  void upsert(const CollectionPlace& place, RecordBatch batch);
  // Returns the number that Chroma answers: with ids alone, as many as were given.
  std::uint64_t remove(const CollectionPlace& place, const RecordSelection& selection,
                       std::optional<std::uint32_t> limit);
  std::uint64_t count(const CollectionPlace& place) const;
  std::vector<Record> get(const CollectionPlace& place, const RecordSelection& selection,
                          std::optional<std::uint32_t> limit, std::uint32_t offset,
                          const Include& include) const;
  // One list of hits a query, nearest first.
  std::vector<std::vector<Hit>> query(const CollectionPlace& place,
                                      const RecordSelection& selection,
                                      std::span<const std::vector<float>> queries,
                                      std::uint32_t n_results, const Include& include) const;
  // The body and the answer of Chroma's search endpoint, as JSON.
  std::string search(const CollectionPlace& place, const std::string& request_json) const;

 private:
  // A collection in use, with what is asked of it at every request and never changes.
  struct Known {
    Collection collection;
    DatabasePlace in;
  };
  std::shared_ptr<const Known> find(const CollectionPlace& place) const;
  void forget(const std::string& id) const;
  void check_writable() const;
  template <typename Write>
  void write(const CollectionPlace& place, RecordBatch&& batch, bool needs_embeddings, Write write);
  template <typename Work>
  auto with(const CollectionPlace& place, Work work) const;

  Store store_;
  Options options_;
  mutable std::mutex known_mutex_;
  mutable std::unordered_map<std::string, std::shared_ptr<const Known>> known_;  // guarded by it
};

}  // namespace vkb

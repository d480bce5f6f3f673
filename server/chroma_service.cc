// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_service.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "server/api_error.h"
#include "server/chroma_records.h"
#include "server/chroma_schema.h"
#include "server/chroma_search.h"

namespace vkb {
namespace {

// Begins the engine's message about a name with the words of Chroma's.
template <typename Work>
auto with_name_messages(const std::string& beginning, Work work) {
  try {
    return work();
  } catch (const Error& error) {
    const std::string_view message = error.what();
    const std::size_t at = message.find("Expected a name");
    if (error.code() != ErrorCode::invalid_argument || at == std::string_view::npos) throw;
    throw Error(error.code(), beginning + std::string(message.substr(at)));
  }
}

// A UUID in its usual form, from any of its text forms; nothing for other texts.
std::optional<std::string> canonical_uuid(std::string_view text) {
  if (text.starts_with("urn:uuid:")) text.remove_prefix(9);
  if (text.size() >= 2 && text.front() == '{' && text.back() == '}') {
    text = text.substr(1, text.size() - 2);
  }
  const bool dashed = text.size() == 36;
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (dashed && (i == 8 || i == 13 || i == 18 || i == 23)) {
      if (c != '-') return std::nullopt;
      continue;
    }
    if (c >= 'A' && c <= 'F') {
      out += static_cast<char>(c - 'A' + 'a');
    } else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
      out += c;
    } else {
      return std::nullopt;
    }
  }
  if (out.size() != 32) return std::nullopt;
  for (const std::size_t at : {8U, 13U, 18U, 23U}) out.insert(at, 1, '-');
  return out;
}

void check_metadata_keys(const Metadata& metadata, const std::string& field) {
  for (const auto& [key, value] : metadata) {
    if (key.empty()) {
      throw ApiError(400, "Validation error: " + field + ": Metadata key cannot be empty");
    }
    if (key.front() == '#' || key.front() == '$') {
      throw ApiError(400, "Validation error: " + field +
                              ": Metadata key cannot start with '#' or '$': " + key);
    }
  }
}

void check_collection_metadata(const std::optional<Metadata>& metadata, const std::string& field) {
  if (!metadata) return;
  if (metadata->empty()) {
    throw ApiError(400, "Validation error: " + field + ": Metadata cannot be empty");
  }
  check_metadata_keys(*metadata, field);
}

// Collections that were not made through this API have no schema of their own.
std::string schema_of(const CollectionInfo& info) {
  return info.options.extra ? *info.options.extra : schema_of(info.options);
}

CollectionModel model_of(const CollectionInfo& info) {
  const std::string schema = schema_of(info);
  return {.id = info.uuid,
          .name = info.name,
          .tenant = info.tenant,
          .database = info.database,
          .configuration_json = shown_configuration(schema),
          .schema_json = shown_schema(schema, info.metadata_keys),
          .metadata = info.options.metadata,
          .dimension = info.options.dim};
}

template <typename T>
std::vector<T> page(std::vector<T> all, std::optional<std::uint32_t> limit, std::uint32_t offset) {
  const std::size_t from = std::min<std::size_t>(offset, all.size());
  const std::size_t size = std::min<std::size_t>(limit.value_or(UINT32_MAX), all.size() - from);
  const auto begin = all.begin() + static_cast<std::ptrdiff_t>(from);
  return {std::move_iterator(begin), std::move_iterator(begin + static_cast<std::ptrdiff_t>(size))};
}

void check_queries(std::span<const std::vector<float>> queries, std::optional<std::uint32_t> dim) {
  for (const std::vector<float>& query : queries) {
    if (query.size() != queries.front().size()) {
      throw ApiError(400, "Inconsistent dimensions in provided embeddings");
    }
    if (dim && query.size() != *dim) {
      throw ApiError(400, "Collection expecting embedding with dimension of " +
                              std::to_string(*dim) + ", got " + std::to_string(query.size()));
    }
  }
}

// What work() returns; nothing when what it asks for is not there, or was deleted meanwhile.
template <typename Work>
auto unless_missing(Work work) -> std::optional<decltype(work())> {
  try {
    return work();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    return std::nullopt;
  }
}

std::optional<Filter> filter_of(const RecordSelection& selection) {
  std::vector<Filter> parts;
  if (selection.where_json) parts.push_back(parse_where(*selection.where_json));
  if (selection.where_document_json) {
    parts.push_back(parse_where_document(*selection.where_document_json));
  }
  if (parts.size() == 2) return Filter::combine(Filter::Op::all_of, std::move(parts));
  return parts.empty() ? std::nullopt : std::optional<Filter>(std::move(parts.front()));
}

// Refuses what the collection's schema keeps no index for.
void check_filter(const Filter& filter, const CollectionInfo& info) {
  if (info.options.extra) check_indexes(*info.options.extra, filter);
}

// Chroma's server looks the ids of a query up in its index and fails when one is not there. (With a
// filter it drops such ids before.)
void check_all_there(const Collection& collection, const std::vector<std::string>& ids) {
  const std::unordered_set<std::string> wanted(ids.begin(), ids.end());
  const GetOptions lookup{.ids = ids,
                          .filter = {},
                          .offset = 0,
                          .limit = {},
                          .include = {.documents = false, .metadatas = false}};
  if (collection.get(lookup).size() < wanted.size()) {
    throw ApiError(500, "Error executing plan: Internal error: Error finding id");
  }
}

CollectionOptions options_of(const CreateCollection& request, const NewSchema& schema) {
  return {.space = schema.space,
          .dim = std::nullopt,
          .m = schema.m,
          .ef_construction = schema.ef_construction,
          .ef_search = schema.ef_search,
          .model = std::nullopt,
          .metadata = request.metadata,
          .extra = schema.json};
}

}  // namespace

void ChromaService::check_writable() const {
  if (options_.read_only) {
    throw ApiError(403, "the server is read-only: it was started with --read-only");
  }
}

// --- which collection ---

std::shared_ptr<const ChromaService::Known> ChromaService::find(
    const CollectionPlace& place) const {
  const std::optional<std::string> id = canonical_uuid(place.id);
  if (!id) {
    throw ApiError(400, "Invalid collection id '" + place.id.substr(0, 100) +
                            "': expected a UUID (the name is for GET and DELETE only)");
  }
  std::shared_ptr<const Known> known;
  {
    const std::scoped_lock lock(known_mutex_);
    if (const auto found = known_.find(*id); found != known_.end()) known = found->second;
  }
  if (!known) {
    const Collection collection = store_.collection_by_uuid(*id);
    const CollectionInfo info = collection.info(InfoDetail::records);
    known = std::make_shared<const Known>(
        Known{.collection = collection, .in = {.tenant = info.tenant, .database = info.database}});
    const std::scoped_lock lock(known_mutex_);
    known_[*id] = known;
  }
  if (known->in.tenant != place.in.tenant || known->in.database != place.in.database) {
    throw ApiError(404, "Collection [" + place.id + "] does not exist");
  }
  return known;
}

void ChromaService::forget(const std::string& id) const {
  const std::scoped_lock lock(known_mutex_);
  known_.erase(id);
}

// Runs work(collection) and forgets the collection when it turns out to be deleted.
template <typename Work>
auto ChromaService::with(const CollectionPlace& place, Work work) const {
  const std::shared_ptr<const Known> known = find(place);
  try {
    return work(known->collection);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_found) forget(known->collection.uuid());
    throw;
  }
}

// --- tenants and databases ---

void ChromaService::reset() {
  check_writable();
  if (!options_.allow_reset) throw ApiError(403, "Reset is disabled by config");
  store_.reset();
  const std::scoped_lock lock(known_mutex_);
  known_.clear();
}

void ChromaService::create_tenant(const std::string& name) {
  check_writable();
  const auto characters = std::count_if(name.begin(), name.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;  // the first of a character
  });
  if (name.find('\0') != std::string::npos) {
    // No path can name it.
    throw ApiError(400, "Validation error: name: a tenant's name cannot hold a NUL");
  }
  if (characters < 3) {
    throw ApiError(400,
                   "Validation error: name: Validation error: length [{\"min\": Number(3), "
                   "\"value\": String(\"" +
                       name + "\")}]");
  }
  store_.create_tenant(name);
}

void ChromaService::check_tenant(const std::string& name) const {
  if (!store_.has_tenant(name)) throw ApiError(404, "Tenant [" + name + "] not found");
}

void ChromaService::create_database(const DatabasePlace& place) {
  check_writable();
  with_name_messages("", [&] { store_.create_database(place.database, place.tenant); });
}

DatabaseModel ChromaService::get_database(const DatabasePlace& place) const {
  return {.id = store_.database_uuid(place.database, place.tenant),
          .name = place.database,
          .tenant = place.tenant};
}

void ChromaService::delete_database(const DatabasePlace& place) {
  check_writable();
  const bool deleted = unless_missing([&] {
                         store_.delete_database(place.database, place.tenant);
                         return true;
                       }).has_value();
  if (!deleted) throw ApiError(404, "Database [" + place.database + "] not found");
  const std::scoped_lock lock(known_mutex_);
  std::erase_if(known_, [&](const auto& entry) {
    return entry.second->in.tenant == place.tenant && entry.second->in.database == place.database;
  });
}

std::vector<DatabaseModel> ChromaService::list_databases(const std::string& tenant,
                                                         std::optional<std::uint32_t> limit,
                                                         std::uint32_t offset) const {
  std::vector<DatabaseModel> databases;
  for (const std::string& name : page(store_.databases(tenant), limit, offset)) {
    if (auto database =
            unless_missing([&] { return get_database({.tenant = tenant, .database = name}); })) {
      databases.push_back(*std::move(database));
    }
  }
  return databases;
}

// --- collections ---

CollectionModel ChromaService::create_collection(const DatabasePlace& place,
                                                 const CreateCollection& request) {
  check_collection_metadata(request.metadata, "metadata");
  const CollectionOptions options = options_of(
      request, make_schema(request.configuration_json, request.schema_json, request.metadata));
  if (!unless_missing([&] { return get_database(place); })) {
    throw ApiError(400, "Database [" + place.database + "] does not exist");
  }
  // A collection that is there may be had from a server that only reads.
  if (request.get_or_create && options_.read_only) return get_collection(place, request.name);
  check_writable();
  return with_name_messages("Validation error: name: ", [&] {
    if (!request.get_or_create) {
      return model_of(store_.create_collection(request.name, options, place.database, place.tenant)
                          .info(InfoDetail::records));
    }
    // Another client may delete it as soon as it is there.
    for (;;) {
      const Collection collection =
          store_.get_or_create_collection(request.name, options, place.database, place.tenant);
      if (auto model =
              unless_missing([&] { return model_of(collection.info(InfoDetail::records)); })) {
        return *std::move(model);
      }
    }
  });
}

CollectionModel ChromaService::get_collection(const DatabasePlace& place,
                                              const std::string& name) const {
  return model_of(store_.collection(name, place.database, place.tenant).info(InfoDetail::records));
}

CollectionModel ChromaService::get_collection_by_id(const CollectionPlace& place) const {
  return with(place, [](const Collection& collection) {
    return model_of(collection.info(InfoDetail::records));
  });
}

std::vector<CollectionModel> ChromaService::list_collections(const DatabasePlace& place,
                                                             std::optional<std::uint32_t> limit,
                                                             std::uint32_t offset) const {
  const auto names =
      unless_missing([&] { return store_.collections(place.database, place.tenant); });
  std::vector<Collection> collections;
  for (const std::string& name : names.value_or(std::vector<std::string>{})) {
    if (auto found =
            unless_missing([&] { return store_.collection(name, place.database, place.tenant); })) {
      collections.push_back(*std::move(found));
    }
  }
  std::sort(collections.begin(), collections.end(),
            [](const Collection& a, const Collection& b) { return a.uuid() < b.uuid(); });
  std::vector<CollectionModel> models;
  for (const Collection& collection : page(std::move(collections), limit, offset)) {
    if (auto model =
            unless_missing([&] { return model_of(collection.info(InfoDetail::records)); })) {
      models.push_back(*std::move(model));
    }
  }
  return models;
}

std::uint64_t ChromaService::count_collections(const DatabasePlace& place) const {
  const auto names =
      unless_missing([&] { return store_.collections(place.database, place.tenant); });
  return names ? names->size() : 0;  // a database that does not exist has none
}

void ChromaService::modify_collection(const CollectionPlace& place,
                                      const ModifyCollection& request) {
  check_writable();
  with(place, [&](Collection collection) {
    check_collection_metadata(request.metadata, "new_metadata");
    Collection::Changes changes{.name = request.name, .metadata = request.metadata};
    if (changes.metadata) {
      std::erase_if(*changes.metadata, [](const auto& entry) {
        return std::holds_alternative<std::monostate>(entry.second);
      });
    }
    if (request.configuration_json) {
      ChangedSchema changed = change_schema(schema_of(collection.info(InfoDetail::records)),
                                            *request.configuration_json);
      changes.ef_search = changed.ef_search;
      changes.extra = std::move(changed.json);
    }
    with_name_messages("Validation error: new_name: ", [&] { collection.modify(changes); });
  });
}

void ChromaService::delete_collection(const DatabasePlace& place, const std::string& name) {
  check_writable();
  const std::string id = store_.collection(name, place.database, place.tenant).uuid();
  store_.delete_collection(name, place.database, place.tenant);
  forget(id);
}

CollectionModel ChromaService::fork_collection(const CollectionPlace& place,
                                               const std::string& new_name) {
  check_writable();
  return with(place, [&](const Collection& collection) {
    return with_name_messages("Validation error: new_name: ", [&] {
      return model_of(
          copy_collection(store_, collection, new_name, place.in.database, place.in.tenant)
              .info(InfoDetail::records));
    });
  });
}

IndexingStatus ChromaService::indexing_status(const CollectionPlace& place) const {
  return with(place, [](const Collection& collection) {
    const CollectionInfo info = collection.info(InfoDetail::segments);
    return IndexingStatus{.total = info.record_count,
                          .indexed = info.record_count - info.unsealed_count};
  });
}

// --- records ---

template <typename Write>
void ChromaService::write(const CollectionPlace& place, RecordBatch&& batch, bool needs_embeddings,
                          Write write) {
  check_writable();
  with(place, [&](Collection collection) {
    const std::vector<Record> records = records_of(std::move(batch), needs_embeddings);
    if (records.empty()) return;
    try {
      write(collection, records);
    } catch (const Error& error) {
      // The engine names the record too; Chroma's clients know the sentence.
      const std::string_view message = error.what();
      const std::size_t at = message.find("Collection expecting embedding");
      if (at == std::string_view::npos) throw;
      throw Error(error.code(), std::string(message.substr(at)));
    }
  });
}

void ChromaService::add(const CollectionPlace& place, RecordBatch batch) {
  write(place, std::move(batch), true,
        [](Collection& to, const std::vector<Record>& records) { to.add(records); });
}

void ChromaService::update(const CollectionPlace& place, RecordBatch batch) {
  write(place, std::move(batch), false,
        [](Collection& to, const std::vector<Record>& records) { to.update(records); });
}

void ChromaService::upsert(const CollectionPlace& place, RecordBatch batch) {
  write(place, std::move(batch), true,
        [](Collection& to, const std::vector<Record>& records) { to.upsert(records); });
}

std::uint64_t ChromaService::remove(const CollectionPlace& place, const RecordSelection& selection,
                                    std::optional<std::uint32_t> limit) {
  check_writable();
  return with(place, [&](Collection collection) -> std::uint64_t {
    const std::optional<Filter> filter = filter_of(selection);
    if (filter) check_filter(*filter, collection.info(InfoDetail::records));
    if (limit && !filter) {
      throw ApiError(400,
                     "Validation error: limit, where: limit can only be specified when a where "
                     "clause is provided");
    }
    if (filter) {
      std::optional<std::span<const std::string>> ids;
      if (selection.ids) ids = *selection.ids;
      return collection.remove(*filter, limit, ids);
    }
    if (!selection.ids) return 0;
    if (selection.ids->empty()) {
      throw ApiError(400, "Validation error: ids, where: Either ids or where must be specified");
    }
    collection.remove(*selection.ids);
    return selection.ids->size();
  });
}

std::uint64_t ChromaService::count(const CollectionPlace& place) const {
  return with(place, [](const Collection& collection) { return collection.count(); });
}

std::vector<Record> ChromaService::get(const CollectionPlace& place,
                                       const RecordSelection& selection,
                                       std::optional<std::uint32_t> limit, std::uint32_t offset,
                                       const Include& include) const {
  return with(place, [&](const Collection& collection) {
    GetOptions options{.ids = selection.ids,
                       .filter = filter_of(selection),
                       .offset = offset,
                       .limit = {},
                       .include = with_hidden_columns(include)};
    if (limit) options.limit = *limit;
    if (options.filter) check_filter(*options.filter, collection.info(InfoDetail::records));
    std::vector<Record> records = collection.get(options);
    for (Record& record : records) show_as_chroma(record, include);
    return records;
  });
}

std::vector<std::vector<Hit>> ChromaService::query(const CollectionPlace& place,
                                                   const RecordSelection& selection,
                                                   std::span<const std::vector<float>> queries,
                                                   std::uint32_t n_results,
                                                   const Include& include) const {
  return with(place, [&](const Collection& collection) {
    QueryOptions options{.k = 0,
                         .ef = 0,
                         .exact = false,
                         .ids = selection.ids,
                         .filter = filter_of(selection),
                         .include = with_hidden_columns(include)};
    const CollectionInfo info = collection.info(InfoDetail::records);
    if (options.filter) check_filter(*options.filter, info);
    check_queries(queries, info.options.dim);
    if (!info.options.dim) return std::vector<std::vector<Hit>>(queries.size());  // still empty
    options.k = static_cast<std::uint32_t>(std::min<std::uint64_t>(n_results, info.record_count));
    if (options.ids && !options.filter) check_all_there(collection, *options.ids);
    std::vector<std::vector<Hit>> answers = collection.query_batch(queries, options);
    for (std::vector<Hit>& hits : answers) {
      for (Hit& hit : hits) show_as_chroma(hit.record, include);
    }
    return answers;
  });
}

std::string ChromaService::search(const CollectionPlace& place,
                                  const std::string& request_json) const {
  check_search_request(request_json);
  return with(place, [&](const Collection& collection) {
    return search_collection(collection, request_json);
  });
}

}  // namespace vkb

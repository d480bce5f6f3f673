// SPDX-License-Identifier: Apache-2.0
//
// Chroma's tenants, databases, collections and records.
#include "server/api_error.h"
#include "server/chroma_json.h"
#include "server/json_text.h"
#include "server/route.h"

namespace vkb {
namespace {

// Below a database a route's parameters begin with {tenant} and {database}; below a collection
// {collection} follows.
DatabasePlace database_of(const Call& call) {
  if (call.parameters[1].size() < 3) {
    throw ApiError(400, "database name must be at least 3 characters");
  }
  return {.tenant = call.parameters[0], .database = call.parameters[1]};
}
CollectionPlace collection_of(const Call& call) {
  return {.in = database_of(call), .id = call.parameters[2]};
}

template <typename T>
std::string array_json(const std::vector<T>& items) {
  std::string out = "[";
  for (const T& item : items) {
    if (out.size() > 1) out += ',';
    out += to_json(item);
  }
  return out + "]";
}

[[noreturn]] void unimplemented(const std::string& message) { throw ApiError(501, message); }

// --- tenants and databases ---

HttpResponse create_tenant(const Call& call) {
  call.service.create_tenant(parse_text_field(json_of(call), "name"));
  return answer_json("{}");
}

HttpResponse get_tenant(const Call& call) {
  call.service.check_tenant(call.parameters[0]);
  return answer_json("{\"name\":" + json_string(call.parameters[0]) + ",\"resource_name\":null}");
}

HttpResponse update_tenant(const Call& call) {
  parse_text_field(json_of(call), "resource_name");
  return answer_json("{}");  // resource names mean something in Chroma's cloud only
}

HttpResponse create_database(const Call& call) {
  call.service.create_database(
      {.tenant = call.parameters[0], .database = parse_text_field(json_of(call), "name")});
  return answer_json("{}");
}

HttpResponse list_databases(const Call& call) {
  return answer_json(array_json(
      call.service.list_databases(call.parameters[0], query_number(call.request, "limit"),
                                  query_number(call.request, "offset").value_or(0))));
}

HttpResponse get_database(const Call& call) {
  return answer_json(to_json(call.service.get_database(database_of(call))));
}

HttpResponse delete_database(const Call& call) {
  call.service.delete_database(database_of(call));
  return answer_json("{}");
}

// --- collections ---

HttpResponse create_collection(const Call& call) {
  const CreateCollection request = parse_create_collection(json_of(call));
  return answer_json(to_json(call.service.create_collection(database_of(call), request)));
}

HttpResponse list_collections(const Call& call) {
  return answer_json(array_json(
      call.service.list_collections(database_of(call), query_number(call.request, "limit"),
                                    query_number(call.request, "offset").value_or(0))));
}

HttpResponse count_collections(const Call& call) {
  return answer_json(std::to_string(call.service.count_collections(database_of(call))));
}

HttpResponse get_collection(const Call& call) {
  return answer_json(to_json(call.service.get_collection(database_of(call), call.parameters[2])));
}

HttpResponse get_collection_by_id(const Call& call) {
  return answer_json(to_json(call.service.get_collection_by_id(collection_of(call))));
}

// A "Chroma resource name": tenant:database:collection.
HttpResponse get_collection_by_crn(const Call& call) {
  const std::string& crn = call.parameters[0];
  const std::size_t first = crn.find(':');
  const std::size_t second = first == std::string::npos ? first : crn.find(':', first + 1);
  if (second == std::string::npos || crn.find(':', second + 1) != std::string::npos) {
    throw ApiError(400, "Invalid resource name '" + crn.substr(0, 100) +
                            "': expected tenant:database:collection");
  }
  return answer_json(to_json(call.service.get_collection(
      {.tenant = crn.substr(0, first), .database = crn.substr(first + 1, second - first - 1)},
      crn.substr(second + 1))));
}

HttpResponse modify_collection(const Call& call) {
  const ModifyCollection request = parse_modify_collection(json_of(call));
  call.service.modify_collection(collection_of(call), request);
  return answer_json("{}");
}

HttpResponse delete_collection(const Call& call) {
  call.service.delete_collection(database_of(call), call.parameters[2]);
  return answer_json("{}");
}

HttpResponse fork(const Call& call) {
  const std::string name = parse_text_field(json_of(call), "new_name");
  return answer_json(to_json(call.service.fork_collection(collection_of(call), name)));
}

HttpResponse fork_count(const Call& call) {
  call.service.count(collection_of(call));  // is it there?
  unimplemented("Count forks is unsupported for local chroma");
}

HttpResponse indexing_status(const Call& call) {
  const IndexingStatus status = call.service.indexing_status(collection_of(call));
  std::string out = "{\"op_indexing_progress\":";
  append_json(out, status.total == 0
                       ? 1.0
                       : static_cast<double>(status.indexed) / static_cast<double>(status.total));
  return answer_json(out +
                     ",\"num_unindexed_ops\":" + std::to_string(status.total - status.indexed) +
                     ",\"num_indexed_ops\":" + std::to_string(status.indexed) +
                     ",\"total_ops\":" + std::to_string(status.total) + "}");
}

HttpResponse attach_function(const Call&) {
  unimplemented("Attached functions are not supported for local chroma");
}

HttpResponse get_function(const Call&) { throw ApiError(404, "Attached function not found"); }

// --- records ---

HttpResponse add(const Call& call) {
  RecordBatch batch = parse_record_batch(json_of(call), WriteKind::add);
  call.service.add(collection_of(call), std::move(batch));
  return answer_json("{}", 201);
}

HttpResponse update(const Call& call) {
  RecordBatch batch = parse_record_batch(json_of(call), WriteKind::update);
  call.service.update(collection_of(call), std::move(batch));
  return answer_json("{}");
}

HttpResponse upsert(const Call& call) {
  RecordBatch batch = parse_record_batch(json_of(call), WriteKind::upsert);
  call.service.upsert(collection_of(call), std::move(batch));
  return answer_json("{}");
}

HttpResponse remove(const Call& call) {
  const DeleteRequest request = parse_delete(json_of(call));
  const std::uint64_t deleted =
      call.service.remove(collection_of(call), request.selection, request.limit);
  return answer_json("{\"deleted\":" + std::to_string(deleted) + "}");
}

HttpResponse count(const Call& call) {
  if (const auto level = query_value(call.request, "read_level")) {
    if (*level != "index_and_wal" && *level != "index_only" && *level != "index_and_bounded_wal") {
      throw ApiError(400, "Failed to deserialize query string: read_level: unknown variant `" +
                              level->substr(0, 40) +
                              "`, expected one of `index_and_wal`, `index_only`, "
                              "`index_and_bounded_wal`");
    }
  }
  return answer_json(std::to_string(call.service.count(collection_of(call))));
}

HttpResponse get(const Call& call) {
  const GetRequest request = parse_get(json_of(call));
  return answer_json(get_response(call.service.get(collection_of(call), request.selection,
                                                   request.limit, request.offset, request.include),
                                  request));
}

HttpResponse query(const Call& call) {
  const QueryRequest request = parse_query(json_of(call));
  return answer_json(
      query_response(call.service.query(collection_of(call), request.selection, request.queries,
                                        request.n_results, request.include),
                     request));
}

HttpResponse search(const Call& call) {
  return answer_json(call.service.search(collection_of(call), json_of(call)));
}

// --- the table ---

#define VKB_DATABASE "/api/v2/tenants/{tenant}/databases/{database}"
#define VKB_COLLECTIONS VKB_DATABASE "/collections"
#define VKB_COLLECTION VKB_COLLECTIONS "/{collection}"

constexpr Route kRoutes[] = {
    {{"POST", "/api/v2/tenants", "create_tenant", "Creates a tenant"}, create_tenant},
    {{"GET", "/api/v2/tenants/{tenant}", "get_tenant", "A tenant"}, get_tenant},
    {{"PATCH", "/api/v2/tenants/{tenant}", "update_tenant", "Accepted without effect"},
     update_tenant},
    {{"GET", "/api/v2/tenants/{tenant}/databases", "list_databases", "A tenant's databases"},
     list_databases},
    {{"POST", "/api/v2/tenants/{tenant}/databases", "create_database", "Creates a database"},
     create_database},
    {{"GET", VKB_DATABASE, "get_database", "A database"}, get_database},
    {{"DELETE", VKB_DATABASE, "delete_database", "Deletes a database with its collections"},
     delete_database},
    {{"GET", VKB_COLLECTIONS, "list_collections", "A database's collections"}, list_collections},
    {{"POST", VKB_COLLECTIONS, "create_collection", "Creates, or gets, a collection"},
     create_collection},
    {{"GET", VKB_DATABASE "/collections_count", "count_collections", "How many collections"},
     count_collections},
    {{"GET", VKB_COLLECTIONS "/{collection}", "get_collection", "A collection, by name"},
     get_collection},
    {{"DELETE", VKB_COLLECTIONS "/{collection}", "delete_collection",
      "Deletes a collection, by name"},
     delete_collection},
    {{"GET", VKB_COLLECTIONS "/by-id/{collection}", "get_collection_by_id",
      "A collection, by UUID"},
     get_collection_by_id},
    {{"GET", "/api/v2/collections/{crn}", "get_collection_by_crn",
      "A collection, by tenant:database:name"},
     get_collection_by_crn},
    {{"PUT", VKB_COLLECTION, "modify_collection", "Changes name, metadata or configuration"},
     modify_collection},
    {{"POST", VKB_COLLECTION "/add", "add", "Adds records; ids that exist are left alone"}, add},
    {{"POST", VKB_COLLECTION "/update", "update", "Updates records that exist"}, update},
    {{"POST", VKB_COLLECTION "/upsert", "upsert", "Adds or updates records"}, upsert},
    {{"POST", VKB_COLLECTION "/delete", "delete", "Deletes records by id or filter"}, remove},
    {{"GET", VKB_COLLECTION "/count", "count", "How many records"}, count},
    {{"POST", VKB_COLLECTION "/get", "get", "Records by id or filter, in insertion order"}, get},
    {{"POST", VKB_COLLECTION "/query", "query", "The nearest records to each embedding"}, query},
    {{"POST", VKB_COLLECTION "/search", "search", "Ranks by an expression over nearest records"},
     search},
    {{"GET", VKB_COLLECTION "/indexing_status", "indexing_status", "How much the graph holds"},
     indexing_status},
    {{"POST", VKB_COLLECTION "/fork", "fork", "Copies a collection"}, fork},
    {{"GET", VKB_COLLECTION "/fork_count", "fork_count", "Not supported"}, fork_count},
    {{"POST", VKB_COLLECTION "/functions/attach", "attach_function", "Not supported"},
     attach_function},
    {{"GET", VKB_COLLECTION "/functions/{function}", "get_function", "There are none"},
     get_function},
    {{"POST", VKB_COLLECTION "/attached_functions/{name}/detach", "detach_function",
      "Not supported"},
     attach_function},
};

#undef VKB_COLLECTION
#undef VKB_COLLECTIONS
#undef VKB_DATABASE

}  // namespace

std::span<const Route> api_routes() { return kRoutes; }

}  // namespace vkb

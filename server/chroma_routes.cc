// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_routes.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <iterator>

#include "server/api_error.h"
#include "server/chroma_json.h"
#include "server/json_text.h"

namespace vkb {
namespace {

// Chroma's clients refuse larger batches; the server takes what fits into a body.
constexpr int kMaxBatchSize = 5461;

// A request whose path fitted a route: the values of its {parameters}, in order.
struct Call {
  ChromaService& service;
  const HttpRequest& request;
  std::vector<std::string> parameters;

  // Routes below a database begin with {tenant} and {database}; below a collection {collection}
  // follows.
  DatabasePlace database() const {
    if (parameters[1].size() < 3) {
      throw ApiError(400, "database name must be at least 3 characters");
    }
    return {.tenant = parameters[0], .database = parameters[1]};
  }
  CollectionPlace collection() const { return {.in = database(), .id = parameters[2]}; }
  // The body, once it is known to be JSON.
  const std::string& json() const;
};

const std::string& Call::json() const {
  std::string_view type = request.content_type;
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  std::string lower(type);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (!lower.empty() && lower != "application/json" && !lower.ends_with("+json")) {
    throw ApiError(415, "Expected request with `Content-Type: application/json`");
  }
  return request.body;
}

// The value of a query string's parameter, as it stands there.
std::optional<std::string_view> query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) == name) {
      return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    }
  }
  return std::nullopt;
}

std::optional<std::uint32_t> query_number(const HttpRequest& request, std::string_view name) {
  const std::optional<std::string_view> value = query_value(request.query, name);
  if (!value) return std::nullopt;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  if (error != std::errc() || end != value->data() + value->size()) {
    throw ApiError(400, "Failed to deserialize query string: " + std::string(name) +
                            ": expected a whole number from 0 to 4294967295, found '" +
                            std::string(value->substr(0, 40)) + "'");
  }
  return number;
}

HttpResponse answer(std::string body, int status = 200) {
  return {.status = status, .body = std::move(body)};
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

// --- system ---

HttpResponse heartbeat(const Call&) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return answer(
      "{\"nanosecond heartbeat\":" + std::to_string(std::chrono::nanoseconds(now).count()) + "}");
}

HttpResponse healthcheck(const Call& call) {
  // A store that cannot be read is not ready.
  bool ready = true;
  try {
    call.service.check_tenant(std::string(kDefaultTenant));
  } catch (const std::exception&) {
    ready = false;
  }
  const std::string flag = ready ? "true" : "false";
  return answer("{\"is_executor_ready\":" + flag + ",\"is_log_client_ready\":" + flag + "}",
                ready ? 200 : 503);
}

// What Chroma's server says; clients only look at its form.
HttpResponse version(const Call&) { return answer("\"1.0.0\""); }

HttpResponse pre_flight_checks(const Call&) {
  return answer("{\"max_batch_size\":" + std::to_string(kMaxBatchSize) +
                ",\"supports_base64_encoding\":true}");
}

HttpResponse identity(const Call& call) {
  return answer("{\"user_id\":" + json_string(call.request.user) +
                ",\"tenant\":\"default_tenant\",\"databases\":[\"default_database\"]}");
}

HttpResponse reset(const Call& call) {
  call.service.reset();
  return answer("true");
}

HttpResponse openapi(const Call&) { return answer(openapi_json()); }

// --- tenants and databases ---

HttpResponse create_tenant(const Call& call) {
  call.service.create_tenant(parse_text_field(call.json(), "name"));
  return answer("{}");
}

HttpResponse get_tenant(const Call& call) {
  call.service.check_tenant(call.parameters[0]);
  return answer("{\"name\":" + json_string(call.parameters[0]) + ",\"resource_name\":null}");
}

HttpResponse update_tenant(const Call& call) {
  parse_text_field(call.json(), "resource_name");
  return answer("{}");  // resource names mean something in Chroma's cloud only
}

HttpResponse create_database(const Call& call) {
  call.service.create_database(
      {.tenant = call.parameters[0], .database = parse_text_field(call.json(), "name")});
  return answer("{}");
}

HttpResponse list_databases(const Call& call) {
  return answer(array_json(
      call.service.list_databases(call.parameters[0], query_number(call.request, "limit"),
                                  query_number(call.request, "offset").value_or(0))));
}

HttpResponse get_database(const Call& call) {
  return answer(to_json(call.service.get_database(call.database())));
}

HttpResponse delete_database(const Call& call) {
  call.service.delete_database(call.database());
  return answer("{}");
}

// --- collections ---

HttpResponse create_collection(const Call& call) {
  const CreateCollection request = parse_create_collection(call.json());
  return answer(to_json(call.service.create_collection(call.database(), request)));
}

HttpResponse list_collections(const Call& call) {
  return answer(
      array_json(call.service.list_collections(call.database(), query_number(call.request, "limit"),
                                               query_number(call.request, "offset").value_or(0))));
}

HttpResponse count_collections(const Call& call) {
  return answer(std::to_string(call.service.count_collections(call.database())));
}

HttpResponse get_collection(const Call& call) {
  return answer(to_json(call.service.get_collection(call.database(), call.parameters[2])));
}

HttpResponse get_collection_by_id(const Call& call) {
  return answer(to_json(call.service.get_collection_by_id(call.collection())));
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
  return answer(to_json(call.service.get_collection(
      {.tenant = crn.substr(0, first), .database = crn.substr(first + 1, second - first - 1)},
      crn.substr(second + 1))));
}

HttpResponse modify_collection(const Call& call) {
  const ModifyCollection request = parse_modify_collection(call.json());
  call.service.modify_collection(call.collection(), request);
  return answer("{}");
}

HttpResponse delete_collection(const Call& call) {
  call.service.delete_collection(call.database(), call.parameters[2]);
  return answer("{}");
}

HttpResponse fork(const Call& call) {
  const std::string name = parse_text_field(call.json(), "new_name");
  return answer(to_json(call.service.fork_collection(call.collection(), name)));
}

HttpResponse fork_count(const Call& call) {
  call.service.count(call.collection());  // is it there?
  unimplemented("Collection forking is unsupported for local chroma");
}

HttpResponse indexing_status(const Call& call) {
  const IndexingStatus status = call.service.indexing_status(call.collection());
  std::string out = "{\"op_indexing_progress\":";
  append_json(out, status.total == 0
                       ? 1.0
                       : static_cast<double>(status.indexed) / static_cast<double>(status.total));
  return answer(out + ",\"num_unindexed_ops\":" + std::to_string(status.total - status.indexed) +
                ",\"num_indexed_ops\":" + std::to_string(status.indexed) +
                ",\"total_ops\":" + std::to_string(status.total) + "}");
}

HttpResponse attach_function(const Call&) {
  unimplemented("Attached functions are not supported for local chroma");
}

HttpResponse get_function(const Call&) { throw ApiError(404, "Attached function not found"); }

// --- records ---

HttpResponse add(const Call& call) {
  RecordBatch batch = parse_record_batch(call.json(), WriteKind::add);
  call.service.add(call.collection(), std::move(batch));
  return answer("{}", 201);
}

HttpResponse update(const Call& call) {
  RecordBatch batch = parse_record_batch(call.json(), WriteKind::update);
  call.service.update(call.collection(), std::move(batch));
  return answer("{}");
}

HttpResponse upsert(const Call& call) {
  RecordBatch batch = parse_record_batch(call.json(), WriteKind::upsert);
  call.service.upsert(call.collection(), std::move(batch));
  return answer("{}");
}

HttpResponse remove(const Call& call) {
  const DeleteRequest request = parse_delete(call.json());
  const std::uint64_t deleted =
      call.service.remove(call.collection(), request.selection, request.limit);
  return answer("{\"deleted\":" + std::to_string(deleted) + "}");
}

HttpResponse count(const Call& call) {
  if (const auto level = query_value(call.request.query, "read_level")) {
    if (*level != "index_and_wal" && *level != "index_only" && *level != "index_and_bounded_wal") {
      throw ApiError(400, "Failed to deserialize query string: read_level: unknown variant `" +
                              std::string(level->substr(0, 40)) +
                              "`, expected one of `index_and_wal`, `index_only`, "
                              "`index_and_bounded_wal`");
    }
  }
  return answer(std::to_string(call.service.count(call.collection())));
}

HttpResponse get(const Call& call) {
  const GetRequest request = parse_get(call.json());
  return answer(get_response(call.service.get(call.collection(), request.selection, request.limit,
                                              request.offset, request.include),
                             request));
}

HttpResponse query(const Call& call) {
  const QueryRequest request = parse_query(call.json());
  return answer(
      query_response(call.service.query(call.collection(), request.selection, request.queries,
                                        request.n_results, request.include),
                     request));
}

HttpResponse search(const Call& call) {
  return answer(call.service.search(call.collection(), call.json()));
}

// --- the table ---

using Answer = HttpResponse (*)(const Call&);

#define VKB_DATABASE "/api/v2/tenants/{tenant}/databases/{database}"
#define VKB_COLLECTIONS VKB_DATABASE "/collections"
#define VKB_COLLECTION VKB_COLLECTIONS "/{collection}"

struct Route {
  RouteInfo info;
  Answer answer;
};

constexpr Route kRoutes[] = {
    {{"GET", "/api/v2", "heartbeat", "The server's clock"}, heartbeat},
    {{"GET", "/api/v2/heartbeat", "heartbeat", "The server's clock"}, heartbeat},
    {{"GET", "/healthcheck", "healthcheck", "Whether the store can be read"}, healthcheck},
    {{"GET", "/api/v2/healthcheck", "healthcheck", "Whether the store can be read"}, healthcheck},
    {{"GET", "/api/v2/version", "version", "The version of the API"}, version},
    {{"GET", "/api/v2/pre-flight-checks", "pre_flight_checks", "What clients may send"},
     pre_flight_checks},
    {{"GET", "/api/v2/auth/identity", "identity", "Who the caller is"}, identity},
    {{"POST", "/api/v2/reset", "reset", "Deletes everything, where allowed"}, reset},
    {{"GET", "/openapi.json", "openapi", "This document"}, openapi},
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

// The values of the pattern's {parameters} when `path` fits it.
std::optional<std::vector<std::string>> match(std::string_view pattern,
                                              const std::vector<std::string>& path) {
  std::vector<std::string> parameters;
  for (const std::string& segment : path) {
    if (pattern.empty()) return std::nullopt;
    pattern.remove_prefix(1);  // the slash
    const std::string_view expected = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(expected.size());
    if (expected.starts_with('{')) {
      if (segment.empty()) return std::nullopt;
      parameters.push_back(segment);
    } else if (expected != segment) {
      return std::nullopt;
    }
  }
  if (!pattern.empty()) return std::nullopt;
  return parameters;
}

HttpResponse refuse_v1(const HttpRequest& request) {
  HttpResponse response;
  response.operation = "v1";
  if (request.method == "POST") {
    response.status = 405;
    response.content_type = "";
    response.headers.emplace_back("allow", "GET,HEAD,PUT,PATCH,DELETE,OPTIONS");
    return response;
  }
  const ApiError gone(410, "Unimplemented", "The v1 API is deprecated. Please use /v2 apis");
  response.status = gone.status();
  response.body = to_json(gone);
  return response;
}

HttpResponse route(ChromaService& service, const HttpRequest& request) {
  if (request.path.size() > 1 && request.path[0] == "api" && request.path[1] == "v1") {
    return refuse_v1(request);
  }
  // "/api/v2/" and "/api/v2" are one; no other path ends in a slash.
  std::vector<std::string> path = request.path;
  if (path.size() == 3 && path[2].empty()) path.pop_back();
  std::string allowed;
  for (const auto& [info, answer] : kRoutes) {
    const std::optional<std::vector<std::string>> parameters = match(info.path, path);
    if (!parameters) continue;
    if (info.method != request.method) {
      allowed += (allowed.empty() ? "" : ",") + std::string(info.method);
      if (info.method == "GET") allowed += ",HEAD";
      continue;
    }
    HttpResponse response;
    try {
      response = answer({service, request, *parameters});
    } catch (const std::exception& exception) {
      const ApiError error = to_api_error(exception);
      response.status = error.status();
      response.body = to_json(error);
    }
    response.operation = info.operation;
    return response;
  }
  HttpResponse response;
  response.content_type = "";
  response.status = allowed.empty() ? 404 : 405;
  if (!allowed.empty()) response.headers.emplace_back("allow", allowed);
  return response;
}

}  // namespace

HttpHandler make_chroma_handler(ChromaService& service) {
  return [&service](const HttpRequest& request) { return route(service, request); };
}

std::vector<RouteInfo> chroma_routes() {
  std::vector<RouteInfo> out;
  for (const Route& route : kRoutes) out.push_back(route.info);
  return out;
}

}  // namespace vkb

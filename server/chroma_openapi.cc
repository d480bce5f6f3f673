// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "server/chroma_routes.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

// The shapes of bodies.
constexpr const char* kSchemas = R"json({
"Error": {"type": "object", "required": ["error", "message"], "properties": {
  "error": {"type": "string", "description": "the class of exception that Chroma's clients raise"},
  "message": {"type": "string"}}},
"Metadata": {"type": "object", "additionalProperties": {"oneOf": [
  {"type": ["string", "integer", "number", "boolean", "null"]},
  {"type": "array", "items": {"type": ["string", "integer", "number", "boolean"]}}]}},
"Embedding": {"oneOf": [
  {"type": "array", "items": {"type": "number"}, "minItems": 1},
  {"type": "string", "contentEncoding": "base64", "description": "little-endian IEEE 754 floats"}]},
"Where": {"type": "object", "minProperties": 1, "maxProperties": 1, "description":
  "{key: value}, {key: {operator: value}}, {\"$and\": [...]} or {\"$or\": [...]}; operators: $eq $ne $gt $gte $lt $lte $in $nin $contains $not_contains"},
"WhereDocument": {"type": "object", "minProperties": 1, "maxProperties": 1, "description":
  "$contains, $not_contains, $regex or $not_regex with a text; $and or $or with an array"},
"Include": {"type": "array", "items": {"enum": ["documents", "embeddings", "metadatas", "distances", "uris"]}},
"Ids": {"type": "array", "items": {"type": "string", "minLength": 1}},
"Texts": {"type": ["array", "null"], "items": {"type": ["string", "null"]}},
"Name": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
"NewName": {"type": "object", "required": ["new_name"], "properties": {"new_name": {"type": "string"}}},
"ResourceName": {"type": "object", "required": ["resource_name"], "properties": {"resource_name": {"type": "string"}}},
"Tenant": {"type": "object", "properties": {"name": {"type": "string"}, "resource_name": {"type": ["string", "null"]}}},
"Database": {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}, "name": {"type": "string"}, "tenant": {"type": "string"}}},
"Databases": {"type": "array", "items": {"$ref": "#/components/schemas/Database"}},
"Configuration": {"type": "object", "properties": {
  "hnsw": {"type": ["object", "null"], "properties": {"space": {"enum": ["l2", "cosine", "ip"]},
    "ef_construction": {"type": "integer"}, "ef_search": {"type": "integer"}, "max_neighbors": {"type": "integer"},
    "num_threads": {"type": "integer"}, "batch_size": {"type": "integer"}, "sync_threshold": {"type": "integer"},
    "resize_factor": {"type": "number"}}},
  "spann": {"type": ["object", "null"]},
  "embedding_function": {"type": ["object", "null"]}}},
"CreateCollection": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
  "metadata": {"$ref": "#/components/schemas/Metadata"}, "configuration": {"$ref": "#/components/schemas/Configuration"},
  "schema": {"type": ["object", "null"]}, "get_or_create": {"type": "boolean", "default": false}}},
"ModifyCollection": {"type": "object", "properties": {"new_name": {"type": ["string", "null"]},
  "new_metadata": {"$ref": "#/components/schemas/Metadata"}, "new_configuration": {"$ref": "#/components/schemas/Configuration"}}},
"Collection": {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}, "name": {"type": "string"},
  "configuration_json": {"$ref": "#/components/schemas/Configuration"}, "schema": {"type": "object"},
  "metadata": {"$ref": "#/components/schemas/Metadata"}, "dimension": {"type": ["integer", "null"]},
  "tenant": {"type": "string"}, "database": {"type": "string"}, "log_position": {"type": "integer"}, "version": {"type": "integer"}}},
"Collections": {"type": "array", "items": {"$ref": "#/components/schemas/Collection"}},
"Records": {"type": "object", "required": ["ids", "embeddings"], "properties": {
  "ids": {"$ref": "#/components/schemas/Ids"},
  "embeddings": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Embedding"}},
  "documents": {"$ref": "#/components/schemas/Texts"}, "uris": {"$ref": "#/components/schemas/Texts"},
  "metadatas": {"type": ["array", "null"], "items": {"$ref": "#/components/schemas/Metadata"}}}},
"Delete": {"type": "object", "properties": {"ids": {"$ref": "#/components/schemas/Ids"}, "where": {"$ref": "#/components/schemas/Where"},
  "where_document": {"$ref": "#/components/schemas/WhereDocument"}, "limit": {"type": ["integer", "null"]}}},
"Deleted": {"type": "object", "properties": {"deleted": {"type": "integer"}}},
"Get": {"type": "object", "properties": {"ids": {"$ref": "#/components/schemas/Ids"}, "where": {"$ref": "#/components/schemas/Where"},
  "where_document": {"$ref": "#/components/schemas/WhereDocument"}, "limit": {"type": ["integer", "null"]},
  "offset": {"type": ["integer", "null"]}, "include": {"$ref": "#/components/schemas/Include"}}},
"GetResult": {"type": "object", "properties": {"ids": {"$ref": "#/components/schemas/Ids"}, "embeddings": {"type": ["array", "null"]},
  "documents": {"$ref": "#/components/schemas/Texts"}, "uris": {"$ref": "#/components/schemas/Texts"},
  "metadatas": {"type": ["array", "null"]}, "include": {"$ref": "#/components/schemas/Include"}}},
"Query": {"type": "object", "required": ["query_embeddings"], "properties": {
  "query_embeddings": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
  "n_results": {"type": ["integer", "null"], "default": 10}, "ids": {"$ref": "#/components/schemas/Ids"},
  "where": {"$ref": "#/components/schemas/Where"}, "where_document": {"$ref": "#/components/schemas/WhereDocument"},
  "include": {"$ref": "#/components/schemas/Include"}}},
"QueryResult": {"type": "object", "description": "one inner array a query; see GetResult", "properties": {
  "ids": {"type": "array"}, "distances": {"type": ["array", "null"]}, "documents": {"type": ["array", "null"]},
  "metadatas": {"type": ["array", "null"]}, "embeddings": {"type": ["array", "null"]}, "uris": {"type": ["array", "null"]},
  "include": {"$ref": "#/components/schemas/Include"}}},
"Search": {"type": "object", "required": ["searches"], "properties": {"searches": {"type": "array", "items": {"type": "object",
  "properties": {"filter": {"type": ["object", "null"]}, "rank": {"type": ["object", "null"]}, "group_by": {"type": ["object", "null"]},
  "limit": {"type": "object"}, "select": {"type": "object"}}}}}},
"SearchResult": {"type": "object", "properties": {"ids": {"type": "array"}, "documents": {"type": "array"}, "embeddings": {"type": "array"},
  "metadatas": {"type": "array"}, "scores": {"type": "array"}, "select": {"type": "array"}}},
"IndexingStatus": {"type": "object", "properties": {"op_indexing_progress": {"type": "number"}, "num_unindexed_ops": {"type": "integer"},
  "num_indexed_ops": {"type": "integer"}, "total_ops": {"type": "integer"}}},
"Number": {"type": "integer"}, "Text": {"type": "string"}, "True": {"const": true}, "Object": {"type": "object"}
})json";

struct Bodies {
  std::string_view operation;
  std::string_view request;  // empty: none
  std::string_view response;
  const char* status = "200";
  const char* media = "application/json";
};
// Of what is in no other line.
constexpr Bodies kAnyBodies{"", "", "Object"};

constexpr Bodies kBodies[] = {
    {"version", "", "Text"},
    {"reset", "", "True"},
    {"create_tenant", "Name", "Object"},
    {"get_tenant", "", "Tenant"},
    {"update_tenant", "ResourceName", "Object"},
    {"list_databases", "", "Databases"},
    {"create_database", "Name", "Object"},
    {"get_database", "", "Database"},
    {"list_collections", "", "Collections"},
    {"create_collection", "CreateCollection", "Collection"},
    {"count_collections", "", "Number"},
    {"get_collection", "", "Collection"},
    {"get_collection_by_id", "", "Collection"},
    {"get_collection_by_crn", "", "Collection"},
    {"modify_collection", "ModifyCollection", "Object"},
    {"add", "Records", "Object", "201"},
    {"update", "Records", "Object"},
    {"upsert", "Records", "Object"},
    {"delete", "Delete", "Deleted"},
    {"count", "", "Number"},
    {"get", "Get", "GetResult"},
    {"query", "Query", "QueryResult"},
    {"search", "Search", "SearchResult"},
    {"indexing_status", "", "IndexingStatus"},
    {"fork", "NewName", "Collection"},
    {"fork_count", "", "Error", "501"},
    {"attach_function", "", "Error", "501"},
    {"detach_function", "", "Error", "501"},
    {"get_function", "", "Error", "404"},
    {"docs_redirect", "", "Text", "303", "text/plain"},
    {"docs", "", "Text", "200", "text/html"},
    {"metrics", "", "Text", "200", "text/plain"},
    {"v1", "", "Error", "410"},
};

Json content(std::string_view schema, const char* media = "application/json") {
  return {{media, {{"schema", {{"$ref", "#/components/schemas/" + std::string(schema)}}}}}};
}

Json parameters_of(std::string_view path) {
  Json parameters = Json::array();
  for (std::size_t open = path.find('{'); open != std::string_view::npos;
       open = path.find('{', open + 1)) {
    const std::string_view name = path.substr(open + 1, path.find('}', open) - open - 1);
    parameters.push_back(
        {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  }
  return parameters;
}

void add_query_parameters(Json& parameters, std::string_view operation) {
  if (operation == "list_databases" || operation == "list_collections") {
    for (const char* name : {"limit", "offset"}) {
      parameters.push_back({{"name", name}, {"in", "query"}, {"schema", {{"type", "integer"}}}});
    }
  }
  if (operation == "count") {
    parameters.push_back(
        {{"name", "read_level"},
         {"in", "query"},
         {"schema", {{"enum", {"index_and_wal", "index_only", "index_and_bounded_wal"}}}}});
  }
}

const Bodies& bodies_of(std::string_view operation) {
  for (const Bodies& bodies : kBodies) {
    if (bodies.operation == operation) return bodies;
  }
  return kAnyBodies;
}

// Ids are unique: the few operations that have several routes get several.
std::string operation_id(const RouteInfo& route) {
  if (route.path == "/api/v2") return "root";
  if (route.path == "/healthcheck") return "health";
  if (route.operation == "v1") return "v1_" + std::string(route.method);
  return std::string(route.operation);
}

Json operation_of(const RouteInfo& route, std::string_view path) {
  const Bodies& bodies = bodies_of(route.operation);
  Json operation = {{"operationId", operation_id(route)},
                    {"summary", route.summary},
                    {"parameters", parameters_of(path)}};
  add_query_parameters(operation["parameters"], route.operation);
  if (!bodies.request.empty()) {
    operation["requestBody"] = {{"required", true}, {"content", content(bodies.request)}};
  }
  operation["responses"] = {
      {bodies.status,
       {{"description", bodies.response == "Error" ? "not supported" : "done"},
        {"content", content(bodies.response, bodies.media)}}},
      {"default", {{"description", "refused"}, {"content", content("Error")}}}};
  return operation;
}

// OpenAPI has no parameter for several segments: "{*path}" is a plain one there.
std::string openapi_path(std::string_view path) {
  std::string out(path);
  if (const std::size_t star = out.find("{*"); star != std::string::npos) out.erase(star + 1, 1);
  return out;
}

}  // namespace

std::string openapi_json() {
  Json paths = Json::object();
  for (const RouteInfo& route : chroma_routes()) {
    const std::string path = openapi_path(route.path);
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    paths[path][method] = operation_of(route, path);
  }
  const Json document = {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "vkb"},
        {"version", VKB_VERSION},
        {"description", "ChromaDB's v2 REST API over a vkb store"}}},
      {"paths", std::move(paths)},
      {"components",
       {{"schemas", Json::parse(kSchemas)},
        {"securitySchemes",
         {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}},
          {"basic", {{"type", "http"}, {"scheme", "basic"}}},
          {"token", {{"type", "apiKey"}, {"in", "header"}, {"name", "X-Chroma-Token"}}}}}}}};
  return document.dump();
}

// Of constants alone: nothing in it needs escaping.
std::string docs_html() {
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>vkb</title>\n"
      "<h1>vkb " VKB_VERSION
      "</h1>\n<p>ChromaDB's v2 REST API. The bodies are described in "
      "<a href=\"/openapi.json\">/openapi.json</a>, an OpenAPI 3.1 document.</p>\n<table>\n";
  for (const RouteInfo& route : chroma_routes()) {
    page += "<tr><td>" + std::string(route.method) + "<td><code>" + openapi_path(route.path) +
            "</code><td>" + std::string(route.summary) + "\n";
  }
  return page + "</table>\n</html>\n";
}

}  // namespace vkb

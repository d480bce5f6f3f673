// SPDX-License-Identifier: Apache-2.0
#include "server/schema_json.h"

#include <algorithm>
#include <array>
#include <functional>
#include <thread>
#include <utility>

#include "server/api_error.h"
#include "server/json_text.h"

namespace vkb {
namespace {

std::string list_of(std::initializer_list<std::string_view> names) {
  std::string out;
  for (const std::string_view name : names) {
    out += (out.empty() ? "`" : ", `") + std::string(name) + "`";
  }
  return out;
}

void expect_space(const Json& value, const std::string& path) {
  if (value.is_string()) {
    const auto& name = value.get_ref<const std::string&>();
    if (name == "l2" || name == "cosine" || name == "ip") return;
    refuse_shape(path, "unknown variant `" + name + "`, expected one of `l2`, `cosine`, `ip`");
  }
  refuse_shape(path, "invalid type: " + std::string(value.type_name()) + ", expected a string");
}

Json index(bool enabled, Json config = Json::object()) {
  return {{"enabled", enabled}, {"config", std::move(config)}};
}

}  // namespace

void refuse_argument(const std::string& message) { throw ApiError(400, message); }

void expect_object(const Json& json, const std::string& path) {
  if (!json.is_object()) {
    refuse_shape(path, "invalid type: " + std::string(json.type_name()) + ", expected an object");
  }
}

void expect_known(const Json& object, const std::string& path,
                  std::initializer_list<std::string_view> names) {
  for (const auto& [name, value] : object.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      refuse_shape(path + "." + name,
                   "unknown field `" + name + "`, expected one of " + list_of(names));
    }
  }
}

void expect_index_values(const Json& object, const std::string& path) {
  for (const auto& [name, value] : object.items()) {
    const std::string at = path + "." + name;
    if (value.is_null()) continue;
    if (name == "space") {
      expect_space(value, at);
    } else if (name == "resize_factor") {
      if (!value.is_number()) {
        refuse_shape(at, "invalid type: " + std::string(value.type_name()) + ", expected f64");
      }
    } else if (!value.is_number_unsigned()) {
      refuse_shape(at, "invalid value: " + value.dump() + ", expected usize");
    }
  }
}

void expect_embedding_function(const Json& json, const std::string& path) {
  expect_object(json, path);
  const auto type = json.find("type");
  if (type == json.end() || !type->is_string()) refuse_shape(path, "missing field `type`");
  if (*type == "legacy" || *type == "unknown") return;
  if (*type != "known") {
    refuse_shape(path + ".type", "unknown variant `" + type->get<std::string>() +
                                     "`, expected one of `legacy`, `known`, `unknown`");
  }
  for (const char* field : {"name", "config"}) {
    if (!json.contains(field)) refuse_shape(path, std::string("missing field `") + field + "`");
  }
  if (!json["name"].is_string()) refuse_shape(path + ".name", "expected a string");
}

Json parse_object(const std::string& text, const std::string& path) {
  check_depth(text);
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) throw ApiError(400, path + ": not JSON: " + text.substr(0, 80));
  expect_object(json, path);
  return json;
}

Json default_hnsw() {
  return {
      {"ef_construction", 100}, {"max_neighbors", 16},
      {"ef_search", 100},       {"num_threads", std::max(1U, std::thread::hardware_concurrency())},
      {"batch_size", 100},      {"sync_threshold", 1000},
      {"resize_factor", 1.2}};
}

Json default_schema() {
  const Json vector = {{"space", "l2"}, {"hnsw", default_hnsw()}};
  Json embedding = vector;
  embedding["source_key"] = kDocumentKey;
  const Json sparse = {{"embedding_function", {{"type", "unknown"}}}, {"bm25", false}};
  return {
      {"defaults",
       {{"string", {{"fts_index", index(false)}, {"string_inverted_index", index(true)}}},
        {"float_list", {{"vector_index", index(false, vector)}}},
        {"sparse_vector", {{"sparse_vector_index", index(false, sparse)}}},
        {"int", {{"int_inverted_index", index(true)}}},
        {"float", {{"float_inverted_index", index(true)}}},
        {"bool", {{"bool_inverted_index", index(true)}}}}},
      {"keys",
       {{kEmbeddingKey, {{"float_list", {{"vector_index", index(true, embedding)}}}}},
        {kDocumentKey,
         {{"string", {{"fts_index", index(true)}, {"string_inverted_index", index(false)}}}}}}}};
}

Json& embedding_config(Json& schema) {
  return schema["keys"][kEmbeddingKey]["float_list"]["vector_index"]["config"];
}
Json& default_vector_config(Json& schema) {
  return schema["defaults"]["float_list"]["vector_index"]["config"];
}

namespace {

void check_vector_config(const Json& config, const std::string& path) {
  if (config.contains("space") && !config["space"].is_null()) {
    expect_space(config["space"], path + ".space");
  }
  if (config.contains("embedding_function") && !config["embedding_function"].is_null()) {
    expect_embedding_function(config["embedding_function"], path + ".embedding_function");
  }
  if (config.contains("hnsw") && !config["hnsw"].is_null()) {
    expect_object(config["hnsw"], path + ".hnsw");
    expect_known(config["hnsw"], path + ".hnsw",
                 {"ef_construction", "max_neighbors", "ef_search", "num_threads", "batch_size",
                  "sync_threshold", "resize_factor"});
    expect_index_values(config["hnsw"], path + ".hnsw");
  }
}

// The index objects of one key, or of the defaults: {"string": {"fts_index": {...}, ...}, ...}.
// Calls visit(value type, index name, index) for each known one.
using VisitIndex = std::function<void(const std::string&, const std::string&, const Json&)>;
void visit_indexes(const Json& types, const std::string& path, const VisitIndex& visit) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kIndexes = {
      {{"string", "fts_index"},
       {"string", "string_inverted_index"},
       {"float_list", "vector_index"},
       {"sparse_vector", "sparse_vector_index"},
       {"int", "int_inverted_index"},
       {"float", "float_inverted_index"},
       {"bool", "bool_inverted_index"}}};
  expect_object(types, path);
  for (const auto& [type, name] : kIndexes) {
    const auto of_type = types.find(type);
    if (of_type == types.end() || of_type->is_null()) continue;
    const std::string type_path = path + "." + std::string(type);
    expect_object(*of_type, type_path);
    const auto found = of_type->find(name);
    if (found == of_type->end() || found->is_null()) continue;
    const std::string at = type_path + "." + std::string(name);
    expect_object(*found, at);
    for (const char* field : {"enabled", "config"}) {
      if (!found->contains(field)) {
        refuse_shape(at, std::string("missing field `") + field + "`");
      }
    }
    if (!(*found)["enabled"].is_boolean()) refuse_shape(at + ".enabled", "expected a boolean");
    expect_object((*found)["config"], at + ".config");
    if (name == "vector_index") check_vector_config((*found)["config"], at + ".config");
    visit(std::string(type), std::string(name), *found);
  }
}

bool is_enabled(const Json& index) { return index["enabled"].get<bool>(); }

void check_default_index(const std::string&, const std::string& name, const Json& index) {
  const std::string start = "Validation error: schema: ";
  if (!is_enabled(index)) return;
  if (name == "fts_index") {
    refuse_argument(
        start +
        "Full text search / regular expression index cannot be enabled by default. It can only "
        "be enabled on #document field.");
  }
  if (name == "vector_index") {
    refuse_argument(
        start +
        "Vector index cannot be enabled by default. It can only be enabled on #embedding "
        "field.");
  }
  if (name == "sparse_vector_index") {
    refuse_argument(
        start +
        "Sparse vector index cannot be enabled by default. Please enable sparse vector index on "
        "specific keys. At most one sparse vector index is allowed for the collection.");
  }
}

void check_key_index(const std::string& key, const std::string& name, const Json& index) {
  const std::string start = "Validation error: schema: ";
  if (!is_enabled(index)) return;
  if (name == "vector_index" && key != kEmbeddingKey) {
    refuse_argument(start + "Vector index can only be enabled on #embedding field: " + key);
  }
  if (name == "fts_index" && key != kDocumentKey) {
    refuse_argument(
        start +
        "Full text search / regular expression index can only be enabled on #document field: " +
        key);
  }
  if (name == "string_inverted_index" && key == kDocumentKey) {
    refuse_argument(start + "String inverted index can not be enabled on #document key: " + key);
  }
  if (name == "sparse_vector_index") {
    const Json& config = index["config"];
    const auto function = config.find("embedding_function");
    const bool has_function =
        function != config.end() && function->is_object() && function->value("type", "") == "known";
    if (config.contains("source_key") && !config["source_key"].is_null() && !has_function) {
      refuse_argument(
          start +
          "If source_key is provided then embedding_function must also be provided since there "
          "is no default embedding function.");
    }
    refuse_argument(
        "Failed to reconcile schema: Invalid schema input: Sparse vector indexing is not enabled "
        "in "
        "local");
  }
}

void check_key(const std::string& key, const Json& types) {
  const std::string start = "Validation error: schema: ";
  if (key.starts_with('#') && key != kEmbeddingKey && key != kDocumentKey) {
    refuse_argument(
        start +
        "key cannot begin with '#'. Keys starting with '#' are reserved for system use: " + key);
  }
  visit_indexes(
      types, "schema.keys." + key,
      [&](const std::string& type, const std::string& name, const Json& found) {
        if (key == kDocumentKey && type != "string") {
          refuse_argument(start +
                          "Document field cannot have any value types other than string: " + key);
        }
        if (key == kEmbeddingKey && type != "float_list") {
          refuse_argument(
              start + "Embedding field cannot have any value types other than float_list: " + key);
        }
        check_key_index(key, name, found);
      });
}

// Lays the indexes of a request over those of `base`. Of a vector index hnsw and spann exclude each
// other in Chroma's server; here both mean the same graph, so spann is left out.
void merge_indexes(Json& base, const Json& types, const std::string& path) {
  visit_indexes(types, path,
                [&](const std::string& type, const std::string& name, const Json& found) {
                  Json& to = base[type][name];
                  to["enabled"] = found["enabled"];
                  Json& config = to["config"];
                  if (config.is_null()) config = Json::object();
                  for (const auto& [field, value] : found["config"].items()) {
                    if (value.is_null() || field == "spann") continue;
                    if (field == "hnsw" && config.contains("hnsw")) {
                      for (const auto& [parameter, number] : value.items()) {
                        if (!number.is_null()) config["hnsw"][parameter] = number;
                      }
                    } else {
                      config[field] = value;
                    }
                  }
                });
}

}  // namespace

Json merged_schema(const std::string& text) {
  const Json given = parse_object(text, "schema");
  if (const auto id = given.find("source_attached_function_id");
      id != given.end() && !id->is_null()) {
    if (!id->is_string()) {
      refuse_shape("schema.source_attached_function_id",
                   "invalid type: " + std::string(id->type_name()) + ", expected a string");
    }
    refuse_argument(
        "Validation error: schema: Cannot set source_attached_function_id. This field is reserved "
        "for system use.");
  }
  for (const char* field : {"defaults", "keys"}) {
    if (!given.contains(field)) {
      refuse_shape("schema", std::string("missing field `") + field + "`");
    }
  }
  visit_indexes(given["defaults"], "schema.defaults", check_default_index);
  expect_object(given["keys"], "schema.keys");
  Json schema = default_schema();
  merge_indexes(schema["defaults"], given["defaults"], "schema.defaults");
  for (const auto& [key, types] : given["keys"].items()) {
    check_key(key, types);
    Json& to = schema["keys"][key];
    if (to.is_null()) to = Json::object();
    merge_indexes(to, types, "schema.keys." + key);
  }
  return schema;
}

}  // namespace vkb

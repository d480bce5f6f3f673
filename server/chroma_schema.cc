// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_schema.h"

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <thread>

#include "server/api_error.h"
#include "server/json_text.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kEmbeddingKey = "#embedding";
constexpr std::string_view kDocumentKey = "#document";

// What the engine takes; Chroma takes any number.
constexpr std::uint64_t kMinM = 2;
constexpr std::uint64_t kMaxM = 512;
constexpr std::uint64_t kMaxEf = 100'000;

[[noreturn]] void refuse_shape(const std::string& path, const std::string& problem) {
  throw ApiError(
      422, "Failed to deserialize the JSON body into the target type: " + path + ": " + problem);
}

[[noreturn]] void refuse(const std::string& message) { throw ApiError(400, message); }

std::string list_of(std::initializer_list<std::string_view> names) {
  std::string out;
  for (const std::string_view name : names) {
    out += (out.empty() ? "`" : ", `") + std::string(name) + "`";
  }
  return out;
}

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

void expect_space(const Json& value, const std::string& path) {
  if (value.is_string()) {
    const auto& name = value.get_ref<const std::string&>();
    if (name == "l2" || name == "cosine" || name == "ip") return;
    refuse_shape(path, "unknown variant `" + name + "`, expected one of `l2`, `cosine`, `ip`");
  }
  refuse_shape(path, "invalid type: " + std::string(value.type_name()) + ", expected a string");
}

// Numbers of the index, "space" and nothing else, which may each be null.
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

Json index(bool enabled, Json config = Json::object()) {
  return {{"enabled", enabled}, {"config", std::move(config)}};
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

// --- a schema in a request ---

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
    refuse(start +
           "Full text search / regular expression index cannot be enabled by default. It can only "
           "be enabled on #document field.");
  }
  if (name == "vector_index") {
    refuse(start +
           "Vector index cannot be enabled by default. It can only be enabled on #embedding "
           "field.");
  }
  if (name == "sparse_vector_index") {
    refuse(start +
           "Sparse vector index cannot be enabled by default. Please enable sparse vector index on "
           "specific keys. At most one sparse vector index is allowed for the collection.");
  }
}

void check_key_index(const std::string& key, const std::string& name, const Json& index) {
  const std::string start = "Validation error: schema: ";
  if (!is_enabled(index)) return;
  if (name == "vector_index" && key != kEmbeddingKey) {
    refuse(start + "Vector index can only be enabled on #embedding field: " + key);
  }
  if (name == "fts_index" && key != kDocumentKey) {
    refuse(start +
           "Full text search / regular expression index can only be enabled on #document field: " +
           key);
  }
  if (name == "sparse_vector_index") {
    const Json& config = index["config"];
    const auto function = config.find("embedding_function");
    const bool has_function =
        function != config.end() && function->is_object() && function->value("type", "") == "known";
    if (config.contains("source_key") && !config["source_key"].is_null() && !has_function) {
      refuse(start +
             "If source_key is provided then embedding_function must also be provided since there "
             "is no default embedding function.");
    }
    refuse(
        "Failed to reconcile schema: Invalid schema input: Sparse vector indexing is not enabled "
        "in "
        "local");
  }
}

void check_key(const std::string& key, const Json& types) {
  const std::string start = "Validation error: schema: ";
  if (key.starts_with('#') && key != kEmbeddingKey && key != kDocumentKey) {
    refuse(start +
           "key cannot begin with '#'. Keys starting with '#' are reserved for system use: " + key);
  }
  visit_indexes(
      types, "schema.keys." + key,
      [&](const std::string& type, const std::string& name, const Json& found) {
        if (key == kDocumentKey && type != "string") {
          refuse(start + "Document field cannot have any value types other than string: " + key);
        }
        if (key == kEmbeddingKey && type != "float_list") {
          refuse(start +
                 "Embedding field cannot have any value types other than float_list: " + key);
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

Json merged_schema(const std::string& text) {
  const Json given = parse_object(text, "schema");
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

// --- a configuration in a request ---

// The embedding function that Chroma's clients name when the user named none.
bool is_default_function(const Json& function) {
  return function["type"] == "known" && function["name"] == "default";
}

bool is_default_schema(Json schema) {
  for (Json* config : {&embedding_config(schema), &default_vector_config(schema)}) {
    const auto function = config->find("embedding_function");
    if (function != config->end() && is_default_function(*function)) config->erase(function);
  }
  return schema == default_schema();
}

struct Configuration {
  std::string space = "l2";
  Json hnsw = default_hnsw();
  Json embedding_function;  // or null

  bool has_default_index() const { return space == "l2" && hnsw == default_hnsw(); }
  bool is_default() const {
    return has_default_index() &&
           (embedding_function.is_null() || is_default_function(embedding_function));
  }
};

void expect_hnsw(const Json& hnsw, const std::string& path) {
  expect_object(hnsw, path);
  expect_known(hnsw, path,
               {"space", "ef_construction", "ef_search", "max_neighbors", "num_threads",
                "resize_factor", "sync_threshold", "batch_size"});
  expect_index_values(hnsw, path);
}

void set_hnsw(Configuration& configuration, const Json& hnsw) {
  for (const auto& [name, value] : hnsw.items()) {
    if (value.is_null()) continue;
    if (name == "space") {
      configuration.space = value.get<std::string>();
    } else {
      configuration.hnsw[name] = value;
    }
  }
}

Configuration parse_configuration(const std::string& text) {
  const Json given = parse_object(text, "configuration");
  Configuration configuration;
  const auto part = [&](const char* name) {
    const auto found = given.find(name);
    return found == given.end() ? Json() : *found;
  };
  const Json hnsw = part("hnsw");
  const Json spann = part("spann");
  if (!hnsw.is_null()) expect_hnsw(hnsw, "configuration.hnsw");
  if (!spann.is_null()) {
    const std::string path = "configuration.spann";
    expect_object(spann, path);
    expect_known(
        spann, path,
        {"search_nprobe", "write_nprobe", "space", "ef_construction", "ef_search", "max_neighbors",
         "reassign_neighbor_count", "split_threshold", "merge_threshold"});
    expect_index_values(spann, path);
  }
  configuration.embedding_function = part("embedding_function");
  if (!configuration.embedding_function.is_null()) {
    expect_embedding_function(configuration.embedding_function, "configuration.embedding_function");
  }
  if (!hnsw.is_null() && !spann.is_null()) refuse("Multiple vector index configurations provided");
  if (!hnsw.is_null()) set_hnsw(configuration, hnsw);
  if (spann.contains("space") && !spann["space"].is_null()) {
    configuration.space = spann["space"].get<std::string>();
  }
  return configuration;
}

// Chroma's first way to configure an index: metadata keys that begin with "hnsw:".
void apply_metadata(Configuration& configuration, const Metadata& metadata) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNumbers = {
      {{"hnsw:construction_ef", "ef_construction"},
       {"hnsw:search_ef", "ef_search"},
       {"hnsw:M", "max_neighbors"},
       {"hnsw:num_threads", "num_threads"},
       {"hnsw:batch_size", "batch_size"},
       {"hnsw:sync_threshold", "sync_threshold"}}};
  const auto refuse_value = [] { refuse("Failed to parse hnsw parameters from segment metadata"); };
  for (const auto& [key, value] : metadata) {
    if (!key.starts_with("hnsw:")) continue;
    if (key == "hnsw:space") {
      const auto* name = std::get_if<std::string>(&value);
      if (!name || (*name != "l2" && *name != "cosine" && *name != "ip")) refuse_value();
      configuration.space = *name;
      continue;
    }
    if (key == "hnsw:resize_factor") {
      if (const auto* factor = std::get_if<double>(&value)) {
        configuration.hnsw["resize_factor"] = *factor;
      } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
        configuration.hnsw["resize_factor"] = static_cast<double>(*whole);
      } else {
        refuse_value();
      }
      continue;
    }
    const auto* known = std::find_if(kNumbers.begin(), kNumbers.end(),
                                     [&](const auto& entry) { return entry.first == key; });
    const auto* number = std::get_if<std::int64_t>(&value);
    const bool is_batch = key == "hnsw:batch_size" || key == "hnsw:sync_threshold";
    if (known == kNumbers.end() || !number || *number < (is_batch ? 2 : 0)) refuse_value();
    configuration.hnsw[std::string(known->second)] = *number;
  }
}

std::uint32_t clamped(const Json& number, std::uint64_t low, std::uint64_t high) {
  return static_cast<std::uint32_t>(std::clamp(number.get<std::uint64_t>(), low, high));
}

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

NewSchema make_schema(const std::optional<std::string>& configuration_json,
                      const std::optional<std::string>& schema_json,
                      const std::optional<Metadata>& metadata) {
  Configuration configuration =
      configuration_json ? parse_configuration(*configuration_json) : Configuration{};
  if (metadata && configuration.has_default_index()) apply_metadata(configuration, *metadata);
  Json schema = schema_json ? merged_schema(*schema_json) : default_schema();
  if (is_default_schema(schema)) {
    for (Json* config : {&embedding_config(schema), &default_vector_config(schema)}) {
      (*config)["space"] = configuration.space;
      (*config)["hnsw"] = configuration.hnsw;
      if (!configuration.embedding_function.is_null()) {
        (*config)["embedding_function"] = configuration.embedding_function;
      }
    }
  } else if (!configuration.is_default()) {
    refuse(
        "Failed to reconcile schema: Cannot set both collection config and schema simultaneously");
  }
  const Json& config = embedding_config(schema);
  return {.json = text_of(schema),
          .space = parse_space(config["space"].get<std::string>()),
          .m = clamped(config["hnsw"]["max_neighbors"], kMinM, kMaxM),
          .ef_construction = clamped(config["hnsw"]["ef_construction"], 1, kMaxEf),
          .ef_search = clamped(config["hnsw"]["ef_search"], 1, kMaxEf)};
}

std::string schema_of(const CollectionOptions& options) {
  Json schema = default_schema();
  for (Json* config : {&embedding_config(schema), &default_vector_config(schema)}) {
    (*config)["space"] = to_string(options.space);
    (*config)["hnsw"]["max_neighbors"] = options.m;
    (*config)["hnsw"]["ef_construction"] = options.ef_construction;
    (*config)["hnsw"]["ef_search"] = options.ef_search;
  }
  return text_of(schema);
}

std::string shown_configuration(const std::string& schema_json) {
  Json schema = parse_object(schema_json, "schema");
  const Json& config = embedding_config(schema);
  Json hnsw = config["hnsw"];
  hnsw["space"] = config["space"];
  hnsw.erase("num_threads");
  hnsw.erase("batch_size");
  return text_of({{"hnsw", std::move(hnsw)},
                  {"spann", nullptr},
                  {"embedding_function", config.value("embedding_function", Json())}});
}

std::string shown_schema(const std::string& schema_json,
                         std::span<const std::pair<std::string, std::string_view>> metadata_keys) {
  if (metadata_keys.empty()) return schema_json;
  Json schema = parse_object(schema_json, "schema");
  for (const auto& [key, type] : metadata_keys) {
    Json& of_key = schema["keys"][key];
    if (!of_key.contains(type)) of_key[type] = schema["defaults"][type];
  }
  return text_of(schema);
}

ChangedSchema change_schema(const std::string& schema_json, const std::string& configuration_json) {
  Json schema = parse_object(schema_json, "schema");
  const Json given = parse_object(configuration_json, "new_configuration");
  const auto part = [&](const char* name) {
    const auto found = given.find(name);
    return found == given.end() ? Json() : *found;
  };
  const Json hnsw = part("hnsw");
  const Json spann = part("spann");
  const Json function = part("embedding_function");
  ChangedSchema changed;
  if (!hnsw.is_null()) {
    const std::string path = "new_configuration.hnsw";
    expect_object(hnsw, path);
    expect_known(hnsw, path,
                 {"ef_search", "max_neighbors", "num_threads", "resize_factor", "sync_threshold",
                  "batch_size"});
    expect_index_values(hnsw, path);
  }
  if (!spann.is_null()) {
    expect_object(spann, "new_configuration.spann");
    expect_known(spann, "new_configuration.spann", {"search_nprobe", "ef_search"});
    expect_index_values(spann, "new_configuration.spann");
  }
  if (!function.is_null()) {
    expect_embedding_function(function, "new_configuration.embedding_function");
  }
  if (!hnsw.is_null() && !spann.is_null()) refuse("Multiple vector index configurations provided");
  for (Json* config : {&embedding_config(schema), &default_vector_config(schema)}) {
    for (const auto& [name, value] : hnsw.items()) {
      if (!value.is_null()) (*config)["hnsw"][name] = value;
    }
    if (!function.is_null()) (*config)["embedding_function"] = function;
  }
  if (hnsw.contains("ef_search") && !hnsw["ef_search"].is_null()) {
    changed.ef_search = clamped(hnsw["ef_search"], 1, kMaxEf);
  }
  changed.json = text_of(schema);
  return changed;
}

namespace {

// Whether the schema lets conditions look at `key` with values of `type`.
bool index_enabled(const Json& schema, const std::string& key, const char* type, const char* name) {
  const Json::json_pointer in_type("/" + std::string(type) + "/" + name + "/enabled");
  const Json& keys = schema["keys"];
  if (const auto found = keys.find(key); found != keys.end() && found->contains(in_type)) {
    return (*found)[in_type].get<bool>();
  }
  return schema["defaults"].value(in_type, true);
}

void check_condition(const Json& schema, const Filter& filter) {
  for (const Filter& child : filter.children) check_condition(schema, child);
  switch (filter.op) {
    case Filter::Op::all_of:
    case Filter::Op::any_of:
      return;
    case Filter::Op::document_contains:
    case Filter::Op::document_not_contains:
    case Filter::Op::document_regex:
    case Filter::Op::document_not_regex:
      if (!index_enabled(schema, std::string(kDocumentKey), "string", "fts_index")) {
        refuse("Cannot filter using full-text search because FTS indexing is disabled");
      }
      return;
    default:
      break;
  }
  if (filter.operands.empty()) return;
  const Value& operand = filter.operands.front();
  const auto check = [&](const char* type, const char* name, const char* shown) {
    if (!index_enabled(schema, filter.key, type, name)) {
      refuse("Cannot filter using metadata key '" + filter.key + "' with type '" + shown +
             "' because indexing is disabled");
    }
  };
  if (std::holds_alternative<std::string>(operand)) check("string", "string_inverted_index", "Str");
  if (std::holds_alternative<std::int64_t>(operand)) check("int", "int_inverted_index", "Int");
  if (std::holds_alternative<double>(operand)) check("float", "float_inverted_index", "Float");
  if (std::holds_alternative<bool>(operand)) check("bool", "bool_inverted_index", "Bool");
}

}  // namespace

void check_indexes(const std::string& schema_json, const Filter& filter) {
  const Json schema = parse_object(schema_json, "schema");
  check_condition(schema, filter);
}

}  // namespace vkb

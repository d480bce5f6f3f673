// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_schema.h"

#include <algorithm>
#include <array>

#include "server/schema_json.h"

namespace vkb {
namespace {

// What the engine takes; Chroma takes any number.
constexpr std::uint64_t kMinM = 2;
constexpr std::uint64_t kMaxM = 512;
constexpr std::uint64_t kMaxEf = 100'000;

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

// A part of a configuration, null when it is absent.
Json part_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? Json() : *found;
}

// The parameters of an index, if there are any.
void expect_index(const Json& index, const std::string& path,
                  std::initializer_list<std::string_view> names) {
  if (index.is_null()) return;
  expect_object(index, path);
  expect_known(index, path, names);
  expect_index_values(index, path);
}

// hnsw and spann exclude each other.
void expect_one_index(const Json& hnsw, const Json& spann) {
  if (!hnsw.is_null() && !spann.is_null()) {
    refuse_argument("Multiple vector index configurations provided");
  }
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
  const Json hnsw = part_of(given, "hnsw");
  const Json spann = part_of(given, "spann");
  expect_index(hnsw, "configuration.hnsw",
               {"space", "ef_construction", "ef_search", "max_neighbors", "num_threads",
                "resize_factor", "sync_threshold", "batch_size"});
  expect_index(spann, "configuration.spann",
               {"search_nprobe", "write_nprobe", "space", "ef_construction", "ef_search",
                "max_neighbors", "reassign_neighbor_count", "split_threshold", "merge_threshold"});
  configuration.embedding_function = part_of(given, "embedding_function");
  if (!configuration.embedding_function.is_null()) {
    expect_embedding_function(configuration.embedding_function, "configuration.embedding_function");
  }
  expect_one_index(hnsw, spann);
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
  const auto refuse_value = [] {
    refuse_argument("Failed to parse hnsw parameters from segment metadata");
  };
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
    const auto* known =
        std::find_if(kNumbers.begin(), kNumbers.end(),
                     [&name = key](const auto& entry) { return entry.first == name; });
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
    refuse_argument(
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
  const Json hnsw = part_of(given, "hnsw");
  const Json spann = part_of(given, "spann");
  const Json function = part_of(given, "embedding_function");
  expect_index(hnsw, "new_configuration.hnsw",
               {"ef_search", "max_neighbors", "num_threads", "resize_factor", "sync_threshold",
                "batch_size"});
  expect_index(spann, "new_configuration.spann", {"search_nprobe", "ef_search"});
  if (!function.is_null()) {
    expect_embedding_function(function, "new_configuration.embedding_function");
  }
  expect_one_index(hnsw, spann);
  ChangedSchema changed;
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
        refuse_argument("Cannot filter using full-text search because FTS indexing is disabled");
      }
      return;
    default:
      break;
  }
  if (filter.operands.empty()) return;
  const Value& operand = filter.operands.front();
  const auto check = [&](const char* type, const char* name, const char* shown) {
    if (!index_enabled(schema, filter.key, type, name)) {
      refuse_argument("Cannot filter using metadata key '" + filter.key + "' with type '" + shown +
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

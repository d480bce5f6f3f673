// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_json.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <functional>

#include "server/api_error.h"
#include "server/json_text.h"

namespace vkb {
namespace {

using simdjson::ondemand::json_type;
using JsonValue = simdjson::ondemand::value;
using JsonObject = simdjson::ondemand::object;

// A place in a request body, for messages: "metadatas[3].year".
using Path = std::string;

[[noreturn]] void refuse(const Path& path, const std::string& problem) {
  throw ApiError(422, "Failed to deserialize the JSON body into the target type: " +
                          (path.empty() ? problem : path + ": " + problem));
}

[[noreturn]] void refuse_type(const Path& path, json_type found, const char* expected) {
  const char* name = "null";
  switch (found) {
    case json_type::array:
      name = "sequence";
      break;
    case json_type::object:
      name = "map";
      break;
    case json_type::number:
      name = "number";
      break;
    case json_type::string:
      name = "string";
      break;
    case json_type::boolean:
      name = "boolean";
      break;
    default:
      break;
  }
  refuse(path, std::string("invalid type: ") + name + ", expected " + expected);
}

Path at(const Path& path, std::size_t index) { return path + "[" + std::to_string(index) + "]"; }

bool is_null(JsonValue& value) { return value.type().value() == json_type::null; }

std::string text(JsonValue& value, const Path& path) {
  const json_type type = value.type();
  if (type != json_type::string) refuse_type(path, type, "a string");
  return std::string(std::string_view(value.get_string()));
}

std::optional<std::string> optional_text(JsonValue& value, const Path& path) {
  if (is_null(value)) return std::nullopt;
  return text(value, path);
}

bool boolean(JsonValue& value, const Path& path) {
  const json_type type = value.type();
  if (type != json_type::boolean) refuse_type(path, type, "a boolean");
  return value.get_bool();
}

std::string_view number_token(JsonValue& value) {
  std::string_view token = value.raw_json_token();
  while (!token.empty() && (token.back() == ' ' || token.back() == '\n' || token.back() == '\r' ||
                            token.back() == '\t')) {
    token.remove_suffix(1);
  }
  return token;
}

std::optional<std::uint32_t> optional_u32(JsonValue& value, const Path& path) {
  const json_type type = value.type();
  if (type == json_type::null) return std::nullopt;
  if (type != json_type::number) refuse_type(path, type, "u32");
  const std::string_view token = number_token(value);
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  if (error != std::errc() || end != token.data() + token.size()) {
    refuse(path, "invalid value: number `" + std::string(token.substr(0, 40)) + "`, expected u32");
  }
  return number;
}

// Calls read(element, path) for each element; reads the value as an array.
template <typename Read>
void each_element(JsonValue& value, const Path& path, Read read) {
  const json_type type = value.type();
  if (type != json_type::array) refuse_type(path, type, "a sequence");
  std::size_t index = 0;
  for (auto element : value.get_array()) {
    JsonValue item = element.value();
    read(item, at(path, index));
    ++index;
  }
}

// A column that may be null as a whole: nothing then.
template <typename T, typename Read>
std::optional<std::vector<T>> optional_column(JsonValue& value, const Path& path, Read read) {
  if (is_null(value)) return std::nullopt;
  std::vector<T> column;
  each_element(value, path, [&](JsonValue& element, const Path& element_path) {
    column.push_back(read(element, element_path));
  });
  return column;
}

// --- vectors ---

constexpr std::array<std::int8_t, 256> kBase64 = [] {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}();

[[noreturn]] void refuse_base64(const std::string& problem) {
  throw ApiError(400, "Invalid base64 string: " + problem);
}

std::vector<std::byte> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) refuse_base64("its length is not a multiple of 4");
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::vector<std::byte> out(text.size() / 4 * 3);
  std::size_t written = 0;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const std::size_t letters = i + 4 == text.size() ? 4 - padding : 4;
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const int value = k < letters ? kBase64[static_cast<unsigned char>(text[i + k])] : 0;
      if (value < 0) refuse_base64("invalid symbol at offset " + std::to_string(i + k));
      bits = bits << 6 | static_cast<std::uint32_t>(value);
    }
    out[written++] = static_cast<std::byte>(bits >> 16 & 0xFF);
    out[written++] = static_cast<std::byte>(bits >> 8 & 0xFF);
    out[written++] = static_cast<std::byte>(bits & 0xFF);
  }
  out.resize(written - padding);
  return out;
}

std::vector<float> numbers(JsonValue& value, const Path& path) {
  std::vector<float> vector;
  for (auto element : value.get_array()) {
    JsonValue component = element.value();
    const json_type type = component.type();
    if (type != json_type::number) refuse_type(at(path, vector.size()), type, "f32");
    vector.push_back(static_cast<float>(double(component.get_double())));
  }
  return vector;
}

std::vector<float> embedding(JsonValue& value, const Path& path) {
  const json_type type = value.type();
  if (type == json_type::array) return numbers(value, path);
  if (type != json_type::string) refuse_type(path, type, "an array of numbers or a base64 string");
  // The text as it stands in the body; escapes are rare, and legal.
  std::string_view token = number_token(value);
  if (token.size() < 2 || token.find('\\') != std::string_view::npos) {
    return decode_embedding(value.get_string());
  }
  return decode_embedding(token.substr(1, token.size() - 2));
}

// --- metadata ---

Value number_value(JsonValue& value) {
  const std::string_view token = number_token(value);
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), whole);
  if (error == std::errc() && end == token.data() + token.size()) return whole;
  return double(value.get_double());  // a fraction, an exponent, or beyond 64 bits
}

[[noreturn]] void refuse_metadata(const Path& path) {
  refuse(path, "data did not match any variant of untagged enum MetadataValue");
}

// An object among metadata is a sparse vector, which one has to be told about first, or a mistake.
[[noreturn]] void refuse_object(JsonValue& value, const Path& path, const std::string& key,
                                std::size_t index) {
  std::optional<std::vector<std::int64_t>> indices;
  std::optional<std::size_t> values;
  for (auto field : value.get_object()) {
    const std::string name{std::string_view(field.unescaped_key())};
    JsonValue item = field.value();
    const bool is_array = item.type().value() == json_type::array;
    if (name == "indices" && is_array) {
      indices.emplace();
      each_element(item, path, [&](JsonValue& element, const Path& at_path) {
        indices->push_back(optional_u32(element, at_path).value_or(0));
      });
    } else if (name == "values" && is_array) {
      values = 0;
      each_element(item, path, [&](JsonValue&, const Path&) { ++*values; });
    }
  }
  if (!indices || !values) refuse_metadata(path);
  const auto out_of_order =
      std::adjacent_find(indices->begin(), indices->end(), std::greater_equal<>());
  if (indices->size() != *values || out_of_order != indices->end()) {
    throw ApiError(
        400, "Validation error: metadatas: Invalid metadata at index " + std::to_string(index));
  }
  throw ApiError(501, "Unimplemented: Sparse vector is not supported for local chroma: " + key);
}

template <typename T>
std::optional<Value> array_of(const std::vector<Value>& elements) {
  std::vector<T> out;
  for (const Value& element : elements) {
    if (const auto* same = std::get_if<T>(&element)) {
      out.push_back(*same);
    } else if constexpr (std::is_same_v<T, double>) {
      const auto* whole = std::get_if<std::int64_t>(&element);
      if (!whole) return std::nullopt;
      out.push_back(static_cast<double>(*whole));
    } else {
      return std::nullopt;
    }
  }
  return out;
}

Value scalar(JsonValue& value, const Path& path) {
  switch (value.type().value()) {
    case json_type::boolean:
      return bool(value.get_bool());
    case json_type::number:
      return number_value(value);
    case json_type::string:
      return std::string(std::string_view(value.get_string()));
    default:
      refuse_metadata(path);
  }
}

Value array_value(JsonValue& value, const Path& path) {
  std::vector<Value> elements;
  for (auto element : value.get_array()) {
    JsonValue item = element.value();
    elements.push_back(scalar(item, path));
  }
  if (auto found = array_of<std::int64_t>(elements)) return *std::move(found);
  if (auto found = array_of<double>(elements)) return *std::move(found);
  if (auto found = array_of<bool>(elements)) return *std::move(found);
  if (auto found = array_of<std::string>(elements)) return *std::move(found);
  refuse_metadata(path);
}

// `index`: which record it belongs to.
Metadata metadata(JsonValue& value, const Path& path, bool null_allowed, std::size_t index = 0) {
  const json_type type = value.type();
  if (type != json_type::object) refuse_type(path, type, "a map");
  Metadata out;
  for (auto field : value.get_object()) {
    const std::string key{std::string_view(field.unescaped_key())};
    JsonValue item = field.value();
    const Path item_path = path + "." + key;
    switch (item.type().value()) {
      case json_type::null:
        if (!null_allowed) refuse_metadata(item_path);
        out.insert_or_assign(key, Value{});
        break;
      case json_type::array: {
        Value array = array_value(item, item_path);
        // An empty array says nothing.
        const bool empty = std::get_if<std::vector<std::int64_t>>(&array) &&
                           std::get<std::vector<std::int64_t>>(array).empty();
        if (!empty) out.insert_or_assign(key, std::move(array));
        break;
      }
      case json_type::object:
        refuse_object(item, item_path, key, index);
      default:
        out.insert_or_assign(key, scalar(item, item_path));
    }
  }
  return out;
}

// --- bodies ---

// Calls field(name, value) for each field of the body, which must be an object, and turns the
// parser's errors into refusals.
template <typename Field>
void each_field(std::string_view body, Field field) {
  check_depth(body);
  try {
    const simdjson::padded_string padded(body);
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document = parser.iterate(padded);
    const json_type type = document.type();
    if (type != json_type::object) refuse_type("", type, "a map");
    for (auto member : document.get_object()) {
      const std::string name{std::string_view(member.unescaped_key())};
      JsonValue value = member.value();
      field(name, value);
    }
    if (document.current_location().error() == simdjson::SUCCESS) {
      throw ApiError(400, "Failed to parse the request body as JSON: trailing characters");
    }
  } catch (const simdjson::simdjson_error& error) {
    throw ApiError(400, std::string("Failed to parse the request body as JSON: ") + error.what());
  }
}

// The JSON of a value, for those who read it later; nothing for null.
std::optional<std::string> json_of(JsonValue& value) {
  if (is_null(value)) return std::nullopt;
  return std::string(std::string_view(simdjson::to_json_string(value)));
}

// ids, where and where_document; true when the field was one of them.
bool read_selection(RecordSelection& selection, const std::string& name, JsonValue& value) {
  if (name == "ids") {
    selection.ids = optional_column<std::string>(value, name, text);
  } else if (name == "where") {
    selection.where_json = json_of(value);
  } else if (name == "where_document") {
    selection.where_document_json = json_of(value);
  } else {
    return false;
  }
  return true;
}

std::vector<std::string> read_include(JsonValue& value, Include& include, bool& distances) {
  include = {.documents = false, .metadatas = false};
  distances = false;
  std::vector<std::string> names;
  each_element(value, "include", [&](JsonValue& element, const Path& path) {
    std::string name = text(element, path);
    if (name == "documents") {
      include.documents = true;
    } else if (name == "metadatas") {
      include.metadatas = true;
    } else if (name == "embeddings") {
      include.embeddings = true;
    } else if (name == "uris") {
      include.uris = true;
    } else if (name == "distances") {
      distances = true;
    } else {
      refuse(path, "unknown variant `" + name +
                       "`, expected one of `distances`, `documents`, `embeddings`, `metadatas`, "
                       "`uris`");
    }
    names.push_back(std::move(name));
  });
  return names;
}

[[noreturn]] void refuse_missing(const char* field) {
  refuse("", std::string("missing field `") + field + "`");
}

void append_names(std::string& out, const std::vector<std::string>& names) {
  out += ",\"include\":[";
  for (std::size_t i = 0; i < names.size(); ++i) out += (i > 0 ? ",\"" : "\"") + names[i] + "\"";
  out += "]}";
}

}  // namespace

std::vector<float> decode_embedding(std::string_view base64) {
  static_assert(std::endian::native == std::endian::little, "floats are copied as they are");
  const std::vector<std::byte> bytes = decode_base64(base64);
  if (bytes.size() % sizeof(float) != 0) {
    throw ApiError(400, "Invalid byte length: " + std::to_string(bytes.size()) +
                            " bytes cannot be converted to f32 values (must be divisible by 4)");
  }
  std::vector<float> vector(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(vector.data(), bytes.data(), bytes.size());
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (!std::isfinite(vector[i])) {
      throw ApiError(400, "Non-finite float value at embedding index " + std::to_string(i) + ": " +
                              (std::isnan(vector[i]) ? "NaN"
                               : vector[i] > 0       ? "inf"
                                                     : "-inf"));
    }
  }
  return vector;
}

CreateCollection parse_create_collection(std::string_view body) {
  CreateCollection request;
  bool named = false;
  each_field(body, [&](const std::string& name, JsonValue& value) {
    if (name == "name") {
      request.name = text(value, name);
      named = true;
    } else if (name == "metadata") {
      if (!is_null(value)) request.metadata = metadata(value, name, false);
    } else if (name == "configuration") {
      request.configuration_json = json_of(value);
    } else if (name == "schema") {
      request.schema_json = json_of(value);
    } else if (name == "get_or_create") {
      request.get_or_create = boolean(value, name);
    }
  });
  if (!named) refuse_missing("name");
  return request;
}

ModifyCollection parse_modify_collection(std::string_view body) {
  ModifyCollection request;
  each_field(body, [&](const std::string& name, JsonValue& value) {
    if (name == "new_name") {
      request.name = optional_text(value, name);
    } else if (name == "new_metadata") {
      if (!is_null(value)) request.metadata = metadata(value, name, true);
    } else if (name == "new_configuration") {
      request.configuration_json = json_of(value);
    }
  });
  return request;
}

RecordBatch parse_record_batch(std::string_view body, WriteKind kind) {
  RecordBatch batch;
  bool has_ids = false;
  const auto optional_embedding = [&](JsonValue& value, const Path& path) {
    std::optional<std::vector<float>> out;
    if (kind != WriteKind::update || !is_null(value)) out = embedding(value, path);
    return out;
  };
  const auto optional_metadata = [&, index = std::size_t{0}](JsonValue& value,
                                                             const Path& path) mutable {
    std::optional<Metadata> out;
    if (!is_null(value)) out = metadata(value, path, kind != WriteKind::add, index);
    ++index;
    return out;
  };
  each_field(body, [&](const std::string& name, JsonValue& value) {
    if (name == "ids") {
      batch.ids.clear();
      each_element(value, name, [&](JsonValue& element, const Path& path) {
        batch.ids.push_back(text(element, path));
      });
      has_ids = true;
    } else if (name == "embeddings") {
      if (kind != WriteKind::update && is_null(value)) {
        refuse_type(name, json_type::null, "a sequence");
      }
      batch.embeddings =
          optional_column<std::optional<std::vector<float>>>(value, name, optional_embedding);
    } else if (name == "documents") {
      batch.documents = optional_column<std::optional<std::string>>(value, name, optional_text);
    } else if (name == "uris") {
      batch.uris = optional_column<std::optional<std::string>>(value, name, optional_text);
    } else if (name == "metadatas") {
      batch.metadatas = optional_column<std::optional<Metadata>>(value, name, optional_metadata);
    }
  });
  if (!has_ids) refuse_missing("ids");
  if (kind != WriteKind::update && !batch.embeddings) refuse_missing("embeddings");
  return batch;
}

GetRequest parse_get(std::string_view body) {
  GetRequest request;
  bool distances = false;
  each_field(body, [&](const std::string& name, JsonValue& value) {
    if (read_selection(request.selection, name, value)) return;
    if (name == "limit") {
      request.limit = optional_u32(value, name);
    } else if (name == "offset") {
      request.offset = optional_u32(value, name).value_or(0);
    } else if (name == "include") {
      request.include_names = read_include(value, request.include, distances);
    }
  });
  return request;
}

QueryRequest parse_query(std::string_view body) {
  QueryRequest request;
  bool has_queries = false;
  each_field(body, [&](const std::string& name, JsonValue& value) {
    if (read_selection(request.selection, name, value)) return;
    if (name == "query_embeddings") {
      request.queries.clear();
      each_element(value, name, [&](JsonValue& element, const Path& path) {
        const json_type type = element.type();
        if (type != json_type::array) refuse_type(path, type, "a sequence");
        request.queries.push_back(numbers(element, path));
      });
      has_queries = true;
    } else if (name == "n_results") {
      request.n_results = optional_u32(value, name).value_or(10);
    } else if (name == "include") {
      request.include_names = read_include(value, request.include, request.distances);
    }
  });
  if (!has_queries) refuse_missing("query_embeddings");
  return request;
}

DeleteRequest parse_delete(std::string_view body) {
  DeleteRequest request;
  each_field(body, [&](const std::string& name, JsonValue& value) {
    if (read_selection(request.selection, name, value)) return;
    if (name == "limit") request.limit = optional_u32(value, name);
  });
  return request;
}

std::string parse_text_field(std::string_view body, std::string_view field) {
  std::optional<std::string> found;
  each_field(body, [&](const std::string& name, JsonValue& value) {
    if (name == field) found = text(value, name);
  });
  if (!found) refuse_missing(std::string(field).c_str());
  return *std::move(found);
}

std::string to_json(const CollectionModel& collection) {
  std::string out = "{\"id\":" + json_string(collection.id) +
                    ",\"name\":" + json_string(collection.name) +
                    ",\"configuration_json\":" + collection.configuration_json +
                    ",\"schema\":" + collection.schema_json + ",\"metadata\":";
  append_json_or_null(out, collection.metadata);
  out += ",\"dimension\":" +
         (collection.dimension ? std::to_string(*collection.dimension) : std::string("null"));
  out += ",\"tenant\":" + json_string(collection.tenant) +
         ",\"database\":" + json_string(collection.database) + ",\"log_position\":0,\"version\":0}";
  return out;
}

std::string to_json(const DatabaseModel& database) {
  return "{\"id\":" + json_string(database.id) + ",\"name\":" + json_string(database.name) +
         ",\"tenant\":" + json_string(database.tenant) + "}";
}

std::string get_response(const std::vector<Record>& records, const GetRequest& request) {
  std::vector<const Record*> rows;
  rows.reserve(records.size());
  for (const Record& record : records) rows.push_back(&record);
  std::string out = "{";
  write_columns([&](std::string_view part) { out += part; }, {rows}, false, request.include);
  append_names(out, request.include_names);
  return out;
}

std::string query_response(const std::vector<std::vector<Hit>>& answers,
                           const QueryRequest& request) {
  std::vector<std::vector<const Record*>> groups;
  for (const std::vector<Hit>& hits : answers) {
    std::vector<const Record*>& group = groups.emplace_back();
    for (const Hit& hit : hits) group.push_back(&hit.record);
  }
  std::string out = "{";
  const auto write = [&out](std::string_view part) { out += part; };
  write_columns(write, groups, true, request.include);
  request.distances ? write_distances(write, answers) : write(",\"distances\":null");
  append_names(out, request.include_names);
  return out;
}

}  // namespace vkb

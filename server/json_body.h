// SPDX-License-Identifier: Apache-2.0
//
// Reading the JSON body of a request piece by piece, without a tree. Values of another type than
// expected throw ApiError 422, naming the place.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/json_text.h"

namespace vkb {

using JsonType = simdjson::ondemand::json_type;
using JsonValue = simdjson::ondemand::value;

// A place in a body, for refuse_shape(): "metadatas[3].year".
using JsonPath = std::string;

[[noreturn]] void refuse_type(const JsonPath& path, JsonType found, const char* expected);
[[noreturn]] void refuse_missing(std::string_view field);

using ReadValue = std::function<void(JsonValue& value, const JsonPath& path)>;

// Reads the fields of the body, which must be an object; others than these, at most 32, are
// ignored, as in Chroma. Throws ApiError: 400 for text that is not JSON, also for what the parser
// meets while a value is read; 422 for a field that comes twice.
struct JsonField {
  std::string_view name;
  ReadValue read;
};
void read_fields(std::string_view body, const std::vector<JsonField>& fields);

// Calls `read` for each element; reads the value as an array.
void each_element(JsonValue& value, const JsonPath& path, const ReadValue& read);

bool is_null(JsonValue& value);
std::string read_text(JsonValue& value, const JsonPath& path);
std::optional<std::string> read_optional_text(JsonValue& value, const JsonPath& path);
bool read_boolean(JsonValue& value, const JsonPath& path);
std::optional<std::uint32_t> read_optional_u32(JsonValue& value, const JsonPath& path);
// The value as it stands in the body, for those who read it later; nothing for null.
std::optional<std::string> read_json(JsonValue& value);
// A number or text as it stands in the body.
std::string_view token_of(JsonValue& value);

// A column that may be null as a whole: nothing then.
template <typename T, typename Read>
std::optional<std::vector<T>> read_column(JsonValue& value, const JsonPath& path, Read read) {
  if (is_null(value)) return std::nullopt;
  std::vector<T> column;
  each_element(value, path, [&](JsonValue& element, const JsonPath& element_path) {
    column.push_back(read(element, element_path));
  });
  return column;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "server/json_values.h"

#include <algorithm>
#include <charconv>

#include "server/api_error.h"
#include "server/base64_embedding.h"

namespace vkb {

std::vector<float> read_numbers(JsonValue& value, const JsonPath& path) {
  std::vector<float> vector;
  for (auto element : value.get_array()) {
    JsonValue component = element.value();
    const JsonType type = component.type();
    if (type != JsonType::number)
      refuse_type(path + "[" + std::to_string(vector.size()) + "]", type, "f32");
    vector.push_back(static_cast<float>(double(component.get_double())));
  }
  return vector;
}

std::vector<float> read_embedding(JsonValue& value, const JsonPath& path) {
  const JsonType type = value.type();
  if (type == JsonType::array) return read_numbers(value, path);
  if (type != JsonType::string) refuse_type(path, type, "an array of numbers or a base64 string");
  // The text as it stands in the body; escapes are rare, and legal.
  std::string_view token = token_of(value);
  if (token.size() < 2 || token.find('\\') != std::string_view::npos) {
    return decode_embedding(value.get_string());
  }
  return decode_embedding(token.substr(1, token.size() - 2));
}

namespace {

Value number_value(JsonValue& value) {
  const std::string_view token = token_of(value);
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), whole);
  if (error == std::errc() && end == token.data() + token.size()) return whole;
  return double(value.get_double());  // a fraction, an exponent, or beyond 64 bits
}

[[noreturn]] void refuse_metadata(const JsonPath& path) {
  refuse_shape(path, "data did not match any variant of untagged enum MetadataValue");
}

// An object among metadata is a sparse vector, which one has to be told about first, or a mistake.
[[noreturn]] void refuse_object(JsonValue& value, const JsonPath& path, const std::string& key,
                                std::size_t index) {
  std::optional<std::vector<std::int64_t>> indices;
  std::optional<std::size_t> values;
  for (auto field : value.get_object()) {
    const std::string name{std::string_view(field.unescaped_key())};
    JsonValue item = field.value();
    const bool is_array = item.type().value() == JsonType::array;
    if (name == "indices" && is_array) {
      indices.emplace();
      each_element(item, path, [&](JsonValue& element, const JsonPath& at_path) {
        indices->push_back(read_optional_u32(element, at_path).value_or(0));
      });
    } else if (name == "values" && is_array) {
      values = 0;
      each_element(item, path, [&](JsonValue&, const JsonPath&) { ++*values; });
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

Value scalar(JsonValue& value, const JsonPath& path) {
  switch (value.type().value()) {
    case JsonType::boolean:
      return bool(value.get_bool());
    case JsonType::number:
      return number_value(value);
    case JsonType::string:
      return std::string(std::string_view(value.get_string()));
    default:
      refuse_metadata(path);
  }
}

Value array_value(JsonValue& value, const JsonPath& path) {
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

}  // namespace

Metadata read_metadata(JsonValue& value, const JsonPath& path, bool null_allowed,
                       std::size_t index) {
  const JsonType type = value.type();
  if (type != JsonType::object) refuse_type(path, type, "a map");
  Metadata out;
  for (auto field : value.get_object()) {
    const std::string key{std::string_view(field.unescaped_key())};
    JsonValue item = field.value();
    const JsonPath item_path = path + "." + key;
    switch (item.type().value()) {
      case JsonType::null:
        if (!null_allowed) refuse_metadata(item_path);
        out.insert_or_assign(key, Value{});
        break;
      case JsonType::array: {
        Value array = array_value(item, item_path);
        // An empty array says nothing.
        const bool empty = std::get_if<std::vector<std::int64_t>>(&array) &&
                           std::get<std::vector<std::int64_t>>(array).empty();
        if (!empty) out.insert_or_assign(key, std::move(array));
        break;
      }
      case JsonType::object:
        refuse_object(item, item_path, key, index);
      default:
        out.insert_or_assign(key, scalar(item, item_path));
    }
  }
  return out;
}

}  // namespace vkb

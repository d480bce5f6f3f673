// SPDX-License-Identifier: Apache-2.0
#include "server/json_body.h"

#include <algorithm>
#include <charconv>
#include <new>
#include <nlohmann/json.hpp>

#include "server/api_error.h"

namespace vkb {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{1} << 20;

const char* name_of(JsonType type) {
  switch (type) {
    case JsonType::array:
      return "sequence";
    case JsonType::object:
      return "map";
    case JsonType::number:
      return "number";
    case JsonType::string:
      return "string";
    case JsonType::boolean:
      return "boolean";
    default:
      return "null";
  }
}

// Holds the whole text against JSON's grammar. read_fields() alone would skip the values that
// nobody asks for, whatever they are, and take each word that begins with 'n' for null: a misspelt
// condition would be none.
void check_syntax(const simdjson::padded_string& text) {
  // Its memory is kept for the next body, unless it is much.
  thread_local simdjson::dom::parser parser;
  simdjson::error_code fault = simdjson::SUCCESS;
  if (parser.capacity() < text.size()) fault = parser.allocate(text.size(), kMaxJsonDepth);
  if (fault == simdjson::SUCCESS) fault = parser.parse(text).error();
  if (parser.capacity() > kKeptBytes) parser = simdjson::dom::parser();
  if (fault == simdjson::SUCCESS) return;
  if (fault == simdjson::MEMALLOC) throw std::bad_alloc();
  if (fault == simdjson::DEPTH_ERROR) refuse_depth();
  // A number of more than 64 bits is JSON, too. The other parser knows such numbers, and is slower.
  if (fault == simdjson::NUMBER_ERROR && nlohmann::json::accept(std::string_view(text))) return;
  throw ApiError(400, std::string("Failed to parse the request body as JSON: ") +
                          simdjson::error_message(fault));
}

}  // namespace

void refuse_type(const JsonPath& path, JsonType found, const char* expected) {
  refuse_shape(path, std::string("invalid type: ") + name_of(found) + ", expected " + expected);
}

void refuse_missing(std::string_view field) {
  refuse_shape("", "missing field `" + std::string(field) + "`");
}

void read_fields(std::string_view body, const std::vector<JsonField>& fields) {
  try {
    const simdjson::padded_string padded(body);
    if (padded.size() != body.size()) throw std::bad_alloc();
    check_syntax(padded);
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document = parser.iterate(padded);
    const JsonType type = document.type();
    if (type != JsonType::object) refuse_type("", type, "a map");
    std::uint32_t seen = 0;
    for (auto member : document.get_object()) {
      const std::string name{std::string_view(member.unescaped_key())};
      const auto field = std::find_if(fields.begin(), fields.end(),
                                      [&](const JsonField& known) { return known.name == name; });
      if (field == fields.end()) continue;
      const std::uint32_t bit = 1U << (field - fields.begin());
      if ((seen & bit) != 0) refuse_shape("", "duplicate field `" + name + "`");
      seen |= bit;
      JsonValue value = member.value();
      field->read(value, name);
    }
  } catch (const simdjson::simdjson_error& error) {
    if (error.error() == simdjson::MEMALLOC) throw std::bad_alloc();  // not the client's mistake
    throw ApiError(400, std::string("Failed to parse the request body as JSON: ") + error.what());
  }
}

void each_element(JsonValue& value, const JsonPath& path, const ReadValue& read) {
  const JsonType type = value.type();
  if (type != JsonType::array) refuse_type(path, type, "a sequence");
  std::size_t index = 0;
  for (auto element : value.get_array()) {
    JsonValue item = element.value();
    read(item, path + "[" + std::to_string(index) + "]");
    ++index;
  }
}

bool is_null(JsonValue& value) { return value.type().value() == JsonType::null; }

std::string read_text(JsonValue& value, const JsonPath& path) {
  const JsonType type = value.type();
  if (type != JsonType::string) refuse_type(path, type, "a string");
  return std::string(std::string_view(value.get_string()));
}

std::optional<std::string> read_optional_text(JsonValue& value, const JsonPath& path) {
  if (is_null(value)) return std::nullopt;
  return read_text(value, path);
}

bool read_boolean(JsonValue& value, const JsonPath& path) {
  const JsonType type = value.type();
  if (type != JsonType::boolean) refuse_type(path, type, "a boolean");
  return value.get_bool();
}

std::optional<std::uint32_t> read_optional_u32(JsonValue& value, const JsonPath& path) {
  const JsonType type = value.type();
  if (type == JsonType::null) return std::nullopt;
  if (type != JsonType::number) refuse_type(path, type, "u32");
  const std::string_view token = token_of(value);
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  if (error != std::errc() || end != token.data() + token.size()) {
    refuse_shape(path,
                 "invalid value: number `" + std::string(token.substr(0, 40)) + "`, expected u32");
  }
  return number;
}

std::optional<std::string> read_json(JsonValue& value) {
  if (is_null(value)) return std::nullopt;
  return std::string(std::string_view(simdjson::to_json_string(value)));
}

std::string_view token_of(JsonValue& value) {
  const std::string_view token = value.raw_json_token();  // with the white space after it
  return token.substr(0, token.find_last_not_of(" \n\r\t") + 1);
}

}  // namespace vkb

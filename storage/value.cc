// SPDX-License-Identifier: Apache-2.0
#include "storage/value.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "storage/error.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& key, const std::string& problem) {
  throw Error(ErrorCode::invalid_argument, "metadata key '" + key + "': " + problem);
}

// One array of scalars: all texts, all booleans, all integers, or numbers with at least one float.
Value parse_array(const std::string& key, const Json& array) {
  const auto all = [&](auto predicate) {
    return std::all_of(array.begin(), array.end(), predicate);
  };
  if (array.empty()) return std::monostate{};
  if (all([](const Json& e) { return e.is_string(); }))
    return array.get<std::vector<std::string>>();
  if (all([](const Json& e) { return e.is_boolean(); })) return array.get<std::vector<bool>>();
  const auto is_integer = [](const Json& e) {
    return e.is_number_integer() &&
           (!e.is_number_unsigned() || e.get<std::uint64_t>() <= INT64_MAX);
  };
  if (all(is_integer)) return array.get<std::vector<std::int64_t>>();
  if (all([](const Json& e) { return e.is_number(); })) return array.get<std::vector<double>>();
  refuse(key, "expected an array of texts, of booleans, of integers or of numbers");
}

Value parse_value(const std::string& key, const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return std::monostate{};
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > INT64_MAX) return json.get<double>();
      [[fallthrough]];
    case Json::value_t::number_integer:
      return json.get<std::int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return json.get<std::string>();
    case Json::value_t::array:
      return parse_array(key, json);
    default:
      refuse(key, "expected a text, number, boolean or array of these, found an object");
  }
}

void check_finite(const std::string& key, double number) {
  if (!std::isfinite(number)) refuse(key, "expected a finite number, found NaN or infinity");
}

}  // namespace

std::string to_json(const Metadata& metadata) {
  Json object = Json::object();
  for (const auto& [key, value] : metadata) {
    if (const auto* number = std::get_if<double>(&value)) check_finite(key, *number);
    if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
      for (const double number : *numbers) check_finite(key, number);
    }
    std::visit(
        [&, &name = key](const auto& typed) {
          if constexpr (std::is_same_v<std::decay_t<decltype(typed)>, std::monostate>) {
            object[name] = nullptr;
          } else {
            object[name] = typed;
          }
        },
        value);
  }
  try {
    return object.dump();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::invalid_argument, "metadata: a key or text is not valid UTF-8");
  }
}

Metadata parse_metadata(std::string_view text) {
  const Json object = Json::parse(text, nullptr, false);
  if (!object.is_object()) {
    throw Error(ErrorCode::invalid_argument,
                "metadata: expected a JSON object, found " + std::string(text.substr(0, 80)));
  }
  Metadata out;
  for (const auto& [key, json] : object.items()) {
    Value value = parse_value(key, json);
    // An empty array says nothing; Chroma stores none either.
    if (json.is_array() && json.empty()) continue;
    out.emplace(key, std::move(value));
  }
  return out;
}

}  // namespace vkb

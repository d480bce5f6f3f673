// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_origin.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <deque>
#include <nlohmann/json.hpp>
#include <set>

namespace vkb {
namespace {

using Json = nlohmann::json;
using FieldView = std::pair<std::string_view, std::string_view>;  // name and value

static_assert(std::endian::native == std::endian::little, "Redis vectors are little-endian");

// The names of the three fields that are parts of the record.
struct Names {
  std::string vector = "vector";
  std::string text = "text";
  std::string id = "id";
  bool operator==(const Names&) const = default;
};

Json bytes_to_json(std::string_view bytes) {
  if (valid_utf8(bytes)) return bytes;
  return Json{{"base64", base64_encode(bytes)}};
}

std::string json_to_bytes(const Json& json) {
  if (json.is_object()) return base64_decode(json.at("base64").get<std::string>());
  return json.get<std::string>();
}

// The hash fields that follow from a record alone, sorted by name. Views into the record and the
// names; numbers and booleans, whose texts are made here, into this.
class DerivedFields {
 public:
  DerivedFields(const Record& record, const Names& names) {
    if (record.metadata) {
      sorted_.reserve(record.metadata->size() + 3);
      for (const auto& [key, value] : *record.metadata) {
        if (const auto text = field_text(value)) sorted_.emplace_back(key, *text);
      }
    }
    if (!names.id.empty()) put(names.id, record.id);
    if (!names.text.empty() && record.document) put(names.text, *record.document);
    if (!names.vector.empty() && record.embedding) {
      const std::vector<float>& vector = *record.embedding;
      put(names.vector,
          {reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)});
    }
  }
  DerivedFields(const DerivedFields&) = delete;
  DerivedFields& operator=(const DerivedFields&) = delete;

  const std::vector<FieldView>& sorted() const noexcept { return sorted_; }

 private:
  // What redis-py sends for a scalar; nothing for arrays, which it refuses.
  std::optional<std::string_view> field_text(const Value& value) {
    if (const auto* text = std::get_if<std::string>(&value)) return *text;
    if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      return made_.emplace_back(std::to_string(*number));
    }
    if (const auto* number = std::get_if<double>(&value)) {
      return made_.emplace_back(python_float(*number));
    }
    return std::nullopt;
  }

  void put(std::string_view name, std::string_view value) {
    const auto at =
        std::lower_bound(sorted_.begin(), sorted_.end(), name,
                         [](const FieldView& f, std::string_view n) { return f.first < n; });
    if (at != sorted_.end() && at->first == name) {
      at->second = value;
    } else {
      sorted_.emplace(at, name, value);
    }
  }

  std::vector<FieldView> sorted_;
  std::deque<std::string> made_;  // does not move what it holds
};

// Shortest digits and decimal exponent of a finite double: value = d.ddd * 10^exponent.
struct Digits {
  std::string digits;
  int exponent = 0;
};

Digits shortest_digits(double value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::abs(value),
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t e = text.find('e');
  Digits out;
  for (const char c : text.substr(0, e)) {
    if (c != '.') out.digits += c;
  }
  std::string_view exponent = text.substr(e + 1);
  if (exponent.starts_with('+')) exponent.remove_prefix(1);
  std::from_chars(exponent.data(), exponent.data() + exponent.size(), out.exponent);
  return out;
}

std::string fixed_notation(const Digits& number) {
  const std::string& digits = number.digits;
  if (number.exponent < 0) {
    return "0." + std::string(static_cast<std::size_t>(-number.exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<std::size_t>(number.exponent) + 1;
  if (digits.size() <= whole) return digits + std::string(whole - digits.size(), '0') + ".0";
  return digits.substr(0, whole) + '.' + digits.substr(whole);
}

std::string mantissa(const Digits& number) {
  return number.digits.size() == 1 ? number.digits
                                   : number.digits.substr(0, 1) + '.' + number.digits.substr(1);
}

// A JSON array as RedisJSON (serde_json, ryu) prints it.
std::string json_vector(const std::vector<float>& vector) {
  std::string out = "[";
  for (const float component : vector) {
    if (out.size() > 1) out += ',';
    if (std::signbit(component)) out += '-';
    if (component == 0) {
      out += "0.0";
      continue;
    }
    const Digits number = shortest_digits(component);
    out += number.exponent >= -5 && number.exponent < 16
               ? fixed_notation(number)
               : mantissa(number) + 'e' + std::to_string(number.exponent);
  }
  return out + ']';
}

void describe_json(Json& origin, const std::string& text, const Record& record) {
  const std::string vector = json_vector(*record.embedding);
  const std::size_t at = text.find(vector);
  if (at == std::string::npos) {
    origin["json"] = Json::array({text});
  } else {
    origin["json"] = Json::array({text.substr(0, at), text.substr(at + vector.size())});
  }
}

void describe_hash(Json& origin, const RedisFields& fields, const Record& record,
                   const Names& names) {
  if (names != Names()) {
    origin["names"] = Json::array(
        {bytes_to_json(names.vector), bytes_to_json(names.text), bytes_to_json(names.id)});
  }
  const DerivedFields derived(record, names);
  Json kept = Json::array();
  Json absent = Json::array();
  auto expected = derived.sorted().begin();
  const auto end = derived.sorted().end();
  for (const auto& [name, value] : fields) {  // sorted by name, too
    for (; expected != end && expected->first < name; ++expected) {
      absent.push_back(bytes_to_json(expected->first));
    }
    const bool found = expected != end && expected->first == name;
    if (!found || expected->second != value) {
      kept.push_back(Json::array({bytes_to_json(name), bytes_to_json(value)}));
    }
    if (found) ++expected;
  }
  for (; expected != end; ++expected) absent.push_back(bytes_to_json(expected->first));
  if (!kept.empty()) origin["fields"] = std::move(kept);
  if (!absent.empty()) origin["absent"] = std::move(absent);
}

Json parse_origin(const Record& record) {
  Json origin = Json::parse(record.origin.value_or(""), nullptr, false);
  if (!origin.is_object() || !origin.contains("key") || !origin.contains("hash")) {
    throw Error(ErrorCode::corruption,
                "record " + escape_bytes(record.id) + ": its origin is not that of a Redis import");
  }
  return origin;
}

[[noreturn]] void throw_damaged(const Record& record, const std::string& why) {
  throw Error(ErrorCode::corruption,
              "record " + escape_bytes(record.id) + ": damaged origin: " + why);
}

RedisOriginal key_and_hash(const Json& origin) {
  RedisOriginal original;
  original.key = json_to_bytes(origin.at("key"));
  original.hash = parse_hash(origin.at("hash").get<std::string>()).value_or(Hash128{});
  return original;
}

RedisFields rebuild_fields(const Record& record, const Json& origin) {
  if (const auto json = origin.find("json"); json != origin.end()) {
    std::string text = json->at(0).get<std::string>();
    if (json->size() > 1) {
      if (!record.embedding) throw_damaged(record, "the record has no embedding");
      text += json_vector(*record.embedding) + json->at(1).get<std::string>();
    }
    return {{std::string(kJsonField), std::move(text)}};
  }
  Names names;
  if (const auto given = origin.find("names"); given != origin.end()) {
    names = {json_to_bytes(given->at(0)), json_to_bytes(given->at(1)), json_to_bytes(given->at(2))};
  }
  std::set<std::string> left_out;
  if (const auto absent = origin.find("absent"); absent != origin.end()) {
    for (const Json& name : *absent) left_out.insert(json_to_bytes(name));
  }
  RedisFields fields;
  if (const auto kept = origin.find("fields"); kept != origin.end()) {
    for (const Json& field : *kept) {
      fields.emplace_back(json_to_bytes(field.at(0)), json_to_bytes(field.at(1)));
      left_out.insert(fields.back().first);
    }
  }
  const DerivedFields derived(record, names);
  fields.reserve(fields.size() + derived.sorted().size());
  for (const auto& [name, value] : derived.sorted()) {
    if (!left_out.contains(std::string(name))) fields.emplace_back(name, value);
  }
  std::sort(fields.begin(), fields.end());
  return fields;
}

}  // namespace

std::string python_float(double value) {
  const std::string sign = std::signbit(value) ? "-" : "";
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return sign + "inf";
  if (value == 0) return sign + "0.0";
  const Digits number = shortest_digits(value);
  if (number.exponent >= -4 && number.exponent < 16) return sign + fixed_notation(number);
  const std::string digits = std::to_string(std::abs(number.exponent));
  return sign + mantissa(number) + 'e' + (number.exponent < 0 ? '-' : '+') +
         (digits.size() < 2 ? "0" : "") + digits;
}

void attach_origin(MappedRecord& mapped, const RedisFields& fields, const RedisMapping& mapping) {
  mapped.hash = hash_of(fields);
  Json origin = {{"key", bytes_to_json(mapped.key)}, {"hash", mapped.hash.hex()}};
  if (mapping.json) {
    describe_json(origin, fields.front().second, mapped.record);
  } else {
    describe_hash(origin, fields, mapped.record,
                  {mapping.vector_field, mapping.text_field, mapping.id_field});
  }
  mapped.record.origin = origin.dump();
}

RedisOriginal read_origin(const Record& record) {
  const Json origin = parse_origin(record);
  try {
    return key_and_hash(origin);
  } catch (const Json::exception& error) {
    throw_damaged(record, error.what());
  }
}

RedisOriginal rebuild_hash(const Record& record) {
  const Json origin = parse_origin(record);
  try {
    RedisOriginal original = key_and_hash(origin);
    original.fields = rebuild_fields(record, origin);
    return original;
  } catch (const Json::exception& error) {
    throw_damaged(record, error.what());
  }
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_record.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "importers/redis_node.h"
#include "importers/redis_origin.h"
#include "importers/redis_vector.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

// A string member of an object, nullptr when there is none.
const std::string* string_member(const Json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto member = object.find(name);
  return member == object.end() ? nullptr : member->get_ptr<const std::string*>();
}

bool fits_int64(const Json& number) {
  return number.is_number_integer() &&
         (!number.is_number_unsigned() || number.get<std::uint64_t>() <= INT64_MAX);
}

// Nothing for null and for empty arrays, which a store does not keep. Objects and mixed arrays
// become their JSON text.
std::optional<Value> value_of(const Json& json) {
  const auto all = [&](auto is) { return std::all_of(json.begin(), json.end(), is); };
  if (json.is_null() || (json.is_array() && json.empty())) return std::nullopt;
  if (json.is_boolean()) return json.get<bool>();
  if (fits_int64(json)) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    if (all([](const Json& e) { return e.is_string(); })) {
      return json.get<std::vector<std::string>>();
    }
    if (all([](const Json& e) { return e.is_boolean(); })) return json.get<std::vector<bool>>();
    if (all(fits_int64)) return json.get<std::vector<std::int64_t>>();
    if (all([](const Json& e) { return e.is_number_float(); })) {
      return json.get<std::vector<double>>();
    }
  }
  return json.dump();
}

// Keys that a metadata filter could not name stay in the source's own JSON and in the origin.
bool is_metadata_key(std::string_view key) {
  return !key.empty() && key.front() != '#' && key.front() != '$' && valid_utf8(key);
}

Metadata typed_metadata(const Json& object) {
  Metadata metadata;
  for (const auto& [key, json] : object.items()) {
    if (!is_metadata_key(key)) continue;
    if (auto value = value_of(json)) metadata.insert_or_assign(key, std::move(*value));
  }
  return metadata;
}

Value flat_value(const std::string& text, bool numeric) {
  const char* const end = text.data() + text.size();
  std::int64_t integer = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, integer);
      numeric && error == std::errc{} && at == end) {
    return integer;
  }
  double number = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, number);
      numeric && error == std::errc{} && at == end && std::isfinite(number)) {
    return number;
  }
  return text;
}

Metadata metadata_from_fields(const RedisFields& fields, const RedisMapping& mapping) {
  Metadata metadata;
  for (const auto& [name, value] : fields) {
    const bool part_of_record =
        name == mapping.vector_field || name == mapping.text_field || name == mapping.id_field;
    if (part_of_record || !is_metadata_key(name) || !valid_utf8(value)) continue;
    metadata.insert_or_assign(name, flat_value(value, mapping.numeric_fields.contains(name)));
  }
  return metadata;
}

// The fields LlamaIndex's own stores keep as metadata, and rebuild its nodes from.
constexpr std::array<std::string_view, 5> kNodeFields = {"_node_content", "_node_type",
                                                         "document_id", "doc_id", "ref_doc_id"};

// Sets document and text source; the field counts first, then what the node carries itself.
void take_text(MappedRecord& mapped, const std::string* field, const Json& node) {
  if (field != nullptr && !field->empty()) {
    mapped.text = TextSource::field;
    mapped.record.document = *field;
    return;
  }
  const std::string* text = string_member(node, "text");
  mapped.text = TextSource::node_text;
  if (text == nullptr || text->empty()) {
    const bool has_resource = node.is_object() && node.contains("text_resource");
    text = has_resource ? string_member(node.at("text_resource"), "text") : nullptr;
    mapped.text = TextSource::node_text_resource;
  }
  if (text != nullptr && !text->empty()) {
    mapped.record.document = *text;
    return;
  }
  mapped.text = field != nullptr ? TextSource::empty : TextSource::missing;
  if (field != nullptr) mapped.record.document = "";
}

std::string take_id(const std::string& key, const std::string* field, const Json& node,
                    const RedisMapping& mapping) {
  const std::string* node_id = string_member(node, "id_");
  // LlamaIndex's field "id" may have been overwritten by a metadata entry; another field was
  // asked for by name.
  const bool node_first = mapping.id_field == "id";
  for (const std::string* id : {node_first ? node_id : field, node_first ? field : node_id}) {
    if (id != nullptr && !id->empty()) return *id;
  }
  const bool has_prefix =
      key.starts_with(mapping.key_prefix) && key.size() > mapping.key_prefix.size();
  return has_prefix ? key.substr(mapping.key_prefix.size()) : key;
}

std::optional<Rejection> check_text(std::string_view what, std::string_view text) {
  const auto at = first_invalid_utf8(text);
  if (!at) return std::nullopt;
  return Rejection{"invalid_utf8", "The " + std::string(what) + " is not UTF-8.",
                   "byte " + std::to_string(*at) + " of " + std::to_string(text.size()) + ": " +
                       escape_bytes(text.substr(*at, 8))};
}

std::variant<MappedRecord, Rejection> finish(MappedRecord mapped, const RedisFields& fields,
                                             const RedisMapping& mapping) {
  if (auto rejection = check_text("id", mapped.record.id)) return std::move(*rejection);
  if (auto rejection = check_text("text", mapped.record.document.value_or(""))) {
    return std::move(*rejection);
  }
  attach_origin(mapped, fields, mapping);
  return mapped;
}

std::variant<MappedRecord, Rejection> map_hash(const std::string& key, const RedisFields& fields,
                                               const RedisMapping& mapping) {
  auto vector = take_vector(find_field(fields, mapping.vector_field), mapping);
  if (auto* rejection = std::get_if<Rejection>(&vector)) return std::move(*rejection);

  MappedRecord mapped;
  mapped.key = key;
  mapped.record.embedding = std::move(std::get<std::vector<float>>(vector));
  const std::string* const text =
      mapping.metadata_field.empty() ? nullptr : find_field(fields, mapping.metadata_field);
  const bool is_node = mapping.layout == Layout::llama_index;
  const Json json = is_node ? parse_node(text) : parse_object(text);
  const Json none;
  const Json& node = is_node ? json : none;
  mapped.record.id =
      take_id(key, mapping.id_field.empty() ? nullptr : find_field(fields, mapping.id_field), node,
              mapping);
  take_text(mapped, mapping.text_field.empty() ? nullptr : find_field(fields, mapping.text_field),
            node);

  const Json* const source =
      is_node ? (node.is_object() && node.contains("metadata") ? &node.at("metadata") : nullptr)
              : &json;
  mapped.metadata_from_fields =
      !mapping.metadata_field.empty() && (source == nullptr || !source->is_object());
  if (source == nullptr || !source->is_object()) {
    mapped.record.metadata = metadata_from_fields(fields, mapping);
  } else {
    mapped.record.metadata = typed_metadata(*source);
  }
  for (const std::string_view name : kNodeFields) {
    const std::string* value = is_node ? find_field(fields, name) : nullptr;
    if (value != nullptr && valid_utf8(*value)) {
      mapped.record.metadata->insert_or_assign(std::string(name), *value);
    }
  }
  return finish(std::move(mapped), fields, mapping);
}

// The member at a path with dots, nullptr when there is none.
const Json* at_path(const Json& document, std::string_view path) {
  const Json* at = &document;
  while (!path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    if (!at->is_object()) return nullptr;
    const auto member = at->find(std::string(path.substr(0, dot)));
    if (member == at->end()) return nullptr;
    at = &*member;
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return at;
}

std::variant<std::vector<float>, Rejection> take_json_vector(const Json* array,
                                                             const RedisMapping& mapping) {
  const auto is_number = [](const Json& e) { return e.is_number(); };
  if (array == nullptr || !array->is_array()) {
    return Rejection{"missing_vector",
                     "There is no array of numbers at $." + mapping.vector_field + '.',
                     array == nullptr ? "nothing" : array->type_name()};
  }
  if (!std::all_of(array->begin(), array->end(), is_number)) {
    return Rejection{"not_finite", "The vector holds something that is not a number.",
                     array->dump().substr(0, 100)};
  }
  if (array->size() != mapping.dim) {
    return Rejection{
        "wrong_dimension",
        "The vector has another dimension: expected " + std::to_string(mapping.dim) + " numbers.",
        std::to_string(array->size()) + " numbers"};
  }
  std::vector<float> vector;
  for (const Json& component : *array) vector.push_back(component.get<float>());
  if (auto rejection = check_finite(vector)) return std::move(*rejection);
  return vector;
}

Metadata json_metadata(const Json& document, const RedisMapping& mapping) {
  const Json inner =
      mapping.metadata_field.empty() ? Json() : document.value(mapping.metadata_field, Json());
  if (inner.is_object()) return typed_metadata(inner);
  const std::string* const text = inner.get_ptr<const std::string*>();
  if (const Json parsed = parse_object(text); parsed.is_object()) return typed_metadata(parsed);
  Json rest = document;
  for (const std::string& name : {mapping.vector_field, mapping.text_field, mapping.id_field}) {
    rest.erase(name.substr(0, name.find('.')));
  }
  return typed_metadata(rest);
}

// The document in the one field of a JSON record, null when it is no object. JSON.GET with the path
// $ answers an array of one.
Json parse_document(const RedisFields& fields) {
  const std::string* text = find_field(fields, kJsonField);
  if (text == nullptr || too_deep(*text)) return nullptr;
  Json parsed = Json::parse(*text, nullptr, false);
  if (!parsed.is_array() || parsed.empty() || !parsed.front().is_object()) return nullptr;
  return std::move(parsed.front());
}

std::variant<MappedRecord, Rejection> map_json(const std::string& key, const RedisFields& fields,
                                               const RedisMapping& mapping) {
  const Json document = parse_document(fields);
  if (document.is_null()) {
    return Rejection{"no_fields_of_the_layout", "The JSON document is not an object.",
                     escape_bytes(fields.front().second.substr(0, 100))};
  }
  auto vector = take_json_vector(at_path(document, mapping.vector_field), mapping);
  if (auto* rejection = std::get_if<Rejection>(&vector)) return std::move(*rejection);

  MappedRecord mapped;
  mapped.key = key;
  mapped.record.embedding = std::move(std::get<std::vector<float>>(vector));
  const auto text_at = [&](const std::string& path) -> const std::string* {
    const Json* const found = path.empty() ? nullptr : at_path(document, path);
    return found == nullptr ? nullptr : found->get_ptr<const std::string*>();
  };
  mapped.record.id = take_id(key, text_at(mapping.id_field), nullptr, mapping);
  take_text(mapped, text_at(mapping.text_field), nullptr);
  mapped.record.metadata = json_metadata(document, mapping);
  return finish(std::move(mapped), fields, mapping);
}

}  // namespace

RedisFields fields_of_hash(Reply&& reply) {
  RedisFields fields;
  fields.reserve(reply.elements.size() / 2);
  for (std::size_t i = 0; i + 1 < reply.elements.size(); i += 2) {
    fields.emplace_back(std::move(reply.elements[i].text), std::move(reply.elements[i + 1].text));
  }
  std::sort(fields.begin(), fields.end());
  return fields;
}

const std::string* find_field(const RedisFields& fields, std::string_view name) noexcept {
  for (const auto& [field, value] : fields) {
    if (field == name) return &value;
  }
  return nullptr;
}

Hash128 hash_of(const RedisFields& fields) {
  std::size_t size = 0;
  for (const auto& [name, value] : fields) {
    size += 2 * sizeof(std::uint64_t) + name.size() + value.size();
  }
  std::string bytes;
  bytes.reserve(size);
  const auto append = [&](const std::string& part) {
    const std::uint64_t length = part.size();
    bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
    bytes.append(part);
  };
  for (const auto& [name, value] : fields) {
    append(name);
    append(value);
  }
  return hash_bytes(bytes);
}

std::string_view to_string(TextSource source) noexcept {
  switch (source) {
    case TextSource::field:
      return "field";
    case TextSource::node_text:
      return "node_text";
    case TextSource::node_text_resource:
      return "node_text_resource";
    case TextSource::empty:
      return "empty";
    case TextSource::missing:
      return "missing";
  }
  return "";
}

std::size_t json_vector_size(const RedisFields& fields, const std::string& vector_field) {
  const Json document = parse_document(fields);
  const Json* const vector = at_path(document, vector_field);
  return vector != nullptr && vector->is_array() ? vector->size() : 0;
}

std::vector<std::string> json_members(const RedisFields& fields) {
  std::vector<std::string> names;
  const Json document = parse_document(fields);
  if (document.is_null()) return names;
  for (const auto& [name, value] : document.items()) names.push_back(name);
  return names;
}

bool has_layout_field(const RedisFields& fields, const RedisMapping& mapping) {
  if (mapping.json) return true;  // the document itself is looked at when it is mapped
  // "text" and "id" alone are too common to tell a layout.
  return find_field(fields, mapping.vector_field) != nullptr ||
         (!mapping.metadata_field.empty() && mapping.metadata_field.front() == '_' &&
          find_field(fields, mapping.metadata_field) != nullptr);
}

std::variant<MappedRecord, Rejection> map_record(const std::string& key, const RedisFields& fields,
                                                 const RedisMapping& mapping) {
  if (mapping.json) return map_json(key, fields, mapping);
  if (!has_layout_field(fields, mapping)) {
    std::string names;
    for (const auto& [name, value] : fields) {
      if (names.size() > 200) break;
      names += (names.empty() ? "" : ", ") + escape_bytes(name);
    }
    return Rejection{"no_fields_of_the_layout",
                     "The hash has no field by which a record of this knowledge base is known.",
                     "fields " + names};
  }
  return map_hash(key, fields, mapping);
}

}  // namespace vkb

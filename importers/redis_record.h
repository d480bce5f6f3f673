// SPDX-License-Identifier: Apache-2.0
//
// One Redis hash or JSON document -> one vkb::Record or a reason why not, and back again, byte for
// byte. Pure functions.
//
// Record.origin holds what rebuilding needs, as compact JSON:
//   key      the Redis key                      hash   Hash128 over all fields (hash_of)
//   fields   [[name, value], …] whose bytes do not follow from id, document, embedding, metadata
//   absent   [name, …] that would follow from the record, but were no fields
//   names    [vector, text, id] field names, where they are not those of LlamaIndex
//   json     [head, tail] of a JSON document around its vector (or [whole] when the vector's text
//            does not follow from the embedding)
// A byte string is a JSON text when it is UTF-8, else {"base64": …}.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/vkb.h"
#include "importers/bytes.h"
#include "importers/redis_schema.h"

namespace vkb {

// The fields of a hash, sorted by name. A JSON document has the one field kJsonField, its text.
using RedisFields = std::vector<std::pair<std::string, std::string>>;
inline constexpr std::string_view kJsonField = "$";

// From the reply of HGETALL. An empty reply gives no fields: the key is gone.
RedisFields fields_of_hash(Reply&& reply);
// Value of a field, nullptr when it is not there.
const std::string* find_field(const RedisFields& fields, std::string_view name) noexcept;
// Over names and values with their lengths: equal exactly when all bytes are.
Hash128 hash_of(const RedisFields& fields);

enum class TextSource { field, node_text, node_text_resource, empty, missing };
inline constexpr std::size_t kTextSources = 5;
std::string_view to_string(TextSource source) noexcept;

struct MappedRecord {
  Record record;
  std::string key;
  Hash128 hash;
  TextSource text = TextSource::field;
  bool metadata_from_fields = false;  // _node_content is missing or not JSON
};

// Why a key was not taken. `reason` is one of the codes in docs/redis_import.md.
struct Rejection {
  std::string reason;
  std::string message;  // a sentence
  std::string found;    // what was there instead
};

// The vector in a hash field's bytes; nothing unless it has the mapping's dimension and is finite.
std::optional<std::vector<float>> vector_of(const std::string& bytes, const RedisMapping& mapping);

// Whether the record has any field by which the layout is known.
bool has_layout_field(const RedisFields& fields, const RedisMapping& mapping);

// Numbers in the vector of a JSON document, 0 when there is none; names of its members.
std::size_t json_vector_size(const RedisFields& fields, const std::string& vector_field);
std::vector<std::string> json_members(const RedisFields& fields);

// fields: not empty.
std::variant<MappedRecord, Rejection> map_record(const std::string& key, const RedisFields& fields,
                                                 const RedisMapping& mapping);

struct RedisOriginal {
  std::string key;
  Hash128 hash;  // as it was when the record was read
  RedisFields fields;
};

// The key and the fields a record was imported from. Needs id, document, embedding, metadata and
// origin of it. Throws Error{corruption} when the origin is not one of ours.
RedisOriginal rebuild_hash(const Record& record);
// Only key and hash, cheaply.
RedisOriginal read_origin(const Record& record);

// str() of a Python float, which is how redis-py sends it: "1.5", "1e-07", "100.0".
std::string python_float(double value);

}  // namespace vkb

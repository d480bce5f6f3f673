// SPDX-License-Identifier: Apache-2.0
//
// Records of a Redis knowledge base. The first byte chooses how it is laid out; then come its
// fields, name and value, and last the one that holds JSON. What is taken must be kept: the store
// gives the metadata back as they are, and the origin the fields, byte for byte.
#include <array>
#include <cmath>
#include <utility>
#include <variant>

#include "importers/redis_record.h"
#include "tests/fuzz/input.h"

namespace {

using namespace vkb;

constexpr std::uint32_t kDim = 2;

std::array<RedisMapping, 5> make_mappings() {
  std::array<RedisMapping, 5> all;
  for (RedisMapping& mapping : all) {
    mapping.vector_field = "vector";
    mapping.text_field = "text";
    mapping.dim = kDim;
    mapping.key_prefix = "doc:";
  }
  all[0].layout = Layout::llama_index;
  all[0].id_field = "id";
  all[0].metadata_field = "_node_content";
  all[0].numeric_fields = {"number"};
  all[1].layout = Layout::langchain;
  all[1].vector_field = "embedding";
  all[1].metadata_field = "_metadata_json";
  all[1].numeric_fields = {"number"};
  all[1].type = VectorType::float64;
  all[1].key_prefix = "";
  all[2].layout = Layout::langchain_community;
  all[2].vector_field = "content_vector";
  all[2].text_field = "content";
  all[2].metadata_field = "metadata";
  all[2].type = VectorType::float16;
  all[3].text_field = "";
  all[3].type = VectorType::bfloat16;
  all[4].json = true;
  all[4].vector_field = "meta.embedding";
  all[4].id_field = "id";
  all[4].metadata_field = "metadata";
  return all;
}

Reply text_reply(std::string_view text) {
  Reply reply;
  reply.type = Reply::Type::text;
  reply.text = text;
  return reply;
}

RedisFields fields_of(Input& input, const RedisMapping& mapping) {
  if (mapping.json) return {{std::string(kJsonField), std::string(input.rest())}};
  Reply reply;
  std::set<std::string> names;  // a hash has each once
  for (int left = input.byte() % 16; left > 0; --left) {
    const std::string name(input.short_text());
    const std::string value(input.long_text());
    if (!names.insert(name).second) continue;
    reply.elements.push_back(text_reply(name));
    reply.elements.push_back(text_reply(value));
  }
  if (!mapping.metadata_field.empty() && names.insert(mapping.metadata_field).second) {
    reply.elements.push_back(text_reply(mapping.metadata_field));
    reply.elements.push_back(text_reply(input.rest()));
  }
  return fields_of_hash(std::move(reply));
}

void expect_kept(const MappedRecord& mapped, const std::string& key, const RedisFields& fields) {
  const Record& record = mapped.record;
  require(!record.id.empty() && valid_utf8(record.id));
  require(valid_utf8(record.document.value_or("")));
  require(record.embedding && record.embedding->size() == kDim);
  for (const float component : *record.embedding) require(std::isfinite(component));
  if (record.metadata) require(parse_metadata(to_json(*record.metadata)) == *record.metadata);
  const RedisOriginal original = rebuild_hash(record);
  require(original.key == key && original.fields == fields && original.hash == hash_of(fields));
  require(read_origin(record).hash == mapped.hash);
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<RedisMapping, 5> mappings = make_mappings();
  Input input(data, size);
  const std::uint8_t kind = input.byte();
  const RedisMapping& mapping = mappings[kind % mappings.size()];
  const std::string key = "doc:" + std::string(input.short_text());
  if (kind >= 0xF0) {  // an origin as no importer writes it
    Record record{.id = key, .metadata = Metadata{{"a", 1.5}}, .origin = std::string(input.rest())};
    if (kind % 2 == 0) record.embedding = std::vector{1.0F, -0.0F};
    for (const auto rebuild : {read_origin, rebuild_hash}) {
      try {
        rebuild(record);
      } catch (const Error& error) {
        require(error.code() == ErrorCode::corruption);
      }
    }
    return 0;
  }
  const RedisFields fields = fields_of(input, mapping);
  if (fields.empty()) return 0;
  json_vector_size(fields, mapping.vector_field);
  json_members(fields);
  const auto result = map_record(key, fields, mapping);
  if (const auto* mapped = std::get_if<MappedRecord>(&result)) expect_kept(*mapped, key, fields);
  if (const auto* rejection = std::get_if<Rejection>(&result)) {
    require(valid_utf8(rejection->reason) && valid_utf8(rejection->message));
    require(valid_utf8(rejection->found));
  }
  return 0;
}

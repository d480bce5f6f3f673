// SPDX-License-Identifier: Apache-2.0
#include "tests/importers/llama_index_data.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "importers/line_file.h"

namespace vkb {

std::vector<SampleHash> read_samples() {
  const auto json = nlohmann::json::parse(
      read_whole_file(std::string(VKB_IMPORTER_DATA) + "/llama_index_records.json"));
  std::vector<SampleHash> samples;
  for (const auto& row : json) {
    SampleHash sample{row.at("layout"), row.at("kind"), row.at("key"), {}};
    for (const auto& [name, value] : row.at("fields").items()) {
      sample.fields.emplace_back(name, base64_decode(value.get<std::string>()));
    }
    std::sort(sample.fields.begin(), sample.fields.end());
    samples.push_back(std::move(sample));
  }
  return samples;
}

RedisMapping llama_index_mapping(std::uint32_t dim) {
  RedisMapping mapping;
  mapping.layout = Layout::llama_index;
  mapping.vector_field = "vector";
  mapping.text_field = "text";
  mapping.id_field = "id";
  mapping.metadata_field = "_node_content";
  mapping.dim = dim;
  mapping.key_prefix = "doc:";
  return mapping;
}

RedisFields make_node(const std::string& id, const std::string& text,
                      const std::vector<float>& vector, int number) {
  const nlohmann::ordered_json node = {{"id_", id},
                                       {"embedding", nullptr},
                                       {"metadata", {{"number", number}}},
                                       {"relationships", nlohmann::json::object()},
                                       {"text", ""},
                                       {"class_name", "TextNode"}};
  RedisFields fields = {{"id", id},
                        {"doc_id", "None"},
                        {"text", text},
                        {"vector", std::string(reinterpret_cast<const char*>(vector.data()),
                                               vector.size() * sizeof(float))},
                        {"number", std::to_string(number)},
                        {"_node_content", node.dump()},
                        {"_node_type", "TextNode"},
                        {"document_id", "None"},
                        {"ref_doc_id", "None"}};
  std::sort(fields.begin(), fields.end());
  return fields;
}

RedisCommand hset(const std::string& key, const RedisFields& fields) {
  RedisCommand command = {"HSET", key};
  for (const auto& [name, value] : fields) {
    command.push_back(name);
    command.push_back(value);
  }
  return command;
}

}  // namespace vkb

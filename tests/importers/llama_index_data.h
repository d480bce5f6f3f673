// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "importers/redis_record.h"

namespace vkb {

// A hash as LlamaIndex writes it, or spoilt in one way.
struct SampleHash {
  std::string layout;  // version of llama-index-core: "0.14", "0.12", "0.10"
  std::string kind;    // "good", "missing_vector", …
  std::string key;
  RedisFields fields;
};

// tests/importers/data/llama_index_records.json: written by a program whose hashes were compared
// byte for byte with LlamaIndex's own, for three versions of it. Dimension 8.
std::vector<SampleHash> read_samples();

// The mapping an import of them works with.
RedisMapping llama_index_mapping(std::uint32_t dim = 8);

// A good hash: id, text, vector and one metadata entry "number".
RedisFields make_node(const std::string& id, const std::string& text,
                      const std::vector<float>& vector, int number);
// Writes it: HSET.
RedisCommand hset(const std::string& key, const RedisFields& fields);

}  // namespace vkb

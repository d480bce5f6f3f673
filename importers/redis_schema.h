// SPDX-License-Identifier: Apache-2.0
//
// How a Redis knowledge base is laid out: which keys, which field is what. Found from RediSearch's
// FT.INFO, from sampled records, and from what the caller says.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/vkb.h"
#include "importers/redis_client.h"

namespace vkb {

enum class VectorType { float32, float64, float16, bfloat16 };
std::string_view to_string(VectorType type) noexcept;
std::size_t byte_size(VectorType type) noexcept;

// One attribute of a RediSearch index. Data are read by identifier (field name or JSON path) and
// queried by attribute (its alias).
struct IndexAttribute {
  std::string identifier;
  std::string attribute;
  std::string type;  // TAG, TEXT, NUMERIC, GEO, VECTOR, …
  // Of VECTOR attributes; absent before RediSearch 2.8, which shows the type only.
  std::string algorithm;
  std::string data_type;
  std::string metric;
  std::optional<std::uint32_t> dim;
  std::optional<std::uint32_t> m;
  std::optional<std::uint32_t> ef_construction;
};

// What FT.INFO tells about an index.
struct IndexInfo {
  std::string name;
  bool json = false;  // indexes JSON documents, not hashes
  std::vector<std::string> prefixes;
  std::vector<IndexAttribute> attributes;
  std::uint64_t num_docs = 0;  // keys under the prefixes, with or without a vector
  std::uint64_t failures = 0;
  bool complete = true;  // nothing left to index

  std::vector<const IndexAttribute*> vectors() const;
};

// Reads an FT.INFO reply. Numbers may come as integers or texts and attributes may have members
// without a value, by version. Throws Error{unsupported} when there is no index_name in it.
IndexInfo parse_ft_info(const Reply& reply);

// All indexes with a vector; empty when the server has no RediSearch. `denied` is set to the
// server's words when the user may not list them.
std::vector<IndexInfo> vector_indexes(RedisClient& client, std::string& denied);

enum class Layout { llama_index, langchain, langchain_community, other };
std::string_view to_string(Layout layout) noexcept;

// Where in a record the parts of ours are. Names are hash fields, or paths in a JSON document with
// dots ("meta.embedding").
struct RedisMapping {
  Layout layout = Layout::other;
  bool json = false;
  std::string vector_field;
  std::string text_field;                // "" when there is none
  std::string id_field;                  // "" takes the key behind its prefix
  std::string metadata_field;            // holds JSON: _node_content, _metadata_json, or ""
  std::set<std::string> numeric_fields;  // flat fields the index knows as numbers
  VectorType type = VectorType::float32;
  std::uint32_t dim = 0;
  // What every sampled key of the knowledge base begins with, "doc:" for the index prefix "doc".
  // Several prefixes, or keys without a common form: empty, and whole keys serve as ids.
  std::string key_prefix;
};

// What the records looked at before an import say.
struct RedisSample {
  std::uint64_t keys = 0;
  std::uint64_t good = 0;  // of them, records that an import would take
  std::uint64_t with_text = 0;
  std::map<std::string, std::uint64_t> rejected;  // by reason
  std::map<std::string, std::uint64_t> fields;    // how often each field name was seen
};

// Everything an import needs to know about its source.
struct RedisPlan {
  std::optional<IndexInfo> index;
  std::vector<std::string> scan_prefixes;  // "" is every key
  RedisMapping mapping;
  Space space = Space::cosine;
  bool space_known = false;
  std::uint32_t m = 16;
  std::uint32_t ef_construction = 200;
  RedisSample sample;
  std::vector<std::string> notes;  // for people: what was found, what was assumed
};

// What the caller says about the source; absent parts are found out.
struct RedisSelection {
  std::optional<std::string> index{};
  std::optional<std::string> prefix{};
  std::optional<std::string> vector_field{};
  std::optional<std::string> text_field{};
  std::optional<std::string> id_field{};
  std::optional<Space> space{};
};

// Finds out how the source is laid out and confirms it on sampled records. Throws not_found when
// there is no such index or no such keys (naming those there are), invalid_argument when there are
// several candidates (listing them) or the layout cannot be told (saying what to pass).
RedisPlan plan_redis_import(RedisClient& client, const RedisSelection& selection);

// At most `limit` keys that begin with one of `prefixes`, as SCAN meets them.
std::vector<std::string> sample_keys(RedisClient& client, const std::vector<std::string>& prefixes,
                                     std::size_t limit);

}  // namespace vkb

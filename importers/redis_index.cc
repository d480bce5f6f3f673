// SPDX-License-Identifier: Apache-2.0
//
// RediSearch's own description of its indexes (FT._LIST, FT.INFO), and the choice among them.
#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>

#include "importers/bytes.h"
#include "importers/redis_index.h"

namespace vkb {
namespace {

// Members of an attribute row that stand alone, without a value.
constexpr std::array<std::string_view, 8> kFlags = {
    "SORTABLE",       "UNF",        "NOSTEM",      "CASESENSITIVE", "NOINDEX",
    "WITHSUFFIXTRIE", "INDEXEMPTY", "INDEXMISSING"};

std::optional<std::uint32_t> small_number(const Reply& reply) {
  const auto number = reply.number();
  if (!number || *number < 0 || *number > 1e9) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

// Whatever the server says: at most what a double counts exactly.
std::uint64_t count_in(const Reply& reply) {
  return static_cast<std::uint64_t>(std::clamp(reply.number().value_or(0), 0.0, 0x1p53));
}

IndexAttribute parse_attribute(const Reply& row) {
  IndexAttribute out;
  for (std::size_t at = 0; at < row.elements.size();) {
    const std::string& name = row.elements[at].text;
    const bool flag = std::find(kFlags.begin(), kFlags.end(), name) != kFlags.end();
    if (flag || at + 1 == row.elements.size()) {
      ++at;
      continue;
    }
    const Reply& value = row.elements[at + 1];
    at += 2;
    if (name == "identifier") out.identifier = value.text;
    if (name == "attribute") out.attribute = value.text;
    if (name == "type") out.type = value.text;
    if (name == "algorithm") out.algorithm = value.text;
    if (name == "data_type") out.data_type = value.text;
    if (name == "distance_metric") out.metric = value.text;
    if (name == "dim") out.dim = small_number(value);
    if (name == "M") out.m = small_number(value);
    if (name == "ef_construction") out.ef_construction = small_number(value);
  }
  return out;
}

void parse_definition(const Reply& definition, IndexInfo& info) {
  for (std::size_t at = 0; at + 1 < definition.elements.size(); at += 2) {
    const std::string& name = definition.elements[at].text;
    const Reply& value = definition.elements[at + 1];
    if (name == "key_type") info.json = value.text == "JSON";
    if (name == "prefixes") {
      for (const Reply& prefix : value.elements) info.prefixes.push_back(prefix.text);
    }
  }
}

}  // namespace

std::vector<const IndexAttribute*> IndexInfo::vectors() const {
  std::vector<const IndexAttribute*> out;
  for (const IndexAttribute& attribute : attributes) {
    if (attribute.type == "VECTOR") out.push_back(&attribute);
  }
  return out;
}

IndexInfo parse_ft_info(const Reply& reply) {
  IndexInfo info;
  bool indexing = false;
  double percent = 1;
  for (std::size_t at = 0; at + 1 < reply.elements.size(); at += 2) {
    const std::string& name = reply.elements[at].text;
    const Reply& value = reply.elements[at + 1];
    if (name == "index_name") info.name = value.text;
    if (name == "index_definition") parse_definition(value, info);
    // RediSearch before 2.0 called them fields.
    if (name == "attributes" || name == "fields") {
      for (const Reply& row : value.elements) info.attributes.push_back(parse_attribute(row));
    }
    if (name == "num_docs") info.num_docs = count_in(value);
    if (name == "hash_indexing_failures") info.failures = count_in(value);
    if (name == "indexing") indexing = count_in(value) != 0;
    if (name == "percent_indexed") percent = value.number().value_or(1);
  }
  if (info.name.empty()) {
    throw Error(ErrorCode::unsupported,
                "FT.INFO answered something that is not the description of an index");
  }
  if (info.prefixes.empty()) info.prefixes.emplace_back();
  info.complete = !indexing && percent >= 1;
  return info;
}

std::vector<IndexInfo> vector_indexes(RedisClient& client, std::string& denied) {
  const Reply names = client.ask({"FT._LIST"});
  // A Redis without RediSearch does not know the command.
  if (names.error_starts_with("NOPERM")) denied = names.text;
  if (names.is_error()) return {};
  std::vector<IndexInfo> indexes;
  for (const Reply& name : names.elements) {
    const Reply reply = client.ask({"FT.INFO", name.text});
    if (reply.error_starts_with("NOPERM")) denied = reply.text;
    if (reply.is_error()) continue;  // denied, or dropped since it was listed
    IndexInfo info = parse_ft_info(reply);
    if (!info.vectors().empty()) indexes.push_back(std::move(info));
  }
  return indexes;
}

namespace {

VectorType parse_vector_type(const std::string& name, const std::string& index) {
  if (name.empty() || name == "FLOAT32") return VectorType::float32;
  if (name == "FLOAT64") return VectorType::float64;
  if (name == "FLOAT16") return VectorType::float16;
  if (name == "BFLOAT16") return VectorType::bfloat16;
  throw Error(ErrorCode::unsupported, "index " + escape_bytes(index) + ": vectors of type " +
                                          escape_bytes(name) +
                                          "; vkb takes FLOAT32, FLOAT64, FLOAT16 and BFLOAT16");
}

IndexInfo named_index(RedisClient& client, const std::string& name) {
  const Reply reply = client.ask({"FT.INFO", name});
  if (!reply.is_error()) return parse_ft_info(reply);
  if (reply.error_starts_with("NOPERM")) client.fail(reply, "FT.INFO " + escape_bytes(name));
  if (reply.error_starts_with("ERR unknown command")) {
    throw Error(ErrorCode::not_found, client.url().name() + " has no RediSearch, so no index " +
                                          escape_bytes(name) +
                                          "; pass --prefix instead of --index");
  }
  std::string denied;
  std::vector<std::string> names;
  for (const IndexInfo& index : vector_indexes(client, denied)) names.push_back(index.name);
  throw Error(ErrorCode::not_found, client.url().name() + ": there is no index " +
                                        escape_bytes(name) +
                                        "; indexes with vectors: " + quoted_list(names));
}

const IndexAttribute& choose_vector(const IndexInfo& index, const RedisSelection& selection) {
  const std::vector<const IndexAttribute*> vectors = index.vectors();
  std::vector<std::string> names;
  for (const IndexAttribute* vector : vectors) {
    names.push_back(field_of(*vector, index.json));
    const std::string wanted = selection.vector_field.value_or("");
    if (wanted == names.back() || wanted == vector->attribute || wanted == vector->identifier) {
      return *vector;
    }
  }
  if (selection.vector_field || vectors.size() != 1) {
    throw Error(ErrorCode::invalid_argument, "index " + escape_bytes(index.name) +
                                                 ": choose one of its vectors with "
                                                 "--vector-field: " +
                                                 quoted_list(names));
  }
  return *vectors.front();
}

}  // namespace

std::string quoted_list(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + escape_bytes(name);
  return out.empty() ? "none" : out;
}

std::string describe(const IndexInfo& index) {
  std::string prefixes;
  for (const std::string& prefix : index.prefixes) prefixes += " \"" + escape_bytes(prefix) + '"';
  std::string vectors;
  for (const IndexAttribute* vector : index.vectors()) {
    vectors += ' ' + escape_bytes(vector->identifier);
    if (vector->dim) vectors += '[' + std::to_string(*vector->dim) + ']';
  }
  return escape_bytes(index.name) + " (" + (index.json ? "JSON" : "hash") + ", prefix" + prefixes +
         ", vector" + vectors + ", " + count_of(index.num_docs, "key") + ')';
}

std::string strip_json_path(std::string path) {
  if (path.starts_with("$.")) path.erase(0, 2);
  if (path.ends_with("[*]")) path.erase(path.size() - 3);
  return path;
}

std::string field_of(const IndexAttribute& attribute, bool json) {
  return json ? strip_json_path(attribute.identifier) : attribute.identifier;
}

std::optional<IndexInfo> choose_index(RedisClient& client, const RedisSelection& selection,
                                      std::vector<std::string>& notes) {
  if (selection.index) return named_index(client, *selection.index);
  std::string denied;
  std::vector<IndexInfo> indexes = vector_indexes(client, denied);
  if (!denied.empty()) notes.push_back("indexes cannot be listed: " + denied);
  if (selection.prefix) {
    const auto elsewhere = [&](const IndexInfo& index) {
      return std::none_of(
          index.prefixes.begin(), index.prefixes.end(),
          [&](const std::string& prefix) { return selection.prefix->starts_with(prefix); });
    };
    std::erase_if(indexes, elsewhere);
    if (indexes.size() > 1) return std::nullopt;  // the records themselves will tell
  }
  if (indexes.size() > 1) {
    std::vector<IndexInfo> filled;
    std::copy_if(indexes.begin(), indexes.end(), std::back_inserter(filled),
                 [](const IndexInfo& index) { return index.num_docs > 0; });
    if (filled.size() == 1) {
      notes.push_back("other vector indexes are empty; taken: " + describe(filled.front()));
      return filled.front();
    }
    std::string list;
    for (const IndexInfo& index : indexes) list += (list.empty() ? "" : "; ") + describe(index);
    throw Error(ErrorCode::invalid_argument,
                client.url().name() + " has " + std::to_string(indexes.size()) +
                    " vector indexes; choose one with --index: " + list);
  }
  if (indexes.empty()) return std::nullopt;
  return indexes.front();
}

void apply_index(RedisPlan& plan, const RedisSelection& selection) {
  const IndexInfo& index = *plan.index;
  const IndexAttribute& vector = choose_vector(index, selection);
  RedisMapping& mapping = plan.mapping;
  mapping.json = index.json;
  mapping.vector_field = field_of(vector, index.json);
  mapping.type = parse_vector_type(vector.data_type, index.name);
  mapping.dim = vector.dim.value_or(0);
  if (!vector.metric.empty()) {
    std::string metric = vector.metric;
    std::transform(metric.begin(), metric.end(), metric.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    plan.space = parse_space(metric);
    plan.space_known = true;
  }
  if (vector.m) plan.m = std::clamp(*vector.m, 2u, 512u);
  if (vector.ef_construction) plan.ef_construction = std::max(*vector.ef_construction, 1u);
  for (const IndexAttribute& attribute : index.attributes) {
    if (attribute.type == "NUMERIC") {
      mapping.numeric_fields.insert(field_of(attribute, index.json));
    }
  }
}

}  // namespace vkb

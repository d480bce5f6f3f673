// SPDX-License-Identifier: Apache-2.0
//
// RediSearch's own description of its indexes: FT._LIST and FT.INFO.
#include <algorithm>
#include <array>

#include "importers/redis_schema.h"

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
    const std::uint64_t count =
        static_cast<std::uint64_t>(std::max(0.0, value.number().value_or(0)));
    if (name == "num_docs") info.num_docs = count;
    if (name == "hash_indexing_failures") info.failures = count;
    if (name == "indexing") indexing = count != 0;
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

}  // namespace vkb

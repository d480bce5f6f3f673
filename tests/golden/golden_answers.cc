// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/golden_answers.h"

#include <bit>
#include <cmath>

#include "storage/segment_format.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

// More records than this are kept as one checksum.
constexpr std::size_t kMostListed = 100;
constexpr std::uint32_t kHits = 10;
constexpr std::uint32_t kEf = 1000;  // wide enough for a walk to find what comparing with all does

const char* const kWhere[] = {R"({"n":{"$gte":40}})",
                              R"({"$and":[{"n":{"$lt":4090}},{"n":{"$nin":[7,8,9]}}]})",
                              R"({"even":true})",
                              R"({"half":{"$lte":2.5}})",
                              R"({"kind":{"$in":["a","ключ 🔑"]}})",
                              R"({"ключ 🔑":"значение"})",
                              R"({"list":{"$contains":3}})",
                              R"({"texts":{"$not_contains":"é"}})"};
const char* const kWhereDocument[] = {R"({"$contains":"group 3"})", R"({"$contains":"日本語"})",
                                      R"({"$contains":"E\u0301"})", R"({"$not_contains":"group"})",
                                      R"({"$regex":"group [45]$"})"};

// Texts that are not UTF-8 among them, which JSON cannot hold.
std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    for (const int half : {c >> 4 & 15, c & 15}) out += "0123456789abcdef"[half];
  }
  return out;
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json json_of(const Record& record) {
  Json out = {{"id", record.id},
              {"document", or_null(record.document)},
              {"uri", or_null(record.uri)},
              {"metadata", record.metadata ? Json(to_json(*record.metadata)) : Json()},
              {"origin", record.origin ? Json(hex(*record.origin)) : Json()}};
  for (const float component : record.embedding.value()) {
    out["embedding_bits"].push_back(std::bit_cast<std::uint32_t>(component));
  }
  return out;
}

Json records_of(const Collection& collection) {
  const Include all{.embeddings = true, .uris = true, .origins = true};
  Json listed = Json::array();
  Checksum digest;
  std::size_t count = 0;
  collection.for_each(all, [&](Record&& record) {
    Json one = json_of(record);
    const std::string text = one.dump();
    digest.update(std::as_bytes(std::span(text)));
    if (++count <= kMostListed) listed.push_back(std::move(one));
    return true;
  });
  if (count <= kMostListed) return listed;
  return {{"count", count}, {"xxh3", digest.value()}};
}

Json ids_of(const std::vector<Record>& records) {
  Json ids = Json::array();
  for (const Record& record : records) ids.push_back(record.id);
  if (ids.size() <= kMostListed) return ids;
  const std::string text = ids.dump();
  return {{"count", ids.size()}, {"xxh3", Checksum::of(std::as_bytes(std::span(text)))}};
}

Json hits_of(const Collection& collection, std::span<const float> query, QueryOptions options) {
  options.include = {.documents = false, .metadatas = false};
  Json hits = Json::array();
  for (const Hit& hit : collection.query(query, options)) {
    hits.push_back({{"id", hit.record.id}, {"distance", hit.distance}});
  }
  return hits;
}

Json queries_of(const Collection& collection, std::uint32_t dim) {
  Json answers = Json::array();
  for (int number = 0; number < 4; ++number) {
    std::vector<float> query(dim);
    for (std::uint32_t i = 0; i < dim; ++i) {
      query[i] = static_cast<float>((number * 31 + static_cast<int>(i) * 17) % 23 - 11) / 8;
    }
    const Filter filter = parse_where(kWhere[0]);
    answers.push_back(
        {{"vector", query},
         {"nearest", hits_of(collection, query, {.k = kHits, .ef = kEf})},
         {"exact", hits_of(collection, query, {.k = kHits, .exact = true})},
         {"filtered", hits_of(collection, query, {.k = kHits, .ef = kEf, .filter = filter})}});
  }
  return answers;
}

Json contents_of(const Collection& collection, const CollectionInfo& info) {
  const CollectionOptions& options = info.options;
  Json keys = Json::array();
  for (const auto& [key, kind] : info.metadata_keys) keys.push_back({key, kind});
  Json out = {{"uuid", info.uuid},
              {"space", to_string(options.space)},
              {"dim", or_null(options.dim)},
              {"m", options.m},
              {"ef_construction", options.ef_construction},
              {"ef_search", options.ef_search},
              {"model", or_null(options.model)},
              {"metadata", options.metadata ? Json(to_json(*options.metadata)) : Json()},
              {"extra", or_null(options.extra)},
              {"metadata_keys", keys},
              {"count", collection.count()},
              {"records", records_of(collection)}};
  out["queries"] = queries_of(collection, options.dim.value_or(1));
  for (const char* text : kWhere) {
    out["where"][text] = ids_of(collection.get({.filter = parse_where(text), .include = {}}));
  }
  for (const char* text : kWhereDocument) {
    const Filter filter = parse_where_document(text);
    out["where_document"][text] = ids_of(collection.get({.filter = filter, .include = {}}));
  }
  return out;
}

Json layout_of(const CollectionInfo& info) {
  Json segments = Json::array();
  for (const CollectionInfo::Segment& segment : info.segments) {
    Json sections = Json::array();
    for (const auto& [kind, bytes] : segment.sections) sections.push_back({kind, bytes});
    segments.push_back({{"rows", segment.row_count},
                        {"tombstones", segment.tombstone_count},
                        {"has_graph", segment.has_graph},
                        {"sections", sections}});
  }
  return {{"unsealed", info.unsealed_count}, {"segments", segments}};
}

}  // namespace

GoldenAnswers answers_of(const Store& store,
                         const std::vector<std::pair<std::string, std::string>>& databases) {
  GoldenAnswers answers;
  for (const auto& [tenant, database] : databases) {
    for (const std::string& name : store.collections(database, tenant)) {
      const Collection collection = store.collection(name, database, tenant);
      const CollectionInfo info = collection.info();
      std::string key = tenant;
      key.append("/").append(database).append("/").append(name);
      answers.contents[key] = contents_of(collection, info);
      answers.layout[key] = layout_of(info);
    }
  }
  return answers;
}

std::string difference(const Json& expected, const Json& found) {
  const auto show = [](const Json& json) { return json.dump().substr(0, 300); };
  if (expected.is_number_float() || found.is_number_float()) {
    const double a = expected.get<double>();
    const double b = found.get<double>();
    return std::abs(a - b) <= 1e-5 * (1 + std::abs(a)) ? "" : show(expected) + " is " + show(found);
  }
  if (expected.type() != found.type() || expected.size() != found.size() ||
      (!expected.is_structured() && expected != found)) {
    // An unsigned number and a signed one may be the same.
    if (expected.is_number() && expected == found) return "";
    return show(expected) + " is " + show(found);
  }
  if (!expected.is_structured()) return "";
  for (const auto& [key, value] : expected.items()) {
    if (expected.is_object() && !found.contains(key)) return key + " is missing";
    const Json& other = expected.is_object() ? found.at(key) : found.at(std::stoul(key));
    if (const std::string inner = difference(value, other); !inner.empty()) {
      return key + ": " + inner;
    }
  }
  return "";
}

}  // namespace vkb

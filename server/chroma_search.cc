// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_search.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "server/api_error.h"
#include "server/chroma_records.h"
#include "server/json_body.h"
#include "server/json_text.h"
#include "server/search_json.h"
#include "server/search_rank.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

std::optional<Filter> parse_filter(const Json* json) {
  if (!json || (json->is_object() && json->empty())) return std::nullopt;
  return parse_search_filter(text_of(*json));
}

struct Scored {
  Record record;
  float score = 0;
};

// "group_by": records with equal values of some metadata keys are a group, of which the k first by
// other keys stay.
class Grouping {
 public:
  explicit Grouping(const Json& json) {
    if (!json.is_object()) refuse_search("group_by: expected an object");
    keys_ = texts(json.value("keys", Json()), "group_by: keys");
    const Json aggregate = json.value("aggregate", Json());
    if (keys_.empty() || !aggregate.is_object() || aggregate.size() != 1) {
      refuse_search("group_by: expected \"keys\" and one \"aggregate\"");
    }
    const std::string& name = aggregate.begin().key();
    if (name != "$min_k" && name != "$max_k") {
      refuse_search("group_by: aggregate: expected $min_k or $max_k, found " + name.substr(0, 40));
    }
    largest_ = name == "$max_k";
    const Json& value = aggregate.begin().value();
    if (!value.is_object()) refuse_search("group_by: " + name + ": expected an object");
    order_ = texts(value.value("keys", Json()), "group_by: aggregate keys");
    k_ = whole_number(value.value("k", Json()), "group_by: k");
    for (const std::string& key : keys_) {
      if (key.starts_with('#')) refuse_search("group_by: '" + key + "' is not a metadata key");
    }
  }

  std::vector<Scored> apply(std::vector<Scored> records) const {
    std::map<std::vector<Value>, std::vector<Scored>> groups;
    for (Scored& record : records) {
      std::vector<Value> values;
      for (const std::string& key : keys_) values.push_back(value_of(record, key));
      groups[std::move(values)].push_back(std::move(record));
    }
    std::vector<Scored> kept;
    for (auto& [values, group] : groups) {
      std::stable_sort(group.begin(), group.end(), [this](const Scored& a, const Scored& b) {
        for (const std::string& key : order_) {
          const Value left = value_of(a, key);
          const Value right = value_of(b, key);
          if (left != right) return largest_ ? right < left : left < right;
        }
        return false;
      });
      for (std::size_t i = 0; i < std::min<std::size_t>(k_, group.size()); ++i) {
        kept.push_back(std::move(group[i]));
      }
    }
    return kept;
  }

 private:
  static Value value_of(const Scored& scored, const std::string& key) {
    if (key == "#score") return static_cast<double>(scored.score);
    if (!scored.record.metadata) return {};
    const auto found = scored.record.metadata->find(key);
    return found == scored.record.metadata->end() ? Value{} : found->second;
  }

  std::vector<std::string> keys_;
  std::vector<std::string> order_;
  bool largest_ = false;
  std::uint32_t k_ = 0;
};

void sort_by_score(std::vector<Scored>& records) {
  std::stable_sort(records.begin(), records.end(), [](const Scored& a, const Scored& b) {
    // Not a number comes last, so that the order stays one.
    if (std::isnan(a.score) || std::isnan(b.score))
      return std::isnan(b.score) && !std::isnan(a.score);
    return a.score < b.score;
  });
}

struct Page {
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> limit;
};

Page parse_page(const Json* json) {
  Page page;
  if (!json) return page;
  if (!json->is_object()) refuse_search("limit: expected an object");
  if (const Json* offset = find_member(*json, "offset"))
    page.offset = whole_number(*offset, "offset");
  if (const Json* limit = find_member(*json, "limit")) page.limit = whole_number(*limit, "limit");
  return page;
}

std::vector<Scored> unranked(const Collection& collection, const std::optional<Filter>& filter,
                             const Page& page, const Include& include) {
  std::vector<Scored> out;
  for (Record& record : collection.get({.ids = {},
                        .filter = filter,
                        .offset = page.offset,
                        .limit = page.limit,
                        .include = include})) {
    const auto position = static_cast<float>(out.size());
    out.push_back({.record = std::move(record), .score = position});
  }
  return out;
}

std::vector<Scored> ranked(const Collection& collection, const std::optional<Filter>& filter,
                           const Json& rank, const Json* group_by, const Page& page,
                           const Include& include) {
  const Scores scores = rank_records(collection, filter, rank);
  std::vector<std::string> ids;
  for (const auto& [id, score] : scores.named) ids.push_back(id);
  // In insertion order, so that equal scores have an order.
  std::vector<Scored> records;
  Include needed = group_by ? Include{.documents = false, .metadatas = true} : include;
  for (Record& record : collection.get(
           {.ids = std::move(ids), .filter = {}, .offset = 0, .limit = {}, .include = needed})) {
    const float score = scores.named.at(record.id);
    records.push_back({.record = std::move(record), .score = score});
  }
  if (group_by) records = Grouping(*group_by).apply(std::move(records));
  sort_by_score(records);
  const std::size_t from = std::min<std::size_t>(page.offset, records.size());
  records.erase(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(from));
  if (page.limit && *page.limit < records.size()) records.resize(*page.limit);
  if (group_by) {
    for (Scored& scored : records) {
      auto found = collection.get({.ids = std::vector{scored.record.id},
                                   .filter = {},
                                   .offset = 0,
                                   .limit = {},
                                   .include = include});
      if (!found.empty()) scored.record = std::move(found.front());
    }
  }
  return records;
}

struct Select {
  std::set<std::string> keys;
  bool has(const char* key) const { return keys.contains(key); }
  // Metadata keys that were named themselves.
  std::vector<std::string> fields() const {
    std::vector<std::string> out;
    for (const std::string& key : keys) {
      if (!key.starts_with('#')) out.push_back(key);
    }
    return out;
  }
};

Select parse_select(const Json* json) {
  Select select;
  if (!json) return select;
  if (!json->is_object()) refuse_search("select: expected an object");
  const Json* keys = find_member(*json, "keys");
  if (!keys) return select;
  for (std::string& key : texts(*keys, "select: keys")) {
    if (key.starts_with('#') && key != "#document" && key != "#embedding" && key != "#metadata" &&
        key != "#score" && key != "#id") {
      refuse_search("select: unknown key " + key.substr(0, 40));
    }
    select.keys.insert(std::move(key));
  }
  return select;
}

// The columns of one search, each a JSON text.
struct Columns {
  std::string ids = "[";
  std::string documents = "null";
  std::string embeddings = "null";
  std::string metadatas = "null";
  std::string scores = "null";
  std::string select = "[";
};

template <typename Append>
std::string column(const std::vector<Scored>& records, Append append) {
  std::string out = "[";
  for (const Scored& scored : records) {
    if (out.size() > 1) out += ',';
    append(out, scored);
  }
  return out + "]";
}

Columns write(std::vector<Scored>& records, const Select& select) {
  Columns columns;
  const std::vector<std::string> fields = select.fields();
  const bool metadatas = select.has("#metadata") || !fields.empty();
  for (Scored& scored : records) {
    show_as_chroma(scored.record, {.documents = true, .metadatas = metadatas});
    if (select.has("#metadata") || !scored.record.metadata) continue;
    std::erase_if(*scored.record.metadata, [&](const auto& entry) {
      return std::find(fields.begin(), fields.end(), entry.first) == fields.end();
    });
  }
  columns.ids = column(records, [](std::string& out, const Scored& scored) {
    append_json(out, std::string_view(scored.record.id));
  });
  if (select.has("#document")) {
    columns.documents = column(records, [](std::string& out, const Scored& scored) {
      append_json_or_null(out, scored.record.document);
    });
  }
  if (select.has("#embedding")) {
    columns.embeddings = column(records, [](std::string& out, const Scored& scored) {
      append_json_or_null(out, scored.record.embedding);
    });
  }
  if (metadatas) {
    columns.metadatas = column(records, [](std::string& out, const Scored& scored) {
      append_json_or_null(out, scored.record.metadata);
    });
  }
  if (select.has("#score")) {
    columns.scores = column(
        records, [](std::string& out, const Scored& scored) { append_json(out, scored.score); });
  }
  for (const std::string& key : select.keys) {
    if (columns.select.size() > 1) columns.select += ',';
    append_json(columns.select, std::string_view(key));
  }
  columns.select += ']';
  return columns;
}

Columns run(const Collection& collection, const Json& search) {
  if (!search.is_object()) refuse_search("expected an object in \"searches\"");
  const std::optional<Filter> filter = parse_filter(find_member(search, "filter"));
  const Page page = parse_page(find_member(search, "limit"));
  const Select select = parse_select(find_member(search, "select"));
  const Include include =
      with_hidden_columns({.documents = select.has("#document"),
                           .metadatas = select.has("#metadata") || !select.fields().empty(),
                           .embeddings = select.has("#embedding")});
  const Json* rank = find_member(search, "rank");
  const Json* group_by = find_member(search, "group_by");
  if (group_by && group_by->empty()) group_by = nullptr;
  if (group_by && !rank) refuse_search("group_by needs a rank");
  std::vector<Scored> records = rank ? ranked(collection, filter, *rank, group_by, page, include)
                                     : unranked(collection, filter, page, include);
  return write(records, select);
}

// The array of searches.
Json parse_request(const std::string& request_json) {
  std::optional<std::string> searches;
  read_fields(request_json, {{"searches", [&](JsonValue& value, const JsonPath& path) {
                                const JsonType type = value.type();
                                if (type != JsonType::array) refuse_type(path, type, "a sequence");
                                searches = read_json(value);
                              }}});
  if (!searches) refuse_missing("searches");
  try {
    return Json::parse(*searches);
  } catch (const Json::exception& error) {
    throw ApiError(400, std::string("Failed to parse the request body as JSON: ") + error.what());
  }
}

}  // namespace

void check_search_request(const std::string& request_json) { parse_request(request_json); }

std::string search_collection(const Collection& collection, const std::string& request_json) {
  std::vector<Columns> answers;
  for (const Json& search : parse_request(request_json)) answers.push_back(run(collection, search));
  std::string out = "{";
  const auto add = [&](const char* name, std::string Columns::*column_of) {
    out += (out.size() > 1 ? ",\"" : "\"") + std::string(name) + "\":[";
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (i > 0) out += ',';
      out += answers[i].*column_of;
    }
    out += ']';
  };
  add("ids", &Columns::ids);
  add("documents", &Columns::documents);
  add("embeddings", &Columns::embeddings);
  add("metadatas", &Columns::metadatas);
  add("scores", &Columns::scores);
  add("select", &Columns::select);
  return out + "}";
}

}  // namespace vkb

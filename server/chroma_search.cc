// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>

#include "server/api_error.h"
#include "server/chroma_records.h"
#include "server/json_text.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

constexpr int kMaxRankDepth = 64;
constexpr std::uint32_t kDefaultKnnLimit = 16;

[[noreturn]] void refuse(const std::string& message) {
  throw ApiError(400, "Invalid search: " + message);
}

std::string shown(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80);
}

const Json* member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::uint32_t whole_number(const Json& json, const char* what) {
  if (!json.is_number_unsigned() || json.get<std::uint64_t>() > UINT32_MAX) {
    refuse(std::string(what) + ": expected a whole number from 0 to 4294967295, found " +
           shown(json));
  }
  return json.get<std::uint32_t>();
}

std::vector<std::string> texts(const Json& json, const char* what) {
  if (!json.is_array()) refuse(std::string(what) + ": expected an array of texts");
  std::vector<std::string> out;
  for (const Json& text : json) {
    if (!text.is_string()) refuse(std::string(what) + ": expected a text, found " + shown(text));
    out.push_back(text.get<std::string>());
  }
  return out;
}

// Which records take part.
struct Selection {
  std::optional<std::vector<std::string>> ids;
  std::optional<Filter> filter;
};

// {"#id": {"$in": [...]}} may be the whole filter, or a part of its $and.
std::optional<std::vector<std::string>> id_condition(const Json& clause) {
  if (!clause.is_object() || clause.size() != 1 || !clause.contains("#id")) return std::nullopt;
  const Json& condition = clause["#id"];
  if (!condition.is_object() || condition.size() != 1 || !condition.contains("$in")) {
    refuse("filter: '#id' takes {\"$in\": [...]}");
  }
  return texts(condition["$in"], "filter: '#id'");
}

bool mentions_id(const Json& clause) {
  if (clause.is_object() && clause.contains("#id")) return true;
  return clause.is_structured() && std::any_of(clause.begin(), clause.end(),
                                               [](const Json& part) { return mentions_id(part); });
}

Selection parse_filter(const Json& json) {
  Selection selection;
  if (json.is_null() || (json.is_object() && json.empty())) return selection;
  selection.ids = id_condition(json);
  if (selection.ids) return selection;
  Json rest = json;
  if (json.is_object() && json.size() == 1 && json.contains("$and") && json["$and"].is_array()) {
    rest = {{"$and", Json::array()}};
    for (const Json& child : json["$and"]) {
      std::optional<std::vector<std::string>> ids = id_condition(child);
      if (!ids) {
        rest["$and"].push_back(child);
      } else if (!selection.ids) {
        selection.ids = std::move(ids);
      } else {
        const std::set<std::string> also(ids->begin(), ids->end());
        std::erase_if(*selection.ids, [&](const std::string& id) { return !also.contains(id); });
      }
    }
  }
  if (mentions_id(rest)) {
    refuse("filter: '#id' may be the whole filter or a part of its outer $and, and nothing else");
  }
  selection.filter = parse_where(rest.dump(-1, ' ', false, Json::error_handler_t::replace));
  return selection;
}

// Scores by id, and the score of all records that are not named, if they have one.
struct Scores {
  std::unordered_map<std::string, float> named;
  std::optional<float> others;
};

using Operation = std::function<float(float, float)>;

// A record is in the result when both sides know it: by name, or by having a score for the others.
Scores joined(const Scores& left, const Scores& right, const Operation& operation) {
  Scores out;
  if (left.others && right.others) out.others = operation(*left.others, *right.others);
  for (const auto& [id, score] : left.named) {
    if (const auto other = right.named.find(id); other != right.named.end()) {
      out.named[id] = operation(score, other->second);
    } else if (right.others) {
      out.named[id] = operation(score, *right.others);
    }
  }
  if (left.others) {
    for (const auto& [id, score] : right.named) {
      if (!left.named.contains(id)) out.named[id] = operation(*left.others, score);
    }
  }
  return out;
}

class Ranker {
 public:
  Ranker(const Collection& collection, const Selection& selection)
      : collection_(collection), selection_(selection) {}

  Scores rank(const Json& expression, int depth = 0) const {
    if (depth > kMaxRankDepth) refuse("rank: nested too deep");
    if (!expression.is_object() || expression.size() != 1) {
      refuse("rank: expected an object with exactly one key, found " + shown(expression));
    }
    const std::string& name = expression.begin().key();
    const Json& operand = expression.begin().value();
    const auto side = [&](const char* which) {
      if (!operand.is_object() || !operand.contains(which)) {
        refuse("rank: " + name + " takes \"left\" and \"right\"");
      }
      return rank(operand[which], depth + 1);
    };
    if (name == "$val") return {.named = {}, .others = number(operand, "$val")};
    if (name == "$knn") return knn(operand);
    if (name == "$sum") return fold(operand, name, depth, std::plus<>());
    if (name == "$mul") return fold(operand, name, depth, std::multiplies<>());
    if (name == "$max") {
      return fold(operand, name, depth, [](float a, float b) { return std::max(a, b); });
    }
    if (name == "$min") {
      return fold(operand, name, depth, [](float a, float b) { return std::min(a, b); });
    }
    if (name == "$sub") return joined(side("left"), side("right"), std::minus<>());
    if (name == "$div") return joined(side("left"), side("right"), std::divides<>());
    if (name == "$abs")
      return mapped(rank(operand, depth + 1), [](float x) { return std::abs(x); });
    if (name == "$exp")
      return mapped(rank(operand, depth + 1), [](float x) { return std::exp(x); });
    if (name == "$log")
      return mapped(rank(operand, depth + 1), [](float x) { return std::log(x); });
    refuse("rank: unknown operator " + name.substr(0, 40));
  }

 private:
  static float number(const Json& json, const char* what) {
    if (!json.is_number()) {
      refuse(std::string("rank: ") + what + " takes a number, found " + shown(json));
    }
    return json.get<float>();
  }

  Scores fold(const Json& operands, const std::string& name, int depth,
              const Operation& operation) const {
    if (!operands.is_array() || operands.empty()) refuse("rank: " + name + " takes an array");
    Scores result = rank(operands.front(), depth + 1);
    for (std::size_t i = 1; i < operands.size(); ++i) {
      result = joined(result, rank(operands[i], depth + 1), operation);
    }
    return result;
  }

  static Scores mapped(Scores scores, float (*function)(float)) {
    for (auto& [id, score] : scores.named) score = function(score);
    if (scores.others) scores.others = function(*scores.others);
    return scores;
  }

  Scores knn(const Json& json) const {
    if (!json.is_object() || !json.contains("query")) refuse("rank: $knn needs a \"query\"");
    const Json* key = member(json, "key");
    if (json["query"].is_object() || (key && *key != "#embedding")) {
      throw ApiError(501,
                     "Search by sparse vectors is not supported: $knn takes a dense query on "
                     "\"#embedding\"");
    }
    if (!json["query"].is_array()) refuse("rank: $knn: \"query\" is an array of numbers");
    std::vector<float> query;
    for (const Json& component : json["query"]) query.push_back(number(component, "$knn's query"));
    const Json* limit = member(json, "limit");
    const Json* others = member(json, "default");
    const Json* by_rank = member(json, "return_rank");
    if (by_rank && !by_rank->is_boolean()) refuse("rank: \"return_rank\" is true or false");

    QueryOptions options{.k = limit ? whole_number(*limit, "rank: limit") : kDefaultKnnLimit,
                         .ef = 0,
                         .exact = false,
                         .ids = selection_.ids,
                         .filter = selection_.filter,
                         .include = {.documents = false, .metadatas = false}};
    options.k = static_cast<std::uint32_t>(std::min<std::uint64_t>(options.k, collection_.count()));
    Scores scores;
    if (others) scores.others = number(*others, "\"default\"");
    for (const Hit& hit : collection_.query(query, options)) {
      const auto rank = static_cast<float>(scores.named.size());
      scores.named[hit.record.id] = by_rank && by_rank->get<bool>() ? rank : hit.distance;
    }
    return scores;
  }

  const Collection& collection_;
  const Selection& selection_;
};

struct Scored {
  Record record;
  float score = 0;
};

// "group_by": records with equal values of some metadata keys are a group, of which the k first by
// other keys stay.
class Grouping {
 public:
  explicit Grouping(const Json& json) {
    if (!json.is_object()) refuse("group_by: expected an object");
    keys_ = texts(json.value("keys", Json()), "group_by: keys");
    const Json aggregate = json.value("aggregate", Json());
    if (keys_.empty() || !aggregate.is_object() || aggregate.size() != 1) {
      refuse("group_by: expected \"keys\" and one \"aggregate\"");
    }
    const std::string& name = aggregate.begin().key();
    if (name != "$min_k" && name != "$max_k") {
      refuse("group_by: aggregate: expected $min_k or $max_k, found " + name.substr(0, 40));
    }
    largest_ = name == "$max_k";
    const Json& value = aggregate.begin().value();
    if (!value.is_object()) refuse("group_by: " + name + ": expected an object");
    order_ = texts(value.value("keys", Json()), "group_by: aggregate keys");
    k_ = whole_number(value.value("k", Json()), "group_by: k");
    for (const std::string& key : keys_) {
      if (key.starts_with('#')) refuse("group_by: '" + key + "' is not a metadata key");
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
  if (!json->is_object()) refuse("limit: expected an object");
  if (const Json* offset = member(*json, "offset")) page.offset = whole_number(*offset, "offset");
  if (const Json* limit = member(*json, "limit")) page.limit = whole_number(*limit, "limit");
  return page;
}

std::vector<Scored> unranked(const Collection& collection, const Selection& selection,
                             const Page& page, const Include& include) {
  std::vector<Scored> out;
  for (Record& record : collection.get({.ids = selection.ids,
                        .filter = selection.filter,
                        .offset = page.offset,
                        .limit = page.limit,
                        .include = include})) {
    const auto position = static_cast<float>(out.size());
    out.push_back({.record = std::move(record), .score = position});
  }
  return out;
}

std::vector<Scored> ranked(const Collection& collection, const Selection& selection,
                           const Json& rank, const Json* group_by, const Page& page,
                           const Include& include) {
  const Scores scores = Ranker(collection, selection).rank(rank);
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
  if (!json->is_object()) refuse("select: expected an object");
  const Json* keys = member(*json, "keys");
  if (!keys) return select;
  for (std::string& key : texts(*keys, "select: keys")) {
    if (key.starts_with('#') && key != "#document" && key != "#embedding" && key != "#metadata" &&
        key != "#score" && key != "#id") {
      refuse("select: unknown key " + key.substr(0, 40));
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
  if (!search.is_object()) refuse("expected an object in \"searches\"");
  const Json* filter = member(search, "filter");
  const Selection selection = parse_filter(filter ? *filter : Json());
  const Page page = parse_page(member(search, "limit"));
  const Select select = parse_select(member(search, "select"));
  const Include include =
      with_hidden_columns({.documents = select.has("#document"),
                           .metadatas = select.has("#metadata") || !select.fields().empty(),
                           .embeddings = select.has("#embedding")});
  const Json* rank = member(search, "rank");
  const Json* group_by = member(search, "group_by");
  if (group_by && group_by->empty()) group_by = nullptr;
  if (group_by && !rank) refuse("group_by needs a rank");
  std::vector<Scored> records = rank ? ranked(collection, selection, *rank, group_by, page, include)
                                     : unranked(collection, selection, page, include);
  return write(records, select);
}

Json parse_request(const std::string& request_json) {
  check_depth(request_json);
  Json request;
  try {
    request = Json::parse(request_json);
  } catch (const Json::exception& error) {
    throw ApiError(400, std::string("Failed to parse the request body as JSON: ") + error.what());
  }
  const std::string start = "Failed to deserialize the JSON body into the target type: ";
  if (!request.is_object()) {
    throw ApiError(422, start + "invalid type: " + request.type_name() + ", expected a map");
  }
  if (!request.contains("searches")) throw ApiError(422, start + "missing field `searches`");
  if (!request["searches"].is_array()) {
    throw ApiError(422, start + "searches: invalid type: " + request["searches"].type_name() +
                            ", expected a sequence");
  }
  return request;
}

}  // namespace

void check_search_request(const std::string& request_json) { parse_request(request_json); }

std::string search_collection(const Collection& collection, const std::string& request_json) {
  const Json request = parse_request(request_json);
  std::vector<Columns> answers;
  for (const Json& search : request["searches"]) answers.push_back(run(collection, search));
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

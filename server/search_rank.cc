// SPDX-License-Identifier: Apache-2.0
#include "server/search_rank.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "server/api_error.h"
#include "server/search_json.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

constexpr int kMaxRankDepth = 64;
constexpr std::uint32_t kDefaultKnnLimit = 16;

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
  Ranker(const Collection& collection, const std::optional<Filter>& filter)
      : collection_(collection), filter_(filter) {}

  Scores rank(const Json& expression, int depth = 0) const {
    if (depth > kMaxRankDepth) refuse_search("rank: nested too deep");
    if (!expression.is_object() || expression.size() != 1) {
      refuse_search("rank: expected an object with exactly one key, found " + shown(expression));
    }
    const std::string& name = expression.begin().key();
    const Json& operand = expression.begin().value();
    const auto side = [&](const char* which) {
      if (!operand.is_object() || !operand.contains(which)) {
        refuse_search("rank: " + name + " takes \"left\" and \"right\"");
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
    refuse_search("rank: unknown operator " + name.substr(0, 40));
  }

 private:
  static float number(const Json& json, const char* what) {
    if (!json.is_number()) {
      refuse_search(std::string("rank: ") + what + " takes a number, found " + shown(json));
    }
    return json.get<float>();
  }

  Scores fold(const Json& operands, const std::string& name, int depth,
              const Operation& operation) const {
    if (!operands.is_array() || operands.empty())
      refuse_search("rank: " + name + " takes an array");
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
    if (!json.is_object() || !json.contains("query")) refuse_search("rank: $knn needs a \"query\"");
    const Json* key = find_member(json, "key");
    if (json["query"].is_object() || (key && *key != "#embedding")) {
      throw ApiError(501,
                     "Search by sparse vectors is not supported: $knn takes a dense query on "
                     "\"#embedding\"");
    }
    if (!json["query"].is_array()) refuse_search("rank: $knn: \"query\" is an array of numbers");
    std::vector<float> query;
    for (const Json& component : json["query"]) query.push_back(number(component, "$knn's query"));
    const Json* limit = find_member(json, "limit");
    const Json* others = find_member(json, "default");
    const Json* by_rank = find_member(json, "return_rank");
    if (by_rank && !by_rank->is_boolean()) refuse_search("rank: \"return_rank\" is true or false");

    QueryOptions options{.k = limit ? whole_number(*limit, "rank: limit") : kDefaultKnnLimit,
                         .ef = 0,
                         .exact = false,
                         .ids = {},
                         .filter = filter_,
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
  const std::optional<Filter>& filter_;
};

}  // namespace

Scores rank_records(const Collection& collection, const std::optional<Filter>& filter,
                    const Json& expression) {
  return Ranker(collection, filter).rank(expression);
}

}  // namespace vkb

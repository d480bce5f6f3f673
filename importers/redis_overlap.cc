// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_overlap.h"

#include <algorithm>
#include <cmath>

#include "importers/redis_record.h"

namespace vkb {
namespace {

constexpr std::size_t kTop = kOverlapTop;
// Hits that are as near as the reference's last one are as good: both sides compute in float32,
// and copies of a text have equal distances.
constexpr float kTie = 2e-6F;

Neighbours ask(const Collection& collection, const OverlapQuery& query) {
  QueryOptions options;
  options.k = kTop;
  options.include = {.documents = false, .metadatas = false, .origins = true};
  Neighbours out;
  for (const Hit& hit : collection.query(query.vector, options)) {
    // A record that was not imported is nobody's neighbour in the source.
    if (hit.record.origin) out.push_back({read_origin(hit.record).key, hit.distance});
  }
  return out;
}

// A condition that every key of the index meets, which makes RediSearch compare with all vectors:
// HYBRID_POLICY is refused beside "*".
std::string match_all(const IndexInfo& index) {
  for (const IndexAttribute& attribute : index.attributes) {
    if (attribute.type == "TAG") return "(-@" + attribute.attribute + ":{vkb_no_such_value})";
  }
  for (const IndexAttribute& attribute : index.attributes) {
    if (attribute.type == "TEXT") return "(-@" + attribute.attribute + ":vkbnosuchvalue)";
    if (attribute.type == "NUMERIC") return "(-@" + attribute.attribute + ":[inf (inf])";
  }
  return "";
}

class RediSearch {
 public:
  RediSearch(RedisClient& client, const RedisPlan& plan, std::size_t to_leave_out)
      : client_(client), index_(*plan.index) {
    for (const IndexAttribute* vector : index_.vectors()) {
      const bool path = vector->identifier == plan.mapping.vector_field ||
                        vector->identifier.starts_with("$." + plan.mapping.vector_field);
      if (path) vector_ = vector;
    }
    exact_k_ = kTop + std::min<std::size_t>(to_leave_out, 500);
  }

  // A FLAT index always answers exactly; an HNSW index when it can be given a filter.
  bool can_be_exact() const {
    return vector_ != nullptr && (vector_->algorithm == "FLAT" || !match_all(index_).empty());
  }

  Reply ask(const std::string& blob, bool exact) const {
    const std::size_t k = exact ? exact_k_ : kTop;
    const bool filter = exact && vector_->algorithm != "FLAT";
    const std::string text = (filter ? match_all(index_) : "*") + "=>[KNN " + std::to_string(k) +
                             " @" + vector_->attribute + " $vkb_vector" +
                             (filter ? " HYBRID_POLICY ADHOC_BF" : "") + " AS vkb_distance]";
    return client_.ask({"FT.SEARCH",       index_.name,    text,     "PARAMS",  "2",
                        "vkb_vector",      blob,           "RETURN", "1",       "vkb_distance",
                        "SORTBY",          "vkb_distance", "ASC",    "LIMIT",   "0",
                        std::to_string(k), "TIMEOUT",      "60000",  "DIALECT", "2"});
  }

  // Nearest first; keys that `accepted` does not admit are left out.
  static Neighbours read(const Reply& reply,
                         const std::function<bool(const std::string&)>& accepted) {
    Neighbours out;
    for (std::size_t at = 1; at + 1 < reply.elements.size(); at += 2) {
      const std::string& key = reply.elements[at].text;
      const std::vector<Reply>& row = reply.elements[at + 1].elements;
      const auto distance = row.size() == 2 ? row[1].number() : std::nullopt;
      if (distance && accepted(key)) out.push_back({key, static_cast<float>(*distance)});
    }
    // "nan" among the distances leaves the rest in no order.
    const auto nearer = [](const auto& a, const auto& b) { return a.distance < b.distance; };
    std::stable_sort(out.begin(), out.end(), nearer);
    out.resize(std::min(out.size(), kTop));
    return out;
  }

 private:
  RedisClient& client_;
  const IndexInfo& index_;
  const IndexAttribute* vector_ = nullptr;
  std::size_t exact_k_;
};

// The part of `reference` that `found` has, ties counted as found.
double overlap(const Neighbours& found, const Neighbours& reference, bool ties) {
  if (reference.empty()) return found.empty() ? 1 : 0;
  const float last = reference.back().distance;
  const float tie = ties ? last + kTie * std::max(1.0F, std::abs(last)) : -INFINITY;
  const auto is_right = [&](const RedisNeighbour& hit) {
    return hit.distance <= tie ||
           std::any_of(reference.begin(), reference.end(),
                       [&](const RedisNeighbour& other) { return other.key == hit.key; });
  };
  const auto right = std::count_if(found.begin(), found.end(), is_right);
  return std::min(1.0, static_cast<double>(right) / static_cast<double>(reference.size()));
}

}  // namespace

std::vector<Neighbours> ask_collection(const Collection& collection,
                                       const std::vector<OverlapQuery>& queries) {
  std::vector<Neighbours> answers;
  for (const OverlapQuery& query : queries) answers.push_back(ask(collection, query));
  return answers;
}

std::optional<AnswerOverlap> compare_with_index(RedisClient& client, const RedisPlan& plan,
                                                const IndexTask& task,
                                                const ProgressFunction& progress) {
  const std::vector<OverlapQuery>& queries = task.queries;
  const bool have_blobs = std::none_of(
      queries.begin(), queries.end(), [](const OverlapQuery& query) { return query.blob.empty(); });
  if (queries.empty() || !have_blobs || !plan.index || !plan.index->complete) return std::nullopt;
  // Room for what will be left out: keys that are no records, and those without a distance.
  const std::uint64_t extra = task.poisoned_count + plan.index->num_docs -
                              std::min(plan.index->num_docs, task.accepted_count);
  const RediSearch search(client, plan, extra);
  if (!search.can_be_exact()) return std::nullopt;
  double exact_sum = 0;
  double default_sum = 0;
  double source_sum = 0;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const Reply usual_reply = search.ask(queries[i].blob, false);
    const Reply exact_reply = search.ask(queries[i].blob, true);
    if (usual_reply.is_error() || exact_reply.is_error()) return std::nullopt;
    const Neighbours usual = RediSearch::read(usual_reply, task.accepted);
    const Neighbours exact = RediSearch::read(exact_reply, task.accepted);
    exact_sum += overlap(task.ours[i], exact, true);
    default_sum += overlap(task.ours[i], usual, false);
    source_sum += overlap(usual, exact, true);
    if (progress && !progress({.step = "ask", .done = i + 1, .total = queries.size()})) {
      return std::nullopt;
    }
  }
  const auto count = static_cast<double>(queries.size());
  return AnswerOverlap{.queries = queries.size(),
                       .top10_overlap = exact_sum / count,
                       .reference = "redis",
                       .top10_overlap_default = default_sum / count,
                       .source_recall_default = source_sum / count};
}

AnswerOverlap compare_with_exact(const std::vector<Neighbours>& ours,
                                 const std::vector<Neighbours>& exact) {
  double sum = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) sum += overlap(ours[i], exact[i], true);
  AnswerOverlap out;
  out.queries = ours.size();
  out.top10_overlap = sum / static_cast<double>(ours.size());
  out.reference = "exact";
  return out;
}

}  // namespace vkb

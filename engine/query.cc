// SPDX-License-Identifier: Apache-2.0
#include "engine/query.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/explanation.h"
#include "engine/tuning.h"
#include "storage/error.h"

namespace vkb {
namespace {

// accepted: null for all rows. plan: set to its name in an Explanation. An answer for each of
// `queries`, of which there are at most kWalksAtOnce.
std::vector<std::vector<Neighbour>> search_segment(const SegmentView& view,
                                                   std::span<const PreparedQuery> queries,
                                                   const QueryOptions& options, std::uint32_t ef,
                                                   const CompiledFilter::Slots* accepted,
                                                   SearchCounts* counts, std::string_view& plan) {
  const Segment& segment = *view.segment;
  RowSelection selection{.dead = view.dead.get(), .accepted = nullptr};
  bool few = false;
  plan = "none";
  std::vector<std::vector<Neighbour>> found(queries.size());
  if (accepted) {
    if (accepted->count == 0) return found;
    selection.accepted = &accepted->accepted;
    few = accepted->count * kExactShare <= segment.row_count();
  }
  const auto flat = [&](std::size_t i) {
    found[i] = search_flat(segment, queries[i], options.k, options.exact, selection, counts);
  };
  if (options.exact || few || !segment.has_graph() || !has_codes(segment)) {
    plan = options.exact ? "exact" : "flat";
    for (std::size_t i = 0; i < queries.size(); ++i) flat(i);
    return found;
  }
  plan = accepted ? "filtered graph" : "graph";
  found = search_graph(segment, queries, options.k, ef, selection, counts);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    // Rows that no walk reaches must not be missing where there is room for them.
    if (found[i].size() >= std::min<std::uint64_t>(options.k, view.live_count())) continue;
    plan = "flat";
    flat(i);
  }
  return found;
}

// How many rows of a segment that are not removed `accepted` has.
std::uint64_t selected_count(const SegmentView& view, const CompiledFilter::Slots* accepted) {
  if (!accepted) return view.live_count();
  if (!view.dead) return accepted->count;
  std::uint64_t count = 0;
  for (std::uint32_t slot = 0; slot < view.segment->row_count(); ++slot) {
    count += accepted->accepted.test(slot) && !view.dead->test(slot);
  }
  return count;
}

void check_query(std::span<const float> query, std::uint32_t dim) {
  if (query.size() != dim) {
    throw Error(ErrorCode::invalid_argument, "Collection expecting embedding with dimension of " +
                                                 std::to_string(dim) + ", got " +
                                                 std::to_string(query.size()));
  }
  for (const float component : query) {
    if (!std::isfinite(component)) {
      throw Error(ErrorCode::invalid_argument, "query: holds NaN or infinity");
    }
  }
}

}  // namespace

std::optional<Selection> select_rows(Database& db, std::int64_t collection_id, const Filter* filter,
                                     std::optional<std::span<const std::string>> ids) {
  if (!ids && !filter) return std::nullopt;
  if (!ids) return select_rows(db, collection_id, *filter);
  Selection named;
  Records records(db, collection_id);
  for (const std::string& id : *ids) {
    if (const auto row_id = records.find(id)) named.rows.add(*row_id);
  }
  if (!filter || named.rows.empty()) return named;
  const Selection matches = select_rows(db, collection_id, *filter);
  matches.complement ? named.rows -= matches.rows : named.rows &= matches.rows;
  return named;
}

Record read_record(Records& records, std::int64_t row_id, const Include& include,
                   const Snapshot* snapshot, PackedMetadata* packed) {
  Record record;
  std::optional<std::string_view> known_id;
  const bool only_id =
      !include.documents && !include.metadatas && !include.uris && !include.origins;
  if (only_id && snapshot) known_id = snapshot->record_id(row_id);
  if (known_id) {
    record.id = *known_id;
  } else {
    RecordRow row = records.read(row_id,
                                 {.document = include.documents,
                                  .uri = include.uris,
                                  .metadata = include.metadatas,
                                  .origin = include.origins},
                                 packed);
    record.id = std::move(row.id);
    record.document = std::move(row.document);
    record.metadata = std::move(row.metadata);
    record.uri = std::move(row.uri);
    record.origin = std::move(row.origin);
  }
  if (include.embeddings) {
    record.embedding = snapshot->vector_of(row_id);
    if (!record.embedding) {
      throw Error(ErrorCode::corruption,
                  record_name(record.id) + " has no vector; run `vkb check --deep`");
    }
  }
  return record;
}

namespace {

// The filter of the options, compiled for the snapshot; null when they have none.
std::shared_ptr<const CompiledFilter> compiled_filter(Database& db, OpenCollection& collection,
                                                      const CollectionState& state,
                                                      const Snapshot& snapshot,
                                                      const QueryOptions& options) {
  const Filter* filter = options.filter ? &*options.filter : nullptr;
  if (options.ids || !filter) {
    std::optional<std::span<const std::string>> ids;
    if (options.ids) ids = *options.ids;
    std::optional<Selection> rows = select_rows(db, state.collection_id, filter, ids);
    if (!rows) return nullptr;
    return std::make_shared<const CompiledFilter>(compile_filter(*std::move(rows), snapshot));
  }
  const std::optional<std::int64_t> changes = collection_changes(db, state.collection_id);
  const FilterCache::Version version{changes.value_or(0), state.manifest_version};
  if (changes) {
    if (auto known = collection.filters.find(*filter, version)) {
      if (options.explain) options.explain->filter_from_cache = true;
      return known;
    }
  }
  auto compiled = std::make_shared<const CompiledFilter>(
      compile_filter(select_rows(db, state.collection_id, *filter), snapshot));
  if (changes) {
    collection.filters.put(*filter, version, compiled,
                           collection.budget.cached_filters(state.record_count));
  }
  return compiled;
}

// All vectors of one call ask this.
struct Question {
  const Snapshot& snapshot;
  const QueryOptions& options;
  std::uint32_t ef;
  const CompiledFilter* filter;  // null: all rows
};

// An answer for each of `queries`, of which there are at most kWalksAtOnce.
std::vector<std::vector<Neighbour>> search_snapshot(const Question& question,
                                                    std::span<const PreparedQuery> queries) {
  const auto& [snapshot, options, ef, filter] = question;
  std::vector<std::vector<Neighbour>> nearest;
  for (const PreparedQuery& query : queries) {
    nearest.push_back(snapshot.memtable.search(query, options.k, filter ? &filter->rows : nullptr));
  }
  for (std::size_t i = 0; i < snapshot.segments.size(); ++i) {
    Stopwatch watch(options.explain != nullptr);
    SearchCounts counts;
    std::string_view plan;
    std::vector<std::vector<Neighbour>> found =
        search_segment(snapshot.segments[i], queries, options, ef,
                       filter ? &filter->segments[i] : nullptr, &counts, plan);
    if (options.explain) {
      Explanation::Segment& explained = options.explain->segments[i];
      explained.search_us += watch.lap();
      explained.plan = plan;
      explained.estimated += counts.estimated;
      explained.ranked += counts.ranked;
      explained.compared += counts.compared;
    }
    for (std::size_t q = 0; q < queries.size(); ++q) {
      if (nearest[q].empty()) {
        nearest[q] = std::move(found[q]);
        continue;
      }
      std::vector<Neighbour> merged;
      std::merge(nearest[q].begin(), nearest[q].end(), found[q].begin(), found[q].end(),
                 std::back_inserter(merged));
      if (merged.size() > options.k) merged.resize(options.k);
      nearest[q] = std::move(merged);
    }
  }
  return nearest;
}

// What can be said before searching.
void begin_explanation(const Question& question) {
  Explanation& explanation = *question.options.explain;
  explanation.ef = question.ef;
  explanation.log_rows = question.snapshot.memtable.live_count();
  explanation.has_filter = question.filter != nullptr;
  for (std::size_t i = 0; i < question.snapshot.segments.size(); ++i) {
    const SegmentView& view = question.snapshot.segments[i];
    explanation.segments.push_back(
        {.file = view.row.file,
         .rows = view.live_count(),
         .selected =
             selected_count(view, question.filter ? &question.filter->segments[i] : nullptr),
         .plan = {}});
  }
}

}  // namespace

std::vector<std::vector<Hit>> run_queries(Database& db, OpenCollection& collection,
                                          std::span<const std::span<const float>> queries,
                                          const QueryOptions& options) {
  Explanation unasked;
  Explanation& explanation = options.explain ? *options.explain : unasked;
  explanation = Explanation{};
  Stopwatch watch(options.explain != nullptr);
  std::vector<std::vector<Hit>> answers(queries.size());
  const CollectionState state = collection.state(db);
  if (!state.dim) return answers;
  for (const std::span<const float> query : queries) check_query(query, *state.dim);
  if (options.k == 0) return answers;
  const std::shared_ptr<const Snapshot> snapshot = collection.snapshot(db, state);
  explanation.snapshot_us = watch.lap();
  const std::shared_ptr<const CompiledFilter> filter =
      compiled_filter(db, collection, state, *snapshot, options);
  explanation.filter_us = watch.lap();
  const Question question{.snapshot = *snapshot,
                          .options = options,
                          .ef = std::max(options.ef > 0 ? options.ef : state.ef_search, options.k),
                          .filter = filter.get()};
  if (options.explain) begin_explanation(question);
  Records records(db, state.collection_id);
  for (std::size_t first = 0; first < queries.size(); first += kWalksAtOnce) {
    watch.lap();
    const auto some = queries.subspan(first, std::min(kWalksAtOnce, queries.size() - first));
    std::vector<PreparedQuery> prepared;
    prepared.reserve(some.size());
    for (const auto query : some) prepared.emplace_back(query, static_cast<Space>(state.space));
    const std::vector<std::vector<Neighbour>> nearest = search_snapshot(question, prepared);
    explanation.search_us += watch.lap();
    for (std::size_t i = 0; i < some.size(); ++i) {
      std::vector<Hit>& hits = answers[first + i];
      hits.reserve(nearest[i].size());
      for (const Neighbour& neighbour : nearest[i]) {
        hits.push_back({.record = read_record(records, static_cast<std::int64_t>(neighbour.row_id),
                                              options.include, snapshot.get()),
                        .distance = neighbour.distance});
      }
    }
    explanation.records_us += watch.lap();
  }
  return answers;
}

}  // namespace vkb

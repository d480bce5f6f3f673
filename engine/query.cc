// SPDX-License-Identifier: Apache-2.0
#include "engine/query.h"

#include <algorithm>
#include <cmath>

#include "engine/tuning.h"
#include "storage/error.h"

namespace vkb {
namespace {

// The first position from `at` on whose id is not below `wanted`.
std::size_t find_from(std::span<const std::uint64_t> ids, std::size_t at, std::uint64_t wanted) {
  if (at == ids.size() || ids[at] >= wanted) return at;
  // Ids that were given out together follow each other without gaps, mostly.
  const std::uint64_t guess = at + (wanted - ids[at]);
  if (guess < ids.size() && ids[guess] == wanted) return guess;
  // Galloping: short steps when many rows are accepted, long ones when few are.
  std::size_t step = 1;
  std::size_t from = at;
  while (ids.size() - at > step && ids[at + step] < wanted) {
    from = at + step;
    step *= 2;
  }
  const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(from);
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(std::min(at + step + 1, ids.size()));
  return static_cast<std::size_t>(std::lower_bound(begin, end, wanted) - ids.begin());
}

// The accepted rows of one segment, as slots. nothing: none of them is here.
std::optional<Bitmap> accepted_slots(const Segment& segment, const Selection& accepted,
                                     std::size_t& count) {
  Bitmap slots(segment.row_count(), accepted.complement);
  const std::span<const std::uint64_t> ids = segment.sorted_row_ids();
  const std::span<const std::uint32_t> slot_of = segment.sorted_slots();
  count = 0;
  std::size_t at = 0;  // ids before it are smaller than the rows to come
  accepted.rows.visit([&](std::span<const std::int64_t> rows) {
    for (const std::int64_t row_id : rows) {
      at = find_from(ids, at, static_cast<std::uint64_t>(row_id));
      if (at == ids.size()) return false;
      if (ids[at] != static_cast<std::uint64_t>(row_id)) continue;
      const std::uint32_t slot = slot_of[at];
      if (slot >= segment.row_count()) {
        throw Error(ErrorCode::corruption, "segment " + segment.path() + ": sorted_slots holds " +
                                               std::to_string(slot) + ", it has " +
                                               std::to_string(segment.row_count()) + " rows");
      }
      accepted.complement ? slots.reset(slot) : slots.set(slot);
      ++count;
    }
    return true;
  });
  if (accepted.complement) count = segment.row_count() - count;
  if (count == 0) return std::nullopt;
  return slots;
}

std::vector<Neighbour> search_segment(const SegmentView& view, const PreparedQuery& query,
                                      const QueryOptions& options, std::uint32_t ef,
                                      const Selection* accepted) {
  const Segment& segment = *view.segment;
  RowSelection selection{.dead = view.dead.get(), .accepted = nullptr};
  std::optional<Bitmap> slots;
  bool few = false;
  if (accepted) {
    std::size_t count = 0;
    slots = accepted_slots(segment, *accepted, count);
    if (!slots) return {};
    selection.accepted = &*slots;
    few = count * kExactShare <= segment.row_count();
  }
  if (options.exact || few || !segment.has_graph()) {
    return search_flat(segment, query, options.k, options.exact, selection);
  }
  std::vector<Neighbour> found = search_graph(segment, query, options.k, ef, selection);
  // Rows that no walk reaches must not be missing where there is room for them.
  if (found.size() < std::min<std::uint64_t>(options.k, view.live_count())) {
    found = search_flat(segment, query, options.k, false, selection);
  }
  return found;
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

std::optional<RowSet> matching_rows(Database& db, std::int64_t collection_id, const Filter* filter,
                                    std::optional<std::span<const std::string>> ids) {
  if (filter && !ids) return evaluate(db, collection_id, *filter);
  std::optional<Selection> selection = select_rows(db, collection_id, filter, ids);
  if (!selection) return std::nullopt;
  return std::move(selection->rows);  // ids are no complement
}

Record read_record(Records& records, std::int64_t row_id, const Include& include,
                   const Snapshot* snapshot) {
  RecordRow row = records.read(row_id, {.document = include.documents,
                                        .uri = include.uris,
                                        .metadata = include.metadatas,
                                        .origin = include.origins});
  Record record{.id = std::move(row.id),
                .embedding = std::nullopt,
                .document = std::move(row.document),
                .metadata = std::move(row.metadata),
                .uri = std::move(row.uri),
                .origin = std::move(row.origin)};
  if (include.embeddings) {
    record.embedding = snapshot->vector_of(row_id);
    if (!record.embedding) {
      throw Error(ErrorCode::corruption,
                  "record '" + record.id + "' has no vector; run `vkb check --deep`");
    }
  }
  return record;
}

namespace {

std::vector<Neighbour> search_snapshot(const Snapshot& snapshot, const PreparedQuery& query,
                                       const QueryOptions& options, std::uint32_t ef,
                                       const Selection* accepted) {
  std::vector<Neighbour> nearest = snapshot.memtable.search(query, options.k, accepted);
  for (const SegmentView& view : snapshot.segments) {
    const std::vector<Neighbour> found = search_segment(view, query, options, ef, accepted);
    std::vector<Neighbour> merged;
    std::merge(nearest.begin(), nearest.end(), found.begin(), found.end(),
               std::back_inserter(merged));
    if (merged.size() > options.k) merged.resize(options.k);
    nearest = std::move(merged);
  }
  return nearest;
}

}  // namespace

std::vector<std::vector<Hit>> run_queries(Database& db, OpenCollection& collection,
                                          std::span<const std::vector<float>> queries,
                                          const QueryOptions& options) {
  std::vector<std::vector<Hit>> answers(queries.size());
  const CollectionRow row = collection.row(db);
  if (!row.dim) return answers;
  for (const std::vector<float>& query : queries) check_query(query, *row.dim);
  const Filter* filter = options.filter ? &*options.filter : nullptr;
  std::optional<std::span<const std::string>> ids;
  if (options.ids) ids = *options.ids;
  const std::optional<Selection> accepted = select_rows(db, row.collection_id, filter, ids);
  if (options.k == 0) return answers;
  if (accepted && accepted->rows.empty() && !accepted->complement) return answers;

  const std::shared_ptr<const Snapshot> snapshot = collection.snapshot(db, row);
  const std::uint32_t ef = std::max(options.ef > 0 ? options.ef : row.ef_search, options.k);
  Records records(db, row.collection_id);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const PreparedQuery prepared(queries[i], static_cast<Space>(row.space));
    for (const Neighbour& neighbour :
         search_snapshot(*snapshot, prepared, options, ef, accepted ? &*accepted : nullptr)) {
      answers[i].push_back(
          {.record = read_record(records, static_cast<std::int64_t>(neighbour.row_id),
                                 options.include, snapshot.get()),
           .distance = neighbour.distance});
    }
  }
  return answers;
}

}  // namespace vkb

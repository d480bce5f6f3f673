// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <future>
#include <limits>

#include "engine/compaction.h"
#include "engine/explanation.h"
#include "engine/open_store.h"
#include "engine/query.h"
#include "engine/record_writer.h"
#include "engine/tuning.h"
#include "engine/vkb.h"
#include "engine/work_beside.h"
#include "storage/document_index.h"
#include "storage/error.h"
#include "storage/vector_log.h"

namespace vkb {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
// Rows that for_each reads at a time. Their vectors are taken out of memory then: each brings in
// some 64 KiB around it.
constexpr std::uint64_t kVisitRows = 500;

// A log that takes more memory than it may is sealed here: maintenance is too far behind, or waits
// for a merge, as the writer then does.
void keep_log_short(OpenStore& store, OpenCollection& collection) {
  const bool is_long = store.read([&](Database& db) {
    const CollectionRow row = collection.row(db);
    return row.dim && count_log(db, row.collection_id) > store.budget().log_rows(*row.dim);
  });
  if (!is_long) return;
  const std::scoped_lock reshape(collection.reshape_mutex);
  const OpenStore::WriterHold hold(store);
  seal(store, collection);
}

// Runs `change` on a RecordWriter in one transaction, then lets maintenance look.
template <typename Change>
auto change_records(OpenStore& store, const std::shared_ptr<OpenCollection>& collection,
                    Change change) {
  if (store.budget().is_limited()) keep_log_short(store, *collection);
  const auto result = store.write([&](Database& db) {
    RecordWriter writer(db, *collection);
    auto changed = change(db, writer);
    writer.finish();
    store.files().reached("write_before_commit");
    return changed;
  });
  store.files().reached("write_committed");
  store.notify(collection);
  return result;
}

void check_all(std::span<const Record> records) {
  for (const Record& record : records) check_record(record);
}

std::string_view scalar_name(ValueKind kind) {
  switch (kind) {
    case ValueKind::text:
    case ValueKind::text_array:
      return "string";
    case ValueKind::integer:
    case ValueKind::integer_array:
      return "int";
    case ValueKind::floating:
    case ValueKind::float_array:
      return "float";
    case ValueKind::boolean:
    case ValueKind::boolean_array:
      return "bool";
  }
  return "unknown";
}

// Records on their way to for_each's caller.
struct Page {
  std::vector<std::int64_t> rows;
  std::vector<Record> records;
  std::vector<PackedMetadata> packed;
};

Page read_page(Records& records, std::int64_t after, const Include& include,
               const Snapshot* snapshot) {
  Page page{.rows = records.row_ids(after, 0, kVisitRows), .records = {}, .packed = {}};
  for (const std::int64_t row_id : page.rows) {
    page.records.push_back(
        read_record(records, row_id, include, snapshot, &page.packed.emplace_back()));
  }
  if (snapshot) {
    for (const SegmentView& view : snapshot->segments) view.segment->release_rows();
  }
  return page;
}

// path: of the database.
std::vector<Record> unpacked(Page page, const std::string& path) {
  for (std::size_t i = 0; i < page.records.size(); ++i) {
    page.records[i].metadata = unpack(page.packed[i], path, page.records[i].id);
  }
  return std::move(page.records);
}

void describe_segments(const Snapshot& snapshot, InfoDetail detail, CollectionInfo& info) {
  info.unsealed_count = snapshot.memtable.live_count();
  for (const SegmentView& view : snapshot.segments) {
    CollectionInfo::Segment segment{.file = view.row.file,
                                    .row_count = view.row.row_count,
                                    .tombstone_count = view.dead_count,
                                    .byte_count = view.row.byte_count,
                                    .resident_bytes = detail >= InfoDetail::residency
                                                          ? view.segment->file().resident_bytes()
                                                          : 0,
                                    .has_graph = view.segment->has_graph(),
                                    .sections = {}};
    for (const SectionEntry& section : view.segment->sections()) {
      segment.sections.emplace_back(to_string(static_cast<SectionKind>(section.kind)),
                                    section.bytes);
    }
    info.tombstone_count += view.dead_count;
    info.segments.push_back(std::move(segment));
  }
}

// What a compaction makes one segment of each: all segments, or as many at a time as have so many
// live rows. Those that are as they should be alone stay.
std::vector<std::vector<SegmentView>> groups_to_merge(const Snapshot& snapshot,
                                                      std::uint64_t most_rows) {
  std::vector<SegmentView> by_size = snapshot.segments;
  std::ranges::stable_sort(by_size, {}, &SegmentView::live_count);
  std::vector<std::vector<SegmentView>> groups;
  std::uint64_t rows = 0;
  for (const SegmentView& view : by_size) {
    rows += view.live_count();
    if (groups.empty() || rows > most_rows) {
      groups.emplace_back();
      rows = view.live_count();
    }
    groups.back().push_back(view);
  }
  for (std::vector<SegmentView>& group : groups) {
    std::ranges::sort(group, {}, [](const SegmentView& view) { return view.row.segment_id; });
  }
  std::erase_if(groups, [](const std::vector<SegmentView>& group) {
    const SegmentView& only = group.front();
    return group.size() == 1 && only.dead_count == 0 &&
           only.segment->header().format_version == kSegmentFormatVersion &&
           (only.row.has_graph || only.row.row_count < kGraphMinRows);
  });
  return groups;
}

std::vector<std::vector<Hit>> ask(OpenStore& store, OpenCollection& collection,
                                  std::span<const std::span<const float>> queries,
                                  const QueryOptions& options) {
  Stopwatch watch(options.explain != nullptr);
  auto answers =
      store.read([&](Database& db) { return run_queries(db, collection, queries, options); });
  if (options.explain) options.explain->total_us = watch.lap();
  return answers;
}

}  // namespace

Collection::Collection(std::shared_ptr<OpenStore> store, std::shared_ptr<OpenCollection> open)
    : store_(std::move(store)), open_(std::move(open)) {}

const std::string& Collection::uuid() const noexcept { return open_->uuid; }

void Collection::add(std::span<const Record> records) {
  check_all(records);
  change_records(*store_, open_, [&](Database&, RecordWriter& writer) {
    for (const Record& record : records) writer.add(record);
    return true;
  });
}

void Collection::upsert(std::span<const Record> records) {
  check_all(records);
  change_records(*store_, open_, [&](Database&, RecordWriter& writer) {
    for (const Record& record : records) writer.upsert(record);
    return true;
  });
}

void Collection::update(std::span<const Record> records) {
  check_all(records);
  change_records(*store_, open_, [&](Database&, RecordWriter& writer) {
    for (const Record& record : records) writer.update(record);
    return true;
  });
}

std::uint64_t Collection::remove(std::span<const std::string> ids) {
  return change_records(*store_, open_, [&](Database&, RecordWriter& writer) {
    std::uint64_t removed = 0;
    for (const std::string& id : ids) {
      if (const auto row_id = writer.records().find(id)) {
        writer.remove(*row_id);
        ++removed;
      }
    }
    return removed;
  });
}

std::uint64_t Collection::remove(const Filter& filter, std::optional<std::uint64_t> limit,
                                 std::optional<std::span<const std::string>> ids) {
  return change_records(*store_, open_, [&](Database& db, RecordWriter& writer) {
    const Selection matches = select_rows(db, open_->collection_id, &filter, ids).value();
    const std::vector<std::int64_t> rows =
        list_rows(db, open_->collection_id, matches, 0, limit.value_or(kNoLimit));
    for (const std::int64_t row_id : rows) writer.remove(row_id);
    return static_cast<std::uint64_t>(rows.size());
  });
}

std::uint64_t Collection::count() const {
  return store_->read([&](Database& db) { return open_->state(db).record_count; });
}

std::vector<Record> Collection::get(const GetOptions& options) const {
  return store_->read([&](Database& db) {
    const CollectionRow row = open_->row(db);
    const Filter* filter = options.filter ? &*options.filter : nullptr;
    std::optional<std::span<const std::string>> ids;
    if (options.ids) ids = *options.ids;
    Records records(db, row.collection_id);
    const std::uint64_t limit = options.limit.value_or(kNoLimit);
    const auto matches = select_rows(db, row.collection_id, filter, ids);
    const std::vector<std::int64_t> rows =
        matches ? list_rows(db, row.collection_id, *matches, options.offset, limit)
                : records.row_ids(0, options.offset, limit);
    std::shared_ptr<const Snapshot> snapshot;
    if (options.include.embeddings) snapshot = open_->snapshot(db, row);
    std::vector<Record> out;
    out.reserve(rows.size());
    for (const std::int64_t row_id : rows) {
      out.push_back(read_record(records, row_id, options.include, snapshot.get()));
    }
    return out;
  });
}

void Collection::for_each(const Include& include,
                          const std::function<bool(Record&&)>& visit) const {
  store_->read([&](Database& db) {
    const CollectionRow row = open_->row(db);
    std::shared_ptr<const Snapshot> snapshot;
    if (include.embeddings) snapshot = open_->snapshot(db, row);
    Records records(db, row.collection_id);
    // One page is read and the one before it visited while the one between is unpacked, which takes
    // longest.
    std::future<std::vector<Record>> unpacking;
    Page page = read_page(records, 0, include, snapshot.get());
    while (unpacking.valid() || !page.records.empty()) {
      std::vector<Record> ready;
      if (unpacking.valid()) ready = unpacking.get();
      if (!page.records.empty()) {
        const std::int64_t after = page.rows.back();
        unpacking = beside_or_later([page = std::move(page), path = db.path()]() mutable {
          return unpacked(std::move(page), path);
        });
        page = read_page(records, after, include, snapshot.get());
      }
      for (Record& record : ready) {
        if (!visit(std::move(record))) return;
      }
    }
  });
}

std::vector<Hit> Collection::query(std::span<const float> query,
                                   const QueryOptions& options) const {
  return std::move(ask(*store_, *open_, std::span(&query, 1), options).front());
}

std::vector<std::vector<Hit>> Collection::query_batch(std::span<const std::vector<float>> queries,
                                                      const QueryOptions& options) const {
  const std::vector<std::span<const float>> spans(queries.begin(), queries.end());
  return ask(*store_, *open_, spans, options);
}

CollectionInfo Collection::info(InfoDetail detail) const {
  return store_->read([&](Database& db) {
    const CollectionRow row = open_->row(db);
    CollectionInfo info{.name = row.name,
                        .uuid = row.uuid,
                        .tenant = row.tenant,
                        .database = row.database,
                        .options = {.space = static_cast<Space>(row.space),
                                    .dim = row.dim,
                                    .m = row.m,
                                    .ef_construction = row.ef_construction,
                                    .ef_search = row.ef_search,
                                    .model = row.model,
                                    .metadata = {},
                                    .extra = row.extra},
                        .record_count = row.record_count,
                        .unsealed_count = 0,
                        .tombstone_count = 0,
                        .metadata_keys = {},
                        .segments = {}};
    if (row.metadata) info.options.metadata = parse_metadata(*row.metadata);
    for (auto& [key, kind] : metadata_keys(db, row.collection_id)) {
      info.metadata_keys.emplace_back(std::move(key), scalar_name(kind));
    }
    if (detail >= InfoDetail::segments) {
      describe_segments(*open_->snapshot(db, row), detail, info);
    }
    return info;
  });
}

void Collection::modify(const Changes& changes) {
  store_->write([&](Database& db) {
    CollectionRow row = open_->row(db);
    if (changes.name && *changes.name != row.name) {
      check_name("collection", *changes.name);
      if (find_collection(db, row.tenant, row.database, *changes.name)) {
        throw Error(ErrorCode::already_exists, "Collection [" + *changes.name + "] already exists");
      }
      row.name = *changes.name;
    }
    if (changes.metadata) {
      row.metadata.reset();
      if (!changes.metadata->empty()) row.metadata = to_json(*changes.metadata);
    }
    if (changes.ef_search) {
      check_ef_search(*changes.ef_search);
      row.ef_search = *changes.ef_search;
    }
    if (changes.model) row.model = changes.model;
    if (changes.extra) row.extra = changes.extra;
    update_collection(db, row);
  });
}

bool Collection::compact(const ProgressFunction& progress) {
  const std::scoped_lock reshape(open_->reshape_mutex);
  const OpenStore::WriterHold hold(*store_);
  seal(*store_, *open_);
  CollectionRow row;
  std::shared_ptr<const Snapshot> snapshot;
  store_->read([&](Database& db) {
    row = open_->row(db);
    snapshot = open_->snapshot(db, row);
  });
  for (const std::vector<SegmentView>& group :
       groups_to_merge(*snapshot, store_->budget().graph_rows(row.dim.value_or(1), row.m))) {
    std::uint64_t rows = 0;
    for (const SegmentView& view : group) rows += view.live_count();
    Merger merger(*store_, *open_, row, rows);
    for (const SegmentView& view : group) merger.add(view);
    if (!merger.finish(progress)) return false;
  }
  store_->write([&](Database& db) { drop_worn_document_index(db, open_->collection_id); });
  if (!index_documents(*store_, *open_, progress)) return false;
  while (
      store_->write([&](Database& db) { return merge_document_index(db, open_->collection_id); })) {
  }
  tidy_database(*store_);
  return true;
}

void Collection::wait_for_maintenance() { store_->wait_for_maintenance(); }

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Bulk loading: one thread waits for the source, this one stores batches as flat segments and
// indexes their documents, all others build the graph over what is stored.
#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <mutex>
#include <unordered_map>

#include "engine/compaction.h"
#include "engine/open_store.h"
#include "engine/record_writer.h"
#include "engine/tuning.h"
#include "engine/work_beside.h"
#include "storage/error.h"

namespace vkb {
namespace {

using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point start) {
  return std::chrono::duration<double>(steady_clock::now() - start).count();
}

// The batches of a source, the next one fetched while the last is being stored.
class Prefetcher {
 public:
  explicit Prefetcher(Source& source) : source_(source) { fetch(); }
  // A source still at work when loading ends early (an error, a stop) must finish its batch: the
  // future waits for it.
  ~Prefetcher() = default;
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  // The next batch, or nothing at the end. Rethrows the source's errors.
  std::optional<std::vector<Record>> take() {
    std::optional<std::vector<Record>> batch = next_.get();
    if (batch) fetch();
    return batch;
  }

 private:
  void fetch() {
    next_ = beside_or_later([this]() -> std::optional<std::vector<Record>> {
      std::vector<Record> batch;
      if (!source_.next(batch)) return std::nullopt;
      return batch;
    });
  }

  Source& source_;
  std::future<std::optional<std::vector<Record>>> next_;
};

// While it lives the writer's log grows longer than usual before it is moved into the database:
// each batch changes most pages of the index of ids, so the fewer checkpoints, the less is written.
class RareCheckpoints {
 public:
  explicit RareCheckpoints(OpenStore& store) : store_(store) { set(kLoadCheckpointPages); }
  ~RareCheckpoints() {
    try {
      set(Database::kCheckpointPages);
    } catch (const Error&) {
      // The writer could not be opened again; a new one begins with the usual.
    }
  }
  RareCheckpoints(const RareCheckpoints&) = delete;
  RareCheckpoints& operator=(const RareCheckpoints&) = delete;

 private:
  void set(int pages) {
    store_.maintain([&](Database& db) { db.set_checkpoint_pages(pages); });
  }

  OpenStore& store_;
};

struct StoredBatch {
  std::uint64_t records = 0;
  std::uint64_t replaced = 0;
};

// One batch: its vectors as a flat segment, its records and the segment's name in one transaction.
StoredBatch store_batch(OpenStore& store, OpenCollection& collection, std::vector<Record> batch) {
  // Of records that share an id the last one counts.
  std::unordered_map<std::string, std::size_t> last;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    check_record(batch[i]);
    if (!batch[i].embedding) {
      throw Error(ErrorCode::invalid_argument,
                  record_name(batch[i].id) + ": an embedding is needed");
    }
    last[batch[i].id] = i;
  }
  StoredBatch stored;
  store.write([&](Database& db) {
    RecordWriter writer(db, collection);
    std::vector<std::pair<std::int64_t, const float*>> rows;
    std::vector<std::vector<float>> vectors;  // of `rows`
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (last[batch[i].id] != i) continue;
      writer.check_dimension(batch[i]);
      const float* const vector = batch[i].embedding->data();
      vectors.push_back(std::move(*batch[i].embedding));
      RecordRow row = row_of(std::move(batch[i]));
      if (const auto known = writer.records().find(row.id)) {
        row.row_id = *known;
        writer.records().replace(row, true);
        writer.retire_vector(row.row_id);
        ++stored.replaced;
      } else {
        row.row_id = writer.records().insert(row, true);
        writer.count_inserted(1);
      }
      rows.emplace_back(row.row_id, vector);
    }
    if (rows.empty()) return;
    std::sort(rows.begin(), rows.end());
    FlatRows flat;
    for (const auto& [row_id, vector] : rows) {
      flat.row_ids.push_back(row_id);
      flat.vectors.push_back(vector);
    }
    // Complete and synced before the commit that names it (R2).
    insert_segment(db, collection.collection_id, write_flat_segment(store, writer.row(), flat));
    writer.manifest_changed();
    writer.finish();
    stored.records = rows.size();
    store.files().reached("batch_before_commit");
  });
  store.files().reached("batch_committed");
  return stored;
}

// Feeds a Merger with the collection's flat segments as they appear, and decides at the end whether
// graph segments are worth merging too.
class LoadMerge {
 public:
  LoadMerge(OpenStore& store, OpenCollection& collection, std::uint64_t expected_rows)
      : store_(store), collection_(collection), expected_rows_(expected_rows) {}

  void follow() {
    const auto [row, snapshot] = current();
    if (!row.dim) return;
    for (const SegmentView& view : snapshot->segments) {
      if (view.row.segment_id <= seen_) continue;
      seen_ = view.row.segment_id;
      if (view.row.has_graph) {
        graphs_.push_back(view);
        continue;
      }
      if (merger_ && !merger_->fits(view)) {
        // As many as memory is allowed for: what comes is a segment of its own.
        merger_->finish({});
        merger_.reset();
        flats_ = 0;
      }
      if (!merger_) merger_.emplace(store_, collection_, row, expected_rows_);
      merger_->add(view, true);
      ++flats_;
    }
  }

  // Returns false when stopped.
  bool finish(const ProgressFunction& progress) {
    if (!merger_) return true;
    std::uint64_t graph_rows = 0;
    for (const SegmentView& view : graphs_) graph_rows += view.live_count();
    // A few new rows beside a large graph are not worth building it anew.
    if (merger_->row_count() * kRebuildShare >= graph_rows) {
      const auto [row, snapshot] = current();
      for (const SegmentView& view : snapshot->segments) {
        if (view.row.has_graph && flats_ > 0 && merger_->fits(view)) merger_->add(view);
      }
    }
    const bool pays = flats_ > 1 || (flats_ == 1 && merger_->row_count() >= kGraphMinRows);
    return !pays || merger_->finish(progress);
  }

 private:
  std::pair<CollectionRow, std::shared_ptr<const Snapshot>> current() {
    return store_.read([&](Database& db) {
      CollectionRow row = collection_.row(db);
      std::shared_ptr<const Snapshot> snapshot = collection_.snapshot(db, row);
      return std::pair(std::move(row), std::move(snapshot));
    });
  }

  OpenStore& store_;
  OpenCollection& collection_;
  const std::uint64_t expected_rows_;
  std::optional<Merger> merger_;
  std::vector<SegmentView> graphs_;
  std::int64_t seen_ = 0;
  std::size_t flats_ = 0;
};

// Indexes documents. What goes wrong is thrown at the end: records and their graph do not need it.
class LoadIndex {
 public:
  LoadIndex(OpenStore& store, OpenCollection& collection)
      : store_(store), collection_(collection) {}

  // As many documents as a batch had, while they are in memory still.
  void follow(std::uint64_t records) {
    guarded([&] { index_batch(store_, collection_, records); });
  }
  // All others, and what else the database needs. Returns false when stopped.
  bool finish(const ProgressFunction& progress) {
    bool done = true;
    const auto telling = [&](const Progress& at) {
      telling_ = true;
      const bool go_on = !progress || progress(at);
      telling_ = false;
      return go_on;
    };
    guarded([&] {
      done = index_documents(store_, collection_, telling);
      tidy_database(store_);
    });
    return done;
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  template <typename Work>
  void guarded(const Work& work) {
    if (error_) return;
    try {
      work();
    } catch (const Error&) {
      if (telling_) throw;  // not the index's
      error_ = std::current_exception();
    }
  }

  OpenStore& store_;
  OpenCollection& collection_;
  std::exception_ptr error_;
  bool telling_ = false;  // the progress function is at work
};

// The graph, and its segment, while this thread sees to the database. Returns false when stopped.
bool finish_both(LoadMerge& merge, LoadIndex& index, const ProgressFunction& progress) {
  WorkBeside<bool> merging([&](const ProgressFunction& note) { return merge.finish(note); });
  const bool indexed = index.finish(progress);
  if (!indexed) merging.stop();
  merging.wait(progress);
  const bool merged = merging.take();
  index.rethrow();
  return merged && indexed;
}

}  // namespace

LoadResult Collection::load(Source& source, const ProgressFunction& progress) {
  const std::scoped_lock reshape(open_->reshape_mutex);
  const OpenStore::WriterHold hold(*store_);
  const RareCheckpoints rare(*store_);
  seal(*store_, *open_);
  LoadResult result;
  LoadMerge merge(*store_, *open_, source.size_hint());
  LoadIndex index(*store_, *open_);
  merge.follow();
  {
    Prefetcher batches(source);
    while (true) {
      const auto asked = steady_clock::now();
      std::optional<std::vector<Record>> batch = batches.take();
      result.source_seconds += seconds_since(asked);
      if (!batch) break;
      const auto storing = steady_clock::now();
      const StoredBatch stored = store_batch(*store_, *open_, std::move(*batch));
      result.records += stored.records;
      result.replaced += stored.replaced;
      merge.follow();
      index.follow(stored.records);
      result.store_seconds += seconds_since(storing);
      if (progress &&
          !progress({.step = "load", .done = result.records, .total = source.size_hint()})) {
        result.stopped = true;
        index.rethrow();
        return result;
      }
    }
  }
  const auto building = steady_clock::now();
  result.stopped = !finish_both(merge, index, progress);
  result.build_seconds = seconds_since(building);
  return result;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// What is done behind writers, and when.
#include <algorithm>
#include <exception>
#include <numeric>

#include "engine/compaction.h"
#include "engine/tuning.h"
#include "storage/document_index.h"
#include "storage/error.h"
#include "storage/posting_index.h"
#include "storage/vector_log.h"

namespace vkb {

std::vector<std::size_t> choose_merge(std::span<const SegmentView> segments,
                                      std::uint64_t most_rows) {
  // Half-dead segments are worth rewriting alone.
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const SegmentView& view = segments[i];
    if (view.dead_count * kMergeDeadShare > view.row.row_count && view.live_count() <= most_rows) {
      chosen.push_back(i);
      most_rows -= view.live_count();
    }
  }
  // Size tiers: the smallest segments, as long as the next is no larger than twice all before it
  // together. A merge so makes each row's segment at least half as large again, and a row is
  // rewritten a logarithmic number of times.
  std::vector<std::size_t> by_size(segments.size());
  std::iota(by_size.begin(), by_size.end(), std::size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(), [&](std::size_t a, std::size_t b) {
    return segments[a].live_count() < segments[b].live_count();
  });
  std::uint64_t sum = 0;
  std::size_t run = 0;
  for (std::size_t i = 0; i < by_size.size(); ++i) {
    const std::uint64_t rows = segments[by_size[i]].live_count();
    if ((i > 0 && rows > 2 * sum) || sum + rows > most_rows) break;
    sum += rows;
    run = i + 1;
  }
  if (run >= kMergeMinSegments) {
    chosen.insert(chosen.end(), by_size.begin(),
                  by_size.begin() + static_cast<std::ptrdiff_t>(run));
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

namespace {

// Rows that the index is to take in, counted up to `most`. A small collection without one stays so.
std::uint64_t count_to_index(OpenStore& store, OpenCollection& collection, std::uint64_t most) {
  return store.read([&](Database& db) -> std::uint64_t {
    const std::int64_t id = collection.row(db).collection_id;
    const std::uint64_t rows = count_unindexed(db, id, most);
    return has_document_index(db, id) || rows >= kIndexRows ? rows : 0;
  });
}

// In one transaction. Returns how many rows it took.
std::uint64_t index_rows(OpenStore& store, OpenCollection& collection, std::uint64_t rows) {
  std::string name;
  std::uint64_t done = 0;
  try {
    store.write([&](Database& db) {
      name = collection.row(db).name;
      for (std::uint64_t taken = 1; taken > 0 && done < rows; done += taken) {
        taken = index_some_documents(db, collection.collection_id);
      }
      store.files().reached("index_before_commit");
    });
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_found) throw;  // the collection was deleted
    throw Error(error.code(), "document index of collection " + name + ": " + error.what());
  }
  store.files().reached("index_committed");
  return done;
}

}  // namespace

bool index_documents(OpenStore& store, OpenCollection& collection,
                     const ProgressFunction& progress) {
  const std::uint64_t total = count_to_index(store, collection, INT64_MAX);
  // What writers add meanwhile is for the next time: this must end beside a steady one.
  for (std::uint64_t done = 0, rows = 1; rows > 0 && done < total; done += rows) {
    if (done > 0 && progress && !progress({.step = "index", .done = done, .total = total})) {
      return false;
    }
    rows = index_rows(store, collection, 1);
  }
  return true;
}

void index_batch(OpenStore& store, OpenCollection& collection, std::uint64_t rows) {
  if (rows > 0 && count_to_index(store, collection, kIndexRows) > 0) {
    index_rows(store, collection, rows);
  }
}

void maintain_collection(OpenStore& store, OpenCollection& collection) {
  const std::unique_lock reshape(collection.reshape_mutex, std::try_to_lock);
  if (!reshape) return;  // a load or compaction is at work and leaves things in order
  std::optional<OpenStore::WriterHold> hold;
  const auto go_on = [&](const Progress&) { return !store.closing(); };
  // A damaged index must not keep the rest from being done.
  std::exception_ptr index_error;
  std::exception_ptr posting_error;
  while (!store.closing()) {
    CollectionRow row;
    std::shared_ptr<const Snapshot> snapshot;
    std::uint64_t unindexed = 0;
    std::uint64_t unmerged = 0;
    const std::uint64_t log_entries = store.read([&](Database& db) {
      row = collection.row(db);
      snapshot = collection.snapshot(db, row);
      unmerged = posting_error ? 0 : count_unmerged_postings(db, kMergePostings);
      unindexed = index_error ? 0 : count_unindexed(db, collection.collection_id, kIndexRows);
      return count_log(db, collection.collection_id);
    });
    const std::vector<std::size_t> chosen =
        choose_merge(snapshot->segments, store.budget().graph_rows(row.dim.value_or(1), row.m));
    if (log_entries < kSealRows && unmerged < kMergePostings && unindexed < kIndexRows &&
        chosen.empty()) {
      break;
    }
    if (!hold) {
      // Another process may have been the writer since the look above, and would take a file that
      // is not named yet for an orphan. From here on none can be.
      hold.emplace(store);
      continue;
    }
    if (log_entries >= kSealRows) {
      seal(store, collection);
      continue;
    }
    if (unmerged >= kMergePostings) {
      try {
        store.write([](Database& db) { merge_some_postings(db, kMergeBlocks); });
      } catch (const Error&) {
        posting_error = std::current_exception();
      }
      continue;
    }
    if (unindexed >= kIndexRows) {
      try {
        index_documents(store, collection, go_on);
      } catch (const Error&) {
        index_error = std::current_exception();
      }
      continue;
    }
    std::uint64_t expected = 0;
    for (const std::size_t i : chosen) expected += snapshot->segments[i].live_count();
    Merger merger(store, collection, row, expected);
    for (const std::size_t i : chosen) merger.add(snapshot->segments[i]);
    if (!merger.finish(go_on)) break;
  }
  if (index_error) std::rethrow_exception(index_error);
  if (posting_error) std::rethrow_exception(posting_error);
}

void tidy_database(OpenStore& store) {
  store.write([](Database& db) { merge_postings(db); });
  store.maintain([](Database& db) {
    db.execute("PRAGMA incremental_vacuum");
    db.checkpoint();
  });
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Erasing what was removed: docs/durability.md says what of it can be promised.
#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/open_store.h"
#include "storage/error.h"
#include "storage/manifest.h"
#include "storage/records.h"

namespace vkb {
namespace {

// Between two tries to empty the log, which a reader's transaction keeps.
constexpr std::chrono::milliseconds kReaderPoll{10};

std::vector<std::string> files_of(Database& db, std::int64_t collection_id) {
  std::vector<std::string> files;
  for (SegmentRow& row : list_segments(db, collection_id)) files.push_back(std::move(row.file));
  return files;
}

// Writes every page anew, from what is live: free pages, and the free room of others, hold what
// was. It all goes through the log, which is emptied then; these files go, and all that nothing
// names.
void rewrite_database(OpenStore& store, const std::vector<std::string>& unnamed) {
  const auto deadline = std::chrono::steady_clock::now() + store.options().lock_timeout;
  store.maintain([](Database& db) { db.execute("VACUUM"); });
  store.files().reached("purge_vacuumed");
  while (!store.empty_log(unnamed)) {
    if (std::chrono::steady_clock::now() >= deadline) {
      throw Error(ErrorCode::busy, "store " + store.directory() +
                                       ": what was removed is not erased yet, as a reader keeps "
                                       "vkb.sqlite3-wal; erase it again when that is done");
    }
    std::this_thread::sleep_for(kReaderPoll);
  }
}

}  // namespace

bool Collection::purge(const ProgressFunction& progress) {
  const OpenStore::WriterHold hold(*store_);
  const std::int64_t id = open_->collection_id;
  std::vector<std::string> before = store_->read([&](Database& db) { return files_of(db, id); });
  // Leaves dead vectors, with their codes and ids, behind, and brings both indexes up to date.
  if (!compact(progress)) return false;
  std::vector<std::string> after;
  store_->write([&](Database& db) {
    remove_unused_keys(db, id);
    touch_collection(db, id, 0, 0, false);  // for whoever has compiled a filter
    after = files_of(db, id);
  });
  std::vector<std::string> unnamed;  // most are gone by now: a compaction gets over one that is not
  for (std::string& file : before) {
    if (std::ranges::find(after, file) == after.end()) unnamed.push_back(std::move(file));
  }
  rewrite_database(*store_, unnamed);
  return true;
}

void Store::purge() {
  const OpenStore::WriterHold hold(*open_);
  rewrite_database(*open_, {});
}

}  // namespace vkb

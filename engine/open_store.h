// SPDX-License-Identifier: Apache-2.0
//
// What is behind Store and Collection: connections, the writer lock, the state of each open
// collection.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/filter_cache.h"
#include "engine/memory_budget.h"
#include "engine/snapshot.h"
#include "engine/vkb.h"
#include "storage/catalog.h"
#include "storage/file.h"
#include "storage/sqlite.h"

namespace vkb {

// Throws invalid_argument for a beam width that no collection takes.
void check_ef_search(std::uint32_t ef_search);

// What this process writes into a lock it holds: "pid 123 (vkb)".
std::string holder_text();
// The lock, of the file that has the name at the end, or nothing when another holds it for longer
// than is to be waited.
std::unique_ptr<FileLock> wait_for_lock(FileSystem& files, const std::string& path,
                                        std::chrono::milliseconds timeout);

// A collection that this process uses. Shared by all its handles.
// Thread safety: all members.
struct OpenCollection {
  OpenCollection(std::int64_t id, std::string its_uuid, FileSystem& files,
                 const std::string& segment_directory, const MemoryBudget& its_budget)
      : collection_id(id),
        uuid(std::move(its_uuid)),
        budget(its_budget),
        snapshots(files, segment_directory) {}

  // The collection's row in the current transaction; throws not_found when it was deleted.
  CollectionRow row(Database& db) const;
  // The same without texts.
  CollectionState state(Database& db) const;
  // Its snapshot in the transaction that `state` was read in.
  std::shared_ptr<const Snapshot> snapshot(Database& db, const CollectionState& state) {
    return snapshots.at(db, state);
  }

  const std::int64_t collection_id;
  const std::string uuid;
  const MemoryBudget budget;
  SnapshotCache snapshots;
  FilterCache filters;
  // Held while segments are replaced: by seal, merge and load.
  std::mutex reshape_mutex;

 private:
  [[noreturn]] void throw_deleted() const;
};

// Registers an open directory for as long as it lives. SQLite keeps the state of a file's locks for
// the whole process; a forked child inherits the state and not the locks, so connections it opened
// to the same file would rely on locks that nobody holds. Throws unsupported in such a child.
class OpenedDirectory {
 public:
  explicit OpenedDirectory(const std::string& directory);
  ~OpenedDirectory();
  OpenedDirectory(const OpenedDirectory&) = delete;
  OpenedDirectory& operator=(const OpenedDirectory&) = delete;

  // Whether this process has it open once only.
  bool is_only() const;

 private:
  const std::string path_;
};

// Whether this process has the store open.
bool is_open_in_process(const std::string& directory);

// Thread safety: all methods.
class OpenStore {
 public:
  OpenStore(std::string directory, const OpenOptions& options);
  ~OpenStore();

  const std::string& directory() const noexcept { return directory_; }
  const std::string& segment_directory() const noexcept { return segment_directory_; }
  FileSystem& files() const noexcept { return files_; }
  const OpenOptions& options() const noexcept { return options_; }
  const MemoryBudget& budget() const noexcept { return budget_; }
  std::string writer_holder() const;

  // Calls work(Database&) inside a read transaction and returns what it returns. When a segment
  // file was compacted away since the transaction began, calls it again in a newer one.
  template <typename Work>
  auto read(Work work) {
    for (std::int64_t seen_version = -1;;) {
      const ReaderLease lease(*this);
      const Transaction transaction(lease.database(), Transaction::Kind::read);
      try {
        return work(lease.database());
      } catch (const SegmentMissing& missing) {
        if (missing.manifest_version() == seen_version) throw;  // no newer manifest explains it
        seen_version = missing.manifest_version();
      }
    }
  }

  // Calls work(Database&) inside a write transaction, commits, and returns what it returns. Takes
  // the writer lock first when this process has it not. Throws busy, or unsupported for a store
  // opened read-only.
  template <typename Work>
  auto write(Work work) {
    // A thread that writes again at once comes after those that wait: a mutex alone lets it go
    // first.
    std::unique_lock turn(turn_mutex_);
    const std::scoped_lock lock(write_mutex_);
    turn.unlock();
    Database& database = writer();
    Transaction transaction(database, Transaction::Kind::write);
    if constexpr (std::is_void_v<decltype(work(database))>) {
      work(database);
      transaction.commit();
    } else {
      auto result = work(database);
      transaction.commit();
      return result;
    }
  }
  // Writer work outside a transaction (vacuum, checkpoint).
  template <typename Work>
  void maintain(Work work) {
    const std::scoped_lock lock(write_mutex_);
    work(writer());
  }

  // Keeps the writer lock from being given back while it lives.
  class WriterHold {
   public:
    explicit WriterHold(OpenStore& store) : store_(store) {
      const std::scoped_lock lock(store_.write_mutex_);
      store_.writer();
      ++store_.writer_holds_;
    }
    ~WriterHold() {
      const std::scoped_lock lock(store_.write_mutex_);
      --store_.writer_holds_;
      store_.last_write_ = std::chrono::steady_clock::now();
    }
    WriterHold(const WriterHold&) = delete;
    WriterHold& operator=(const WriterHold&) = delete;

   private:
    OpenStore& store_;
  };

  std::shared_ptr<OpenCollection> open_collection(const CollectionRow& row);
  void forget(std::int64_t collection_id);
  // Unlinks files that no committed manifest names any more, once that is so in the database and
  // not in its log alone, which may be lost (R3). While a reader needs the log, and after a
  // failure, they are left for later: for the next call, for whoever closes the writer or opens the
  // next, and for the maintenance thread, which tries again from time to time.
  void remove_segment_files(const std::vector<std::string>& names) noexcept;
  // Empties the log, and unlinks these and all others that nothing names. Returns false when a
  // reader needs the log. Throws io_error when a file cannot be removed.
  bool empty_log(const std::vector<std::string>& unnamed);

  // Tells the maintenance thread that a collection has changed.
  void notify(const std::shared_ptr<OpenCollection>& collection);
  // Blocks until the maintenance thread has nothing to do; rethrows the error it met, if any.
  void wait_for_maintenance();
  // True once the store is closing: long background work should stop.
  bool closing() const noexcept { return closing_.load(std::memory_order_relaxed); }

  // Whether this is a process forked after opening. There the maintenance thread does not exist and
  // connections and locks are the parent's: the object must be left alone, even by its destructor.
  bool is_forked() const noexcept;
  // Throws unsupported when is_forked().
  void check_process() const;

 private:
  class ReaderLease {
   public:
    explicit ReaderLease(OpenStore& store) : store_(store), database_(store.take_reader()) {}
    ~ReaderLease() { store_.give_back(std::move(database_)); }
    ReaderLease(const ReaderLease&) = delete;
    ReaderLease& operator=(const ReaderLease&) = delete;
    Database& database() const noexcept { return *database_; }

   private:
    OpenStore& store_;
    std::unique_ptr<Database> database_;
  };

  std::unique_ptr<Database> take_reader();
  void give_back(std::unique_ptr<Database> reader) noexcept;

  void create_or_check();
  void give_up_log();
  bool is_database_blank();
  [[noreturn]] void throw_database_lost() const;
  Database& writer();  // with write_mutex_ held
  void take_writer_lock();
  void release_writer_if_idle();
  void close_writer() noexcept;  // with write_mutex_ held, or nobody left to take it
  void remove_orphans(Database& db);
  void remove_unnamed(Database& db);
  void maintenance_loop();

  const OpenedDirectory opened_;
  const std::string directory_;
  const std::string segment_directory_;
  const OpenOptions options_;
  const MemoryBudget budget_;
  FileSystem& files_;
  const int process_generation_;

  std::mutex reader_mutex_;
  std::vector<std::unique_ptr<Database>> idle_readers_;  // guarded by reader_mutex_

  std::mutex turn_mutex_;  // held while waiting for write_mutex_
  // Guarded by write_mutex_.
  std::mutex write_mutex_;
  std::unique_ptr<FileLock> writer_lock_;
  std::unique_ptr<Database> writer_;
  int writer_holds_ = 0;
  std::chrono::steady_clock::time_point last_write_;
  // Segment files that nothing names, each with the salt of the log at that time or later; nothing
  // when nobody has looked. Found anew by each writer that is opened.
  std::map<std::string, std::optional<std::uint64_t>> unremoved_;
  std::chrono::milliseconds remove_again_{0};

  std::mutex collections_mutex_;
  std::map<std::int64_t, std::shared_ptr<OpenCollection>> collections_;  // guarded by the mutex

  // Guarded by maintenance_mutex_.
  std::mutex maintenance_mutex_;
  std::condition_variable maintenance_wakes_;
  std::condition_variable maintenance_rests_;
  std::set<std::shared_ptr<OpenCollection>> changed_;
  bool maintenance_works_ = false;
  std::exception_ptr maintenance_error_;
  std::thread maintenance_thread_;
  std::atomic<bool> closing_ = false;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "engine/compaction.h"
#include "engine/open_store.h"
#include "storage/database_file.h"
#include "storage/error.h"
#include "storage/log_mark.h"
#include "storage/manifest.h"
#include "storage/salvage.h"
#include "storage/schema.h"
#include "storage/segment_format.h"
#include "storage/start_thread.h"

namespace vkb {
namespace {

using std::chrono::steady_clock;

// The writer lock is given back this long after the last write.
constexpr std::chrono::milliseconds kWriterIdle{1000};
constexpr std::chrono::milliseconds kLockPoll{10};
// After so long, and then after twice as long each time, it is looked again whether the readers
// have gone that need files of before.
constexpr std::chrono::milliseconds kRemoveAgain{2000};
constexpr std::chrono::milliseconds kRemoveAgainAtMost{60'000};

// Counts the forks that led to this process.
std::atomic<int> process_generation{0};

// The directories that are open, by canonical path, with the process they were opened in.
struct OpenedIn {
  int generation = 0;
  int count = 0;
};
std::mutex opened_mutex;
std::map<std::string, OpenedIn> opened;  // guarded by opened_mutex

// The mutex is held over a fork, so that the child finds it free and the map whole.
[[maybe_unused]] const int atfork_registered =
    pthread_atfork([] { opened_mutex.lock(); }, [] { opened_mutex.unlock(); },
                   [] {
                     process_generation.fetch_add(1);
                     opened_mutex.unlock();
                   });

std::string database_path(const std::string& directory) { return directory + "/vkb.sqlite3"; }
std::string lock_path(const std::string& directory) { return directory + "/writer.lock"; }

// One spelling for all that name a directory, there or not yet. One that cannot be looked up is
// left as it is: whoever opens files in it says why.
std::string canonical_path(const std::string& directory) {
  std::error_code failed;
  const std::filesystem::path whole = std::filesystem::absolute(directory, failed);
  const std::filesystem::path canonical = std::filesystem::weakly_canonical(whole, failed);
  return failed ? directory : canonical.string();
}

// Reads Chroma's file without leaving anything beside it. What cannot be read may hold some.
bool holds_chroma_collections(FileSystem& files, const std::string& path) {
  if (files.file_size(path) == 0) return false;
  try {
    Database chroma(path, Database::Mode::frozen);
    Statement collection(chroma, "SELECT 1 FROM collections LIMIT 1");
    return collection.step();
  } catch (const Error&) {
    return true;
  }
}

}  // namespace

std::string holder_text() {
  return "pid " + std::to_string(getpid()) + " (" + program_invocation_short_name + ")";
}

std::unique_ptr<FileLock> wait_for_lock(FileSystem& files, const std::string& path,
                                        std::chrono::milliseconds timeout) {
  const auto deadline = steady_clock::now() + timeout;
  while (true) {
    std::unique_ptr<FileLock> lock = files.try_lock(path, holder_text());
    // Not of a file that was removed, or exchanged for another, since it was opened.
    if (lock && lock->excludes()) return lock;
    if (!lock && steady_clock::now() >= deadline) return nullptr;
    std::this_thread::sleep_for(kLockPoll);
  }
}

OpenedDirectory::OpenedDirectory(const std::string& directory) : path_(canonical_path(directory)) {
  const std::scoped_lock lock(opened_mutex);
  const auto [entry, is_new] = opened.try_emplace(path_, OpenedIn{process_generation.load(), 0});
  if (entry->second.generation != process_generation.load()) {
    throw Error(ErrorCode::unsupported,
                "store " + directory +
                    " was open when this process was forked, and cannot be opened here: close it "
                    "before fork(), or start a new program (in Python, multiprocessing's 'spawn')");
  }
  ++entry->second.count;
}

OpenedDirectory::~OpenedDirectory() {
  const std::scoped_lock lock(opened_mutex);
  const auto entry = opened.find(path_);
  if (--entry->second.count == 0) opened.erase(entry);
}

bool OpenedDirectory::is_only() const {
  const std::scoped_lock lock(opened_mutex);
  return opened.at(path_).count == 1;
}

bool is_open_in_process(const std::string& directory) {
  const std::string path = canonical_path(directory);
  const std::scoped_lock lock(opened_mutex);
  return opened.contains(path);
}

OpenStore::OpenStore(std::string directory, const OpenOptions& options)
    : opened_(directory),
      directory_(std::move(directory)),
      segment_directory_(directory_ + "/segments"),
      options_(options),
      budget_(options.memory_limit),
      files_(options.file_system ? *options.file_system : posix_file_system()),
      process_generation_(process_generation.load()) {
  create_or_check();
}

OpenStore::~OpenStore() {
  {
    const std::scoped_lock lock(maintenance_mutex_);
    closing_ = true;
  }
  maintenance_wakes_.notify_all();
  if (maintenance_thread_.joinable()) maintenance_thread_.join();
  idle_readers_.clear();
  close_writer();
}

void OpenStore::create_or_check() {
  const std::string path = database_path(directory_);
  const std::string network = files_.network_file_system(directory_);
  if (!network.empty()) {
    // Two hosts would each have a memory and locks of their own (R6).
    throw Error(ErrorCode::unsupported,
                "store " + directory_ + " is on a network file system (" + network +
                    "), where programs do not share memory and locks; keep it on a local one, and "
                    "reach it from elsewhere through `vkb serve`");
  }
  // Asked first: it is made after the database, see writer().
  const bool has_segments = files_.exists(segment_directory_);
  verify_length(path);  // before a log is given up for it
  if (options_.abandon_log) {
    give_up_log();
  } else {
    verify_log(path);
  }
  if (files_.file_size(path) > 0 && !is_database_blank()) {
    if (options_.abandon_log) {
      const std::scoped_lock lock(write_mutex_);
      writer();
    }
    return;
  }
  idle_readers_.clear();  // one that has seen the database blank may go on doing so
  if (has_segments) throw_database_lost();
  // No store, or one whose creation was cut short.
  if (options_.read_only || !options_.create) {
    throw Error(ErrorCode::not_found, "no vkb store at " + directory_ +
                                          ": it has no vkb.sqlite3; check the path, or create one "
                                          "with `vkb add` or `vkb import-redis`");
  }
  // Whoever turns from Chroma to vkb may well name the same directory.
  if (holds_chroma_collections(files_, directory_ + "/chroma.sqlite3")) {
    throw Error(ErrorCode::unsupported,
                directory_ +
                    " holds a Chroma database (chroma.sqlite3), which vkb does not read: "
                    "give another directory, and copy the records into it "
                    "(docs/chroma.md, \"Moving a Chroma database\")");
  }
  files_.make_directory(directory_);
  const std::scoped_lock lock(write_mutex_);
  writer();
  writer_.reset();
  writer_lock_.reset();
}

// SQLite compares the frames of a log when nobody has it open, and takes them for good then:
// whoever has the store open now would go on with the damaged ones.
void OpenStore::give_up_log() {
  const std::string path = database_path(directory_);
  if (files_.file_size(path) == 0) return;
  const std::scoped_lock lock(write_mutex_);
  take_writer_lock();
  DatabaseFile database(path, DatabaseFile::Use::lock);  // who opens it now waits
  if (!opened_.is_only() || !database.is_open() || !database.lock_alone()) {
    throw Error(ErrorCode::busy, "store " + directory_ +
                                     " is open in a program: its damaged log cannot be given up; "
                                     "stop it (`vkb serve`, a notebook, ...), then repair");
  }
  vkb::give_up_log(path);
}

// Looks at its schema otherwise.
bool OpenStore::is_database_blank() {
  const ReaderLease lease(*this);
  if (is_blank(lease.database())) return true;
  check_schema(lease.database());
  return false;
}

void OpenStore::throw_database_lost() const {
  const std::string path = database_path(directory_);
  throw Error(ErrorCode::corruption,
              path + ": it is " + (files_.exists(path) ? "empty" : "missing") + ", though " +
                  segment_directory_ +
                  " is there: the records of this store are lost; restore a backup");
}

std::string OpenStore::writer_holder() const { return files_.lock_holder(lock_path(directory_)); }

Database& OpenStore::writer() {
  check_process();
  if (options_.read_only) {
    throw Error(ErrorCode::unsupported, "store " + directory_ + " was opened read-only");
  }
  last_write_ = steady_clock::now();
  if (writer_ && !writer_lock_->excludes()) {
    throw Error(ErrorCode::io_error, lock_path(directory_) +
                                         ": was removed while this process writes, and another may "
                                         "write now; close the store and open it again");
  }
  if (writer_ && writer_->is_given_up()) {
    throw Error(ErrorCode::io_error, "store " + directory_ +
                                         ": a sync of vkb.sqlite3 failed, so it is written no "
                                         "more; close the store and open it again");
  }
  if (writer_ && writer_->in_transaction()) writer_.reset();
  if (writer_) return *writer_;
  if (!writer_lock_) take_writer_lock();
  try {
    const std::string path = database_path(directory_);
    verify_log(path);
    // Nothing is made anew over segments: they would all be orphans.
    const bool has_segments = files_.exists(segment_directory_);
    if (has_segments && files_.file_size(path) == 0) throw_database_lost();
    auto database = std::make_unique<Database>(path, Database::Mode::writer);
    if (has_segments && is_blank(*database)) throw_database_lost();
    if (budget_.is_limited()) database->set_cache_bytes(budget_.writer_cache_bytes());
    migrate(*database);
    if (!has_segments) {
      // Both entries as durable as what is committed, and this one after the database's: where it
      // is without a database, that was lost, and nothing is made anew over it.
      files_.sync_directory(directory_);
      files_.make_directory(segment_directory_);
    }
    if (writer_holds_ == 0) remove_orphans(*database);  // nor are files in the making any
    const std::scoped_lock lock(maintenance_mutex_);
    if (!maintenance_thread_.joinable()) {
      maintenance_thread_ = start_thread(
          "store " + directory_, [this] { return std::thread([this] { maintenance_loop(); }); });
    }
    writer_ = std::move(database);
  } catch (...) {
    writer_lock_.reset();
    throw;
  }
  return *writer_;
}

void OpenStore::take_writer_lock() {
  writer_lock_ = wait_for_lock(files_, lock_path(directory_), options_.lock_timeout);
  if (writer_lock_) return;
  const std::string holder = writer_holder();
  throw Error(ErrorCode::busy, "store " + directory_ + " is held by another writer, " +
                                   (holder.empty() ? "unknown" : holder) +
                                   "; try again when it is done, or stop it");
}

void OpenStore::release_writer_if_idle() {
  const std::unique_lock lock(write_mutex_, std::try_to_lock);
  if (!lock || writer_holds_ > 0) return;
  const auto idle = steady_clock::now() - last_write_;
  if (!writer_ && !unremoved_.empty() && idle >= remove_again_ && writer_holder().empty()) {
    remove_again_ = std::min(2 * remove_again_, kRemoveAgainAtMost);
    try {
      writer();
    } catch (const std::exception&) {
      return;  // the next one may be able to
    }
  }
  if (!writer_ || idle < kWriterIdle) return;
  // Another connection would begin anew as if nothing were.
  if (writer_->is_given_up() || !writer_lock_->excludes()) return;
  close_writer();
}

void OpenStore::close_writer() noexcept {
  if (!writer_) return;
  try {
    if (writer_lock_->excludes()) {
      writer_->checkpoint();
      remove_unnamed(*writer_);
    }
  } catch (const std::exception&) {
    // The log stays and is read as before; the next writer checkpoints.
  }
  writer_.reset();
  writer_lock_.reset();
}

// What writers of before have left.
void OpenStore::remove_orphans(Database& db) {
  for (const std::string_view suffix : kSalvageSuffixes) {
    files_.remove(database_path(directory_) + std::string(suffix));
  }
  std::vector<std::string> named = list_segment_files(db);
  std::sort(named.begin(), named.end());
  const std::vector<std::string> found = files_.list(segment_directory_);
  unremoved_.clear();  // since this process wrote last others may have done anything
  // Where one is missing this may be another store's database, or an older one: whoever puts the
  // right one back needs the others.
  if (!std::includes(found.begin(), found.end(), named.begin(), named.end())) return;
  for (const std::string& name : found) {
    if (!name.ends_with(kSegmentSuffix)) continue;  // lost+found, and what a user put there
    if (!std::binary_search(named.begin(), named.end(), name)) unremoved_.try_emplace(name);
  }
  remove_unnamed(db);
}

void OpenStore::remove_segment_files(const std::vector<std::string>& names) noexcept {
  try {
    const std::scoped_lock lock(write_mutex_);
    for (const std::string& name : names) unremoved_.try_emplace(name);
    remove_again_ = kRemoveAgain;
    remove_unnamed(writer());
  } catch (const std::exception&) {
    // Orphans: the next writer that opens the store tries again, and a purge.
  }
}

void OpenStore::remove_unnamed(Database& db) {
  if (unremoved_.empty()) return;
  const std::optional<Database::Log> log = db.try_checkpoint();
  if (!log) return;
  for (auto& [name, salt] : unremoved_) {
    if (!salt) salt = log->salt;
  }
  std::erase_if(unremoved_, [&](const auto& entry) {
    const auto& [name, salt] = entry;
    // A part of the log in the database is not yet what the database had at any time. A log is
    // begun anew when all of the one before is in it.
    if (!log->is_done && *salt == log->salt) return false;
    try {
      files_.remove(segment_directory_ + "/" + name);
      return true;
    } catch (const Error&) {
      return false;
    }
  });
}

bool OpenStore::empty_log(const std::vector<std::string>& unnamed) {
  const std::scoped_lock lock(write_mutex_);
  Database& db = writer();
  for (const std::string& name : unnamed) unremoved_.try_emplace(name);
  if (!db.checkpoint()) return false;
  for (const auto& [name, salt] : unremoved_) files_.remove(segment_directory_ + "/" + name);
  unremoved_.clear();
  return true;
}

std::unique_ptr<Database> OpenStore::take_reader() {
  check_process();
  {
    const std::scoped_lock lock(reader_mutex_);
    if (!idle_readers_.empty()) {
      std::unique_ptr<Database> reader = std::move(idle_readers_.back());
      idle_readers_.pop_back();
      return reader;
    }
  }
  // On a read-only medium SQLite cannot make the -shm file that readers share; nor can there be a
  // writer.
  const std::string path = database_path(directory_);
  const bool frozen = !files_.is_writable(directory_) && files_.file_size(path + "-wal") == 0;
  auto reader =
      std::make_unique<Database>(path, frozen ? Database::Mode::frozen : Database::Mode::reader);
  if (budget_.is_limited()) reader->set_cache_bytes(budget_.reader_cache_bytes());
  return reader;
}

void OpenStore::give_back(std::unique_ptr<Database> reader) noexcept {
  try {
    const std::scoped_lock lock(reader_mutex_);
    if (reader->in_transaction()) return;
    if (idle_readers_.size() < budget_.idle_readers()) idle_readers_.push_back(std::move(reader));
  } catch (const std::bad_alloc&) {
    // The connection closes; the next reader opens another.
  }
}

std::shared_ptr<OpenCollection> OpenStore::open_collection(const CollectionRow& row) {
  const std::scoped_lock lock(collections_mutex_);
  std::shared_ptr<OpenCollection>& open = collections_[row.collection_id];
  if (!open) {
    open = std::make_shared<OpenCollection>(row.collection_id, row.uuid, files_, segment_directory_,
                                            budget_);
  }
  return open;
}

CollectionRow OpenCollection::row(Database& db) const {
  std::optional<CollectionRow> found = find_collection(db, collection_id);
  if (!found) throw_deleted();
  return *std::move(found);
}

CollectionState OpenCollection::state(Database& db) const {
  const std::optional<CollectionState> found = collection_state(db, collection_id);
  if (!found) throw_deleted();
  return *found;
}

void OpenCollection::throw_deleted() const {
  throw Error(ErrorCode::not_found, "Collection [" + uuid + "] does not exist");
}

void OpenStore::forget(std::int64_t collection_id) {
  const std::scoped_lock lock(collections_mutex_);
  collections_.erase(collection_id);
}

void OpenStore::notify(const std::shared_ptr<OpenCollection>& collection) {
  const std::scoped_lock lock(maintenance_mutex_);
  changed_.insert(collection);
  maintenance_wakes_.notify_all();
}

void OpenStore::wait_for_maintenance() {
  check_process();
  std::unique_lock lock(maintenance_mutex_);
  maintenance_rests_.wait(lock, [this] { return changed_.empty() && !maintenance_works_; });
  if (maintenance_error_) std::rethrow_exception(std::exchange(maintenance_error_, nullptr));
}

void OpenStore::maintenance_loop() {
  std::unique_lock lock(maintenance_mutex_);
  while (!closing_) {
    if (changed_.empty()) {
      maintenance_wakes_.wait_for(lock, kWriterIdle);
      if (changed_.empty() && !closing_) {
        lock.unlock();
        release_writer_if_idle();
        lock.lock();
      }
      continue;
    }
    const std::shared_ptr<OpenCollection> collection = *changed_.begin();
    changed_.erase(changed_.begin());
    maintenance_works_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      maintain_collection(*this, *collection);
    } catch (const Error& failure) {
      // A collection that was deleted meanwhile needs no maintenance.
      if (failure.code() != ErrorCode::not_found) error = std::current_exception();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    maintenance_works_ = false;
    if (error) maintenance_error_ = error;
    maintenance_rests_.notify_all();
  }
}

bool OpenStore::is_forked() const noexcept {
  return process_generation_ != process_generation.load(std::memory_order_relaxed);
}

void OpenStore::check_process() const {
  if (is_forked()) {
    throw Error(ErrorCode::unsupported, "store " + directory_ +
                                            " was opened before fork(), and cannot be used in the "
                                            "child: close it before, or start a "
                                            "new program (in Python, multiprocessing's 'spawn')");
  }
}

}  // namespace vkb

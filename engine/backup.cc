// SPDX-License-Identifier: Apache-2.0
//
// Copying a store while it is in use. storage/backup_manifest.h says what a backup consists of, and
// in which order one replaces another.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <set>

#include "engine/leftovers.h"
#include "engine/open_store.h"
#include "storage/backup_manifest.h"
#include "storage/error.h"
#include "storage/manifest.h"
#include "storage/schema.h"
#include "storage/segment.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

struct StopRequested {};

// A segment may be compacted away between the copy of the database and its link: then copy anew.
constexpr int kTries = 10;

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[sizeof("2026-11-23T13:19:59Z")];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

bool shares_a_collection(const BackupManifest& a, const BackupManifest& b) {
  return std::any_of(a.collections.begin(), a.collections.end(), [&](const auto& one) {
    return std::any_of(b.collections.begin(), b.collections.end(),
                       [&](const auto& other) { return one.uuid == other.uuid; });
  });
}

class Backup {
 public:
  Backup(OpenStore& store, const std::string& destination, const ProgressFunction& progress)
      : store_(store), files_(store.files()), destination_(destination), progress_(progress) {}

  BackupResult run() {
    check_destination();
    files_.make_directory(destination_);
    const std::unique_ptr<FileLock> lock = files_.try_lock(path(kBackupLock), holder_text());
    if (!lock) {
      throw Error(ErrorCode::busy, destination_ + ": another backup into it is being made by " +
                                       files_.lock_holder(path(kBackupLock)) +
                                       "; try again when it is done");
    }
    check_unused();
    settle_backup(files_, destination_);
    old_ = find_backup(files_, destination_);
    try {
      files_.make_directory(path(kSegmentFolder));
      copy();
      commit();
    } catch (const StopRequested&) {
      withdraw();
      result_.stopped = true;
      return result_;
    } catch (...) {
      withdraw();
      throw;
    }
    remove_unnamed();
    return result_;
  }

 private:
  std::string path(std::string_view name) const { return destination_ + "/" + std::string(name); }

  // The destination must be outside the store, which would take its backup away with itself, and be
  // new, hold a backup, or what is left of one that was never complete.
  void check_destination() const {
    if (is_in_store()) {
      refuse("it is the directory of the store " + store_.directory() + ", or inside it");
    }
    if (!files_.exists(destination_)) return;
    const std::vector<std::string> names = files_.list(destination_);
    const auto has = [&](std::string_view name) {
      return std::binary_search(names.begin(), names.end(), name);
    };
    if (has(kWriterLock)) refuse("it is a store that programs write to");
    if (!names.empty() && !has(kBackupManifest) && !has(kBackupLock)) {
      refuse("it exists, is not empty, and holds no backup");
    }
  }

  // Whoever reads the old backup where it is would go on reading what it was, and miss segments.
  void check_unused() const {
    if (is_open_in_process(destination_) || has_connections(files_, destination_)) {
      throw Error(ErrorCode::busy, "backup destination " + destination_ +
                                       " is open: close it, or stop the program that reads it "
                                       "(`vkb serve`, a notebook, ...), then back up");
    }
  }

  // By whatever way: `..`, a link, another mount.
  bool is_in_store() const {
    std::error_code unknown;
    fs::path at = fs::weakly_canonical(fs::absolute(destination_), unknown);
    for (; at.has_relative_path(); at = at.parent_path()) {
      if (fs::equivalent(at, store_.directory(), unknown)) return true;
    }
    return false;
  }

  [[noreturn]] void refuse(const std::string& reason) const {
    throw Error(ErrorCode::already_exists,
                "backup destination " + destination_ + ": " + reason + "; name another directory");
  }

  void copy() {
    for (int tries = 1; !try_copy(); ++tries) {
      if (tries == kTries) {
        throw Error(ErrorCode::corruption,
                    missing_ + " is named by the store and missing; run `vkb check`");
      }
    }
  }

  // Returns false when a segment has gone since the database was copied.
  bool try_copy() {
    const std::string database = path(kDatabaseFile) + std::string(kNewSuffix);
    next_ = {.created = utc_now(),
             .store = fs::absolute(store_.directory()).lexically_normal().string(),
             .schema_version = 0,
             .segment_format = 0,
             .collections = {},
             .files = {}};
    result_ = {};
    std::vector<SegmentRow> segments;
    store_.read([&](Database& db) {
      segments.clear();
      next_.collections.clear();
      next_.schema_version = schema_version(db);
      for (const CollectionRow& row : list_all_collections(db)) {
        next_.collections.push_back({.uuid = row.uuid,
                                     .tenant = row.tenant,
                                     .database = row.database,
                                     .name = row.name,
                                     .records = row.record_count});
        const std::vector<SegmentRow> more = list_segments(db, row.collection_id);
        segments.insert(segments.end(), more.begin(), more.end());
      }
      check_same_store();
      settle_backup(files_, destination_);  // drops the copy of a try before
      db.copy_to(database);
    });
    files_.sync_directory(destination_);
    files_.reached("backup_database_copied");
    for (std::size_t i = 0; i < segments.size(); ++i) {
      if (!take_segment(segments[i])) return false;
      if (progress_ && !progress_({.step = "copy", .done = i + 1, .total = segments.size()})) {
        throw StopRequested{};
      }
    }
    BackupFile copied =
        describe_file(files_, destination_, std::string(kDatabaseFile) + std::string(kNewSuffix));
    copied.name = kDatabaseFile;
    result_.bytes += copied.bytes;
    result_.new_bytes += copied.bytes;
    next_.files.insert(next_.files.begin(), std::move(copied));
    return true;
  }

  void check_same_store() const {
    if (!old_ || old_->collections.empty() || shares_a_collection(*old_, next_)) return;
    refuse("it holds the backup of another store (" + old_->store +
           ", of which no collection is in this one)");
  }

  bool take_segment(const SegmentRow& named) {
    const std::string source = store_.segment_directory() + "/" + named.file;
    try {
      copy_segment(named, source);
      return true;
    } catch (const Error&) {
      // A merge may take the file away at any moment, and so make any of this fail.
      if (files_.exists(source)) throw;
      missing_ = source;
      return false;
    }
  }

  void copy_segment(const SegmentRow& named, const std::string& source) {
    const std::string name = std::string(kSegmentFolder) + "/" + named.file;
    // A backup of what is visibly damaged is none.
    const std::shared_ptr<const Segment> segment = Segment::open(files_, source);
    if (segment->header().header_checksum != named.checksum) {
      throw Error(ErrorCode::corruption, source + ": not the file that the store wrote");
    }
    BackupFile file = describe_file(files_, store_.directory(), name, kSegmentHeaderBytes);
    if (!is_there(file)) {
      files_.remove(path(name));  // cut short by a crash, or damaged
      files_.hard_link_or_copy(source, path(name));
      added_.insert(named.file);
      result_.new_bytes += file.bytes;
    }
    next_.segment_format = std::max(next_.segment_format, segment->header().format_version);
    result_.bytes += file.bytes;
    next_.files.push_back(std::move(file));
  }

  bool is_there(const BackupFile& file) {
    return files_.file_size(path(file.name)) == file.bytes &&
           describe_file(files_, destination_, file.name, kSegmentHeaderBytes) == file;
  }

  void commit() {
    files_.sync_directory(path(kSegmentFolder));
    const std::string json = to_json(next_);
    const std::string manifest = path(kBackupManifest);
    const std::unique_ptr<NewFile> file = files_.create(manifest + std::string(kNewSuffix));
    file->append(std::as_bytes(std::span(json)));
    file->publish();
    files_.reached("backup_manifest_written");
    check_unused();  // as it was at the beginning: the copy may have taken long
    check_destination();
    // Of whoever read the old database here: they are not the new one's.
    for (const char* suffix : {"-mark", "-wal", "-shm"})
      files_.remove(path(kDatabaseFile) + suffix);
    const std::string database = path(kDatabaseFile);
    files_.rename(database + std::string(kNewSuffix), database);
    committed_ = true;
    files_.sync_directory(destination_);
    files_.reached("backup_database_renamed");
    settle_backup(files_, destination_);
    files_.reached("backup_committed");
  }

  // Leaves what was there before. Whatever it cannot remove, the next backup does.
  void withdraw() noexcept {
    if (committed_) return;
    try {
      settle_backup(files_, destination_);
      for (const std::string& name : added_) {
        if (!names(old_, name)) files_.remove(path(kSegmentFolder) + "/" + name);
      }
      if (old_) return;
      files_.remove(path(kBackupLock));
      std::error_code ignored;  // they stay where something else is in them
      fs::remove(path(kSegmentFolder), ignored);
      fs::remove(destination_, ignored);
    } catch (const std::exception&) {
    }
  }

  static bool names(const std::optional<BackupManifest>& manifest, const std::string& segment) {
    const std::string name = std::string(kSegmentFolder) + "/" + segment;
    return manifest && std::any_of(manifest->files.begin(), manifest->files.end(),
                                   [&](const BackupFile& file) { return file.name == name; });
  }

  void remove_unnamed() noexcept {
    try {
      for (const std::string& name : files_.list(path(kSegmentFolder))) {
        if (!names(next_, name)) files_.remove(path(kSegmentFolder) + "/" + name);
      }
    } catch (const std::exception&) {
      // The backup is complete; the next one tries again.
    }
  }

  OpenStore& store_;
  FileSystem& files_;
  const std::string destination_;
  const ProgressFunction& progress_;
  std::optional<BackupManifest> old_;
  BackupManifest next_;
  std::set<std::string> added_;  // segments that were not there
  std::string missing_;
  bool committed_ = false;
  BackupResult result_;
};

}  // namespace

BackupResult Store::backup(const std::string& destination, const ProgressFunction& progress) const {
  return Backup(*open_, destination, progress).run();
}

}  // namespace vkb

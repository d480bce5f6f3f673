// SPDX-License-Identifier: Apache-2.0
#include "engine/backup.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "engine/leftovers.h"
#include "engine/open_store.h"
#include "storage/backup_manifest.h"
#include "storage/database_file.h"
#include "storage/error.h"
#include "storage/file_hash.h"
#include "storage/segment.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

struct StopRequested {};

// Removed, with what is in it, by the destructor.
struct TemporaryDirectory {
  std::string path;
  bool is_kept = false;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!is_kept) fs::remove_all(path, ignored);
  }
};

// A lock of a file that the destructor removes. `path` is empty until it is held.
struct PlaceLock {
  std::string path;
  std::unique_ptr<FileLock> lock;
  ~PlaceLock() {
    std::error_code ignored;
    if (!path.empty()) fs::remove(path, ignored);
  }
};

std::string hex(std::uint64_t value) {
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4) digits += "0123456789abcdef"[(value >> shift) & 0xF];
  return digits;
}

std::uint64_t count_records(const Store& store) {
  std::uint64_t records = 0;
  for (const Collection& collection : store.all_collections()) records += collection.count();
  return records;
}

class Restore {
 public:
  Restore(std::string backup, const std::string& directory, const RestoreOptions& options,
          const ProgressFunction& progress)
      : backup_(std::move(backup)),
        place_(place_of(directory)),
        options_(options),
        files_(options.file_system ? *options.file_system : posix_file_system()),
        progress_(progress) {}

  RestoreResult run() {
    RestoreResult result;
    read_manifest();
    occupy_place();
    look_at_place();
    const std::vector<std::string> left = remove_cut_short(files_, place_);
    try {
      make_copy();
    } catch (const StopRequested&) {
      result.stopped = true;
      return result;
    }
    expect_opens(copy_.path);
    put_in_place();
    result.kept = remove_old_stores(files_, left, place_);
    result.replaced = is_store_there_;
    result.created = manifest_.created;
    result.bytes = bytes_;
    return result;
  }

 private:
  // An absolute path without links: what is renamed is the directory itself.
  static std::string place_of(const std::string& directory) {
    std::error_code failed;
    const fs::path path = fs::weakly_canonical(fs::absolute(directory), failed).lexically_normal();
    if (failed) {
      throw Error(ErrorCode::io_error, directory + ": cannot be a store: " + failed.message());
    }
    return (path.has_filename() ? path : path.parent_path()).string();
  }

  std::string in_copy(std::string_view name) const { return copy_.path + "/" + std::string(name); }
  std::string in_place(std::string_view name) const { return place_ + "/" + std::string(name); }

  void read_manifest() {
    const std::string lock = backup_ + "/" + std::string(kBackupLock);
    if (const std::string holder = files_.lock_holder(lock); !holder.empty()) {
      throw Error(ErrorCode::busy, backup_ + ": a backup into it is being made by " + holder +
                                       "; restore when it is done");
    }
    std::optional<BackupManifest> found = find_backup(files_, backup_);
    if (!found) {
      throw Error(ErrorCode::not_found, backup_ + ": there is no complete backup here, it has no " +
                                            std::string(kBackupManifest));
    }
    manifest_ = *std::move(found);
  }

  // While this is held no copy beside the place is that of a restore that runs.
  void occupy_place() {
    files_.make_directory(fs::path(place_).parent_path().string());
    const std::string path = place_ + ".restoring.lock";
    place_lock_.lock = wait_for_lock(files_, path, options_.lock_timeout);
    if (!place_lock_.lock) {
      throw Error(ErrorCode::busy, place_ + ": another restore to it is being made by " +
                                       files_.lock_holder(path) + "; try again when it is done");
    }
    place_lock_.path = path;
  }

  void look_at_place() {
    if (!files_.exists(place_)) return;
    const std::vector<std::string> names = files_.list(place_);
    if (names.empty()) return;
    const bool has_database = std::binary_search(names.begin(), names.end(), kDatabaseFile);
    if (!has_database && !std::binary_search(names.begin(), names.end(), kSegmentFolder)) {
      refuse("it must not exist, be empty, or hold a store");
    }
    std::string foreign = foreign_name(names);
    if (foreign.empty() && !has_database) foreign = foreign_in_segments();
    if (!foreign.empty()) refuse("it has " + foreign + ", which is no part of a store");
    is_store_there_ = true;
    has_reports_ = std::binary_search(names.begin(), names.end(), kReportFolder);
    occupy_store();
    if (options_.replace) return;
    std::uint64_t records = 0;
    try {
      records = count_records(open(place_));
    } catch (const Error& error) {
      refuse("it holds a store that cannot be read (" + std::string(error.what()) +
             "), and replacing it was not asked for");
    }
    if (records > 0) {
      refuse("it holds a store with " + std::to_string(records) +
             " records, and replacing it was not asked for");
    }
  }

  // Without a database nothing but these files says that it is a store.
  std::string foreign_in_segments() const {
    for (const std::string& name : files_.list(in_place(kSegmentFolder))) {
      if (!name.ends_with(kSegmentSuffix)) return std::string(kSegmentFolder) + "/" + name;
    }
    return "";
  }

  [[noreturn]] void refuse(const std::string& reason) const {
    throw Error(ErrorCode::already_exists, place_ + ": " + reason +
                                               "; move it away, or restore into another "
                                               "directory; nothing was restored");
  }

  // Nobody else may write to the old store, whose changes would be lost, or read it: a program that
  // has it open would go on reading what it was.
  void occupy_store() {
    if (is_open_in_process(place_)) {
      throw Error(ErrorCode::busy, "store " + place_ + " is open in this program: close it first");
    }
    old_lock_ = wait_for_lock(files_, in_place(kWriterLock), options_.lock_timeout);
    if (!old_lock_) {
      throw Error(ErrorCode::busy, "store " + place_ + " is held by another writer, " +
                                       files_.lock_holder(in_place(kWriterLock)) +
                                       "; restore when it is done, or stop it");
    }
    if (has_connections(files_, place_)) {
      throw Error(ErrorCode::busy, "store " + place_ +
                                       " is open in another program: stop it (`vkb serve`, a "
                                       "notebook, ...), then restore");
    }
  }

  void make_copy() {
    const std::string prefix = place_ + std::string(kRestoringSuffix);
    int number = getpid();
    while (files_.exists(prefix + std::to_string(number))) ++number;  // its process had our id once
    copy_.path = prefix + std::to_string(number);
    files_.make_directory(in_copy(kSegmentFolder));
    for (const BackupFile& file : manifest_.files) {
      tick();
      file.name == kDatabaseFile ? copy_database(file) : copy_segment(file);
      bytes_ += file.bytes;
      ++done_;
    }
    tick();
    // Who was kept out of the old one is kept out.
    if (is_store_there_) fs::permissions(copy_.path, fs::status(place_).permissions());
    files_.sync_directory(in_copy(kSegmentFolder));
    files_.sync_directory(copy_.path);
  }

  void tick() const {
    if (progress_ && !progress_({.step = "copy", .done = done_, .total = manifest_.files.size()})) {
      throw StopRequested{};
    }
  }

  [[noreturn]] void differs(const BackupFile& file, const std::string& how) const {
    throw Error(ErrorCode::corruption, "backup " + backup_ + ": " + file.name +
                                           " is not as its manifest says: " + how +
                                           "; nothing was restored");
  }

  std::unique_ptr<MappedFile> map(const BackupFile& file) const {
    std::unique_ptr<MappedFile> mapped;
    try {
      mapped = files_.map(backup_ + "/" + file.name);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
      differs(file, "it is missing");
    }
    expect_size(file, mapped->bytes().size());
    return mapped;
  }

  void expect_size(const BackupFile& file, std::uint64_t size) const {
    if (size == file.bytes) return;
    differs(file,
            "expected " + std::to_string(file.bytes) + " bytes, found " + std::to_string(size));
  }

  void expect_hash(const BackupFile& file, const FileHash& hash) const {
    const std::string found = hash.value();
    if (found == file.hash) return;
    differs(file, "expected the XXH3-128 hash " + file.hash + " of its first " +
                      std::to_string(file.hashed_bytes) + " bytes, found " + found);
  }

  // A copy always: SQLite will write into it.
  void copy_database(const BackupFile& file) {
    DatabaseFile source(backup_ + "/" + file.name);  // this program may have it open
    if (!source.is_open()) differs(file, "it is missing");
    expect_size(file, source.size());
    const std::unique_ptr<NewFile> target = files_.create(in_copy(file.name));
    FileHash hash;
    read_pieces(source, [&](std::span<const std::byte> piece) {
      hash.update(piece);
      target->append(piece);
      tick();
    });
    expect_hash(file, hash);
    target->publish();
  }

  // Its header by the manifest, its sections by the header, and those of the copy: what is used.
  void copy_segment(const BackupFile& file) {
    {
      const std::unique_ptr<MappedFile> source = map(file);
      FileHash hash;
      read_pieces(*source, 0, file.hashed_bytes, [&](auto piece) { hash.update(piece); });
      expect_hash(file, hash);
    }
    files_.hard_link_or_copy(backup_ + "/" + file.name, in_copy(file.name));
    const std::shared_ptr<const Segment> segment = Segment::open(files_, in_copy(file.name));
    for (const SectionEntry& section : segment->sections()) {
      Checksum checksum;
      read_pieces(segment->file(), section.offset, section.bytes, [&](auto piece) {
        checksum.update(piece);
        tick();
      });
      if (checksum.value() == section.checksum) continue;
      differs(file, "expected the XXH3 hash " + hex(section.checksum) + " of its section " +
                        std::string(to_string(static_cast<SectionKind>(section.kind))) +
                        ", found " + hex(checksum.value()));
    }
  }

  Store open(const std::string& directory) const {
    return Store::open(directory, {.read_only = true,
                                   .create = false,
                                   .lock_timeout = options_.lock_timeout,
                                   .file_system = options_.file_system});
  }

  // Opens the store and each of its segments, and counts the records.
  void expect_opens(const std::string& directory) const {
    const Store store = open(directory);
    for (const BackedUpCollection& each : manifest_.collections) {
      const Collection collection = store.collection_by_uuid(each.uuid);
      const std::uint64_t records = collection.info(InfoDetail::segments).record_count;
      if (records == each.records) continue;
      throw Error(ErrorCode::corruption,
                  "backup " + backup_ + ": collection " + each.name + " has " +
                      std::to_string(records) + " records, its manifest says " +
                      std::to_string(each.records) + "; nothing was restored");
    }
  }

  void put_in_place() {
    // Held until the new store was looked at: who writes to it before would lose that if the old
    // one had to come back.
    const std::unique_ptr<FileLock> new_lock = files_.try_lock(in_copy(kWriterLock), holder_text());
    swap();
    try {
      files_.reached("restore_placed");
      files_.sync_directory(fs::path(place_).parent_path().string());
      expect_opens(place_);
    } catch (...) {
      copy_.is_kept = is_store_there_;  // until it is the copy again
      is_store_there_ ? swap() : files_.rename(place_, copy_.path);
      copy_.is_kept = false;
      throw;
    }
    // copy_ is the old store now, if there was one, and goes.
    if (!has_reports_) return;
    copy_.is_kept = true;
    try {
      move_reports(files_, copy_.path, place_);
    } catch (const Error& error) {
      throw Error(error.code(), place_ + " is restored; the old store, with the reports of its " +
                                    "imports, is still in " + copy_.path + ": " + error.what());
    }
    copy_.is_kept = false;
  }

  void swap() {
    is_store_there_ ? files_.exchange(copy_.path, place_) : files_.rename(copy_.path, place_);
  }

  const std::string backup_;
  const std::string place_;
  const RestoreOptions options_;
  FileSystem& files_;
  const ProgressFunction& progress_;
  BackupManifest manifest_;
  bool is_store_there_ = false;
  bool has_reports_ = false;
  std::unique_ptr<FileLock> old_lock_;
  std::uint64_t done_ = 0;
  std::uint64_t bytes_ = 0;
  PlaceLock place_lock_;  // until copy_ is gone
  TemporaryDirectory copy_;
};

}  // namespace

RestoreResult restore(const std::string& backup, const std::string& directory,
                      const RestoreOptions& options, const ProgressFunction& progress) {
  return Restore(backup, directory, options, progress).run();
}

}  // namespace vkb

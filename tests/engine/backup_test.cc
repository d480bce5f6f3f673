// SPDX-License-Identifier: Apache-2.0
#include "engine/backup.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "engine/vkb.h"
#include "storage/backup_manifest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const std::string& directory) {
  return posix_file_system().list(directory);
}

ino_t inode_of(const std::string& path) {
  struct ::stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_ino;
}

// What a store holds; "" when it holds `expected` and is sound.
std::string wrong_with(const std::string& store_path, const Expected& expected) {
  const Store store = Store::open(store_path, {.read_only = true});
  if (!is_sound(store)) return "not sound";
  return differences(expected, store.collection("vectors"));
}

// The same of what a backup restores to.
std::string wrong_with_backup(const std::string& backup, const Expected& expected) {
  const TempDirectory directory;
  restore(backup, directory.file("restored"));
  return wrong_with(directory.file("restored"), expected);
}

// A store with a segment of 20 records and 10 in the log.
class Backups : public ::testing::Test {
 protected:
  Backups() {
    collection_.add(std::span(records_).first(20));
    collection_.compact();
    collection_.add(std::span(records_).subspan(20));
  }

  // A second segment beside the first, and 20 records more in all.
  Expected grow() {
    const std::vector<Record> more = test_records(20, 4, 7, "more");
    Expected expected = first_;
    expected.merge(expected_of(more));
    VectorSource source(more, 20);
    collection_.load(source);
    return expected;
  }

  const TempDirectory directory_;
  const std::string backup_ = directory_.file("backup");
  FaultyFileSystem files_;
  Store store_ = Store::open(directory_.file("store"), {.file_system = &files_});
  Collection collection_ = store_.create_collection("vectors");
  const std::vector<Record> records_ = test_records(30, 4);
  const Expected first_ = expected_of(records_);
};

TEST_F(Backups, HaveAManifestOfAllTheirFiles) {
  store_.create_collection("empty");
  const BackupResult result = store_.backup(backup_);
  const auto manifest = find_backup(posix_file_system(), backup_);
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->store, directory_.file("store"));
  EXPECT_EQ(manifest->schema_version, store_.info().schema_version);
  EXPECT_EQ(manifest->segment_format, 3u);
  EXPECT_EQ(manifest->created.size(), std::string("2026-11-23T13:19:59Z").size());
  ASSERT_EQ(manifest->collections.size(), 2u);
  EXPECT_EQ(manifest->collections[0].name, "vectors");
  EXPECT_EQ(manifest->collections[0].uuid, collection_.uuid());
  EXPECT_EQ(manifest->collections[0].records, 30u);
  EXPECT_EQ(manifest->collections[1].records, 0u);
  const std::vector<std::string> segments = names_in(backup_ + "/segments");
  ASSERT_EQ(segments.size(), 1u);
  ASSERT_EQ(manifest->files.size(), 2u);
  std::uint64_t bytes = 0;
  for (const auto& [file, name] : {std::pair(manifest->files[0], std::string("vkb.sqlite3")),
                                   std::pair(manifest->files[1], "segments/" + segments[0])}) {
    EXPECT_EQ(file.name, name);
    EXPECT_EQ(file.bytes, fs::file_size(backup_ + "/" + name));
    EXPECT_EQ(describe_file(posix_file_system(), backup_, name, file.hashed_bytes), file);
    bytes += file.bytes;
  }
  EXPECT_EQ(manifest->files[0].hashed_bytes, manifest->files[0].bytes);
  EXPECT_EQ(result.bytes, bytes);
  EXPECT_EQ(result.new_bytes, bytes);
  EXPECT_EQ(names_in(backup_),
            (std::vector<std::string>{"backup.json", "backup.lock", "segments", "vkb.sqlite3"}));
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
}

TEST_F(Backups, CopyOnlyWhatIsNew) {
  store_.backup(backup_);
  const std::string old_segment = "segments/" + names_in(backup_ + "/segments").at(0);
  const ino_t inode = inode_of(backup_ + "/" + old_segment);
  // As if it had been copied to another disk: what is there must not be linked anew.
  fs::copy_file(backup_ + "/" + old_segment, directory_.file("copied"));
  fs::rename(directory_.file("copied"), backup_ + "/" + old_segment);
  const ino_t copied = inode_of(backup_ + "/" + old_segment);
  ASSERT_NE(copied, inode);
  const std::vector<Record> more = test_records(5000, 4, 7, "more");
  Expected expected = first_;
  expected.merge(expected_of(more));
  collection_.add(more);
  collection_.wait_for_maintenance();  // sealed: a segment beside the first

  const BackupResult result = store_.backup(backup_);
  EXPECT_EQ(names_in(backup_ + "/segments").size(), 2u);
  EXPECT_EQ(inode_of(backup_ + "/" + old_segment), copied);
  EXPECT_EQ(result.bytes - result.new_bytes, fs::file_size(backup_ + "/" + old_segment));
  EXPECT_EQ(wrong_with_backup(backup_, expected), "");

  collection_.compact();
  store_.backup(backup_);
  EXPECT_EQ(names_in(backup_ + "/segments").size(), 1u);
  EXPECT_FALSE(fs::exists(backup_ + "/" + old_segment));
  EXPECT_EQ(wrong_with_backup(backup_, expected), "");

  const BackupResult again = store_.backup(backup_);
  EXPECT_EQ(again.new_bytes, fs::file_size(backup_ + "/vkb.sqlite3"));
}

TEST_F(Backups, ReplaceWhatACrashCutShort) {
  store_.backup(backup_);
  const std::string segment = backup_ + "/segments/" + names_in(backup_ + "/segments").at(0);
  const std::uint64_t size = fs::file_size(segment);
  fs::remove(segment);
  write_whole_file(segment, std::string(size / 2, 'x'));
  write_whole_file(backup_ + "/segments/of-a-backup-that-was-never.vseg", "x");
  store_.backup(backup_);
  EXPECT_EQ(fs::file_size(segment), size);
  EXPECT_EQ(names_in(backup_ + "/segments").size(), 1u);
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
}

// What is in the destination at each call, as a crash then would leave it.
// A merge may take a file away between any two calls: then the newer state is copied.
TEST_F(Backups, SegmentsMayGoWhileTheyAreCopied) {
  for (const FileCall call : {FileCall::map, FileCall::hard_link_or_copy}) {
    const std::string name = std::string(to_string(call));
    bool is_merged = false;
    files_.set_hook([&](FileCall met, const std::string& path) {
      if (met != call || is_merged || path.find("/store/segments/") == std::string::npos) return;
      is_merged = true;
      const Record changed = records_[0];
      collection_.upsert({&changed, 1});
      collection_.compact();
    });
    store_.backup(directory_.file(name));
    files_.set_hook({});
    EXPECT_TRUE(is_merged) << name;
    EXPECT_EQ(wrong_with_backup(directory_.file(name), first_), "") << name;
  }
}

TEST_F(Backups, AreRestorableWhereverACrashComes) {
  std::vector<std::string> images;
  const auto keep_image = [&](FileCall, const std::string&) {
    images.push_back(directory_.file(numbered("image-", images.size())));
    if (fs::exists(backup_)) fs::copy(backup_, images.back(), fs::copy_options::recursive);
  };
  files_.set_hook(keep_image);
  store_.backup(backup_);
  files_.set_hook({});
  ASSERT_GT(images.size(), 20u);
  std::size_t complete = 0;
  for (const std::string& image : images) {
    if (fs::exists(image) && find_backup(posix_file_system(), image)) {
      ++complete;
    } else {
      EXPECT_EQ(complete, 0u) << image;
      store_.backup(image);  // goes on from whatever is there
    }
    EXPECT_EQ(wrong_with_backup(image, first_), "") << image;
    fs::remove_all(image);
  }
  EXPECT_GT(complete, 2u);

  images.clear();
  const Expected second = grow();
  collection_.compact();  // the old segment goes from the backup, too
  files_.set_hook(keep_image);
  store_.backup(backup_);
  files_.set_hook({});
  std::size_t old_ones = 0;
  std::size_t new_ones = 0;
  for (const std::string& image : images) {
    const auto manifest = find_backup(posix_file_system(), image);
    ASSERT_TRUE(manifest) << image;
    const bool is_new = manifest->collections.at(0).records == second.size();
    EXPECT_TRUE(is_new || new_ones == 0) << image;
    ++(is_new ? new_ones : old_ones);
    EXPECT_EQ(wrong_with_backup(image, is_new ? second : first_), "") << image;
    if ((old_ones + new_ones) % 4 != 0) continue;
    store_.backup(image);
    EXPECT_EQ(wrong_with_backup(image, second), "") << image;
  }
  EXPECT_GT(old_ones, 10u);
  EXPECT_GT(new_ones, 2u);
}

TEST_F(Backups, LeaveTheOldOneWhenACallFails) {
  store_.backup(backup_);
  const Expected second = grow();
  collection_.compact();
  for (std::size_t c = 0; c < kFileCalls; ++c) {
    const auto call = static_cast<FileCall>(c);
    for (std::uint64_t nth = 1;; ++nth) {
      const std::string copy = directory_.file("copy");
      fs::copy(backup_, copy, fs::copy_options::recursive);
      const std::uint64_t before = files_.count(call);
      files_.fail(call, nth);
      bool failed = false;
      try {
        store_.backup(copy);
      } catch (const Error& error) {
        failed = true;
        EXPECT_NE(std::string(error.what()).find("injected"), std::string::npos) << error.what();
      }
      const bool reached = files_.count(call) - before >= nth;
      files_.fail(call, 0);
      const auto manifest = find_backup(posix_file_system(), copy);
      ASSERT_TRUE(manifest) << to_string(call) << nth;
      const bool is_new = manifest->collections.at(0).records == second.size();
      EXPECT_TRUE(failed || is_new) << to_string(call) << nth;
      EXPECT_EQ(wrong_with_backup(copy, is_new ? second : first_), "") << to_string(call) << nth;
      fs::remove_all(copy);
      if (!reached) break;
    }
  }
}

TEST_F(Backups, LeaveNothingWhenTheFirstOneFails) {
  for (const FileCall call : {FileCall::hard_link_or_copy, FileCall::create, FileCall::publish}) {
    files_.fail(call);
    EXPECT_THROW(store_.backup(backup_), Error);
    EXPECT_FALSE(fs::exists(backup_)) << to_string(call);
  }
}

TEST_F(Backups, LeaveWhatWasThereWhenStopped) {
  EXPECT_TRUE(store_.backup(backup_, [](const Progress&) { return false; }).stopped);
  EXPECT_FALSE(fs::exists(backup_));
  store_.backup(backup_);
  const auto manifest = find_backup(posix_file_system(), backup_);
  grow();
  collection_.compact();
  EXPECT_TRUE(store_.backup(backup_, [](const Progress&) { return false; }).stopped);
  EXPECT_EQ(find_backup(posix_file_system(), backup_), manifest);
  EXPECT_EQ(names_in(backup_ + "/segments").size(), 1u);
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
}

TEST_F(Backups, OverwriteNothingElse) {
  directory_.write("notes.txt", "mine");
  VKB_EXPECT_ERROR(store_.backup(directory_.path()), ErrorCode::already_exists, "holds no backup");
  {
    Store other = Store::open(directory_.file("other"));
    other.create_collection("vectors").add(test_records(3, 4));
    other.backup(backup_);
  }
  const auto manifest = find_backup(posix_file_system(), backup_);
  VKB_EXPECT_ERROR(store_.backup(backup_), ErrorCode::already_exists, directory_.file("other"));
  EXPECT_EQ(find_backup(posix_file_system(), backup_), manifest);
  // One that was opened and written to is a store of its own.
  Store::open(backup_).collection("vectors").add(test_records(1, 4, 3, "x"));
  VKB_EXPECT_ERROR(store_.backup(backup_), ErrorCode::already_exists, "programs write to");
}

TEST_F(Backups, GoNowhereIntoTheStore) {
  const std::string store = store_.directory();
  fs::create_directories(store + "/reports/1");
  fs::create_directory(directory_.file("elsewhere"));
  fs::create_directory_symlink(store, directory_.file("link"));
  fs::create_directory_symlink(store + "/reports", directory_.file("elsewhere/link"));
  const std::vector<std::string> before = names_in(store);
  for (const std::string& inside :
       {store, store + "/", store + "/.", store + "/backup", store + "/a/new/place/",
        store + "/segments", store + "/reports/1", store + "/a/../b", directory_.file("link"),
        directory_.file("link/backup"), directory_.file("elsewhere/link/1"),
        directory_.file("elsewhere/link/../backup"), directory_.file("elsewhere/../store/backup"),
        directory_.file("none/../store/backup")}) {
    VKB_EXPECT_ERROR(store_.backup(inside), ErrorCode::already_exists,
                     "backup destination " + inside + ": it is the directory of the store");
  }
  EXPECT_EQ(names_in(store), before);
  EXPECT_EQ(names_in(store + "/reports/1"), std::vector<std::string>{});
  EXPECT_EQ(names_in(directory_.path()), (std::vector<std::string>{"elsewhere", "link", "store"}));
  // A name that begins alike, and a way out of the store again.
  for (const std::string& outside : {store + "-2", store + "/../store-3"}) {
    store_.backup(outside);
    EXPECT_EQ(wrong_with_backup(outside, first_), "") << outside;
  }
}

TEST_F(Backups, OfOneDestinationComeOneAtATime) {
  store_.backup(backup_);
  const auto lock = files_.try_lock(backup_ + "/backup.lock", "pid 1 (somebody)");
  VKB_EXPECT_ERROR(store_.backup(backup_), ErrorCode::busy, "pid 1 (somebody)");
  VKB_EXPECT_ERROR(restore(backup_, directory_.file("restored")), ErrorCode::busy,
                   "pid 1 (somebody)");
}

// restore()

TEST_F(Backups, RestoreIntoANewDirectory) {
  store_.backup(backup_);
  const std::string target = directory_.file("a/new/place");
  const RestoreResult result = restore(backup_, target + "/");
  EXPECT_FALSE(result.replaced);
  EXPECT_EQ(result.created, find_backup(posix_file_system(), backup_)->created);
  EXPECT_EQ(names_in(directory_.file("a/new")), std::vector<std::string>{"place"});
  EXPECT_EQ(wrong_with(target, first_), "");
  // A store of its own: changing it does not change the backup.
  Store::open(target).collection("vectors").remove(Filter{});
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
}

TEST_F(Backups, RestoreNamesTheFileThatDiffers) {
  store_.backup(backup_);
  const std::string segment = "segments/" + names_in(backup_ + "/segments").at(0);
  const auto expect_refused = [&](const std::string& damaged, const std::string& name,
                                  const std::string& how) {
    VKB_EXPECT_ERROR(restore(damaged, directory_.file("restored")), ErrorCode::corruption, name);
    VKB_EXPECT_ERROR(restore(damaged, directory_.file("restored")), ErrorCode::corruption, how);
    EXPECT_FALSE(fs::exists(directory_.file("restored")));
    for (const std::string& left : names_in(directory_.path())) {
      EXPECT_EQ(left.find("restoring"), std::string::npos) << left;
    }
    fs::remove_all(damaged);
  };
  const std::string damaged = directory_.file("damaged");
  for (const std::string& name : {std::string("vkb.sqlite3"), segment}) {
    const std::string whole = read_whole_file(backup_ + "/" + name);
    for (const std::size_t at : {std::size_t{0}, std::size_t{4096}, std::size_t{8192}}) {
      fs::copy(backup_, damaged, fs::copy_options::recursive);
      std::string bytes = whole;
      bytes[at] = static_cast<char>(bytes[at] ^ 1);
      write_whole_file(damaged + "/" + name, bytes);
      expect_refused(damaged, name, "expected the XXH3");
    }
    fs::copy(backup_, damaged, fs::copy_options::recursive);
    write_whole_file(damaged + "/" + name, whole.substr(0, whole.size() - 1));
    expect_refused(damaged, name,
                   "expected " + std::to_string(whole.size()) + " bytes, found " +
                       std::to_string(whole.size() - 1));
    fs::copy(backup_, damaged, fs::copy_options::recursive);
    fs::remove(damaged + "/" + name);
    expect_refused(damaged, name, "missing");
  }
  // All hashes are right, and the counts are not.
  fs::copy(backup_, damaged, fs::copy_options::recursive);
  BackupManifest manifest = *find_backup(posix_file_system(), damaged);
  manifest.collections[0].records = 31;
  write_whole_file(damaged + "/backup.json", to_json(manifest));
  expect_refused(damaged, "collection vectors", "has 30 records, its manifest says 31");
}

TEST_F(Backups, RestoreRefusesAManifestOfWhichAByteDiffers) {
  store_.backup(backup_);
  const std::string path = backup_ + "/backup.json";
  const std::string good = read_whole_file(path);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    write_whole_file(path, bad);
    VKB_EXPECT_ERROR(restore(backup_, directory_.file("restored")), ErrorCode::corruption, path);
  }
  EXPECT_EQ(names_in(directory_.path()), (std::vector<std::string>{"backup", "store"}));
  VKB_EXPECT_ERROR(store_.backup(backup_), ErrorCode::corruption, path);
  write_whole_file(path, good);
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
}

TEST_F(Backups, RestoreRefusesPathsThatCannotBeOne) {
  store_.backup(backup_);
  const std::string loop = directory_.file("loop");
  fs::create_symlink(loop, loop);
  VKB_EXPECT_ERROR(restore(backup_, loop), ErrorCode::io_error, loop);
  directory_.write("file", "mine");
  VKB_EXPECT_ERROR(restore(backup_, directory_.file("file")), ErrorCode::io_error, "file");
  EXPECT_EQ(read_whole_file(directory_.file("file")), "mine");
}

TEST_F(Backups, RestoreTakesCompleteBackupsOnly) {
  VKB_EXPECT_ERROR(restore(directory_.file("none"), directory_.file("restored")),
                   ErrorCode::not_found, "no complete backup");
  VKB_EXPECT_ERROR(restore(store_.directory(), directory_.file("restored")), ErrorCode::not_found,
                   "no complete backup");
  EXPECT_FALSE(fs::exists(directory_.file("restored")));
}

// A store with three records of its own, closed.
std::string other_store(const TempDirectory& directory) {
  const std::string path = directory.file("other");
  Store::open(path).create_collection("vectors").add(test_records(3, 4, 5, "other"));
  return path;
}
const Expected kOther = expected_of(test_records(3, 4, 5, "other"));

TEST_F(Backups, RestoreReplacesAStoreOnlyWhenTold) {
  store_.backup(backup_);
  const std::string target = other_store(directory_);
  VKB_EXPECT_ERROR(restore(backup_, target), ErrorCode::already_exists, "3 records");
  EXPECT_EQ(wrong_with(target, kOther), "");
  fs::permissions(target, fs::perms::owner_all);
  EXPECT_TRUE(restore(backup_, target, {.replace = true}).replaced);
  EXPECT_EQ(wrong_with(target, first_), "");
  EXPECT_EQ(fs::status(target).permissions(), fs::perms::owner_all);
  Store::open(target).collection("vectors").remove(Filter{});
  EXPECT_TRUE(restore(backup_, target).replaced);  // nothing is lost
  EXPECT_EQ(wrong_with(target, first_), "");

  write_whole_file(target + "/vkb.sqlite3", "damaged beyond recognition");
  VKB_EXPECT_ERROR(restore(backup_, target), ErrorCode::already_exists, "cannot be read");
  restore(backup_, target, {.replace = true});
  EXPECT_EQ(wrong_with(target, first_), "");
  for (const std::string& left : names_in(directory_.path())) {
    EXPECT_EQ(left.find("restoring"), std::string::npos) << left;
  }
}

TEST_F(Backups, RestoreTouchesNothingButStores) {
  store_.backup(backup_);
  const std::string target = other_store(directory_);
  fs::create_directories(target + "/reports/1");
  write_whole_file(target + "/reports/1/report.json", "of an import");
  restore(backup_, target, {.replace = true});
  EXPECT_EQ(read_whole_file(target + "/reports/1/report.json"), "of an import");
  FaultyFileSystem files;
  files.fail(FileCall::rename, 2);  // the first one exchanges the stores
  VKB_EXPECT_ERROR(restore(backup_, target, {.replace = true, .file_system = &files}),
                   ErrorCode::io_error, target + ".restoring-");
  EXPECT_EQ(wrong_with(target, first_), "");
  for (const std::string& name : names_in(directory_.path())) {
    if (name.find("restoring") == std::string::npos) continue;
    EXPECT_EQ(read_whole_file(directory_.file(name) + "/reports/1/report.json"), "of an import");
  }
  write_whole_file(target + "/letters.txt", "mine");
  VKB_EXPECT_ERROR(restore(backup_, target, {.replace = true}), ErrorCode::already_exists,
                   "letters.txt");
  VKB_EXPECT_ERROR(restore(backup_, backup_, {.replace = true}), ErrorCode::already_exists,
                   "backup.");
  fs::create_directory(directory_.file("full"));
  write_whole_file(directory_.file("full") + "/letters.txt", "mine");
  VKB_EXPECT_ERROR(restore(backup_, directory_.file("full"), {.replace = true}),
                   ErrorCode::already_exists, "be empty");
  EXPECT_EQ(read_whole_file(target + "/letters.txt"), "mine");
}

TEST_F(Backups, RestoreRefusesAStoreThatIsOpen) {
  store_.backup(backup_);
  const RestoreOptions at_once{.replace = true, .lock_timeout = std::chrono::milliseconds(0)};
  VKB_EXPECT_ERROR(restore(backup_, store_.directory(), at_once), ErrorCode::busy,
                   "open in this program");
  const std::string target = other_store(directory_);
  const auto lock = files_.try_lock(target + "/writer.lock", "pid 1 (somebody)");
  VKB_EXPECT_ERROR(restore(backup_, target, at_once), ErrorCode::busy, "pid 1 (somebody)");
  EXPECT_EQ(wrong_with(target, kOther), "");
}

TEST_F(Backups, RestoreReplacesInOneStep) {
  store_.backup(backup_);
  const std::string target = other_store(directory_);
  // At every call the directory holds the one store or the other.
  FaultyFileSystem files;
  std::size_t old_ones = 0;
  std::size_t new_ones = 0;
  bool looking = false;  // looking makes calls, too
  files.set_hook([&](FileCall, const std::string&) {
    if (looking) return;
    looking = true;
    const std::uint64_t records =
        Store::open(target, {.read_only = true, .create = false}).collection("vectors").count();
    ASSERT_TRUE(records == 3 || records == 30) << records;
    ++(records == 3 ? old_ones : new_ones);
    EXPECT_TRUE(records == 30 || new_ones == 0);
    looking = false;
  });
  restore(backup_, target, {.replace = true, .file_system = &files});
  EXPECT_GT(old_ones, 10u);
  EXPECT_GT(new_ones, 2u);
  EXPECT_EQ(wrong_with(target, first_), "");
}

// What the killed ones leave: tests/crash/job_kill_test.cc kills them.
TEST_F(Backups, RestoreRemovesWhatKilledOnesLeft) {
  store_.backup(backup_);
  const std::string target = other_store(directory_);
  const auto left_by = [&](const std::string& pid) { return target + ".restoring-" + pid; };
  fs::copy(backup_, left_by("1"), fs::copy_options::recursive);  // a copy that was not complete
  fs::remove(left_by("1") + "/backup.json");
  fs::remove(left_by("1") + "/backup.lock");
  fs::create_directory(left_by("2"));
  // An old store; this process's own id, as it may be used again.
  const std::string old = left_by(std::to_string(::getpid()));
  fs::copy(target, old, fs::copy_options::recursive);
  for (const std::string& report :
       {old + "/reports/1", old + "/reports/2", target + "/reports/3"}) {
    fs::create_directories(report);
    write_whole_file(report + "/report.json", report);
  }
  write_whole_file(target + ".restoring.lock", "pid 1 (vkb)");
  // These are nobody's but the user's.
  write_whole_file(left_by("3"), "mine");
  fs::create_directory(left_by("notes"));
  fs::create_directory_symlink(store_.directory(), left_by("4"));

  // When nothing is restored, what may be a store stays.
  const FaultyFileSystem::Hook fail_late = [](FileCall, const std::string& path) {
    if (path == "restore_placed") throw Error(ErrorCode::io_error, "late");
  };
  FaultyFileSystem files;
  files.set_hook(fail_late);
  VKB_EXPECT_ERROR(restore(backup_, target, {.replace = true, .file_system = &files}),
                   ErrorCode::io_error, "late");
  EXPECT_FALSE(fs::exists(left_by("1")));
  EXPECT_EQ(wrong_with(old, kOther), "");

  EXPECT_EQ(restore(backup_, target, {.replace = true}).kept, std::vector<std::string>{});
  EXPECT_EQ(names_in(directory_.path()),
            (std::vector<std::string>{"backup", "other", "other.restoring-3", "other.restoring-4",
                                      "other.restoring-notes", "store"}));
  EXPECT_EQ(names_in(target + "/reports"), (std::vector<std::string>{"1", "2", "3"}));
  EXPECT_EQ(read_whole_file(target + "/reports/1/report.json"), old + "/reports/1");
  EXPECT_EQ(wrong_with(target, first_), "");
  EXPECT_EQ(wrong_with(store_.directory(), first_), "");
}

TEST_F(Backups, RestoreKeepsAndNamesWhatMayBeNeeded) {
  store_.backup(backup_);
  const std::string target = other_store(directory_);
  fs::create_directories(target + "/reports/1");
  std::vector<std::string> left;
  for (const char* pid : {"1", "2", "3", "4"}) {
    left.push_back(target + ".restoring-" + pid);
    fs::copy(target, left.back(), fs::copy_options::recursive);
  }
  fs::remove(left[0] + "/writer.lock");
  write_whole_file(left[0] + "/letters.txt", "mine");
  write_whole_file(left[1] + "/reports/1/report.json", "of an import");
  const Store reader = Store::open(left[2], {.read_only = true});
  const auto writer = files_.try_lock(left[3] + "/writer.lock", "pid 1 (somebody)");
  const std::vector<std::string> kept = restore(backup_, target, {.replace = true}).kept;
  ASSERT_EQ(kept.size(), 4u);
  const char* const kReasons[] = {"letters.txt", "another report of that name", "has it open",
                                  "pid 1 (somebody)"};
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_TRUE(kept[i].starts_with(left[i] + ": ")) << kept[i];
    EXPECT_NE(kept[i].find(kReasons[i]), std::string::npos) << kept[i];
    EXPECT_EQ(wrong_with(left[i], kOther), "");
  }
  EXPECT_EQ(read_whole_file(left[1] + "/reports/1/report.json"), "of an import");
  EXPECT_EQ(wrong_with(target, first_), "");
}

TEST_F(Backups, RestoresToOnePlaceComeOneAtATime) {
  store_.backup(backup_);
  for (const std::string& target : {directory_.file("new"), other_store(directory_)}) {
    FaultyFileSystem files;
    std::size_t refused = 0;
    bool is_locked = false;
    files.set_hook([&](FileCall call, const std::string& path) {
      // From the call after the one that locks on.
      if (is_locked) {
        const RestoreOptions at_once{.replace = true, .lock_timeout = std::chrono::milliseconds(0)};
        VKB_EXPECT_ERROR(restore(backup_, target + "/", at_once), ErrorCode::busy,
                         "another restore to it is being made by pid " + std::to_string(getpid()));
        ++refused;
      }
      is_locked |= call == FileCall::try_lock && path == target + ".restoring.lock";
    });
    restore(backup_, target, {.replace = true, .file_system = &files});
    EXPECT_GT(refused, 10u);
    EXPECT_EQ(wrong_with(target, first_), "");
  }
  EXPECT_EQ(names_in(directory_.path()),
            (std::vector<std::string>{"backup", "new", "other", "store"}));
}

TEST_F(Backups, RestoreLeavesTheOldStoreWhenACallFails) {
  store_.backup(backup_);
  const std::string target = other_store(directory_);
  FaultyFileSystem files;
  std::size_t failures = 0;
  for (std::size_t c = 0; c < kFileCalls; ++c) {
    const auto call = static_cast<FileCall>(c);
    for (std::uint64_t nth = 1;; ++nth) {
      files.clear();
      files.fail(call, nth);
      bool failed = false;
      try {
        restore(backup_, target, {.replace = true, .file_system = &files});
      } catch (const Error&) {
        failed = true;
        ++failures;
      }
      const bool reached = files.count(call) >= nth;
      files.fail(call, 0);
      EXPECT_EQ(wrong_with(target, failed ? kOther : first_), "") << to_string(call) << nth;
      for (const std::string& left : names_in(directory_.path())) {
        EXPECT_EQ(left.find("restoring"), std::string::npos) << left;
      }
      if (!failed) {
        fs::remove_all(target);
        other_store(directory_);
      }
      if (!reached) break;
    }
  }
  EXPECT_GT(failures, 20u);
}

TEST_F(Backups, RestoreThatIsStoppedChangesNothing) {
  store_.backup(backup_);
  const std::string target = other_store(directory_);
  for (int most = 0; most < 4; ++most) {
    int calls = 0;
    const RestoreResult result = restore(backup_, target, {.replace = true},
                                         [&](const Progress&) { return calls++ < most; });
    EXPECT_TRUE(result.stopped);
    EXPECT_EQ(wrong_with(target, kOther), "");
  }
}

}  // namespace
}  // namespace vkb

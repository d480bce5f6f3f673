// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/backups.h"

#include <fstream>

namespace vkb {
namespace {

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

// Who reads a backup where it is would go on reading what it was.
TEST_F(Backups, AreNotReplacedWhileSomebodyReadsThem) {
  store_.backup(backup_);
  {
    const Store reader = Store::open(backup_, {.read_only = true});
    EXPECT_EQ(reader.collection("vectors").count(), 30u);
    VKB_EXPECT_ERROR(store_.backup(backup_), ErrorCode::busy, "backup destination " + backup_);
  }
  store_.backup(backup_);
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
}

// Nor when he began to while the new one was being made.
TEST_F(Backups, AreNotReplacedOnceSomebodyUsesThem) {
  store_.backup(backup_);
  const std::vector<std::string> names = names_in(backup_);
  const std::string manifest = read_whole_file(backup_ + "/backup.json");
  const Expected second = grow();
  collection_.compact();  // the new one does not need the old segment
  const auto meanwhile = [&](const std::function<void()>& use) {
    files_.set_hook([&, use](FileCall, const std::string& point) {
      if (point == "backup_manifest_written") use();
    });
  };
  std::optional<Store> reader;
  meanwhile([&] {
    reader.emplace(Store::open(backup_, {.read_only = true}));
    EXPECT_EQ(reader->collection("vectors").count(), 30u);
  });
  VKB_EXPECT_ERROR(store_.backup(backup_), ErrorCode::busy,
                   "backup destination " + backup_ + " is open");
  EXPECT_EQ(differences(first_, reader->collection("vectors")), "");
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
  EXPECT_EQ(read_whole_file(backup_ + "/backup.json"), manifest);
  reader.reset();
  for (const char* of_reader : {"/vkb.sqlite3-wal", "/vkb.sqlite3-shm"}) {
    fs::remove(backup_ + of_reader);
  }
  EXPECT_EQ(names_in(backup_), names);

  meanwhile([&] { Store::open(backup_).collection("vectors").remove({&records_[0].id, 1}); });
  VKB_EXPECT_ERROR(store_.backup(backup_), ErrorCode::already_exists, "programs write to");
  files_.set_hook({});
  Expected changed = first_;
  changed.erase(records_[0].id);
  EXPECT_EQ(wrong_with(backup_, changed), "");
}

// What programs have written to is a store, and no damaged backup.
TEST_F(Backups, AreStoresOnceTheyAreWrittenTo) {
  store_.backup(backup_);
  Store::open(backup_).collection("vectors").add(test_records(20, 4, 7, "more"));
  const CheckResult result = Store::open(backup_, {.read_only = true}).check(true);
  EXPECT_EQ(result.problems.size(), 0u) << result.problems.front().message;
  EXPECT_EQ(result.records, 50u);
}

// check() finds in a backup all that restore() would refuse.
TEST_F(Backups, AreProvedByACheck) {
  store_.backup(backup_);
  const auto problems = [&] {
    return Store::open(backup_, {.read_only = true}).check(true).problems;
  };
  EXPECT_TRUE(problems().empty());
  const std::string manifest = backup_ + "/backup.json";
  const std::string sound = read_whole_file(manifest);
  write_whole_file(manifest, sound.substr(0, sound.size() / 2));
  ASSERT_EQ(problems().size(), 1u);
  EXPECT_EQ(problems().front().object, "backup.json");
  fs::remove(manifest);
  ASSERT_EQ(problems().size(), 1u);
  EXPECT_EQ(problems().front().message, "is missing: this backup was never complete");
  write_whole_file(manifest, sound);
  fs::remove(backup_ + "/vkb.sqlite3-wal");
  std::ofstream(backup_ + "/vkb.sqlite3", std::ios::app) << "x";
  ASSERT_EQ(problems().size(), 1u);
  EXPECT_TRUE(problems().front().message.starts_with("vkb.sqlite3 is not what was backed up"));
}

}  // namespace
}  // namespace vkb

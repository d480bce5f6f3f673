// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include "engine/leftovers.h"
#include "tests/engine/backups.h"

namespace vkb {
namespace {

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
  write_whole_file(target + "/vkb.sqlite3-salvage", "of a repair that was killed");
  restore(backup_, target, {.replace = true});
  EXPECT_FALSE(fs::exists(target + "/vkb.sqlite3-salvage"));
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

// SQLite's locks belong to the process, which loses them when it closes any descriptor of the file.
class LocksOf {
 public:
  explicit LocksOf(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~LocksOf() { ::close(fd_); }
  LocksOf(const LocksOf&) = delete;
  LocksOf& operator=(const LocksOf&) = delete;
  bool are_held() const {
    struct ::flock lock {};
    lock.l_type = F_WRLCK;
    EXPECT_EQ(::fcntl(fd_, F_OFD_GETLK, &lock), 0);
    return lock.l_type != F_UNLCK;
  }

 private:
  const int fd_;
};

TEST_F(Backups, MayBeOpenInTheProgramThatRestoresThem) {
  store_.backup(backup_);
  const Store reader = Store::open(backup_, {.read_only = true});
  EXPECT_EQ(reader.collection("vectors").count(), 30u);
  const LocksOf database(backup_ + "/vkb.sqlite3");
  ASSERT_TRUE(database.are_held());
  EXPECT_EQ(wrong_with_backup(backup_, first_), "");
  EXPECT_TRUE(database.are_held());
}

// By another path, as of a bind mount, it is the same store.
TEST_F(Backups, LookingForConnectionsKeepsTheLocksOfThisProgram) {
  EXPECT_EQ(collection_.count(), 30u);
  const std::string other = directory_.file("other");
  fs::create_directory(other);
  for (const char* name : {"/vkb.sqlite3", "/vkb.sqlite3-shm"}) {
    fs::create_hard_link(store_.directory() + name, other + name);
  }
  const LocksOf database(other + "/vkb.sqlite3");
  const LocksOf shared_memory(other + "/vkb.sqlite3-shm");
  for (int times = 0; times < 2; ++times) {
    EXPECT_TRUE(has_connections(posix_file_system(), other));
    EXPECT_TRUE(database.are_held());
    EXPECT_TRUE(shared_memory.are_held());
  }
  fs::copy_file(store_.directory() + "/vkb.sqlite3", directory_.file("vkb.sqlite3"));
  EXPECT_FALSE(has_connections(posix_file_system(), directory_.path()));
  write_whole_file(directory_.file("vkb.sqlite3-shm"), "of one that was killed");
  EXPECT_FALSE(has_connections(posix_file_system(), directory_.path()));
  fs::remove(directory_.file("vkb.sqlite3"));
  EXPECT_FALSE(has_connections(posix_file_system(), directory_.path()));
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

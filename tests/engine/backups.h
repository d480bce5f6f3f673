// SPDX-License-Identifier: Apache-2.0
//
// A store to back up and to restore, and what is asked of the result.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "engine/backup.h"
#include "engine/vkb.h"
#include "storage/backup_manifest.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {

namespace fs = std::filesystem;

inline std::vector<std::string> names_in(const std::string& directory) {
  return posix_file_system().list(directory);
}

inline ino_t inode_of(const std::string& path) {
  struct ::stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_ino;
}

// What a store holds; "" when it holds `expected` and is sound.
inline std::string wrong_with(const std::string& store_path, const Expected& expected) {
  const Store store = Store::open(store_path, {.read_only = true});
  if (!is_sound(store)) return "not sound";
  return differences(expected, store.collection("vectors"));
}

// The same of what a backup restores to.
inline std::string wrong_with_backup(const std::string& backup, const Expected& expected) {
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

}  // namespace vkb

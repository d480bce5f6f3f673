// SPDX-License-Identifier: Apache-2.0
#include "storage/database_file.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string>

#include "storage/sqlite.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_data.h"

namespace vkb {
namespace {

// SQLite's default VFS, but that it looks at the name of a file it opened when that is closed, and
// can fail to tell a size.
class WatchedVfs {
 public:
  explicit WatchedVfs(bool fails_size = false) {
    inner = sqlite3_vfs_find(nullptr);
    fails = fails_size;
    vfs_ = *inner;
    vfs_.zName = "watched";
    vfs_.pNext = nullptr;
    vfs_.xOpen = open;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~WatchedVfs() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(inner, 1);
  }
  WatchedVfs(const WatchedVfs&) = delete;
  WatchedVfs& operator=(const WatchedVfs&) = delete;

  static inline int files_open = 0;
  static inline std::string name_at_close;
  static inline bool removes = false;  // each file, before it is opened

 private:
  static int open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
    if (removes) std::filesystem::remove(path);
    EXPECT_EQ(sqlite3_uri_parameter(path, "psow"), nullptr);
    const int code = inner->xOpen(inner, path, file, flags, out_flags);
    if (code != SQLITE_OK) return code;
    ++files_open;
    name = path;
    close_inner = file->pMethods->xClose;
    methods = *file->pMethods;
    methods.xClose = close;
    if (fails) {
      methods.xFileSize = [](sqlite3_file*, sqlite3_int64*) { return SQLITE_IOERR_FSTAT; };
    }
    file->pMethods = &methods;
    return SQLITE_OK;
  }
  static int close(sqlite3_file* file) {
    --files_open;
    name_at_close = name;
    return close_inner(file);
  }

  static inline sqlite3_vfs* inner = nullptr;
  static inline bool fails = false;
  static inline const char* name = nullptr;
  static inline int (*close_inner)(sqlite3_file*) = nullptr;
  static inline sqlite3_io_methods methods{};
  sqlite3_vfs vfs_{};
};

TEST(DatabaseFile, IsReadAsItIs) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  EXPECT_FALSE(DatabaseFile(path).is_open());
  write_whole_file(path, "0123456789");
  DatabaseFile file(path);
  EXPECT_TRUE(file.is_open());
  EXPECT_EQ(file.size(), 10u);
  std::array<char, 4> read{};
  EXPECT_TRUE(file.read(6, std::as_writable_bytes(std::span(read))));
  EXPECT_EQ(std::string(read.data(), read.size()), "6789");
  EXPECT_FALSE(file.read(7, std::as_writable_bytes(std::span(read))));
  VKB_EXPECT_ERROR(DatabaseFile(directory.path()), ErrorCode::io_error, "Is a directory");
  const std::string pipe = directory.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  VKB_EXPECT_ERROR(DatabaseFile{pipe}, ErrorCode::io_error, "not a regular file");
}

// R8. As long as a log may have the pages that are not there, nothing is said.
TEST(DatabaseFile, ADatabaseThatIsCutIsNamed) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  verify_length(path);
  Database(path, Database::Mode::writer).execute("CREATE TABLE a(b); CREATE TABLE c(d)");
  verify_length(path);
  const std::string whole = read_whole_file(path);
  const std::size_t pages = whole.size() / 8192;
  ASSERT_GT(pages, 2u);
  for (const std::size_t size : {std::size_t{100}, std::size_t{8192}, whole.size() - 1}) {
    write_whole_file(path, whole.substr(0, size));
    VKB_EXPECT_ERROR(verify_length(path), ErrorCode::corruption,
                     path + ": its end is missing: expected " + std::to_string(pages) +
                         " pages, found " + std::to_string(size / 8192) + "; restore a backup");
  }
  write_whole_file(path + "-wal", "frames");
  verify_length(path);
  write_whole_file(path + "-wal", "");
  write_whole_file(path, whole + std::string(8192, '\0'));
  verify_length(path);
  write_whole_file(path, std::string(200, 'x'));
  verify_length(path);
}

// SQLite keeps the pointer, and may look for parameters around it.
TEST(DatabaseFile, ItsNameLivesAsLongAsTheFileIsOpen) {
  const TempDirectory directory;
  const std::string path = directory.file("a-name-of-some-length-so-that-it-is-on-the-heap");
  write_whole_file(path, "0123456789");
  const WatchedVfs vfs;
  {
    auto name = std::make_unique<std::string>(path);
    const DatabaseFile file(*name);
    name->assign(name->size(), 'x');
    EXPECT_EQ(WatchedVfs::files_open, 1);
  }
  EXPECT_EQ(WatchedVfs::files_open, 0);
  EXPECT_EQ(WatchedVfs::name_at_close, path);
}

// As a log and its mark when a writer closes.
TEST(DatabaseFile, MayBeRemovedWhileItIsOpened) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  write_whole_file(path, "0123456789");
  const WatchedVfs vfs;
  WatchedVfs::removes = true;
  const DatabaseFile file(path);
  WatchedVfs::removes = false;
  EXPECT_FALSE(file.is_open());
  EXPECT_EQ(file.size(), 0u);
}

TEST(DatabaseFile, IsClosedWhenItsSizeIsNotKnown) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  write_whole_file(path, "0123456789");
  const WatchedVfs vfs(true);
  VKB_EXPECT_ERROR(DatabaseFile(path), ErrorCode::io_error, path + ": cannot look at its size");
  EXPECT_EQ(WatchedVfs::files_open, 0);
}

}  // namespace
}  // namespace vkb

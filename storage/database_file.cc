// SPDX-License-Identifier: Apache-2.0
#include "storage/database_file.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "storage/error.h"
#include "storage/system_advice.h"

namespace vkb {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& doing) {
  const int error = errno;
  throw Error(ErrorCode::io_error, path + ": cannot " + doing + ": " + std::strerror(error) +
                                       std::string(advice_for(error)));
}

}  // namespace

// Its type has a const in newer versions of SQLite.
DatabaseFile::DatabaseFile(const std::string& path, Use use)
    : path_(path),
      name_(const_cast<char*>(sqlite3_create_filename(path.c_str(), "", "", 0, nullptr))) {
  if (!name_) throw std::bad_alloc();
  sqlite3_vfs* vfs = sqlite3_vfs_find(nullptr);
  memory_.resize(static_cast<std::size_t>(vfs->szOsFile) / sizeof(std::max_align_t) + 1);
  struct ::stat about {};
  if (::stat(path.c_str(), &about) != 0) {
    if (errno == ENOENT) return;
    fail(path, "open it");
  }
  if (!S_ISREG(about.st_mode)) {  // a pipe would hold it up
    throw Error(ErrorCode::io_error, path + ": cannot open it: not a regular file; move it away");
  }
  int flags =
      (use == Use::lock ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_MAIN_DB;
  sqlite3_int64 size = 0;
  if (vfs->xOpen(vfs, name_.get(), get(), flags, &flags) != SQLITE_OK) fail(path, "open it");
  const auto close_and_fail = [&](int error, const std::string& doing) {
    get()->pMethods->xClose(get());
    errno = error;
    fail(path, doing);
  };
  if (get()->pMethods->xFileSize(get(), &size) != SQLITE_OK) {
    close_and_fail(errno, "look at its size");
  }
  // Where it may not be written, SQLite opens it to read.
  if (use == Use::lock && (flags & SQLITE_OPEN_READONLY) != 0) close_and_fail(EACCES, "lock it");
  is_open_ = true;
  size_ = static_cast<std::uint64_t>(size);
}

DatabaseFile::~DatabaseFile() {
  if (is_open_) get()->pMethods->xClose(get());  // gives up its locks
}

bool DatabaseFile::read(std::uint64_t offset, std::span<std::byte> out) {
  if (offset + out.size() > size_) return false;
  const int code = get()->pMethods->xRead(get(), out.data(), static_cast<int>(out.size()),
                                          static_cast<sqlite3_int64>(offset));
  if (code == SQLITE_IOERR_SHORT_READ) return false;  // cut just now
  if (code != SQLITE_OK) fail(path_, "read it");
  return true;
}

bool DatabaseFile::lock_alone() {
  // SQLite does the same when it closes a connection, to see whether that was the last one.
  const sqlite3_io_methods& methods = *get()->pMethods;
  int code = methods.xLock(get(), SQLITE_LOCK_SHARED);
  if (code == SQLITE_OK) code = methods.xLock(get(), SQLITE_LOCK_EXCLUSIVE);
  if (code == SQLITE_OK) return true;
  const int error = errno;
  methods.xUnlock(get(), SQLITE_LOCK_NONE);
  errno = error;
  if (code != SQLITE_BUSY) fail(path_, "lock it");
  return false;
}

void DatabaseFile::FreeName::operator()(char* name) const noexcept { sqlite3_free_filename(name); }

sqlite3_file* DatabaseFile::get() noexcept {
  return reinterpret_cast<sqlite3_file*>(memory_.data());
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/database_file.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>

#include "storage/error.h"
#include "storage/system_advice.h"

namespace vkb {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& doing) {
  const int error = errno;
  throw Error(ErrorCode::io_error, path + ": cannot " + doing + ": " + std::strerror(error) +
                                       std::string(advice_for(error)));
}

// A number in the header of a database.
std::uint64_t big_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | std::to_integer<std::uint64_t>(byte);
  return value;
}

struct Shortage {
  std::uint64_t expected = 0;  // pages
  std::uint64_t found = 0;
  bool operator==(const Shortage&) const = default;
};

std::optional<Shortage> find_shortage(const std::string& database_path) {
  // Of the header: the size of a page and two counters of changes that say whether the number of
  // pages is that of the last one (SQLite's file format, "In-header database size").
  constexpr std::string_view kMagic("SQLite format 3", 16);
  constexpr std::size_t kPageSizeAt = 16;
  constexpr std::size_t kChangesAt = 24;
  constexpr std::size_t kPagesAt = 28;
  constexpr std::size_t kChangesOfPagesAt = 92;
  DatabaseFile database(database_path);
  std::array<std::byte, 100> header{};
  if (!database.is_open() || !database.read(0, header)) return std::nullopt;
  const std::span bytes(header);
  const std::uint64_t page_bytes = big_endian(bytes.subspan(kPageSizeAt, 2));
  const std::uint64_t pages = big_endian(bytes.subspan(kPagesAt, 4));
  if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0 || page_bytes < 512 ||
      big_endian(bytes.subspan(kChangesAt, 4)) != big_endian(bytes.subspan(kChangesOfPagesAt, 4)) ||
      database.size() / page_bytes >= pages) {
    return std::nullopt;
  }
  // Asked last: what a checkpoint has not copied yet is in it.
  if (DatabaseFile(database_path + "-wal").size() > 0) return std::nullopt;
  return Shortage{.expected = pages, .found = database.size() / page_bytes};
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
  if (S_ISDIR(about.st_mode)) {
    errno = EISDIR;
    fail(path, "open it");
  }
  if (!S_ISREG(about.st_mode)) {  // a pipe would hold it up
    throw Error(ErrorCode::io_error, path + ": cannot open it: not a regular file; move it away");
  }
  int flags =
      (use == Use::lock ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_MAIN_DB;
  sqlite3_int64 size = 0;
  if (vfs->xOpen(vfs, name_.get(), get(), flags, &flags) != SQLITE_OK) {
    if (errno == ENOENT) return;  // a writer that closes has removed it just now
    fail(path, "open it");
  }
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

void verify_length(const std::string& database_path) {
  const std::optional<Shortage> shortage = find_shortage(database_path);
  // A log may have been begun and ended since the header was read: a second look sees its pages.
  if (!shortage || find_shortage(database_path) != shortage) return;
  throw Error(ErrorCode::corruption, database_path + ": its end is missing: expected " +
                                         std::to_string(shortage->expected) + " pages, found " +
                                         std::to_string(shortage->found) + "; restore a backup");
}

}  // namespace vkb

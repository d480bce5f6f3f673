// SPDX-License-Identifier: Apache-2.0
#include "storage/checked_vfs.h"

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "storage/log_mark.h"
#include "storage/segment_format.h"

namespace vkb {
namespace {

constexpr int kHeaderBytes = 100;  // SQLite's file header, at the beginning of page 1
constexpr int kReservedAt = 20;    // in it: how many bytes a page keeps free at its end
constexpr int kLeastPage = 512;

thread_local std::uint64_t bad_page = 0;

// SQLite gives the memory; behind it lies that of the file of the default VFS.
struct CheckedFile {
  sqlite3_file base;
  bool checked;
  bool accepts_damage;
  std::vector<std::byte>* page;  // of a database: a copy, to write with its checksum
  LogMarkWriter* mark;           // of a log
  bool is_given_up;              // a sync failed
  const char* path;
  std::optional<LogCopy> copy;  // a checkpoint has begun, and the database is not synced since
  bool refuses_copy;            // as that could not be said in the log's mark
};

CheckedFile* checked(sqlite3_file* file) noexcept { return reinterpret_cast<CheckedFile*>(file); }

sqlite3_file* inner_of(sqlite3_file* file) noexcept {
  return reinterpret_cast<sqlite3_file*>(checked(file) + 1);
}

bool is_page(int bytes, sqlite3_int64 offset) noexcept {
  return bytes >= kLeastPage && (bytes & (bytes - 1)) == 0 && offset % bytes == 0;
}

// Of a page without its last bytes; another one in another place.
std::uint64_t checksum_of(std::span<const std::byte> page, std::uint64_t number) noexcept {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
  return Checksum::of(page.first(page.size() - kPageChecksumBytes)) ^ (number * kOdd);
}

// A database that says it reserves the bytes has checksums in them.
bool reserves_bytes(const std::byte* header) noexcept {
  return header[kReservedAt] == std::byte{kPageChecksumBytes};
}

int read(sqlite3_file* file, void* out, int bytes, sqlite3_int64 offset) {
  const int code = inner_of(file)->pMethods->xRead(inner_of(file), out, bytes, offset);
  if (code != SQLITE_OK) return code;
  const auto* data = static_cast<const std::byte*>(out);
  // Somebody else may have added them. Nobody takes them away: that would be damage.
  if (offset == 0 && bytes >= kHeaderBytes && reserves_bytes(data)) checked(file)->checked = true;
  if (!checked(file)->checked || checked(file)->accepts_damage || !is_page(bytes, offset)) {
    return SQLITE_OK;
  }
  const std::span page(data, static_cast<std::size_t>(bytes));
  const auto number = static_cast<std::uint64_t>(offset / bytes + 1);
  std::uint64_t found = 0;
  std::memcpy(&found, page.last(kPageChecksumBytes).data(), sizeof found);
  if (found == checksum_of(page, number)) return SQLITE_OK;
  bad_page = number;
  return SQLITE_IOERR_DATA;
}

int write(sqlite3_file* file, const void* data, int bytes, sqlite3_int64 offset) {
  sqlite3_file* inner = inner_of(file);
  CheckedFile& self = *checked(file);
  if (self.is_given_up || self.refuses_copy) return SQLITE_IOERR_WRITE;
  const auto* begin = static_cast<const std::byte*>(data);
  if (offset == 0 && bytes >= kHeaderBytes) self.checked = reserves_bytes(begin);
  if (!self.checked || !is_page(bytes, offset)) {
    return inner->pMethods->xWrite(inner, data, bytes, offset);
  }
  try {
    self.page->assign(begin, begin + bytes);
  } catch (const std::bad_alloc&) {
    return SQLITE_IOERR_NOMEM;
  }
  const std::uint64_t checksum =
      checksum_of(*self.page, static_cast<std::uint64_t>(offset / bytes + 1));
  std::memcpy(self.page->data() + self.page->size() - kPageChecksumBytes, &checksum,
              sizeof checksum);
  return inner->pMethods->xWrite(inner, self.page->data(), bytes, offset);
}

int learn_whether_checked(sqlite3_file* file, const char* path) {
  sqlite3_file* inner = inner_of(file);
  checked(file)->accepts_damage = sqlite3_uri_boolean(path, "accept_damage", 0) != 0;
  sqlite3_int64 size = 0;
  if (inner->pMethods->xFileSize(inner, &size) != SQLITE_OK) return SQLITE_IOERR_FSTAT;
  if (size == 0) {
    checked(file)->checked = sqlite3_uri_boolean(path, "page_checksums", 1) != 0;
    return SQLITE_OK;
  }
  // SQLite reads the header as well, but for a log that it finds it may write pages before.
  std::array<std::byte, kHeaderBytes> header{};
  if (inner->pMethods->xRead(inner, header.data(), kHeaderBytes, 0) == SQLITE_OK) {
    checked(file)->checked = reserves_bytes(header.data());
  }
  return SQLITE_OK;
}

// What the kernel still has of a file whose sync failed is unknown, and it says so only once. A
// second sync would succeed, and mean nothing.
int sync(sqlite3_file* file, int flags) {
  CheckedFile& self = *checked(file);
  if (self.is_given_up) return SQLITE_IOERR_FSYNC;
  const int code = inner_of(file)->pMethods->xSync(inner_of(file), flags);
  self.is_given_up = code != SQLITE_OK;
  if (code == SQLITE_OK && self.mark != nullptr) self.mark->synced();
  // SQLite syncs the database when all of the log is in it, and not after a part.
  if (code == SQLITE_OK && self.copy) {
    end_checkpoint(self.path, *self.copy);
    self.copy.reset();
  }
  return code;
}

// How many frames of the log a checkpoint that begins will copy (SQLite's WAL-index format).
std::optional<std::uint32_t> frames_to_copy(sqlite3_file* file) noexcept {
  constexpr int kRegionBytes = 32768;
  constexpr std::size_t kAttemptedAt = 128;
  void volatile* index = nullptr;
  if (inner_of(file)->pMethods->xShmMap(inner_of(file), 0, kRegionBytes, 0, &index) != SQLITE_OK ||
      index == nullptr) {
    return std::nullopt;
  }
  return *reinterpret_cast<const volatile std::uint32_t*>(
      static_cast<const volatile std::byte*>(index) + kAttemptedAt);
}

int file_control(sqlite3_file* file, int operation, void* argument) {
  CheckedFile& self = *checked(file);
  if (operation == SQLITE_FCNTL_CKPT_START) {
    const std::optional<std::uint32_t> frames = frames_to_copy(file);
    self.copy = frames ? begin_checkpoint(self.path, *frames) : std::nullopt;
    self.refuses_copy = !self.copy;
  } else if (operation == SQLITE_FCNTL_CKPT_DONE) {
    self.refuses_copy = false;
  }
  return inner_of(file)->pMethods->xFileControl(inner_of(file), operation, argument);
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  CheckedFile& self = *checked(file);
  if (self.is_given_up || (self.mark != nullptr && size == 0 && !put_log_away(self.path))) {
    return SQLITE_IOERR_TRUNCATE;
  }
  return inner_of(file)->pMethods->xTruncate(inner_of(file), size);
}

int write_log(sqlite3_file* file, const void* data, int bytes, sqlite3_int64 offset) {
  if (checked(file)->is_given_up) return SQLITE_IOERR_WRITE;
  const int code = inner_of(file)->pMethods->xWrite(inner_of(file), data, bytes, offset);
  if (code == SQLITE_OK) {
    checked(file)->mark->wrote(
        {static_cast<const std::byte*>(data), static_cast<std::size_t>(bytes)},
        static_cast<std::uint64_t>(offset));
  }
  return code;
}

int close(sqlite3_file* file) {
  delete checked(file)->page;
  delete checked(file)->mark;
  return inner_of(file)->pMethods->xClose(inner_of(file));
}

int device_characteristics(sqlite3_file* file) {
  const int all = inner_of(file)->pMethods->xDeviceCharacteristics(inner_of(file));
#ifdef SQLITE_IOCAP_SUBPAGE_READ
  return all & ~SQLITE_IOCAP_SUBPAGE_READ;  // a part of a page cannot be checked
#else
  return all;
#endif
}

template <auto kMethod>
struct Forward;
template <typename... Args, int (*sqlite3_io_methods::*kMethod)(sqlite3_file*, Args...)>
struct Forward<kMethod> {
  static int call(sqlite3_file* file, Args... args) {
    return (inner_of(file)->pMethods->*kMethod)(inner_of(file), args...);
  }
};

void shm_barrier(sqlite3_file* file) { inner_of(file)->pMethods->xShmBarrier(inner_of(file)); }

// Version 2: without xFetch, which would hand out pages that nobody has looked at.
constexpr sqlite3_io_methods kMethods = {
    .iVersion = 2,
    .xClose = close,
    .xRead = read,
    .xWrite = write,
    .xTruncate = truncate,
    .xSync = sync,
    .xFileSize = &Forward<&sqlite3_io_methods::xFileSize>::call,
    .xLock = &Forward<&sqlite3_io_methods::xLock>::call,
    .xUnlock = &Forward<&sqlite3_io_methods::xUnlock>::call,
    .xCheckReservedLock = &Forward<&sqlite3_io_methods::xCheckReservedLock>::call,
    .xFileControl = file_control,
    .xSectorSize = &Forward<&sqlite3_io_methods::xSectorSize>::call,
    .xDeviceCharacteristics = device_characteristics,
    .xShmMap = &Forward<&sqlite3_io_methods::xShmMap>::call,
    .xShmLock = &Forward<&sqlite3_io_methods::xShmLock>::call,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = &Forward<&sqlite3_io_methods::xShmUnmap>::call,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

// Of a log: no pages, no shared memory, and what is written goes into its mark.
constexpr sqlite3_io_methods kLogMethods = [] {
  sqlite3_io_methods methods = kMethods;
  methods.iVersion = 1;
  methods.xRead = &Forward<&sqlite3_io_methods::xRead>::call;
  methods.xWrite = write_log;
  return methods;
}();

sqlite3_vfs* inner_vfs(sqlite3_vfs* vfs) noexcept {
  return static_cast<sqlite3_vfs*>(vfs->pAppData);
}

int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* inner = inner_vfs(vfs);
  const bool is_log = (flags & SQLITE_OPEN_WAL) != 0;
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0 && !is_log) {
    return inner->xOpen(inner, path, file, flags, out_flags);
  }
  file->pMethods = nullptr;  // until it is open there is nothing to close
  sqlite3_file* inner_file = inner_of(file);
  const int code = inner->xOpen(inner, path, inner_file, flags, out_flags);
  if (code != SQLITE_OK) return code;
  auto* self = new (file) CheckedFile{};
  self->path = path;  // which SQLite keeps
  try {
    if (is_log) {
      self->mark = new LogMarkWriter(path);
    } else {
      self->page = new std::vector<std::byte>();
    }
  } catch (const std::bad_alloc&) {
    inner_file->pMethods->xClose(inner_file);
    return SQLITE_NOMEM;
  }
  self->base.pMethods = is_log ? &kLogMethods : &kMethods;
  return is_log ? SQLITE_OK : learn_whether_checked(file, path);
}

int remove(sqlite3_vfs* vfs, const char* path, int sync_directory) {
  const bool is_log = std::string_view(path).ends_with("-wal");
  if (is_log && !put_log_away(path)) return SQLITE_IOERR_DELETE;
  const int code = inner_vfs(vfs)->xDelete(inner_vfs(vfs), path, sync_directory);
  if (is_log && code == SQLITE_OK) remove_log_mark(path);
  return code;
}

}  // namespace

const char* checked_vfs() {
  // All others are the default's own functions, which do not look at the VFS they are given.
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs* inner = sqlite3_vfs_find(nullptr);
    sqlite3_vfs outer = *inner;
    outer.zName = "vkb";
    outer.pAppData = inner;
    outer.pNext = nullptr;
    outer.szOsFile = static_cast<int>(sizeof(CheckedFile)) + inner->szOsFile;
    outer.xOpen = open;
    outer.xDelete = remove;
    return outer;
  }();
  [[maybe_unused]] static const int registered = sqlite3_vfs_register(&vfs, 0);
  return vfs.zName;
}

bool has_page_checksums(sqlite3_file* file) noexcept {
  return file->pMethods == &kMethods && checked(file)->checked;
}

bool is_given_up(sqlite3_file* file) noexcept {
  return (file->pMethods == &kMethods || file->pMethods == &kLogMethods) &&
         checked(file)->is_given_up;
}

std::uint64_t last_bad_page() noexcept { return bad_page; }

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The definitions below stand in front of libc's for the whole program, SQLite's calls included.
// Each makes the system call, or lets it fail, and then writes it down, all under one lock, so that
// the journal has the order in which the kernel saw them.
#include "tests/support/io_shim.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>

namespace vkb {
namespace {

enum class Call { open, create, read, write, grow, sync, name, remove, map };

bool concerns(IoFault fault, Call call) noexcept {
  switch (fault) {
    case IoFault::error:
      return true;
    case IoFault::full:
      return call == Call::create || call == Call::write || call == Call::grow ||
             call == Call::name;
    case IoFault::interrupted:
      return call == Call::open || call == Call::create || call == Call::read ||
             call == Call::write;
    case IoFault::short_write:
      return call == Call::write;
    case IoFault::short_read:
      return call == Call::read;
    case IoFault::no_descriptor:
      return call == Call::open || call == Call::create;
    case IoFault::no_memory:
      return call == Call::map;
    case IoFault::no_allocation:
      return false;
  }
  return false;
}

int error_of(IoFault fault) noexcept {
  switch (fault) {
    case IoFault::full:
      return ENOSPC;
    case IoFault::interrupted:
      return EINTR;
    case IoFault::no_descriptor:
      return EMFILE;
    case IoFault::no_memory:
      return ENOMEM;
    default:
      return EIO;
  }
}

// The allocation that fails, counted from 1; 0: none. Not of Shim, which allocates.
std::atomic<bool> allocations_count = false;
std::atomic<std::uint64_t> allocations = 0;
std::atomic<std::uint64_t> failing_allocation = 0;

// While one lives, its thread's allocations are the shim's, and never fail.
thread_local int shim_depth = 0;
struct InShim {
  InShim() { ++shim_depth; }
  ~InShim() { --shim_depth; }
  InShim(const InShim&) = delete;
  InShim& operator=(const InShim&) = delete;
};

// caller: CRoaring 0.2 does not look at what it gets, and glibc ends the program when it cannot
// register a thread_local's destructor, so their own allocations never fail.
[[maybe_unused]] bool allocation_fails(const void* caller) noexcept {
  if (!allocations_count.load(std::memory_order_relaxed) || shim_depth > 0) return false;
  if (allocations.fetch_add(1, std::memory_order_relaxed) + 1 != failing_allocation) return false;
  Dl_info library{};
  if (::dladdr(caller, &library) != 0) {
    const std::string_view name(library.dli_fname);
    if (name.find("/libroaring") != name.npos || name.find("/libc.so") != name.npos) return false;
  }
  errno = ENOMEM;
  return true;
}

class Shim {
 public:
  // Never destroyed: files are closed until the very end.
  static Shim& get() {
    static Shim& shim = *new Shim();
    return shim;
  }

  // The system call, or a failure of it if it is `ours`, and a note of it if it did not fail.
  template <typename Perform, typename Note>
  long call(Call kind, bool ours, const Perform& perform, const Note& note) {
    const std::lock_guard lock(mutex_);
    if (ours && is_due(kind)) {
      errno = error_of(*fault_);
      return -1;
    }
    const long result = perform();
    if (ours && file_ >= 0 && result >= 0) {
      const int error = errno;
      note(result);
      errno = error;
    }
    return result;
  }
  // How many of `size` bytes a call may move: half of them when that is its fault.
  std::size_t allowed(Call kind, bool ours, std::size_t size) {
    const std::lock_guard lock(mutex_);
    const bool cut = fault_ == IoFault::short_write || fault_ == IoFault::short_read;
    return ours && cut && size > 1 && counts(kind) ? size / 2 : size;
  }

  bool keeps_journal() const noexcept { return file_ >= 0; }
  // root_ ends in a slash; the directory itself may come without.
  bool is_ours(std::string_view path) const {
    return !root_.empty() && (path.starts_with(root_) || root_.substr(0, root_.size() - 1) == path);
  }
  bool is_ours(int fd) {
    const std::lock_guard lock(mutex_);
    return fds_.contains(fd);
  }
  void opened(int fd) {
    if (fault_ == IoFault::no_allocation) allocations_count = true;
    const std::lock_guard lock(mutex_);
    fds_.insert(fd);
  }
  void closed(int fd) {
    const std::lock_guard lock(mutex_);
    fds_.erase(fd);
  }
  void write(IoKind kind, int fd, std::uint64_t value, std::string_view path = {},
             std::string_view to = {}, std::string_view data = {}) {
    const IoHeader header{kind,
                          fd,
                          value,
                          static_cast<std::uint32_t>(path.size()),
                          static_cast<std::uint32_t>(to.size()),
                          data.size()};
    entry_.assign(reinterpret_cast<const char*>(&header), sizeof(header));
    entry_.append(path).append(to).append(data);
    for (std::size_t done = 0; done < entry_.size();) {
      const long wrote = ::syscall(SYS_write, file_, entry_.data() + done, entry_.size() - done);
      if (wrote <= 0) std::_Exit(4);  // a journal with a hole would say anything
      done += static_cast<std::size_t>(wrote);
    }
  }
  void write_count() const {
    allocations_count = false;
    const std::string text = std::to_string(count_ + allocations);
    const char* path = std::getenv("VKB_IO_COUNT");
    const long fd = ::syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (::syscall(SYS_write, fd, text.data(), text.size()) < 0) std::_Exit(4);
  }

 private:
  Shim() {
    if (const char* root = std::getenv("VKB_IO_ROOT")) root_ = root;
    if (const char* path = std::getenv("VKB_IO_JOURNAL")) {
      file_ = static_cast<int>(
          ::syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
      if (file_ < 0) std::_Exit(4);
    }
    if (const char* fault = std::getenv("VKB_IO_FAULT")) read_fault(fault);
    if (std::getenv("VKB_IO_COUNT") != nullptr) std::atexit([] { get().write_count(); });
  }
  void read_fault(std::string_view text) {
    const std::size_t space = text.find(' ');
    const auto kind = std::find(kIoFaults.begin(), kIoFaults.end(), text.substr(0, space));
    if (kind == kIoFaults.end() || space == std::string_view::npos) std::_Exit(4);
    fault_ = static_cast<IoFault>(kind - kIoFaults.begin());
    nth_ = std::strtoull(text.data() + space + 1, nullptr, 10);
    if (fault_ == IoFault::no_allocation) failing_allocation = nth_;
  }
  bool counts(Call kind) {
    if (!fault_ || !concerns(*fault_, kind)) return false;
    ++count_;
    return count_ == nth_ || (fault_ == IoFault::full && nth_ != 0 && count_ > nth_);
  }
  bool is_due(Call kind) {
    const bool cut = fault_ == IoFault::short_write || fault_ == IoFault::short_read;
    return !cut && counts(kind);
  }

  std::mutex mutex_;
  int file_ = -1;  // the journal
  std::string root_;
  std::set<int> fds_;
  std::string entry_;
  std::optional<IoFault> fault_;
  std::uint64_t nth_ = 0;
  std::uint64_t count_ = 0;
};

int shimmed_open(const char* path, int flags, ::mode_t mode) {
  const InShim in_shim;
  Shim& shim = Shim::get();
  const bool ours = shim.is_ours(path);
  const long fd = shim.call((flags & O_CREAT) != 0 ? Call::create : Call::open, ours,
                            [&] { return ::syscall(SYS_openat, AT_FDCWD, path, flags, mode); },
                            [&](long opened) {
                              const int kept = flags & (O_CREAT | O_TRUNC);
                              shim.write(IoKind::open, static_cast<int>(opened),
                                         static_cast<std::uint64_t>(kept), path);
                            });
  if (ours && fd >= 0) shim.opened(static_cast<int>(fd));
  return static_cast<int>(fd);
}

int shimmed_truncate(int fd, off_t size) {
  const InShim in_shim;
  Shim& shim = Shim::get();
  return static_cast<int>(shim.call(
      Call::grow, shim.is_ours(fd), [&] { return ::syscall(SYS_ftruncate, fd, size); },
      [&](long) { shim.write(IoKind::truncate, fd, static_cast<std::uint64_t>(size)); }));
}

ssize_t shimmed_pwrite(int fd, const void* data, std::size_t size, off_t offset) {
  const InShim in_shim;
  Shim& shim = Shim::get();
  const bool ours = shim.is_ours(fd);
  size = shim.allowed(Call::write, ours, size);
  return shim.call(
      Call::write, ours, [&] { return ::syscall(SYS_pwrite64, fd, data, size, offset); },
      [&](long wrote) {
        const std::string_view bytes(static_cast<const char*>(data),
                                     static_cast<std::size_t>(wrote));
        shim.write(IoKind::write, fd, static_cast<std::uint64_t>(offset), {}, {}, bytes);
      });
}

ssize_t shimmed_pread(int fd, void* data, std::size_t size, off_t offset) {
  const InShim in_shim;
  Shim& shim = Shim::get();
  const bool ours = shim.is_ours(fd);
  size = shim.allowed(Call::read, ours, size);
  return shim.call(
      Call::read, ours, [&] { return ::syscall(SYS_pread64, fd, data, size, offset); },
      [](long) {});
}

int shimmed_sync(int fd, long number) {
  const InShim in_shim;
  Shim& shim = Shim::get();
  return static_cast<int>(shim.call(
      Call::sync, shim.is_ours(fd), [&] { return ::syscall(number, fd); },
      [&](long) { shim.write(IoKind::sync, fd, 0); }));
}

void* shimmed_map(void* address, std::size_t size, int protection, int flags, int fd,
                  off_t offset) {
  const InShim in_shim;
  Shim& shim = Shim::get();
  return reinterpret_cast<void*>(shim.call(
      Call::map, fd >= 0 && shim.is_ours(fd),
      [&] { return ::syscall(SYS_mmap, address, size, protection, flags, fd, offset); },
      [](long) {}));
}

template <typename Perform>
int shimmed_name(Call call, IoKind kind, const char* path, const char* to, const Perform& perform) {
  const InShim in_shim;
  Shim& shim = Shim::get();
  return static_cast<int>(shim.call(call, shim.is_ours(path), perform,
                                    [&](long) { shim.write(kind, -1, 0, path, to); }));
}

}  // namespace
}  // namespace vkb

using vkb::Call;
using vkb::IoKind;

// Sanitizers have an allocator of their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// NOLINTBEGIN(bugprone-reserved-identifier): glibc's own, for programs that define malloc.
extern "C" void* __libc_malloc(std::size_t);
extern "C" void* __libc_calloc(std::size_t, std::size_t);
extern "C" void* __libc_realloc(void*, std::size_t);
extern "C" void* __libc_memalign(std::size_t, std::size_t);
// NOLINTEND(bugprone-reserved-identifier)

extern "C" void* malloc(std::size_t size) noexcept {
  return vkb::allocation_fails(__builtin_return_address(0)) ? nullptr : __libc_malloc(size);
}
extern "C" void* calloc(std::size_t count, std::size_t size) noexcept {
  return vkb::allocation_fails(__builtin_return_address(0)) ? nullptr : __libc_calloc(count, size);
}
extern "C" void* realloc(void* memory, std::size_t size) noexcept {
  return vkb::allocation_fails(__builtin_return_address(0)) ? nullptr
                                                            : __libc_realloc(memory, size);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return vkb::allocation_fails(__builtin_return_address(0)) ? nullptr
                                                            : __libc_memalign(alignment, size);
}
#endif

// NOLINTBEGIN(cert-dcl50-cpp): libc's own signatures.
extern "C" int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, ::mode_t) : 0;
  va_end(arguments);
  return vkb::shimmed_open(path, flags, mode);
}
extern "C" int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, ::mode_t) : 0;
  va_end(arguments);
  return vkb::shimmed_open(path, flags, mode);
}
// NOLINTEND(cert-dcl50-cpp)
extern "C" int close(int fd) {
  const vkb::InShim in_shim;
  vkb::Shim& shim = vkb::Shim::get();
  const bool ours = shim.is_ours(fd);
  // Before the number can be given out anew.
  if (ours) shim.closed(fd);
  // A close that fails has closed nevertheless: it is not among the faults.
  return static_cast<int>(shim.call(
      Call::remove, false,
      [&] {
        const long result = ::syscall(SYS_close, fd);
        if (ours && shim.keeps_journal()) shim.write(IoKind::close, fd, 0);
        return result;
      },
      [](long) {}));
}
extern "C" ssize_t pwrite(int fd, const void* data, std::size_t size, off_t offset) {
  return vkb::shimmed_pwrite(fd, data, size, offset);
}
extern "C" ssize_t pwrite64(int fd, const void* data, std::size_t size, off64_t offset) {
  return vkb::shimmed_pwrite(fd, data, size, offset);
}
extern "C" ssize_t pread(int fd, void* data, std::size_t size, off_t offset) {
  return vkb::shimmed_pread(fd, data, size, offset);
}
extern "C" ssize_t pread64(int fd, void* data, std::size_t size, off64_t offset) {
  return vkb::shimmed_pread(fd, data, size, offset);
}
extern "C" ssize_t write(int fd, const void* data, std::size_t size) {
  const vkb::InShim in_shim;
  vkb::Shim& shim = vkb::Shim::get();
  if (shim.is_ours(fd)) std::_Exit(4);  // at which offset?
  return shim.call(
      Call::write, false,
      [&] {
        const long wrote = ::syscall(SYS_write, fd, data, size);
        if (fd == STDOUT_FILENO && shim.keeps_journal() && wrote > 0) {
          shim.write(IoKind::said, fd, 0, {}, {},
                     {static_cast<const char*>(data), static_cast<std::size_t>(wrote)});
        }
        return wrote;
      },
      [](long) {});
}
extern "C" int ftruncate(int fd, off_t size) noexcept { return vkb::shimmed_truncate(fd, size); }
extern "C" int ftruncate64(int fd, off64_t size) noexcept {
  return vkb::shimmed_truncate(fd, size);
}
extern "C" int fsync(int fd) { return vkb::shimmed_sync(fd, SYS_fsync); }
extern "C" int fdatasync(int fd) { return vkb::shimmed_sync(fd, SYS_fdatasync); }
extern "C" void* mmap(void* address, std::size_t size, int protection, int flags, int fd,
                      off_t offset) noexcept {
  return vkb::shimmed_map(address, size, protection, flags, fd, offset);
}
extern "C" void* mmap64(void* address, std::size_t size, int protection, int flags, int fd,
                        off64_t offset) noexcept {
  return vkb::shimmed_map(address, size, protection, flags, fd, offset);
}
extern "C" int mkdir(const char* path, ::mode_t mode) noexcept {
  return vkb::shimmed_name(Call::name, IoKind::make_directory, path, "",
                           [&] { return ::syscall(SYS_mkdirat, AT_FDCWD, path, mode); });
}
extern "C" int unlink(const char* path) noexcept {
  return vkb::shimmed_name(Call::remove, IoKind::unlink, path, "",
                           [&] { return ::syscall(SYS_unlinkat, AT_FDCWD, path, 0); });
}
extern "C" int rename(const char* from, const char* to) noexcept {
  return vkb::shimmed_name(Call::name, IoKind::rename, from, to, [&] {
    return ::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
  });
}
extern "C" int link(const char* from, const char* to) noexcept {
  return vkb::shimmed_name(Call::name, IoKind::link, from, to,
                           [&] { return ::syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0); });
}

// SPDX-License-Identifier: Apache-2.0
//
// The definitions below stand in front of libc's for the whole test program.
#include "tests/support/system_call_faults.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace vkb {
namespace {

std::atomic<SystemCallFaults*> active{nullptr};

void record(SystemCallFaults& faults, const char* call) {
  if (faults.calls.empty() || faults.calls.back() != call || faults.calls.back() != "write") {
    faults.calls.emplace_back(call);
  }
}

int sync_with_faults(int fd, long number) {
  if (SystemCallFaults* faults = active.load()) {
    struct ::stat status {};
    ::fstat(fd, &status);
    const bool directory = S_ISDIR(status.st_mode);
    record(*faults, directory ? "sync directory" : "sync file");
    errno = directory ? faults->directory_sync_error : faults->file_sync_error;
    if (errno != 0) return -1;
  }
  return static_cast<int>(::syscall(number, fd));
}

}  // namespace

SystemCallFaults::SystemCallFaults() { active = this; }
SystemCallFaults::~SystemCallFaults() { active = nullptr; }

}  // namespace vkb

extern "C" int fsync(int fd) { return vkb::sync_with_faults(fd, SYS_fsync); }
extern "C" int fdatasync(int fd) { return vkb::sync_with_faults(fd, SYS_fdatasync); }

extern "C" int link(const char* from, const char* to) noexcept {
  if (vkb::SystemCallFaults* faults = vkb::active.load()) {
    vkb::record(*faults, "link");
    errno = faults->link_error;
    if (errno != 0) return -1;
  }
  return static_cast<int>(::syscall(SYS_link, from, to));
}

extern "C" ssize_t pwrite(int fd, const void* data, std::size_t size, off_t offset) {
  if (vkb::SystemCallFaults* faults = vkb::active.load()) {
    static bool interrupted = false;
    if (faults->interrupt_writes && (interrupted = !interrupted)) {
      errno = EINTR;
      return -1;
    }
    vkb::record(*faults, "write");
    faults->writes.push_back({static_cast<std::uint64_t>(offset), size});
    if (faults->disk_space == 0) {
      errno = ENOSPC;
      return -1;
    }
    size =
        std::min({size, faults->most_bytes_a_write, static_cast<std::size_t>(faults->disk_space)});
    faults->disk_space -= size;
  }
  return ::syscall(SYS_pwrite64, fd, data, size, offset);
}

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vkb {

// While one lives, pwrite, fdatasync, fsync and link of this test program are recorded and behave
// as told, so that the real file layer meets errors a healthy machine does not have. One at a time,
// while no other thread does file work.
class SystemCallFaults {
 public:
  SystemCallFaults();
  ~SystemCallFaults();
  SystemCallFaults(const SystemCallFaults&) = delete;
  SystemCallFaults& operator=(const SystemCallFaults&) = delete;

  std::size_t most_bytes_a_write = SIZE_MAX;  // longer writes are cut short
  bool interrupt_writes = false;              // every second write fails with EINTR
  std::uint64_t disk_space = UINT64_MAX;      // bytes until writes fail with ENOSPC
  int file_sync_error = 0;
  int directory_sync_error = 0;
  int link_error = 0;
  // "write", "sync file", "sync directory", "link", in order; a run of writes is one.
  std::vector<std::string> calls;
  struct Write {
    std::uint64_t offset;
    std::uint64_t size;
  };
  std::vector<Write> writes;  // each one, as it was asked for
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

namespace vkb {

// Lets this process have so many bytes of data more than it has. For a process that ends soon.
inline void allow_data(std::uint64_t bytes) {
  std::uint64_t field = 0;
  std::ifstream statm("/proc/self/statm");
  for (int i = 0; i < 6; ++i) statm >> field;  // the sixth: pages of data
  rlimit limit{};
  getrlimit(RLIMIT_DATA, &limit);
  limit.rlim_cur = field * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) + bytes;
  setrlimit(RLIMIT_DATA, &limit);
}

}  // namespace vkb

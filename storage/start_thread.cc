// SPDX-License-Identifier: Apache-2.0
#include "storage/start_thread.h"

#include "storage/error.h"

namespace vkb {

void throw_no_thread(const std::string& what, const std::system_error& error) {
  throw Error(ErrorCode::io_error,
              what + ": cannot start a thread: " + error.code().message() +
                  "; end other programs, or raise how many threads the user may have (ulimit -u) "
                  "or how much memory this program may have (ulimit -v)");
}

}  // namespace vkb

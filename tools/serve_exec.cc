// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "tools/serve.h"

namespace vkb {

int run_serve(Context& context, const ServeFlags&) {
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  const auto directory = program.parent_path();
  // Where the build leaves it, and where `cmake --install` puts it.
  for (const auto& file : {directory / "vkb-serve", directory / VKB_LIBEXEC / "vkb-serve"}) {
    execv(file.c_str(), context.arguments);
    if (errno != ENOENT) {
      throw Error(ErrorCode::io_error, file.string() + ": cannot start: " + std::strerror(errno));
    }
  }
  throw Error(ErrorCode::not_found, "the program vkb-serve is neither beside " + program.string() +
                                        " nor in " + (directory / VKB_LIBEXEC).string() +
                                        ": install vkb again");
}

}  // namespace vkb

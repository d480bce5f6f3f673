// SPDX-License-Identifier: Apache-2.0
#include "storage/system_advice.h"

#include <cerrno>

namespace vkb {

std::string_view advice_for(int error) noexcept {
  switch (error) {
    case EACCES:
    case EPERM:
      return "; change its permissions, or run as the user whom the store belongs to";
    case EROFS:
      return "; its file system is read-only";
    case EMFILE:
      return "; raise how many files the process may open (ulimit -n)";
    case ENFILE:
      return "; close other programs, or raise how many files the system may open (fs.file-max)";
    case ENOSPC:
    case EDQUOT:
      return "; free disk space and try again";
    case ENOMEM:
      return "; free memory, or raise the limit this program runs under (ulimit -v)";
    case EISDIR:
      return "; a directory is where a file should be: move it away";
    case ENOTDIR:
      return "; a file is where a directory should be: move it away, or name another path";
    case EIO:
      return "; look at the disk and at the system's log";
    default:
      return "";
  }
}

}  // namespace vkb

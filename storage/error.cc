// SPDX-License-Identifier: Apache-2.0
#include "storage/error.h"

namespace vkb {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::already_exists:
      return "already_exists";
    case ErrorCode::busy:
      return "busy";
    case ErrorCode::corruption:
      return "corruption";
    case ErrorCode::io_error:
      return "io_error";
    case ErrorCode::unsupported:
      return "unsupported";
  }
  return "unknown";
}

}  // namespace vkb

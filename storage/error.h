// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace vkb {

// What went wrong, by who can do something about it.
enum class ErrorCode {
  invalid_argument,  // the caller passed something the call does not take
  not_found,         // no such store, tenant, database, collection or file
  already_exists,    // the name is taken
  busy,              // another process holds the writer lock; try again later
  corruption,        // bytes on disk are not what was written; see `vkb check`
  io_error,          // the operating system refused: full disk, permission, failed sync
  unsupported,       // a newer format, or a thing this build cannot do
};

// "corruption" for ErrorCode::corruption, and so on.
std::string_view to_string(ErrorCode code) noexcept;

// The one exception type of vkb. what() names the object, what was expected and what was found.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace vkb

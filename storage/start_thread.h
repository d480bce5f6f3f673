// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <system_error>

namespace vkb {

// Throws io_error: "WHAT: cannot start a thread: ..", and what to do about it.
[[noreturn]] void throw_no_thread(const std::string& what, const std::system_error& error);

// What start() gives, which starts a thread for `what`: "store DIR". Throws io_error when the
// system has none.
template <typename Start>
auto start_thread(const std::string& what, const Start& start) {
  try {
    return start();
  } catch (const std::system_error& error) {
    throw_no_thread(what, error);
  }
}

}  // namespace vkb

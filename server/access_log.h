// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace vkb {

// One line of JSON a request, appended to a file or to stderr. Neither bodies nor credentials nor
// query strings are in it. A file moved away is written on until the server is started again, so
// rotate it by copying and truncating.
// Thread safety: write() from any thread; lines do not mix.
class AccessLog {
 public:
  struct Entry {
    std::chrono::system_clock::time_point time{};  // when the request's head was there
    std::string_view remote{};                     // "127.0.0.1:50312"
    std::string_view method{};
    std::string_view path{};  // as sent
    int status = 0;
    std::string_view operation{};
    double milliseconds = 0;  // waiting for a worker and being worked on
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;  // of the bodies
    std::string_view user{};
  };

  // "-" is stderr. Throws io_error when the file cannot be opened.
  explicit AccessLog(const std::string& file);
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;
  // A line that cannot be written (full disk) is lost: serving goes on.
  void write(const Entry& entry) const noexcept;

 private:
  int fd_;
};

// The line of an entry, without the newline.
std::string to_json(const AccessLog::Entry& entry);

}  // namespace vkb

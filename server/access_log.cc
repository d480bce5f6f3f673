// SPDX-License-Identifier: Apache-2.0
#include "server/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "storage/error.h"

namespace vkb {
namespace {

constexpr std::size_t kLongestPath = 2000;

// "2026-01-31T08:15:00.042Z"
std::string time_text(std::chrono::system_clock::time_point time) {
  const auto since = time.time_since_epoch();
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  const std::time_t seconds = milliseconds / 1000;
  std::tm parts = {};
  gmtime_r(&seconds, &parts);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.", &parts);
  std::string fraction = std::to_string(1000 + milliseconds % 1000);
  return std::string(text, size) + fraction.substr(1) + "Z";
}

}  // namespace

AccessLog::AccessLog(const std::string& file)
    : fd_(file == "-" ? ::fcntl(2, F_DUPFD_CLOEXEC, 3)
                      : ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640)) {
  if (fd_ < 0) {
    throw Error(ErrorCode::io_error, file + ": cannot open the access log: " + strerror(errno));
  }
}

AccessLog::~AccessLog() { ::close(fd_); }

void AccessLog::write(const Entry& entry) const noexcept {
  try {
    const std::string line = to_json(entry) + "\n";
    // One call a line: with O_APPEND lines of several threads do not mix.
    while (::write(fd_, line.data(), line.size()) < 0 && errno == EINTR) {
    }
  } catch (const std::exception&) {
    // Out of memory: the request matters more than its line.
  }
}

std::string to_json(const AccessLog::Entry& entry) {
  const nlohmann::ordered_json line = {
      {"time", time_text(entry.time)},
      {"remote", entry.remote},
      {"method", entry.method},
      {"path", entry.path.substr(0, kLongestPath)},
      {"status", entry.status},
      {"operation", entry.operation},
      {"ms", std::round(entry.milliseconds * 1000) / 1000},
      {"bytes_in", entry.bytes_in},
      {"bytes_out", entry.bytes_out},
      {"user", entry.user},
  };
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace vkb

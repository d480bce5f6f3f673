// SPDX-License-Identifier: Apache-2.0
#include "tools/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace vkb {
namespace {

constexpr std::size_t kOutputBuffer = 1 << 16;
constexpr std::chrono::milliseconds kBarInterval{100};
constexpr std::chrono::seconds kLineInterval{5};
constexpr std::size_t kBarWidth = 24;

std::atomic<int> g_stop_signal{0};
std::atomic<bool> g_stop_softly{false};

extern "C" void on_stop_signal(int signal_number) {
  if (!g_stop_softly.load() || g_stop_signal.load() != 0) _exit(128 + signal_number);
  g_stop_signal.store(signal_number);
}

}  // namespace

void Output::write(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kOutputBuffer) flush();
}

void Output::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      const int error = errno;
      buffer_.clear();
      if (error == EPIPE) throw OutputClosed{};
      throw Error(ErrorCode::io_error, name_ + ": cannot write: " + std::strerror(error));
    }
  }
  buffer_.clear();
}

void prepare_process() {
  // An opened /dev/null takes the lowest free descriptor, which is the closed one. It is opened for
  // the other direction, so that using it is the error it would have been.
  for (const int fd : {0, 1, 2}) {
    if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd) {
      _exit(1);
    }
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file as large as it may be is an error, not an end
  struct sigaction action = {};
  action.sa_handler = on_stop_signal;  // no SA_RESTART: a blocked read must notice
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction before = {};
    // A shell starts background jobs with SIGINT ignored; that is respected.
    if (sigaction(number, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) {
      sigaction(number, &action, nullptr);
    }
  }
}

void stop_at_safe_points() noexcept { g_stop_softly.store(true); }
int stop_signal() noexcept { return g_stop_signal.load(); }

ProgressPrinter::ProgressPrinter(bool quiet, std::string noun)
    : quiet_(quiet), terminal_(isatty(2) == 1), noun_(std::move(noun)) {
  stop_at_safe_points();
  last_shown_ = Clock::now();
}

ProgressPrinter::~ProgressPrinter() { clear(); }

bool ProgressPrinter::update(std::string_view step, std::uint64_t done, std::uint64_t total) {
  if (stop_requested()) {
    stopped_ = true;
    return false;
  }
  if (quiet_) return true;
  const Clock::time_point now = Clock::now();
  if (step != step_) {
    step_ = step;
    step_began_ = now;
    step_first_ = done;
  }
  if (now - last_shown_ >= (terminal_ ? kBarInterval : kLineInterval)) show(done, total, now);
  return true;
}

void ProgressPrinter::show(std::uint64_t done, std::uint64_t total, Clock::time_point now) {
  last_shown_ = now;
  const double seconds = std::chrono::duration<double>(now - step_began_).count();
  const std::string line = progress_line(step_, noun_, done, total, step_first_, seconds);
  if (!terminal_) {
    write_stderr(line);
    return;
  }
  std::string bar;
  if (total > 0) {
    const std::size_t full = static_cast<std::size_t>(
        kBarWidth * static_cast<double>(std::min(done, total)) / static_cast<double>(total));
    bar = "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') + "] ";
  }
  const std::string text = "\r\x1b[K" + bar + line;
  if (::write(2, text.data(), text.size()) > 0) bar_visible_ = true;
}

ProgressFunction ProgressPrinter::function() {
  return [this](const Progress& progress) {
    return update(progress.step, progress.done, progress.total);
  };
}

void ProgressPrinter::clear() {
  if (bar_visible_ && ::write(2, "\r\x1b[K", 4) > 0) bar_visible_ = false;
}

std::string progress_line(std::string_view step, std::string_view noun, std::uint64_t done,
                          std::uint64_t total, std::uint64_t first, double seconds) {
  std::string line(step);
  line += " " + with_commas(done);
  if (total > 0) line += "/" + with_commas(total);
  if (!noun.empty()) line += " " + std::string(noun);
  char text[64];
  if (total > 0) {
    std::snprintf(text, sizeof text, " (%.0f %%)",
                  100.0 * static_cast<double>(done) / static_cast<double>(total));
    line += text;
  }
  if (seconds <= 0 || done <= first) return line;
  const double rate = static_cast<double>(done - first) / seconds;
  std::snprintf(text, sizeof text, rate < 10 ? "%.1f" : "%.0f", rate);
  line += ", " + std::string(text) + (noun.empty() ? "" : " " + std::string(noun)) + "/s";
  if (total > done) {
    const double left = static_cast<double>(total - done) / rate;
    if (left < 90) {
      std::snprintf(text, sizeof text, ", %.0f s left", left);
    } else {
      std::snprintf(text, sizeof text, ", %.0f min left", left / 60);
    }
    line += text;
  }
  return line;
}

std::string one_line(std::string_view text, std::size_t width) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return "";
  text.remove_prefix(first);
  const std::string_view line = text.substr(0, text.find('\n'));
  bool cut = text.find_first_not_of(" \t\r\n", line.size()) != std::string_view::npos;
  std::string result;
  std::size_t points = 0;
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80 && ++points > width) {
      cut = true;
      break;
    }
    result += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return cut ? result + "…" : result;
}

std::string with_commas(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t i = digits.size(); i > 3;) digits.insert(i -= 3, 1, ',');
  return digits;
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes);
  const char* unit = "B";
  for (const char* larger : {"kB", "MB", "GB", "TB"}) {
    if (value < 1000) break;
    value /= 1000;
    unit = larger;
  }
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f %s" : "%.1f %s", value, unit);
  return text;
}

std::string safe_message(std::string_view message) {
  std::string result(message);
  for (std::size_t at = result.find("://"); at != std::string::npos; at = result.find("://", at)) {
    at += 3;
    const std::size_t end = result.find_first_of(" \t\n\"'", at);
    const std::string_view rest =
        std::string_view(result).substr(at, end == std::string::npos ? end : end - at);
    // Up to the last '@': a password may hold one, and even a '/'.
    const std::size_t sign = rest.rfind('@');
    // The forms that our own messages show are no one's password.
    const bool is_example = rest.starts_with("[user:password@]") || rest.starts_with(":password@");
    if (sign != std::string_view::npos && !is_example) result.replace(at, sign, "***");
  }
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

void write_stderr(std::string_view line) {
  const std::string text = std::string(line) + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(2, rest.data(), rest.size());
    if (written > 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0 || errno != EINTR) {
      return;
    }
  }
}

}  // namespace vkb

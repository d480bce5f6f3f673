// SPDX-License-Identifier: Apache-2.0
//
// What the program says and hears: the result on stdout, everything else on stderr, and signals.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/vkb.h"

namespace vkb {

// Thrown when stdout's reader has gone (`vkb export | head`): the program ends without a word.
struct OutputClosed {};

// Buffered writing to a file descriptor; a failed write is an error, never a silently short result.
// Thread safety: one thread at a time.
class Output {
 public:
  explicit Output(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  // Throws io_error that names the file, OutputClosed when the other end was closed.
  void write(std::string_view text);
  // To be called at the end: what was not flushed is lost.
  void flush();

 private:
  int fd_;
  std::string name_;
  std::string buffer_;
};

// Ignores SIGPIPE, handles SIGINT and SIGTERM, and makes sure that descriptors 0 to 2 are open, so
// that no file of a store is ever opened as "stdout". Called once, first thing in main.
void prepare_process();

// From here on SIGINT and SIGTERM only set a flag, which long work polls; before, or a second time,
// they end the program at once (nothing is lost: every write is a transaction).
void stop_at_safe_points() noexcept;
// The signal that asked to stop, 0 when none did. Safe from any thread.
int stop_signal() noexcept;
inline bool stop_requested() noexcept { return stop_signal() != 0; }

// Shows the progress of long work on stderr: a bar with rate and time left on a terminal, a plain
// line every few seconds otherwise, nothing when quiet. Also the way in which signals reach long
// work: update() returns false when it should stop. Thread safety: one thread at a time.
class ProgressPrinter {
 public:
  // noun: what is counted, "records" say; without it the step is shown alone.
  explicit ProgressPrinter(bool quiet, std::string noun = "");
  ~ProgressPrinter();  // clears the bar
  ProgressPrinter(const ProgressPrinter&) = delete;
  ProgressPrinter& operator=(const ProgressPrinter&) = delete;

  // Returns false when the user asked to stop. total is 0 when unknown.
  bool update(std::string_view step, std::uint64_t done, std::uint64_t total);
  // update() as the engine wants it. The printer must outlive the function.
  ProgressFunction function();
  // True once update() has answered false.
  bool stopped() const noexcept { return stopped_; }
  // Removes the bar from the terminal, so that a line can be written.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  void show(std::uint64_t done, std::uint64_t total, Clock::time_point now);

  bool quiet_;
  bool terminal_;
  std::string noun_;
  std::string step_;
  Clock::time_point step_began_;
  std::uint64_t step_first_ = 0;
  Clock::time_point last_shown_;
  bool bar_visible_ = false;
  bool stopped_ = false;
};

// The line a progress display shows, "copy 1,200/5,000 records (24 %), 310 records/s, 12 s left".
std::string progress_line(std::string_view step, std::string_view noun, std::uint64_t done,
                          std::uint64_t total, std::uint64_t first, double seconds);

// Text for a terminal: the first line that is not blank, control characters made spaces, at most
// `width` code points, with an ellipsis when something was cut off.
std::string one_line(std::string_view text, std::size_t width);
// 1234567 -> "1,234,567".
std::string with_commas(std::uint64_t number);
// 1234567 -> "1.2 MB", decimal units.
std::string human_bytes(std::uint64_t bytes);
// "scheme://user:secret@host" -> "scheme://***@host" everywhere in the text, newlines made spaces.
std::string safe_message(std::string_view message);
// Writes one line to stderr; a closed stderr is no error.
void write_stderr(std::string_view line);

}  // namespace vkb

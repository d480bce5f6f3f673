// SPDX-License-Identifier: Apache-2.0
//
// Records as JSON lines: {"id","embedding"?,"document"?,"metadata"?,"uri"?}, one a line.
#pragma once

#include <string>
#include <string_view>

#include "engine/vkb.h"

namespace vkb {

// Reads one line. Each number of the embedding is rounded once, to the nearest float, so that what
// format_record_line wrote comes back bit for bit; null counts as absent. Throws
// Error{invalid_argument} for anything that is not such an object: bad JSON, an unknown or repeated
// key, a missing or empty id, a value of the wrong kind, a number no float can hold.
Record parse_record_line(std::string_view line);

// The line of a record, without the newline; absent members are left out.
std::string format_record_line(const Record& record);

// Lines of a file or of stdin ("-") in bounded memory.
// Thread safety: one thread at a time.
class LineReader {
 public:
  // Throws not_found when the file cannot be opened.
  explicit LineReader(const std::string& file);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Replaces `line` with the next one, without its end ("\n" or "\r\n"). Returns false at the end,
  // and when a signal asked to stop. Throws io_error, and invalid_argument for a line over 256 MiB.
  bool next(std::string& line);
  // Of the line last returned, from 1.
  std::uint64_t number() const noexcept { return number_; }

 private:
  bool fill();

  std::string name_;
  int fd_;
  std::string buffer_;
  std::size_t position_ = 0;
  std::uint64_t number_ = 0;
};

}  // namespace vkb

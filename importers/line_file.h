// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace vkb {

// A file written front to back: buffered, and on disk for good once close() returned. Thread
// safety: one thread at a time.
class LineFile {
 public:
  // Creates or empties the file. Throws io_error that names it, as every call here.
  explicit LineFile(std::string path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  void write(std::string_view text);
  // Syncs the file and its directory.
  void close();
  const std::string& path() const noexcept { return path_; }

 private:
  void flush();
  [[noreturn]] void fail(std::string_view what) const;

  std::string path_;
  int fd_;
  std::string buffer_;
};

// Replaces a whole file, so that a reader finds the old content or the new one, never a part.
void replace_file(const std::string& path, std::string_view content);

// Reads a whole file. Throws not_found or io_error.
std::string read_whole_file(const std::string& path);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct sqlite3_file;

namespace vkb {

// A file of a database, to read as it is while this process may have the database open: through
// SQLite's default VFS, as closing a descriptor of its own on a database would give up the locks
// that this process has on it (fcntl(2)). Thread safety: one thread at a time.
class DatabaseFile {
 public:
  enum class Use { read, lock };
  // Throws io_error when it cannot be opened; one that is not there is not open.
  explicit DatabaseFile(const std::string& path, Use use = Use::read);
  ~DatabaseFile();
  DatabaseFile(const DatabaseFile&) = delete;
  DatabaseFile& operator=(const DatabaseFile&) = delete;

  bool is_open() const noexcept { return is_open_; }
  std::uint64_t size() const noexcept { return size_; }
  // False when the file ends before. Throws io_error.
  bool read(std::uint64_t offset, std::span<std::byte> out);
  // Of one opened for Use::lock: locks it while this lives, so that whoever opens the database
  // waits. False when a connection, of this process or of another, is open that has read a database
  // in WAL mode, or has it locked. Throws io_error.
  bool lock_alone();

 private:
  sqlite3_file* get() noexcept;

  // As the VFS wants it: room for parameters around it, and there until the file is closed.
  struct FreeName {
    void operator()(char* name) const noexcept;
  };

  const std::string path_;
  const std::unique_ptr<char, FreeName> name_;
  std::vector<std::max_align_t> memory_;
  bool is_open_ = false;
  std::uint64_t size_ = 0;
};

// Throws corruption when a database has fewer pages than its header says and no log that may have
// the others: SQLite opens no such file. Right beside a writer as well.
void verify_length(const std::string& database_path);

}  // namespace vkb

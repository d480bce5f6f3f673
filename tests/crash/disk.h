// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/io_shim.h"
#include "tests/support/test_data.h"

namespace vkb {

// A file system that forgets: what a disk may hold when power fails, given the calls made until
// then and what POSIX promises of them. A file keeps what it held at its last sync; of each block
// written since the disk has any version, and its size is any that it had since; a truncation is
// whole. A name is in a directory as of the directory's last sync, or as it was at any time since,
// each name for itself: a name can be there without its content, a content without its name, and a
// later change without an earlier one.
class Disk {
 public:
  // root: the directory that the journal is of; it is there, and nothing in it.
  explicit Disk(std::string root) : root_(std::move(root)) {}

  void apply(const IoEntry& entry);

  enum class Loss {
    none,  // all that was written is there, as when a process is killed
    all,   // nothing is there but what was synced
    some,  // chosen at random, for each block and each name
  };
  // Writes what is left as files below `directory`, which is empty.
  void write_image(const std::string& directory, Loss loss, TestRandom& random) const;

 private:
  using Id = std::size_t;
  struct Change {
    bool is_size;
    std::uint64_t at;  // the offset, or the new size
    std::string data;
  };
  struct File {
    bool is_directory = false;
    std::string synced;
    std::vector<Change> since;
  };
  struct Name {
    std::optional<Id> synced;
    std::vector<std::optional<Id>> since;
    const std::optional<Id>& now() const { return since.empty() ? synced : since.back(); }
  };

  static std::string content(const File& file, std::size_t changes);
  std::string mixed_content(const File& file, TestRandom& random) const;
  std::optional<Id> find(const std::string& path) const;
  Id make(const std::string& path, bool is_directory);
  void sync(int fd);

  std::string root_;
  std::vector<File> files_;
  std::map<std::string, Name> names_;  // by whole path
  struct Open {
    std::string path;
    std::optional<Id> id;  // none: the root
  };
  std::map<int, Open> open_;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "storage/database_file.h"
#include "storage/file.h"

namespace vkb {

// XXH3, 128 bits, of bytes given in pieces: finds accidents, not forgery. Thread safety: one thread
// at a time.
class FileHash {
 public:
  FileHash();
  ~FileHash();
  FileHash(const FileHash&) = delete;
  FileHash& operator=(const FileHash&) = delete;

  void update(std::span<const std::byte> bytes) noexcept;
  // 32 hexadecimal digits.
  std::string value() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

// Visits `bytes` bytes of the file from `offset` on in pieces of a megabyte, each read rather than
// mapped where that works: a large file passed over once is not to fill this process's memory.
void read_pieces(const MappedFile& file, std::uint64_t offset, std::uint64_t bytes,
                 const std::function<void(std::span<const std::byte>)>& visit);
// The same of all of a database's file, or of what is left of it when it is cut meanwhile.
void read_pieces(DatabaseFile& file, const std::function<void(std::span<const std::byte>)>& visit);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// A program that has io_shim.cc linked in can be told, by its environment, to write down what it
// does to the files below one directory (VKB_IO_ROOT, ending in a slash), SQLite's calls included,
// and to have calls on them fail:
//   VKB_IO_JOURNAL=FILE     what it changed there, in order: read_io_journal()
//   VKB_IO_FAULT=KIND N     the Nth call that a fault of that kind concerns fails, see IoFault;
//                           allocations, wherever they are made, count from the first such call on
//   VKB_IO_COUNT=FILE       at the end: how many calls the fault concerned
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace vkb {

enum class IoKind : std::uint32_t {
  open,            // path, fd; value: O_CREAT and O_TRUNC as they were given
  close,           // fd
  write,           // fd, data; value: the offset
  truncate,        // fd; value: the new size
  sync,            // fd, of a file or a directory
  make_directory,  // path
  unlink,          // path
  rename,          // path, to
  link,            // path, to
  said,            // data: what was written to standard output
};

// One call fails, and the disk is full from one call on.
enum class IoFault {
  error,          // any call: EIO
  full,           // what needs room: ENOSPC, again and again
  interrupted,    // open, read, write: EINTR
  short_write,    // half of it is written
  short_read,     // half of it is read
  no_descriptor,  // open: EMFILE
  no_memory,      // mmap: ENOMEM
  no_allocation,  // malloc and its kin, which C++'s new calls: null
};
inline constexpr std::array<const char*, 8> kIoFaults = {
    "error",      "full",          "interrupted", "short_write",
    "short_read", "no_descriptor", "no_memory",   "no_allocation"};

struct IoHeader {
  IoKind kind;
  std::int32_t fd;
  std::uint64_t value;
  std::uint32_t path_bytes;
  std::uint32_t to_bytes;
  std::uint64_t data_bytes;
};

struct IoEntry {
  IoKind kind;
  int fd;
  std::uint64_t value;
  std::string path;
  std::string to;
  std::string data;
};

// A last entry that was cut short, because the process was killed, is left out.
inline std::vector<IoEntry> read_io_journal(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<IoEntry> entries;
  std::size_t at = 0;
  while (bytes.size() - at >= sizeof(IoHeader)) {
    IoHeader header;
    std::memcpy(&header, bytes.data() + at, sizeof(header));
    at += sizeof(header);
    if (bytes.size() - at < header.path_bytes + header.to_bytes + header.data_bytes) break;
    const auto take = [&](std::size_t size) {
      at += size;
      return bytes.substr(at - size, size);
    };
    IoEntry entry{header.kind, header.fd, header.value, {}, {}, {}};
    entry.path = take(header.path_bytes);
    entry.to = take(header.to_bytes);
    entry.data = take(header.data_bytes);
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Files as the store needs them: whole files written once, synced and then only mapped; a lock that
// names its holder. FileSystem is the seam through which tests inject faults and stop points;
// everything the store does to files other than SQLite's goes through it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vkb {

// A read-only mapping of a whole file. Stays readable after the file is unlinked.
// Thread safety: immutable.
class MappedFile {
 public:
  // How a range is going to be read; a hint to the kernel.
  // sparse: random, and so little of it that a touch should not map a huge page.
  enum class Access { normal, random, sparse, sequential, will_need, dont_need };

  virtual ~MappedFile() = default;
  virtual std::span<const std::byte> bytes() const noexcept = 0;
  virtual void advise(std::size_t offset, std::size_t size, Access access) const noexcept = 0;
  // Copies bytes without mapping their pages into this process. False when that does not work, and
  // the mapping has to do: beyond the end, once the name is gone or another file's, and while many
  // other files are read so, as each keeps a descriptor from its first read on.
  virtual bool read(std::size_t offset, std::span<std::byte> out) const noexcept = 0;
  // How many bytes of the mapping are in memory now.
  virtual std::uint64_t resident_bytes() const = 0;
};

// A new file being written. Unless finished, it is removed by the destructor.
// Thread safety: one thread at a time.
class NewFile {
 public:
  virtual ~NewFile() = default;
  virtual void append(std::span<const std::byte> data) = 0;
  // Overwrites bytes appended earlier.
  virtual void write_at(std::uint64_t offset, std::span<const std::byte> data) = 0;
  virtual std::uint64_t size() const noexcept = 0;
  // How what is appended from now on will be read; a hint. What is read `sparse` the kernel is not
  // to keep in huge pages.
  virtual void expect_reads(MappedFile::Access access) = 0;
  // Syncs the file, then its directory (R2). After this the file stays. A failed sync throws
  // io_error, and the file is removed, never synced again: what the kernel dropped is unknown.
  virtual void publish() = 0;
};

// An exclusive lock between processes, held until destroyed.
class FileLock {
 public:
  virtual ~FileLock() = default;
  // False when its file was removed, or moved: others may hold one of the same name.
  virtual bool excludes() const noexcept = 0;
};

// Thread safety: all methods. Errors: io_error that names the path and the system's reason;
// not_found where a file to read is missing.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual std::unique_ptr<MappedFile> map(const std::string& path) = 0;
  virtual std::unique_ptr<NewFile> create(const std::string& path) = 0;  // fails if it exists
  // The lock, or nothing when another open of the file holds it. `holder` is written into the file
  // for others to read.
  virtual std::unique_ptr<FileLock> try_lock(const std::string& path, std::string_view holder) = 0;
  // What the holder of the lock wrote, or "" when nobody holds it.
  virtual std::string lock_holder(const std::string& path) = 0;
  virtual void make_directory(const std::string& path) = 0;  // and its parents; fine if it exists
  virtual bool exists(const std::string& path) = 0;
  virtual bool is_writable(const std::string& path) = 0;
  // "NFS", "SMB" or "AFS" when the path, or the nearest directory that is there, is on one; else
  // "".
  virtual std::string network_file_system(const std::string& path) = 0;
  virtual std::vector<std::string> list(const std::string& directory) = 0;  // names, sorted
  virtual std::uint64_t file_size(const std::string& path) = 0;             // 0 when missing
  virtual void remove(const std::string& path) = 0;                         // fine if missing
  virtual void rename(const std::string& from, const std::string& to) = 0;
  // Gives two files or directories each other's name, at once. Throws unsupported where the file
  // system cannot.
  virtual void exchange(const std::string& one, const std::string& other) = 0;
  virtual void sync_directory(const std::string& path) = 0;
  virtual void hard_link_or_copy(const std::string& from, const std::string& to) = 0;
  // Named points between durable steps ("segment_published", "seal_committed"). Does nothing here;
  // the crash tests die at them.
  virtual void reached(std::string_view /*point*/) {}
};

// The operating system's files.
FileSystem& posix_file_system();

}  // namespace vkb

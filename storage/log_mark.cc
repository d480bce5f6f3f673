// SPDX-License-Identifier: Apache-2.0
#include "storage/log_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "storage/checked_vfs.h"
#include "storage/database_file.h"
#include "storage/error.h"
#include "storage/segment_format.h"
#include "storage/system_advice.h"

namespace vkb {
namespace {

constexpr std::string_view kLogSuffix = "-wal";
constexpr std::string_view kMarkSuffix = "-mark";

// The log's header: magic, version, page size, checkpoint number, two salts, two checksums; a
// frame's: page number, size of the database after a commit, else 0, the salts, two checksums.
constexpr std::size_t kHeaderBytes = 32;
constexpr std::size_t kFrameHeaderBytes = 24;
constexpr std::uint32_t kMagic = 0x377F0682;  // its last bit: checksums are of big-endian words
constexpr std::size_t kPageSizeAt = 8;
constexpr std::size_t kSaltAt = 16;
constexpr std::size_t kHeaderChecksumAt = 24;
constexpr std::size_t kCommitAt = 4;
constexpr std::size_t kFrameSaltAt = 8;
constexpr std::size_t kFrameChecksumAt = 16;
constexpr std::size_t kPageSizeAtDatabase = 16;  // in its header, two bytes

using Bytes = std::span<const std::byte>;

std::string mark_of(std::string_view log_path) {
  return std::string(log_path.substr(0, log_path.size() - kLogSuffix.size())).append(kMarkSuffix);
}

std::uint32_t big_endian(Bytes bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return std::endian::native == std::endian::big ? value : __builtin_bswap32(value);
}

std::uint64_t salt_of(Bytes bytes, std::size_t at) {
  return std::uint64_t{big_endian(bytes, at)} << 32 | big_endian(bytes, at + 4);
}

std::uint64_t hash_of(Bytes page) noexcept {
  const std::size_t kept = kPageChecksumBytes;
  return Checksum::of(page.first(page.size() - std::min(page.size(), kept)));
}

// The checksum that runs through a log.
class RunningChecksum {
 public:
  explicit RunningChecksum(bool swaps) : swaps_(swaps) {}
  void add(Bytes bytes) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      first_ += word(bytes, at) + second_;
      second_ += word(bytes, at + 4) + first_;
    }
  }
  bool is(Bytes bytes, std::size_t at) const {
    return big_endian(bytes, at) == first_ && big_endian(bytes, at + 4) == second_;
  }

 private:
  std::uint32_t word(Bytes bytes, std::size_t at) const {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return swaps_ ? __builtin_bswap32(value) : value;
  }

  const bool swaps_;
  std::uint32_t first_ = 0;
  std::uint32_t second_ = 0;
};

// How far checkpoints of a log have come.
struct Copied {
  std::uint64_t salt = 0;
  std::uint64_t begun = 0;  // bytes of the log of which pages may be in the database
  std::uint64_t done = 0;   // bytes of the log that are in it as a whole
};

template <typename Value>
constexpr std::array<char, 8> kMagicOf;
template <>
constexpr std::array<char, 8> kMagicOf<LogMark> = {'v', 'k', 'b', 'm', 'a', 'r', 'k', '1'};
template <>
constexpr std::array<char, 8> kMagicOf<Copied> = {'v', 'k', 'b', 'c', 'o', 'p', 'y', '1'};

// As they stand in the mark's file, one behind the other.
template <typename Value>
struct Kept {
  std::array<char, 8> magic = kMagicOf<Value>;
  Value value;
  std::uint64_t checksum = 0;  // of what comes before

  std::uint64_t expected() const {
    return Checksum::of(std::as_bytes(std::span(this, 1)).first(offsetof(Kept, checksum)));
  }
  bool is_whole() const { return magic == kMagicOf<Value> && checksum == expected(); }
};
static_assert(sizeof(Kept<LogMark>) == 48 && sizeof(Kept<Copied>) == 40);
template <typename Value>
constexpr std::uint64_t kPlaceOf = std::is_same_v<Value, LogMark> ? 0 : sizeof(Kept<LogMark>);

// Nothing when the file ends before.
template <typename Value>
std::optional<Kept<Value>> read_kept(const std::string& database_path) {
  DatabaseFile file(database_path + std::string(kMarkSuffix));
  Kept<Value> kept;
  const std::span bytes = std::as_writable_bytes(std::span(&kept, 1));
  if (!file.is_open() || !file.read(kPlaceOf<Value>, bytes)) return std::nullopt;
  return kept;
}

// Nothing when there is none, or none that is whole.
std::optional<LogMark> read_mark(const std::string& database_path) {
  const auto kept = read_kept<LogMark>(database_path);
  return kept && kept->is_whole() ? std::optional(kept->value) : std::nullopt;
}

// Of the log that has the mark. What is damaged says nothing: anything may be in the database.
Copied read_copied(const std::string& database_path, const LogMark& mark) {
  const auto kept = read_kept<Copied>(database_path);
  if (kept && !kept->is_whole()) return {.salt = mark.salt, .begun = UINT64_MAX};
  return kept && kept->value.salt == mark.salt ? kept->value : Copied{.salt = mark.salt};
}

// Calls again what a signal has interrupted.
template <typename Call>
auto uninterrupted(const Call& call) noexcept {
  decltype(call()) result{};
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

int open_to_write(const std::string& path, int flags) noexcept {
  return uninterrupted([&] { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0644); });
}

template <typename Value>
bool write_kept(int fd, const Value& value) noexcept {
  Kept<Value> kept{.value = value};
  kept.checksum = kept.expected();
  const auto at = static_cast<off_t>(kPlaceOf<Value>);
  return uninterrupted([&] { return ::pwrite(fd, &kept, sizeof kept, at); }) ==
         static_cast<ssize_t>(sizeof kept);
}

bool sync(int fd) noexcept {
  return uninterrupted([&] { return ::fdatasync(fd); }) == 0;
}

// On disk when it returns. False when that cannot be, or there is no such file.
bool empty_file(const std::string& path) noexcept {
  const int fd = open_to_write(path, 0);
  if (fd < 0) return false;
  const bool is_empty = uninterrupted([&] { return ::ftruncate(fd, 0); }) == 0 && sync(fd);
  ::close(fd);
  return is_empty;
}

// Whether the last page that the log had is in the database: then all of it is, as a checkpoint
// takes all that was committed before it lets a log go.
bool is_checkpointed(const std::string& database_path, const LogMark& mark) {
  if (mark.page == 0) return true;
  DatabaseFile file(database_path);
  std::array<std::byte, kPageSizeAtDatabase + 2> header{};
  if (!file.is_open() || !file.read(0, header)) return false;
  const std::size_t size = std::to_integer<std::size_t>(header[kPageSizeAtDatabase]) << 8 |
                           std::to_integer<std::size_t>(header[kPageSizeAtDatabase + 1]);
  std::vector<std::byte> page(size == 1 ? 65536 : size);  // as the format has it
  return page.size() > kPageChecksumBytes && file.read((mark.page - 1) * page.size(), page) &&
         hash_of(page) == mark.page_hash;
}

struct Damage {
  std::uint64_t at = 0;  // the first byte of what cannot be read
  std::string what{};
};

// What is wrong with the part of a log that was synced, or nothing.
std::optional<Damage> find_damage(const std::string& database_path, const LogMark& mark) {
  DatabaseFile file(database_path + std::string(kLogSuffix));
  if (file.size() == 0) {
    if (is_checkpointed(database_path, mark)) return std::nullopt;
    return Damage{.what = file.is_open() ? "it is empty" : "it is missing"};
  }
  std::array<std::byte, kHeaderBytes> header{};
  const bool is_whole = file.read(0, header);
  const std::uint32_t magic = big_endian(header, 0);
  RunningChecksum checksum(((magic & 1) != 0) != (std::endian::native == std::endian::big));
  checksum.add(Bytes(header).first(kHeaderChecksumAt));
  const std::size_t page_bytes = big_endian(header, kPageSizeAt);
  if (!is_whole || (magic & ~1U) != kMagic || !checksum.is(header, kHeaderChecksumAt) ||
      page_bytes < 512 || page_bytes > 65536) {
    return Damage{.what = "its header is damaged"};
  }
  if (salt_of(header, kSaltAt) != mark.salt) return std::nullopt;  // another log by now
  std::vector<std::byte> frame(kFrameHeaderBytes + page_bytes);
  for (std::uint64_t at = kHeaderBytes; at < mark.end; at += frame.size()) {
    if (!file.read(at, frame)) {
      return Damage{.at = at, .what = "it ends at byte " + std::to_string(file.size())};
    }
    checksum.add(Bytes(frame).first(kFrameSaltAt));
    checksum.add(Bytes(frame).subspan(kFrameHeaderBytes));
    if (salt_of(frame, kFrameSaltAt) != mark.salt || !checksum.is(frame, kFrameChecksumAt)) {
      return Damage{.at = at,
                    .what = "its frame at byte " + std::to_string(at) +
                            " does not match its checksum"};
    }
  }
  return std::nullopt;
}

}  // namespace

LogMarkWriter::LogMarkWriter(const std::string& log_path) : log_path_(log_path) {}

LogMarkWriter::~LogMarkWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void LogMarkWriter::wrote(Bytes data, std::uint64_t offset) noexcept {
  if (data.size() == kHeaderBytes && offset == 0) {
    next_ = {.salt = salt_of(data, kSaltAt), .end = kHeaderBytes};
    return;
  }
  if (data.size() == kFrameHeaderBytes) {
    // What is committed is never written again. So here is something else than what was to be: the
    // log goes on after a rollback, or the checksums of a long transaction are written anew.
    if (offset < next_.end) next_ = synced_;
    next_.salt = salt_of(data, kFrameSaltAt);
    commit_ = big_endian(data, kCommitAt) != 0 ? big_endian(data, 0) : 0;
    commit_data_at_ = offset + kFrameHeaderBytes;
  } else {
    data_at_ = offset;
    data_end_ = offset + data.size();
    data_hash_ = hash_of(data);
  }
  if (commit_ != 0 && commit_data_at_ == data_at_) {
    next_.end = data_end_;
    next_.page = commit_;
    next_.page_hash = data_hash_;
  }
}

void LogMarkWriter::synced() noexcept {
  if (next_ == synced_) return;
  synced_ = next_;
  try {
    if (fd_ < 0) fd_ = open_to_write(mark_of(log_path_), O_CREAT);
  } catch (const std::bad_alloc&) {
  }
  if (fd_ >= 0) std::ignore = write_kept(fd_, synced_);
}

bool LogMarkWriter::remove() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  return remove_log_mark(log_path_);
}

bool remove_log_mark(std::string_view log_path) noexcept {
  try {
    const std::string path = mark_of(log_path);
    if (::access(path.c_str(), F_OK) != 0) return errno == ENOENT;
    // Emptied first: a power loss may bring back the name, and must not bring back the content.
    if (!empty_file(path)) return false;
    ::unlink(path.c_str());
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

bool begin_checkpoint(std::string_view database_path) noexcept {
  try {
    const std::string path(database_path);
    const std::optional<LogMark> mark = read_mark(path);
    if (!mark) return true;
    Copied copied = read_copied(path, *mark);
    copied.begun = mark->end;
    const int fd = open_to_write(path + std::string(kMarkSuffix), 0);
    if (fd < 0) return false;
    const bool is_written = write_kept(fd, copied) && sync(fd);
    ::close(fd);
    return is_written;
  } catch (const std::exception&) {
    return false;
  }
}

void end_checkpoint(std::string_view database_path) noexcept {
  try {
    const std::string path(database_path);
    auto kept = read_kept<Copied>(path);
    if (!kept || !kept->is_whole()) return;
    kept->value.done = kept->value.begun;
    const int fd = open_to_write(path + std::string(kMarkSuffix), 0);
    if (fd < 0) return;
    std::ignore = write_kept(fd, kept->value) && sync(fd);
    ::close(fd);
  } catch (const std::exception&) {
    // It seems not to be complete then, which asks for more of the log than is needed.
  }
}

std::set<std::uint64_t> pages_in_log(const std::string& database_path) {
  DatabaseFile file(database_path + std::string(kLogSuffix));
  std::set<std::uint64_t> pages;
  std::array<std::byte, kHeaderBytes> header{};
  if (!file.is_open() || !file.read(0, header)) return pages;
  const std::uint64_t frame_bytes = kFrameHeaderBytes + big_endian(header, kPageSizeAt);
  std::array<std::byte, kFrameHeaderBytes> frame{};
  for (std::uint64_t at = kHeaderBytes; file.read(at, frame); at += frame_bytes) {
    if (salt_of(frame, kFrameSaltAt) == salt_of(header, kSaltAt)) pages.insert(big_endian(frame, 0));
  }
  return pages;
}

void verify_log(const std::string& database_path) {
  for (;;) {
    const std::optional<LogMark> mark = read_mark(database_path);
    if (!mark) return;
    // Whoever begins a log anew writes its header first, so that a second look sees another log.
    if (!find_damage(database_path, *mark)) return;
    const std::optional<Damage> damage = find_damage(database_path, *mark);
    if (!damage) return;
    if (read_mark(database_path) != mark) continue;
    throw Error(ErrorCode::corruption,
                database_path + std::string(kLogSuffix) + ": " + damage->what + ", though " +
                    std::to_string(mark->end) +
                    " bytes were written and synced: writes of the last time are lost; restore a "
                    "backup, or go on without them with `vkb repair --lost FILE`");
  }
}

void give_up_log(const std::string& database_path) {
  const std::optional<LogMark> mark = read_mark(database_path);
  if (!mark) return;
  const std::optional<Damage> damage = find_damage(database_path, *mark);
  if (!damage) return;
  const std::string log = database_path + std::string(kLogSuffix);
  const Copied copied = read_copied(database_path, *mark);
  if (damage->at < copied.begun) {
    if (copied.done < copied.begun) {
      throw Error(ErrorCode::corruption,
                  log + ": " + damage->what +
                      ", and a part of it had been taken over into the database, which now is of "
                      "several times at once; restore a backup");
    }
    // What can be read is older than what the database has.
    if (::access(log.c_str(), F_OK) == 0 && !empty_file(log)) {
      throw Error(ErrorCode::io_error, log + ": cannot be emptied: " + std::strerror(errno) +
                                           std::string(advice_for(errno)));
    }
  }
  if (!remove_log_mark(log)) {
    throw Error(ErrorCode::io_error, mark_of(log) + ": cannot be removed: " + std::strerror(errno) +
                                         std::string(advice_for(errno)));
  }
}

}  // namespace vkb

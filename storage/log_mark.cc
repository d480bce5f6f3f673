// SPDX-License-Identifier: Apache-2.0
#include "storage/log_mark.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <new>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "storage/database_file.h"
#include "storage/error.h"
#include "storage/file.h"
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

using Bytes = std::span<const std::byte>;

std::string database_of(std::string_view log_path) {
  return std::string(log_path.substr(0, log_path.size() - kLogSuffix.size()));
}
std::string mark_of(const std::string& database_path) {
  return database_path + std::string(kMarkSuffix);
}

std::uint32_t big_endian(Bytes bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return std::endian::native == std::endian::big ? value : __builtin_bswap32(value);
}

std::uint64_t salt_of(Bytes bytes, std::size_t at) {
  return std::uint64_t{big_endian(bytes, at)} << 32 | big_endian(bytes, at + 4);
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
  bool operator==(const Copied&) const = default;
};
constexpr std::uint64_t kUnknown = UINT64_MAX;

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
static_assert(sizeof(Kept<LogMark>) == 32 && sizeof(Kept<Copied>) == 40);
template <typename Value>
constexpr std::uint64_t kPlaceOf = std::is_same_v<Value, LogMark> ? 0 : sizeof(Kept<LogMark>);

// Nothing when the file ends before.
template <typename Value>
std::optional<Kept<Value>> read_kept(const std::string& database_path) {
  DatabaseFile file(mark_of(database_path));
  Kept<Value> kept;
  const std::span bytes = std::as_writable_bytes(std::span(&kept, 1));
  if (!file.is_open() || !file.read(kPlaceOf<Value>, bytes)) return std::nullopt;
  return kept;
}

// What the mark says of a log. What is damaged, or of another log, says nothing.
struct Known {
  LogMark mark;  // to where it must be readable
  Copied copied;
  bool operator==(const Known&) const = default;
};

Copied read_copied(const std::string& database_path, std::uint64_t salt) {
  const auto kept = read_kept<Copied>(database_path);
  const bool is_known = kept && kept->is_whole() && kept->value.salt == salt;
  return is_known ? kept->value : Copied{.salt = salt, .begun = kUnknown};
}

std::optional<Known> read_mark(const std::string& database_path) {
  Known known;
  if (const auto kept = read_kept<LogMark>(database_path); kept && kept->is_whole()) {
    known = {.mark = kept->value, .copied = read_copied(database_path, kept->value.salt)};
  } else if (const auto copied = read_kept<Copied>(database_path); copied && copied->is_whole()) {
    known = {.mark = {.salt = copied->value.salt}, .copied = copied->value};
  } else {
    return std::nullopt;
  }
  // A log is synced before it is copied, and a kill may keep the mark from saying so.
  if (known.copied.begun != kUnknown) known.mark.end = std::max(known.mark.end, known.copied.begun);
  return known;
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

int open_to_write(const std::string& path, int flags, ::mode_t mode = 0) noexcept {
  return uninterrupted([&] { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, mode); });
}

// The mark of a database, there or not yet, with the owner and the mode of the database: whoever
// may write that has to write this. One that was left by another user is made anew.
int open_mark(const std::string& database_path) {
  struct ::stat database {};
  if (::stat(database_path.c_str(), &database) != 0) return -1;
  const std::string path = mark_of(database_path);
  const ::mode_t mode = database.st_mode & 0777;
  int fd = open_to_write(path, O_CREAT, mode);
  if (fd < 0 && errno == EACCES && ::unlink(path.c_str()) == 0) {
    fd = open_to_write(path, O_CREAT, mode);
  }
  struct ::stat mark {};
  if (fd >= 0 && ::fstat(fd, &mark) == 0 && mark.st_size == 0) {
    std::ignore = ::fchmod(fd, mode);  // whatever the umask
    std::ignore = ::fchown(fd, database.st_uid, database.st_gid);
  }
  return fd;
}

template <typename Value>
bool write_kept(int fd, const Value& value) noexcept {
  Kept<Value> kept{.value = value};
  kept.checksum = kept.expected();
  Bytes rest = std::as_bytes(std::span(&kept, 1));
  while (!rest.empty()) {
    const auto at = static_cast<off_t>(kPlaceOf<Value> + sizeof kept - rest.size());
    const ssize_t wrote = uninterrupted([&] { return ::pwrite(fd, rest.data(), rest.size(), at); });
    if (wrote <= 0) return false;
    rest = rest.subspan(static_cast<std::size_t>(wrote));
  }
  return true;
}

bool sync(int fd) noexcept {
  return uninterrupted([&] { return ::fdatasync(fd); }) == 0;
}

// On disk when it returns. False when that cannot be.
bool write_copied(const std::string& database_path, const Copied& copied) {
  const int fd = open_mark(database_path);
  if (fd < 0) return false;
  const bool is_written = write_kept(fd, copied) && sync(fd);
  ::close(fd);
  return is_written;
}

// On disk when it returns. False when that cannot be, or there is no such file.
bool empty_file(const std::string& path) noexcept {
  const int fd = open_to_write(path, 0);
  if (fd < 0) return false;
  const bool is_empty = uninterrupted([&] { return ::ftruncate(fd, 0); }) == 0 && sync(fd);
  ::close(fd);
  return is_empty;
}

struct Damage {
  std::uint64_t at = 0;  // the first byte of what cannot be read
  std::string what{};
  bool is_gone = false;  // the log as a whole
};

// What is wrong with the part of a log that was synced, or nothing.
std::optional<Damage> find_damage(const std::string& database_path, const Known& known) {
  const LogMark& mark = known.mark;
  if (mark.end <= kHeaderBytes) return std::nullopt;  // nothing was committed to it
  DatabaseFile file(database_path + std::string(kLogSuffix));
  if (file.size() == 0) {
    if (known.copied.done >= mark.end) return std::nullopt;
    return Damage{.what = file.is_open() ? "it is empty" : "it is missing", .is_gone = true};
  }
  std::array<std::byte, kHeaderBytes> header{};
  const bool is_whole = file.read(0, header);
  const std::uint32_t magic = big_endian(header, 0);
  RunningChecksum checksum(((magic & 1) != 0) != (std::endian::native == std::endian::big));
  checksum.add(Bytes(header).first(kHeaderChecksumAt));
  const std::size_t page_bytes = big_endian(header, kPageSizeAt);
  if (!is_whole || (magic & ~1U) != kMagic || !checksum.is(header, kHeaderChecksumAt) ||
      page_bytes < 512 || page_bytes > 65536) {
    // SQLite takes nothing from such a log: one that a power loss kept from beginning, too.
    if (known.copied.done >= mark.end) return std::nullopt;
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
      return Damage{
          .at = at,
          .what = "its frame at byte " + std::to_string(at) + " does not match its checksum"};
    }
  }
  return std::nullopt;
}

// Whether neither what can be read of the log nor the database alone is what the store was once.
bool is_mixed(const Known& known, const Damage& damage) {
  return damage.at < known.copied.begun && known.copied.done < known.copied.begun;
}

// What it means, and what to do.
std::string told(const std::string& database_path, const Known& known, const Damage& damage) {
  std::string text = database_path + std::string(kLogSuffix) + ": " + damage.what + ", though " +
                     std::to_string(known.mark.end) + " bytes were written and synced: ";
  if (known.copied.done >= known.mark.end) {
    return text +
           "nothing is lost, as vkb.sqlite3 has all of them; put the log away with `vkb "
           "repair --lost FILE`";
  }
  text += "writes of the last time are lost";
  if (damage.is_gone) text += ", unless another program's SQLite put them into vkb.sqlite3";
  if (is_mixed(known, damage)) {
    return text +
           ", and a part of them may be in vkb.sqlite3, which then is of several times at "
           "once; restore a backup";
  }
  return text + "; restore a backup, or go on without them with `vkb repair --lost FILE`";
}

}  // namespace

LogMarkWriter::LogMarkWriter(const std::string& log_path) : log_path_(log_path) {}

LogMarkWriter::~LogMarkWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void LogMarkWriter::wrote(Bytes data, std::uint64_t offset) noexcept {
  if (data.size() == kHeaderBytes && offset == 0) {
    next_ = {.salt = salt_of(data, kSaltAt), .end = kHeaderBytes};
    begins_ = true;
    return;
  }
  if (data.size() == kFrameHeaderBytes) {
    // What is committed is never written again. So here is something else than what was to be: the
    // log goes on after a rollback, or the checksums of a long transaction are written anew.
    if (offset < next_.end) next_ = synced_;
    next_.salt = salt_of(data, kFrameSaltAt);
    commit_data_at_ = big_endian(data, kCommitAt) != 0 ? offset + kFrameHeaderBytes : 0;
  } else {
    data_at_ = offset;
    data_end_ = offset + data.size();
  }
  if (commit_data_at_ != 0 && commit_data_at_ == data_at_) next_.end = data_end_;
}

void LogMarkWriter::synced() noexcept {
  // A log that was there before has a mark already, until something is committed to it.
  if (next_ == synced_ || next_.end == 0) return;
  synced_ = next_;
  try {
    if (fd_ < 0) fd_ = open_mark(database_of(log_path_));
  } catch (const std::bad_alloc&) {
  }
  if (fd_ < 0) return;
  if (std::exchange(begins_, false)) std::ignore = write_kept(fd_, Copied{.salt = synced_.salt});
  std::ignore = write_kept(fd_, synced_);
}

std::optional<LogCopy> begin_checkpoint(std::string_view database_path,
                                        std::uint32_t frames) noexcept {
  try {
    const std::string path(database_path);
    DatabaseFile log(path + std::string(kLogSuffix));
    std::array<std::byte, kHeaderBytes> header{};
    if (!log.is_open() || !log.read(0, header)) return std::nullopt;
    const LogCopy copy{
        .salt = salt_of(header, kSaltAt),
        .end = kHeaderBytes + frames * (kFrameHeaderBytes + big_endian(header, kPageSizeAt))};
    Copied copied = read_copied(path, copy.salt);
    copied.begun = std::max(copied.begun, copy.end);
    return write_copied(path, copied) ? std::optional(copy) : std::nullopt;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

void end_checkpoint(std::string_view database_path, const LogCopy& copy) noexcept {
  try {
    write_copied(std::string(database_path),
                 {.salt = copy.salt, .begun = copy.end, .done = copy.end});
  } catch (const std::exception&) {
    // It seems not to be complete then, which asks for more of the log than is needed.
  }
}

bool put_log_away(std::string_view log_path) noexcept {
  try {
    const std::string path = database_of(log_path);
    const std::optional<Known> known = read_mark(path);
    if (!known || known->copied.done >= known->mark.end) return true;
    const auto& [salt, end] = known->mark;
    return write_copied(path, {.salt = salt, .begun = end, .done = end});
  } catch (const std::exception&) {
    return false;
  }
}

void remove_log_mark(std::string_view log_path) noexcept {
  try {
    // What a power loss brings back of it asks for nothing.
    ::unlink(mark_of(database_of(log_path)).c_str());
  } catch (const std::bad_alloc&) {
    // It asks for nothing.
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
    if (salt_of(frame, kFrameSaltAt) == salt_of(header, kSaltAt))
      pages.insert(big_endian(frame, 0));
  }
  return pages;
}

void verify_log(const std::string& database_path) {
  for (;;) {
    const std::optional<Known> known = read_mark(database_path);
    if (!known) return;
    // Whoever begins a log anew writes its header first, so that a second look sees another log.
    if (!find_damage(database_path, *known)) return;
    const std::optional<Damage> damage = find_damage(database_path, *known);
    if (!damage) return;
    if (read_mark(database_path) != known) continue;
    throw Error(ErrorCode::corruption, told(database_path, *known, *damage));
  }
}

void give_up_log(const std::string& database_path) {
  const std::optional<Known> known = read_mark(database_path);
  if (!known) return;
  const std::optional<Damage> damage = find_damage(database_path, *known);
  if (!damage) return;
  const std::string log = database_path + std::string(kLogSuffix);
  if (is_mixed(*known, *damage)) {
    throw Error(ErrorCode::corruption, told(database_path, *known, *damage));
  }
  if (damage->at < known->copied.begun) {
    // What can be read is older than what the database has.
    if (::access(log.c_str(), F_OK) == 0 && !empty_file(log)) {
      throw Error(ErrorCode::io_error, log + ": cannot be emptied: " + std::strerror(errno) +
                                           std::string(advice_for(errno)));
    }
  }
  const std::string mark = mark_of(database_path);
  if (::unlink(mark.c_str()) != 0) {
    throw Error(ErrorCode::io_error, mark + ": cannot be removed: " + std::strerror(errno) +
                                         std::string(advice_for(errno)));
  }
  posix_file_system().sync_directory(std::filesystem::path(mark).parent_path().string());
}

}  // namespace vkb

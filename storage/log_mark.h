// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

namespace vkb {

// SQLite takes the first frame of its -wal file that does not match its checksum for the end of the
// log: that is what a power loss leaves of a commit that was not synced. Damage to a synced commit
// looks the same, and would take this commit and all after it away without a word (R1, R8). So the
// end of what was synced is kept in a file of its own beside the database, `-mark`. It is written
// after the sync, hence never ahead of the log, and is not synced itself: what a power loss takes
// of it only leaves less to compare.
// (SQLite's file format, "The Write-Ahead Log".)
struct LogMark {
  std::uint64_t salt = 0;  // of the log's header: another one after it was begun anew
  std::uint64_t end = 0;   // bytes of the log that are synced: whole transactions
  bool operator==(const LogMark&) const = default;
};

// Follows the writes and syncs of one -wal file. Thread safety: one thread at a time.
class LogMarkWriter {
 public:
  explicit LogMarkWriter(const std::string& log_path);
  ~LogMarkWriter();
  LogMarkWriter(const LogMarkWriter&) = delete;
  LogMarkWriter& operator=(const LogMarkWriter&) = delete;

  void wrote(std::span<const std::byte> data, std::uint64_t offset) noexcept;
  // A mark that cannot be written stays behind, and asks for less.
  void synced() noexcept;

 private:
  const std::string log_path_;
  int fd_ = -1;
  LogMark synced_;
  LogMark next_;         // with the next sync
  bool begins_ = false;  // it has written the log's header: nothing of this one is copied yet
  // Where the content of the last frame belongs, when it ends a transaction, else 0.
  std::uint64_t commit_data_at_ = 0;
  // The last content.
  std::uint64_t data_at_ = 0;
  std::uint64_t data_end_ = 0;
};

// A checkpoint that a reader, or a crash, keeps from its end leaves pages of different times in the
// database, which make sense with the log only. So the mark says how far checkpoints have come.
// What says nothing of that, as a power loss took it, leaves it unknown: any page may be in the
// database.
struct LogCopy {
  std::uint64_t salt = 0;  // of the log
  std::uint64_t end = 0;   // bytes of it that are to be in the database
};
// Before pages of the first so many frames of the log go into the database; on disk when it
// returns. Nothing when that cannot be.
std::optional<LogCopy> begin_checkpoint(std::string_view database_path,
                                        std::uint32_t frames) noexcept;
// When all of it, and there is no more, is in the database, durably.
void end_checkpoint(std::string_view database_path, const LogCopy& copy) noexcept;
// Before a log is emptied or removed, as all of it is in the database: says so, where the end of a
// checkpoint could not. The log may outlive a kill that comes now, and be damaged: it is not to be
// laid over what is newer. False, and the log has to stay, when that cannot be.
bool put_log_away(std::string_view log_path) noexcept;
// When the log is no more.
void remove_log_mark(std::string_view log_path) noexcept;

// The pages of which a database's log has another content than the file may have.
std::set<std::uint64_t> pages_in_log(const std::string& database_path);

// Throws corruption when a part of a database's log that was synced cannot be read, unless it is
// in the database by now. Right beside a writer as well.
void verify_log(const std::string& database_path);

// Takes from a log that cannot be read to its end what makes sense: all before the damage, or,
// where a checkpoint took more than that into the database, nothing, as the database has all of
// that. No connection is open. Throws corruption, and changes nothing, when a checkpoint that was
// not complete did; io_error.
void give_up_log(const std::string& database_path);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// A thin wrapper over SQLite: typed binding, statements that are prepared once, errors as
// vkb::Error.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace vkb {

class Database;

// Prepared statements that nobody runs, by their SQL.
using IdleStatements = std::multimap<std::string, sqlite3_stmt*, std::less<>>;

// One run of a prepared statement: bind, then step until false. Text and blobs that column getters
// return are valid until the next step().
class Statement {
 public:
  Statement(Database& database, std::string_view sql);
  ~Statement();  // resets the statement and gives it back to the database's cache
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  template <typename... Args>
  Statement& bind(const Args&... args) {
    (bind_next(args), ...);
    return *this;
  }
  // True while there is a row.
  bool step();
  // Runs to the end, ignoring rows, and makes the statement ready to be bound anew.
  void run();
  // Makes the statement ready to be bound anew.
  void rewind();

  bool is_null(int column) const;
  bool is_blob(int column) const;
  std::int64_t integer(int column) const;
  std::string_view text(int column) const;
  std::span<const std::byte> blob(int column) const;
  std::optional<std::string> optional_text(int column) const;
  // Makes SQLite read all columns of the row, wherever their bytes are.
  void read_all();
  // A number or text as it is stored; throws corruption for anything else.
  std::variant<std::int64_t, double, std::string> scalar(int column) const;

 private:
  void bind_next(std::nullptr_t);
  void bind_next(std::monostate) { bind_next(nullptr); }
  void bind_next(std::int64_t value);
  void bind_next(int value) { bind_next(std::int64_t{value}); }
  void bind_next(std::uint32_t value) { bind_next(std::int64_t{value}); }
  void bind_next(std::uint64_t value) { bind_next(static_cast<std::int64_t>(value)); }
  void bind_next(double value);
  void bind_next(std::string_view value);
  void bind_next(const std::string& value) { bind_next(std::string_view(value)); }
  void bind_next(const char* value) { bind_next(std::string_view(value)); }
  void bind_next(std::span<const std::byte> value);
  void bind_next(const std::vector<std::byte>& value) {
    bind_next(std::span<const std::byte>(value));
  }
  template <typename... T>
  void bind_next(const std::variant<T...>& value) {
    std::visit([this](const auto& held) { this->bind_next(held); }, value);
  }
  template <typename T>
  void bind_next(const std::optional<T>& value) {
    value ? bind_next(*value) : bind_next(nullptr);
  }

  Database& database_;
  IdleStatements::node_type node_;  // its place in the database's cache: back and forth costs no
                                    // allocation
  sqlite3_stmt* statement_;
  int next_ = 1;
};

// A connection to vkb.sqlite3. SQLite's errors become vkb::Error: busy, corruption, io_error (full
// disk, permissions), each with the file's path. Thread safety: one thread at a time.
class Database {
 public:
  enum class Mode {
    writer,       // creates the file when missing; WAL, synchronous=FULL; checkpoints
    frozen,       // reader of a file that nobody can write: a read-only medium. Needs no -shm file
    copy,         // creates the file; nothing more: what copy_to() writes into
    plain_copy,   // the same without checksums in its pages
    overwritten,  // what copy_over() writes to: damaged pages are taken as they are
    reader,       // query_only; never checkpoints, not even when it is the last to close (R6)
  };
  Database(const std::string& path, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // One or more statements without parameters.
  void execute(const std::string& sql);
  const std::string& path() const noexcept { return path_; }
  std::int64_t last_insert_rowid() const;
  std::int64_t changes() const;
  // Whether each page has a checksum, which is compared when it is read from the file (R8): else
  // the database is one of an older vkb.
  bool has_page_checksums() const;
  // Whether one is going on: after its end, that it could not be rolled back for want of memory,
  // and that the connection is of no more use.
  bool in_transaction() const noexcept;
  // Whether a sync failed: what the disk has is unknown, so that this connection writes no more.
  bool is_given_up() const;
  // Gives it page checksums, unless a reader holds the log: it has them when that becomes part of
  // the file. Writes everything anew, in one transaction; there is none going on.
  void add_page_checksums();
  // "PRAGMA quick_check" as a list of findings, empty when sound.
  std::vector<std::string> quick_check();
  // The numbers of pages in the file that do not match their checksums, free ones as well, which
  // nothing but a copy reads. Beside a writer too, in a transaction.
  std::vector<std::uint64_t> damaged_pages();
  // Copies the database, as this connection's transaction sees it, to a new file, and syncs it.
  void copy_to(const std::string& destination);
  // Makes another database, damaged or not, the same as this one in one transaction of its own,
  // beside its readers.
  void copy_over(const std::string& destination);
  // Moves the WAL's content into the database, syncs that, and empties the -wal file. Returns false
  // when a reader needs what was there, and not all of it could be done.
  bool checkpoint();
  struct Log {
    std::uint64_t salt = 0;  // another one when the log was begun anew
    bool is_done = false;    // all of it is in the database, durably
  };
  // After a checkpoint of what readers allow now, which leaves the -wal file as long as it is.
  // Nothing when that could not be made: the next one may.
  std::optional<Log> try_checkpoint();
  // After how many pages in the WAL a commit does so, without waiting for readers; where they keep
  // it from the end, again after an eighth of that. Where readers never leave the WAL all at once
  // that alone would let it grow for ever: after twice as many a commit waits for them, for a
  // moment (new ones do not enter it meanwhile), so that it begins anew. After a wait in vain it
  // waits at twice the size again.
  static constexpr int kCheckpointPages = 4000;
  void set_checkpoint_pages(int pages);
  // Of pages that are kept in memory.
  void set_cache_bytes(std::size_t bytes);

 private:
  friend class Statement;
  friend class Transaction;
  [[noreturn]] void fail(int code, std::string_view doing) const;
  void copy_into(Database& copy);
  static int after_commit(void* database, sqlite3* handle, const char* name, int log_pages);
  bool is_empty();
  void close() noexcept;

  std::string path_;
  sqlite3* handle_ = nullptr;
  IdleStatements idle_statements_;
  int checkpoint_pages_ = 0;
  int passive_pages_ = 0;
  int waiting_pages_ = 0;
};

// A transaction, rolled back unless committed.
class Transaction {
 public:
  enum class Kind { read, write };
  Transaction(Database& database, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace vkb

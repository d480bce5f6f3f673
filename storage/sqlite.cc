// SPDX-License-Identifier: Apache-2.0
#include "storage/sqlite.h"

#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "storage/checked_vfs.h"
#include "storage/error.h"
#include "storage/log_mark.h"
#include "storage/regex_function.h"
#include "storage/system_advice.h"

namespace vkb {
namespace {

constexpr int kBusyMilliseconds = 10'000;
// That a commit waits at most for readers to leave a log that has grown long, and at a time: SQLite
// goes on waiting for a place among the readers that was free for a moment and has a new one, who
// is in nobody's way. Only the next try sees that.
constexpr int kReadersMilliseconds = 1000;
constexpr int kReadersTryMilliseconds = 50;

// The mutexes that all connections of the process share, in the order in which SQLite takes them:
// the name of a temporary file needs a random number, and the first of these the default VFS.
constexpr int kSharedMutexes[] = {SQLITE_MUTEX_STATIC_OPEN, SQLITE_MUTEX_STATIC_VFS1,
                                  SQLITE_MUTEX_STATIC_PRNG, SQLITE_MUTEX_STATIC_MAIN,
                                  SQLITE_MUTEX_STATIC_LRU,  SQLITE_MUTEX_STATIC_PMEM,
                                  SQLITE_MUTEX_STATIC_MEM};

void enter_shared_mutexes() {
  for (const int mutex : kSharedMutexes) sqlite3_mutex_enter(sqlite3_mutex_alloc(mutex));
}

void leave_shared_mutexes() {
  for (auto mutex = std::rbegin(kSharedMutexes); mutex != std::rend(kSharedMutexes); ++mutex) {
    sqlite3_mutex_leave(sqlite3_mutex_alloc(*mutex));
  }
}

// Held over a fork(): one that another thread has at that moment would stay locked in the child,
// which could then open no store of its own.
[[maybe_unused]] const int atfork_registered =
    pthread_atfork(enter_shared_mutexes, leave_shared_mutexes, leave_shared_mutexes);

// A path as part of an SQLite URI.
std::string escaped(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      out += '%';
      out += "0123456789ABCDEF"[(c >> 4) & 0xF];
      out += "0123456789ABCDEF"[c & 0xF];
    } else {
      out += c;
    }
  }
  return out;
}

// For users, to whom SQL says nothing: "run SELECT …" becomes "read".
std::string_view in_words(std::string_view doing) {
  if (doing.starts_with("prepare ") || doing.starts_with("run SELECT") || doing == "run BEGIN") {
    return "read";
  }
  if (doing.starts_with("run PRAGMA")) return "open";
  return doing.starts_with("run ") || doing.starts_with("bind ") ? "write" : doing;
}

// "document_trigram_7 " of a statement about it, else "".
std::string index_named_in(std::string_view sql) {
  const std::size_t from = sql.find("document_trigram_");
  if (from == std::string_view::npos) return "";
  const std::size_t end = sql.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789", from);
  return std::string(sql.substr(from, end - from)) + " ";
}

// Which of a database's files this process cannot use, and why: SQLite does not say. "" when all
// of them seem to be right, or are not there yet.
std::string unusable_file(const std::string& path, bool to_write) {
  const auto tell = [&](const std::string& file, int error) {
    return (file == path ? "" : file + ": ") + std::strerror(error) +
           std::string(advice_for(error));
  };
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::string file = path + suffix;
    struct ::stat about {};
    if (::stat(file.c_str(), &about) != 0) {
      if (errno == ENOENT) continue;
      return tell(file, errno);
    }
    if (S_ISDIR(about.st_mode)) return tell(file, EISDIR);
    if (::access(file.c_str(), to_write ? R_OK | W_OK : R_OK) != 0) return tell(file, errno);
  }
  const std::string directory = std::filesystem::path(path).parent_path().string();
  const bool may_write = directory.empty() || ::access(directory.c_str(), W_OK | X_OK) == 0;
  if (to_write && !may_write) return tell(directory, errno);
  // What a killed writer leaves: a log, which is read through -shm by those who may write that.
  struct ::stat log {};
  const bool has_log = ::stat((path + "-wal").c_str(), &log) == 0 && log.st_size > 0;
  const std::string index = path + "-shm";
  const bool has_index = ::access(index.c_str(), F_OK) == 0;
  if (has_log && (has_index ? ::access(index.c_str(), W_OK) != 0 : !may_write)) {
    return "a writer that was killed left its log, and reading that needs to write " + index +
           "; open the store once as a user who may write there, or let this one";
  }
  return "";
}

constexpr std::string_view kDamaged = "; run `vkb check`, or restore a backup";

struct Failure {
  ErrorCode kind = ErrorCode::io_error;
  std::string reason;
  std::string advice{};
  bool is_ours = false;  // a mistake of the program: its statement is what is asked for then
};

// What a result of SQLite's means. handle: null when there was no memory for one.
Failure failure_of(int code, sqlite3* handle, const std::string& path, std::string_view doing) {
  Failure failure{.reason = handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code)};
  const int system_error = handle ? sqlite3_system_errno(handle) : 0;
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      failure.kind = ErrorCode::busy;
      failure.advice = "; another process uses it: try again when it is done";
      break;
    case SQLITE_CORRUPT:
      failure.kind = ErrorCode::corruption;
      failure.advice = kDamaged;
      if (code == SQLITE_CORRUPT_VTAB) {  // an index of documents, which is no truth (R9)
        failure.reason = "the index of documents " + index_named_in(doing) + "is damaged";
        failure.advice = "; run `vkb repair`, which makes it anew";
      }
      break;
    case SQLITE_NOTADB:
      failure.kind = ErrorCode::corruption;
      failure.advice = "; name another path, or restore a backup";
      break;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_PROTOCOL:  // after many tries to use a -shm that cannot be written
      // A reader that would have to write -shm first is no writer.
      if (std::string found = unusable_file(path, (code & 0xff) == SQLITE_READONLY &&
                                                      code != SQLITE_READONLY_RECOVERY &&
                                                      code != SQLITE_READONLY_CANTINIT);
          !found.empty()) {
        failure.reason = std::move(found);
      } else if (!advice_for(system_error).empty()) {
        failure.reason = std::strerror(system_error);
        failure.advice = advice_for(system_error);
      } else {
        failure.advice =
            "; see that it, its -wal and its -shm are files that this user can write, and that the "
            "process may open more (ulimit -n)";
      }
      break;
    case SQLITE_FULL:
      failure.advice = advice_for(ENOSPC);
      break;
    case SQLITE_IOERR:
      failure.advice = advice_for(system_error);
      if (system_error != 0)
        failure.reason += std::string(" (") + std::strerror(system_error) + ")";
      break;
    case SQLITE_NOMEM:
      failure.advice = "; free memory, or raise the limit this program runs under";
      break;
    case SQLITE_TOOBIG:
      failure.kind = ErrorCode::invalid_argument;
      failure.is_ours = true;
      break;
    default:
      failure.is_ours = true;
      break;
  }
  return failure;
}

// Asks for the bytes that page checksums need in each page; VACUUM gives them to a database that
// has pages already. "PRAGMA page_size" takes the wish back.
void reserve_page_checksums(sqlite3* handle) {
  int bytes = kPageChecksumBytes;
  sqlite3_file_control(handle, "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
}

}  // namespace

Statement::Statement(Database& database, std::string_view sql) : database_(database) {
  IdleStatements& idle = database_.idle_statements_;
  auto found = idle.find(sql);
  if (found == idle.end()) {
    found = idle.emplace(sql, nullptr);
    const int code = sqlite3_prepare_v3(database_.handle_, sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &found->second, nullptr);
    if (code != SQLITE_OK) {
      idle.erase(found);
      database_.fail(code, "prepare " + std::string(sql));
    }
  }
  node_ = idle.extract(found);
  statement_ = node_.mapped();
}

Statement::~Statement() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  database_.idle_statements_.insert(std::move(node_));
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_.fail(code, "run " + node_.key());
  return false;
}

void Statement::run() {
  while (step()) {
  }
  rewind();
}

void Statement::rewind() {
  sqlite3_reset(statement_);
  next_ = 1;
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

bool Statement::is_blob(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_BLOB;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return {data ? data : "", static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::span<const std::byte> Statement::blob(int column) const {
  const auto* data = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::optional<std::string> Statement::optional_text(int column) const {
  if (is_null(column)) return std::nullopt;
  return std::string(text(column));
}

void Statement::read_all() {
  for (int column = 0; column < sqlite3_column_count(statement_); ++column) {
    if (sqlite3_column_type(statement_, column) >= SQLITE_TEXT) {
      sqlite3_column_blob(statement_, column);
    }
  }
}

std::variant<std::int64_t, double, std::string> Statement::scalar(int column) const {
  switch (sqlite3_column_type(statement_, column)) {
    case SQLITE_INTEGER:
      return integer(column);
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement_, column);
    case SQLITE_TEXT:
      return std::string(text(column));
    default:
      throw Error(ErrorCode::corruption, database_.path() + ": " + node_.key().substr(0, 200) +
                                             ": neither a number nor a text");
  }
}

void Statement::bind_next(std::nullptr_t) { sqlite3_bind_null(statement_, next_++); }

void Statement::bind_next(std::int64_t value) { sqlite3_bind_int64(statement_, next_++, value); }

void Statement::bind_next(double value) { sqlite3_bind_double(statement_, next_++, value); }

void Statement::bind_next(std::string_view value) {
  const int code = sqlite3_bind_text64(statement_, next_++, value.data() ? value.data() : "",
                                       value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (code != SQLITE_OK) database_.fail(code, "bind a text");
}

void Statement::bind_next(std::span<const std::byte> value) {
  const int code = sqlite3_bind_blob64(statement_, next_++,
                                       value.data() ? static_cast<const void*>(value.data()) : "",
                                       value.size(), SQLITE_TRANSIENT);
  if (code != SQLITE_OK) database_.fail(code, "bind a blob");
}

Database::Database(const std::string& path, Mode mode) : path_(path) {
  const bool copies = mode == Mode::copy || mode == Mode::plain_copy;
  const bool creates = mode == Mode::writer || copies;
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | (creates ? SQLITE_OPEN_CREATE : 0);
  std::string name = path;
  if (mode == Mode::frozen) {
    name = "file:" + escaped(path) + "?immutable=1";
    flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
  } else if (mode == Mode::plain_copy) {
    name = "file:" + escaped(path) + "?page_checksums=0";
    flags |= SQLITE_OPEN_URI;
  } else if (mode == Mode::overwritten) {
    name = "file:" + escaped(path) + "?accept_damage=1";
    flags |= SQLITE_OPEN_URI;
  }
  const int code = sqlite3_open_v2(name.c_str(), &handle_, flags, checked_vfs());
  try {
    if (code != SQLITE_OK) fail(code, "open");
    sqlite3_extended_result_codes(handle_, 1);
    // Waits for short locks only: SQLite's own recovery and checkpoint steps. Writers are kept
    // apart by writer.lock.
    sqlite3_busy_timeout(handle_, kBusyMilliseconds);
    register_regex_function(handle_);
    if (mode == Mode::writer || mode == Mode::copy) {
      reserve_page_checksums(handle_);  // has an effect on one that is still empty
    }
    if (mode == Mode::writer) {
      // What shapes a database only has an effect while it is empty. On another one auto_vacuum
      // would write a page, even to a store of a newer version, which is still to be refused.
      if (is_empty()) execute("PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL;");
      execute(
          "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;"
          "PRAGMA temp_store=FILE; PRAGMA journal_size_limit=67108864;");
      set_checkpoint_pages(kCheckpointPages);
    } else if (mode == Mode::reader || mode == Mode::frozen) {
      sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
      execute("PRAGMA query_only=1; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-8192;");
    }
  } catch (...) {
    close();
    throw;
  }
}

bool Database::is_empty() {
  Statement pages(*this, "PRAGMA page_count");
  return pages.step() && pages.integer(0) == 0;
}

Database::~Database() { close(); }

void Database::close() noexcept {
  for (const auto& [sql, statement] : idle_statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}

void Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code, "run " + sql);
}

std::int64_t Database::last_insert_rowid() const { return sqlite3_last_insert_rowid(handle_); }

std::int64_t Database::changes() const { return sqlite3_changes64(handle_); }

bool Database::has_page_checksums() const {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(handle_, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  return file != nullptr && vkb::has_page_checksums(file);
}

bool Database::in_transaction() const noexcept { return sqlite3_get_autocommit(handle_) == 0; }

bool Database::is_given_up() const {
  for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
    sqlite3_file* file = nullptr;
    sqlite3_file_control(handle_, "main", which, &file);
    if (file != nullptr && vkb::is_given_up(file)) return true;
  }
  return false;
}

void Database::add_page_checksums() {
  reserve_page_checksums(handle_);
  execute("VACUUM");
  checkpoint();
}

std::vector<std::string> Database::quick_check() {
  std::vector<std::string> findings;
  try {
    Statement check(*this, "PRAGMA quick_check(100)");
    while (check.step()) {
      if (check.text(0) != "ok") findings.emplace_back(check.text(0));
    }
  } catch (const Error& error) {
    // Damage that the check cannot get past is a finding as well.
    if (error.code() != ErrorCode::corruption) throw;
    findings.emplace_back(error.what());
  }
  return findings;
}

std::vector<std::uint64_t> Database::damaged_pages() {
  const auto number_of = [this](const char* pragma) {
    Statement asked(*this, pragma);
    asked.step();
    return static_cast<std::uint64_t>(asked.integer(0));
  };
  std::vector<std::byte> page(number_of("PRAGMA page_size"));
  const auto bytes = static_cast<sqlite3_int64>(page.size());
  sqlite3_file* file = nullptr;
  sqlite3_file_control(handle_, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  sqlite3_int64 size = 0;
  if (file->pMethods->xFileSize(file, &size) != SQLITE_OK) fail(SQLITE_IOERR, "read");
  const auto matches = [&](std::uint64_t number) {
    const int code = file->pMethods->xRead(file, page.data(), static_cast<int>(bytes),
                                           static_cast<sqlite3_int64>(number - 1) * bytes);
    if (code != SQLITE_OK && code != SQLITE_IOERR_DATA) fail(code, "read");
    return code == SQLITE_OK;
  };
  // It may be longer than the database, until a checkpoint, or shorter.
  const std::uint64_t pages =
      std::min(number_of("PRAGMA page_count"), static_cast<std::uint64_t>(size / bytes));
  // The page of SQLite's locks, at a gigabyte: it is never written, and has no checksum.
  const auto locks_at =
      static_cast<std::uint64_t>(sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, 0U));
  const std::uint64_t page_of_locks = locks_at / page.size() + 1;
  std::vector<std::uint64_t> damaged;
  for (std::uint64_t number = 1; number <= pages; ++number) {
    if (number == page_of_locks) continue;
    // A checkpoint writes what is in the log: one that goes on, or that a crash cut short.
    if (matches(number) || pages_in_log(path_).contains(number) || matches(number)) continue;
    damaged.push_back(number);
  }
  return damaged;
}

void Database::copy_to(const std::string& destination) {
  Database copy(destination, has_page_checksums() ? Mode::copy : Mode::plain_copy);
  copy_into(copy);
}

void Database::copy_over(const std::string& destination) {
  Database copy(destination, Mode::overwritten);
  copy_into(copy);
}

void Database::copy_into(Database& copy) {
  sqlite3_backup* backup = sqlite3_backup_init(copy.handle_, "main", handle_, "main");
  if (backup == nullptr) copy.fail(sqlite3_errcode(copy.handle_), "copy " + path_);
  sqlite3_backup_step(backup, -1);
  const int code = sqlite3_backup_finish(backup);
  if (code != SQLITE_OK) copy.fail(code, "copy " + path_);
}

bool Database::checkpoint() {
  int log_frames = 0;
  int done_frames = 0;
  // Waiting for readers to leave the log would hold up the writer.
  sqlite3_busy_timeout(handle_, 0);
  const int code = sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                             &log_frames, &done_frames);
  sqlite3_busy_timeout(handle_, kBusyMilliseconds);
  // Busy: a reader still needs the log. The next checkpoint gets further.
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) fail(code, "checkpoint");
  return code == SQLITE_OK && done_frames == log_frames;
}

std::optional<Database::Log> Database::try_checkpoint() {
  int end = 0;
  int done = 0;
  if (sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_PASSIVE, &end, &done) !=
      SQLITE_OK) {
    return std::nullopt;
  }
  constexpr sqlite3_int64 kSaltAt = 16;  // in the header of a log, two words (SQLite's file format)
  Log log{.is_done = done == end};
  sqlite3_file* file = nullptr;
  sqlite3_file_control(handle_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  if (!log.is_done &&
      file->pMethods->xRead(file, &log.salt, sizeof log.salt, kSaltAt) != SQLITE_OK) {
    return std::nullopt;
  }
  return log;
}

void Database::set_checkpoint_pages(int pages) {
  checkpoint_pages_ = pages;
  passive_pages_ = pages;
  waiting_pages_ = 2 * pages;
  sqlite3_wal_hook(handle_, after_commit, this);
}

// As the hook of sqlite3_wal_autocheckpoint, which never waits, it leaves errors to the next
// checkpoint: the commit is done.
int Database::after_commit(void* database, sqlite3* handle, const char* name, int log_pages) {
  auto& self = *static_cast<Database*>(database);
  if (log_pages < self.checkpoint_pages_) {
    self.passive_pages_ = self.checkpoint_pages_;
    self.waiting_pages_ = 2 * self.checkpoint_pages_;
  } else if (log_pages < self.waiting_pages_) {
    if (log_pages < self.passive_pages_) return SQLITE_OK;
    sqlite3_wal_checkpoint_v2(handle, name, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    self.passive_pages_ = log_pages + self.checkpoint_pages_ / 8;
  } else {
    sqlite3_busy_timeout(handle, kReadersTryMilliseconds);
    int code = SQLITE_BUSY;
    for (int waited = 0; waited < kReadersMilliseconds && (code & 0xff) == SQLITE_BUSY;
         waited += kReadersTryMilliseconds) {
      code = sqlite3_wal_checkpoint_v2(handle, name, SQLITE_CHECKPOINT_RESTART, nullptr, nullptr);
    }
    sqlite3_busy_timeout(handle, kBusyMilliseconds);
    if (code != SQLITE_OK) self.waiting_pages_ = 2 * log_pages;
  }
  return SQLITE_OK;
}

void Database::set_cache_bytes(std::size_t bytes) {
  execute("PRAGMA cache_size=-" + std::to_string(bytes / 1024));
}

void Database::fail(int code, std::string_view doing) const {
  Failure failure = failure_of(code, handle_, path_, doing);
  if (handle_ && sqlite3_extended_errcode(handle_) == SQLITE_IOERR_DATA) {
    failure.kind = ErrorCode::corruption;
    failure.reason = "page " + std::to_string(last_bad_page()) + " does not match its checksum";
    failure.advice = kDamaged;
  }
  if (handle_ && is_given_up()) {
    failure.advice =
        "; a sync failed: nothing more is written until the store is closed and opened again";
  }
  std::string what(failure.is_ours ? doing.substr(0, 200) : in_words(doing));
  std::ranges::replace(what, '\n', ' ');  // an error is one line
  throw Error(failure.kind, path_ + ": cannot " + what + ": " + failure.reason + failure.advice);
}

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  Statement(database_, kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN").run();
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    Statement(database_, "ROLLBACK").run();
  } catch (const std::exception&) {
    // SQLite rolls back by itself after the errors that make ROLLBACK fail; a want of memory is
    // none of these.
    sqlite3_exec(database_.handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

void Transaction::commit() {
  Statement(database_, "COMMIT").run();
  open_ = false;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/sqlite.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/system_call_faults.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

using Mode = Database::Mode;
using Kind = Transaction::Kind;

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Statement, EveryTypeComesBack) {
  const TempDirectory directory;
  Database db(directory.file("db"), Mode::writer);
  Statement all(db, "SELECT ?,?,?,?,?,?,?,?,?,?");
  const std::string nul("a\0b", 3);
  const std::vector<std::byte> bytes = {std::byte{0}, std::byte{255}};
  all.bind(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::uint64_t>::max(),
           std::numeric_limits<std::uint32_t>::max(), nul, std::string_view(), "",
           std::span<const std::byte>(bytes), std::span<const std::byte>(), nullptr,
           std::optional<std::string>());
  ASSERT_TRUE(all.step());
  EXPECT_EQ(all.integer(0), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(static_cast<std::uint64_t>(all.integer(1)), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(all.integer(2), 0xFFFF'FFFF);
  EXPECT_EQ(all.text(3), nul);
  for (const int empty : {4, 5, 7}) {
    EXPECT_FALSE(all.is_null(empty));
    EXPECT_EQ(all.text(empty), "");
  }
  EXPECT_EQ(std::vector<std::byte>(all.blob(6).begin(), all.blob(6).end()), bytes);
  EXPECT_TRUE(all.blob(7).empty());
  for (const int null : {8, 9}) {
    EXPECT_TRUE(all.is_null(null));
    EXPECT_EQ(all.optional_text(null), std::nullopt);
  }
  EXPECT_EQ(all.optional_text(5), "");
  EXPECT_FALSE(all.step());
}

TEST(Statement, ComesBackFromTheCacheUnboundAndRewound) {
  const TempDirectory directory;
  Database db(directory.file("db"), Mode::writer);
  constexpr std::string_view kSql = "SELECT ?1, ?2 UNION ALL SELECT 3, 4";
  {
    Statement first(db, kSql);
    first.bind(1, "x");
    ASSERT_TRUE(first.step());  // left in the middle
  }
  Statement again(db, kSql);
  ASSERT_TRUE(again.step());
  EXPECT_TRUE(again.is_null(0));
  EXPECT_TRUE(again.is_null(1));
}

TEST(Statement, TwoOfTheSameTextDoNotDisturbEachOther) {
  const TempDirectory directory;
  Database db(directory.file("db"), Mode::writer);
  for (int round = 0; round < 3; ++round) {
    Statement a(db, "SELECT ?1 UNION ALL SELECT ?1 + 1");
    Statement b(db, "SELECT ?1 UNION ALL SELECT ?1 + 1");
    a.bind(10);
    b.bind(20);
    ASSERT_TRUE(a.step() && b.step());
    EXPECT_EQ(a.integer(0), 10);
    EXPECT_EQ(b.integer(0), 20);
    ASSERT_TRUE(a.step() && b.step());
    EXPECT_EQ(a.integer(0), 11);
    EXPECT_EQ(b.integer(0), 21);
  }
}

TEST(Statement, IsBoundAnewAfterRunAndRewind) {
  const TempDirectory directory;
  Database db(directory.file("db"), Mode::writer);
  db.execute("CREATE TABLE t(a, b)");
  Statement insert(db, "INSERT INTO t VALUES(?,?)");
  for (int i = 0; i < 3; ++i) insert.bind(i, "n" + std::to_string(i)).run();
  EXPECT_EQ(texts_of(db, "SELECT a||b FROM t ORDER BY a"),
            (std::vector<std::string>{"0n0", "1n1", "2n2"}));
  EXPECT_EQ(db.last_insert_rowid(), 3);
  Statement find(db, "SELECT b FROM t WHERE a=?");
  for (int i = 2; i >= 0; --i) {
    find.bind(i);
    ASSERT_TRUE(find.step());
    EXPECT_EQ(find.text(0), "n" + std::to_string(i));
    find.rewind();
  }
  Statement(db, "DELETE FROM t WHERE a>?").bind(0).run();
  EXPECT_EQ(db.changes(), 2);
}

TEST(Statement, SurvivesAChangeOfTheSchemaAndItsOwnErrors) {
  const TempDirectory directory;
  Database db(directory.file("db"), Mode::writer);
  db.execute("CREATE TABLE t(a UNIQUE)");
  constexpr std::string_view kInsert = "INSERT INTO t(a) VALUES(?)";
  Statement(db, kInsert).bind(1).run();
  VKB_EXPECT_ERROR(Statement(db, kInsert).bind(1).run(), ErrorCode::io_error, "UNIQUE");
  db.execute("ALTER TABLE t ADD COLUMN b DEFAULT 5");
  Statement(db, kInsert).bind(2).run();
  EXPECT_EQ(integer_of(db, "SELECT sum(a)+sum(b) FROM t"), 13);
}

TEST(Database, R1_TheWriterIsDurable) {
  const TempDirectory directory;
  for (int open = 0; open < 2; ++open) {
    Database db(directory.file("db"), Mode::writer);
    if (open == 0) db.execute("CREATE TABLE t(a)");
    EXPECT_EQ(text_of(db, "PRAGMA journal_mode"), "wal");
    EXPECT_EQ(integer_of(db, "PRAGMA synchronous"), 2);  // FULL
    EXPECT_EQ(integer_of(db, "PRAGMA auto_vacuum"), 2);  // INCREMENTAL
    EXPECT_EQ(integer_of(db, "PRAGMA page_size"), 8192);
  }
}

TEST(Database, ErrorsNameTheFileAndHaveTheRightCode) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  VKB_EXPECT_ERROR(Database(path, Mode::reader), ErrorCode::io_error, path + ": cannot open");
  VKB_EXPECT_ERROR(Database(directory.file("no/db"), Mode::writer), ErrorCode::io_error, "no/db");
  VKB_EXPECT_ERROR(Database(directory.path(), Mode::writer), ErrorCode::io_error, directory.path());
  EXPECT_TRUE(names_in(directory.path()).empty());
  Database db(path, Mode::writer);
  VKB_EXPECT_ERROR(db.execute("SELEC"), ErrorCode::io_error, "syntax error");
  VKB_EXPECT_ERROR(Statement(db, "SELECT * FROM missing"), ErrorCode::io_error, "no such table");
  VKB_EXPECT_ERROR(Statement(db, "SELECT zeroblob(2147483647)").run(), ErrorCode::invalid_argument,
                   "too big");
}

TEST(Database, ASecondWriterIsBusy) {
  const TempDirectory directory;
  Database one(directory.file("db"), Mode::writer);
  Database two(directory.file("db"), Mode::writer);
  two.execute("PRAGMA busy_timeout=0");
  one.execute("CREATE TABLE t(a)");
  {
    Transaction holds(one, Kind::write);
    VKB_EXPECT_ERROR(Transaction(two, Kind::write), ErrorCode::busy, "locked");
    VKB_EXPECT_ERROR(two.execute("INSERT INTO t VALUES(1)"), ErrorCode::busy, "locked");
  }
  two.execute("INSERT INTO t VALUES(1)");
  EXPECT_EQ(integer_of(one, "SELECT count(*) FROM t"), 1);
}

TEST(Database, AFullDiskIsAnIoErrorAndTheTransactionIsGone) {
  const TempDirectory directory;
  Database db(directory.file("db"), Mode::writer);
  db.execute("CREATE TABLE t(a); INSERT INTO t VALUES(1); PRAGMA max_page_count=20");
  const auto fill = [&] {
    Transaction transaction(db, Kind::write);
    Statement insert(db, "INSERT INTO t VALUES(zeroblob(?))");
    for (int i = 0; i < 100; ++i) insert.bind(8000).run();
    transaction.commit();
  };
  VKB_EXPECT_ERROR(fill(), ErrorCode::io_error, "free disk space and try again");
  EXPECT_EQ(integer_of(db, "SELECT count(*) FROM t"), 1);
  db.execute("PRAGMA max_page_count=1000");
  fill();
  EXPECT_EQ(integer_of(db, "SELECT count(*) FROM t"), 101);
}

// What a second sync would say is not true of the pages that the first one lost.
TEST(Database, R1_AFailedSyncIsNotTriedAgain) {
  for (const bool at_checkpoint : {false, true}) {
    const TempDirectory directory;
    const std::string path = directory.file("db");
    {
      Database db(path, Mode::writer);
      db.execute("CREATE TABLE t(a); INSERT INTO t VALUES(1)");
      {
        SystemCallFaults system_calls;
        system_calls.file_sync_error = EIO;
        const auto write = [&] {
          at_checkpoint ? (void)db.checkpoint() : db.execute("INSERT INTO t VALUES(2)");
        };
        VKB_EXPECT_ERROR(write(), ErrorCode::io_error, "closed and opened again");
      }
      EXPECT_TRUE(db.is_given_up());
      for (const char* sql : {"INSERT INTO t VALUES(3)", "DELETE FROM t"}) {
        VKB_EXPECT_ERROR(db.execute(sql), ErrorCode::io_error, "closed and opened again");
      }
      VKB_EXPECT_ERROR(db.checkpoint(), ErrorCode::io_error, "closed and opened again");
      EXPECT_EQ(integer_of(db, "SELECT count(*) FROM t WHERE a=1"), 1);
      EXPECT_EQ(integer_of(db, "SELECT count(*) FROM t WHERE a>2"), 0);
    }
    Database db(path, Mode::writer);
    EXPECT_FALSE(db.is_given_up());
    EXPECT_EQ(integer_of(db, "SELECT count(*) FROM t WHERE a=1"), 1);
    db.execute("INSERT INTO t VALUES(4)");
    EXPECT_TRUE(db.checkpoint());
  }
}

TEST(Transaction, IsRolledBackUnlessCommitted) {
  const TempDirectory directory;
  Database db(directory.file("db"), Mode::writer);
  db.execute("CREATE TABLE t(a)");
  { const Transaction left(db, Kind::write); }
  const auto throws = [&] {
    Transaction transaction(db, Kind::write);
    db.execute("INSERT INTO t VALUES(1); CREATE TABLE u(a)");
    Statement open(db, "SELECT a FROM t");  // still being read when the exception passes
    open.step();
    throw Error(ErrorCode::not_found, "mine");
  };
  VKB_EXPECT_ERROR(throws(), ErrorCode::not_found, "mine");
  EXPECT_EQ(integer_of(db, "SELECT count(*) FROM t"), 0);
  EXPECT_EQ(integer_of(db, "SELECT count(*) FROM sqlite_schema WHERE name='u'"), 0);
  {
    Transaction transaction(db, Kind::write);
    db.execute("INSERT INTO t VALUES(2)");
    transaction.commit();
  }
  EXPECT_EQ(integer_of(db, "SELECT a FROM t"), 2);
}

TEST(Transaction, AReadTransactionKeepsItsView) {
  const TempDirectory directory;
  Database writer(directory.file("db"), Mode::writer);
  writer.execute("CREATE TABLE t(a)");
  Database reader(directory.file("db"), Mode::reader);
  {
    Transaction transaction(reader, Kind::read);
    EXPECT_EQ(integer_of(reader, "SELECT count(*) FROM t"), 0);
    writer.execute("INSERT INTO t VALUES(1)");
    EXPECT_EQ(integer_of(reader, "SELECT count(*) FROM t"), 0);
  }
  EXPECT_EQ(integer_of(reader, "SELECT count(*) FROM t"), 1);
}

TEST(Database, R6_ReadersCannotWrite) {
  const TempDirectory directory;
  Database writer(directory.file("db"), Mode::writer);
  writer.execute("CREATE TABLE t(a)");
  Database reader(directory.file("db"), Mode::reader);
  EXPECT_EQ(integer_of(reader, "PRAGMA query_only"), 1);
  for (const char* sql : {"INSERT INTO t VALUES(1)", "CREATE TABLE u(a)", "DROP TABLE t"})
    VKB_EXPECT_ERROR(reader.execute(sql), ErrorCode::io_error, "readonly");
}

TEST(Database, R6_ReadersNeverCheckpointNotEvenTheLastToClose) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  {
    Database reader(path, Mode::copy);  // an empty file to open
    reader.execute("PRAGMA journal_mode=WAL; CREATE TABLE t(a)");
  }
  auto reader = std::make_unique<Database>(path, Mode::reader);
  EXPECT_EQ(integer_of(*reader, "SELECT count(*) FROM t"), 0);
  {
    Database writer(path, Mode::writer);
    writer.execute("INSERT INTO t VALUES(1)");
  }  // not the last connection: leaves the log as it is
  const std::string main_file = read_whole_file(path);
  const std::string log = read_whole_file(path + "-wal");
  ASSERT_FALSE(log.empty());
  EXPECT_EQ(integer_of(*reader, "SELECT count(*) FROM t"), 1);
  EXPECT_EQ(integer_of(*reader, "PRAGMA wal_autocheckpoint"), 0);
  reader.reset();
  EXPECT_EQ(read_whole_file(path), main_file);
  EXPECT_EQ(read_whole_file(path + "-wal"), log);
  Database again(path, Mode::reader);  // recovers its index from the log alone
  EXPECT_EQ(integer_of(again, "SELECT count(*) FROM t"), 1);
}

TEST(Database, AFrozenFileIsReadWithoutAnyFileBesideIt) {
  const TempDirectory directory;
  const std::string path = directory.file("a%41?b#c");
  {
    Database writer(path, Mode::writer);
    writer.execute("CREATE TABLE t(a); INSERT INTO t VALUES(1)");
  }
  ASSERT_EQ(names_in(directory.path()), std::vector<std::string>{"a%41?b#c"});
  Database frozen(path, Mode::frozen);
  EXPECT_EQ(integer_of(frozen, "SELECT count(*) FROM t"), 1);
  EXPECT_TRUE(frozen.quick_check().empty());
  VKB_EXPECT_ERROR(frozen.execute("INSERT INTO t VALUES(2)"), ErrorCode::io_error, "readonly");
  EXPECT_EQ(names_in(directory.path()), std::vector<std::string>{"a%41?b#c"});
}

// A database of some hundred pages of which every row is in the main file.
void make_large(const std::string& path) {
  Database db(path, Mode::writer);
  db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX t_b ON t(b)");
  Transaction transaction(db, Kind::write);
  Statement insert(db, "INSERT INTO t(b) VALUES(?)");
  for (int i = 0; i < 3000; ++i) insert.bind(std::string(300, 'x') + std::to_string(i)).run();
  transaction.commit();
}

// Nothing asks for a free page but a copy, which takes them all.
TEST(Database, DamagedPagesAreFoundThoughNothingIsInThem) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  {
    Database db(path, Mode::writer);
    db.execute("CREATE TABLE t(x); CREATE TABLE u(x)");
    for (int i = 0; i < 100; ++i) db.execute("INSERT INTO t VALUES(randomblob(7000))");
    db.execute("INSERT INTO u SELECT x FROM t LIMIT 3; DELETE FROM t");
    EXPECT_TRUE(db.damaged_pages().empty());  // of which the log has newer ones
    db.checkpoint();
  }
  std::string bytes = read_whole_file(path);
  bytes[50 * 8192 + 4000] ^= 1;
  write_whole_file(path, bytes);
  Database db(path, Mode::writer);
  EXPECT_TRUE(db.quick_check().empty());
  EXPECT_EQ(db.damaged_pages(), std::vector<std::uint64_t>{51});
  VKB_EXPECT_ERROR(db.copy_to(directory.file("copy")), ErrorCode::corruption, "page 51");
  // What the log has of it counts.
  db.execute("INSERT INTO t SELECT randomblob(7000) FROM u, u AS v, u AS w, u AS x, u AS y");
  EXPECT_TRUE(db.damaged_pages().empty());
}

// Puts SQLite's locks in a file elsewhere than at a gigabyte. It counts for the process, and a
// database that was made meanwhile is not to be used afterwards.
class PlaceOfLocks {
 public:
  explicit PlaceOfLocks(unsigned place) { sqlite3_test_control(kWhich, place); }
  ~PlaceOfLocks() { sqlite3_test_control(kWhich, static_cast<unsigned>(before_)); }
  PlaceOfLocks(const PlaceOfLocks&) = delete;
  PlaceOfLocks& operator=(const PlaceOfLocks&) = delete;

 private:
  static constexpr int kWhich = SQLITE_TESTCTRL_PENDING_BYTE;
  const int before_ = sqlite3_test_control(kWhich, 0U);
};

// It has no checksum, as SQLite never writes it.
TEST(Database, ThePageOfTheLocksIsNotDamaged) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  constexpr std::size_t kPage = 8192;
  const PlaceOfLocks place(40 * kPage);
  Database db(path, Mode::writer);
  db.execute("CREATE TABLE t(x)");
  for (int i = 0; i < 100; ++i) db.execute("INSERT INTO t VALUES(randomblob(7000))");
  db.checkpoint();
  ASSERT_EQ(read_whole_file(path).substr(40 * kPage, kPage), std::string(kPage, '\0'));
  EXPECT_TRUE(db.damaged_pages().empty());
  EXPECT_TRUE(db.quick_check().empty());
  db.copy_to(directory.file("copy"));
  db.execute("VACUUM");
  db.checkpoint();
  for (const std::string& each : {path, directory.file("copy")}) {
    Database copy(each, Mode::reader);
    EXPECT_TRUE(copy.damaged_pages().empty());
    Statement rows(copy, "SELECT count(*), sum(length(x)) FROM t");
    ASSERT_TRUE(rows.step());
    EXPECT_EQ(rows.integer(1), 700'000);
  }
  std::string bytes = read_whole_file(path);
  bytes[41 * kPage + 4000] ^= 1;
  write_whole_file(path, bytes);
  EXPECT_EQ(Database(path, Mode::reader).damaged_pages(), std::vector<std::uint64_t>{42});
}

TEST(Database, QuickCheckFindsADamagedPage) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  make_large(path);
  const std::string sound = read_whole_file(path);
  const std::size_t pages = sound.size() / 8192;
  ASSERT_GT(pages, 100u);
  {
    Database db(path, Mode::reader);
    EXPECT_TRUE(db.quick_check().empty());
  }
  for (const std::size_t page : {pages / 4, pages / 2, pages - 1}) {
    std::string damaged = sound;
    damaged.replace(page * 8192, 8192, std::string(8192, '\xA5'));
    write_whole_file(path, damaged);
    Database db(path, Mode::reader);
    EXPECT_FALSE(db.quick_check().empty()) << page;
  }
}

// Damage that keeps SQLite from reading the schema at all is a finding too: `vkb check` must
// report, not end with an error.
TEST(Database, QuickCheckReportsADamagedSchema) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  make_large(path);
  std::string damaged = read_whole_file(path);
  damaged.replace(100, 8092, std::string(8092, '\xA5'));
  write_whole_file(path, damaged);
  Database db(path, Mode::copy);
  const std::vector<std::string> findings = db.quick_check();
  ASSERT_FALSE(findings.empty());
  EXPECT_NE(findings[0].find("page 1 does not match its checksum"), std::string::npos)
      << findings[0];
}

TEST(Database, ReadingADamagedPageIsCorruption) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  make_large(path);
  std::string damaged = read_whole_file(path);
  for (std::size_t at = 8192 * 3; at < damaged.size(); at += 8192)
    damaged.replace(at, 8192, std::string(8192, '\xA5'));
  write_whole_file(path, damaged);
  Database db(path, Mode::reader);
  VKB_EXPECT_ERROR(integer_of(db, "SELECT sum(length(b)) FROM t"), ErrorCode::corruption,
                   "run `vkb check`, or restore a backup");
}

// Whatever a page holds, free ones but: one bit that is not as it was written is noticed (R8).
TEST(Database, R8_APageIsReadOnlyWithItsChecksum) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  make_large(path);
  const std::string sound = read_whole_file(path);
  EXPECT_TRUE(Database(path, Mode::reader).has_page_checksums());
  TestRandom random(4);
  for (std::size_t page = 0; page < sound.size() / 8192; page += 5) {
    std::string damaged = sound;
    char& hit = damaged[page * 8192 + 200 + random.below(7900)];
    hit = static_cast<char>(hit ^ 4);
    write_whole_file(path, damaged);
    const auto read_all = [&] {
      Database db(path, Mode::reader);
      integer_of(db, "SELECT sum(length(b)) FROM t");
      integer_of(db, "SELECT count(*) FROM t INDEXED BY t_b WHERE b>''");
    };
    VKB_EXPECT_ERROR(read_all(), ErrorCode::corruption,
                     "page " + std::to_string(page + 1) + " does not match its checksum");
  }
  // A page in another's place is not that page.
  std::string swapped = sound;
  swapped.replace(8192 * 10, 8192, sound, 8192 * 11, 8192);
  write_whole_file(path, swapped);
  Database db(path, Mode::reader);
  EXPECT_FALSE(db.quick_check().empty());
}

// As an older vkb made it: read and written without, until it gets them.
TEST(Database, PageChecksumsAreAdded) {
  const TempDirectory directory;
  const std::string plain = directory.file("plain");
  {
    Database db(plain, Mode::plain_copy);
    db.execute(
        "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    db.execute("INSERT INTO t(b) VALUES(randomblob(5000)), (randomblob(50000)), ('text')");
    EXPECT_FALSE(db.has_page_checksums());
  }
  Database(plain, Mode::reader).copy_to(directory.file("copy"));
  Database copy(directory.file("copy"), Mode::reader);
  EXPECT_FALSE(copy.has_page_checksums());
  EXPECT_TRUE(copy.quick_check().empty());

  Database before(plain, Mode::reader);
  EXPECT_EQ(integer_of(before, "SELECT sum(length(b)) FROM t"), 55'004);
  {
    Database db(plain, Mode::writer);
    EXPECT_FALSE(db.has_page_checksums());
    db.execute("INSERT INTO t(b) VALUES('more')");
    db.add_page_checksums();
    EXPECT_TRUE(db.has_page_checksums());
  }
  EXPECT_EQ(integer_of(before, "SELECT sum(length(b)) FROM t"), 55'008);
  EXPECT_TRUE(before.quick_check().empty());
  Database db(plain, Mode::reader);
  EXPECT_TRUE(db.has_page_checksums());
  EXPECT_EQ(integer_of(db, "SELECT sum(length(b)) FROM t"), 55'008);
  std::string damaged = read_whole_file(plain);
  damaged[damaged.size() - 4000] ^= 1;
  write_whole_file(plain, damaged);
  EXPECT_FALSE(Database(plain, Mode::reader).quick_check().empty());
}

TEST(Database, ACopyHoldsWhatTheTransactionSees) {
  const TempDirectory directory;
  Database writer(directory.file("db"), Mode::writer);
  writer.execute("CREATE TABLE t(a); INSERT INTO t VALUES(1)");
  Database reader(directory.file("db"), Mode::reader);
  Transaction transaction(reader, Kind::read);
  integer_of(reader, "SELECT count(*) FROM t");
  writer.execute("INSERT INTO t VALUES(2)");
  reader.copy_to(directory.file("copy"));
  Database copy(directory.file("copy"), Mode::reader);
  EXPECT_EQ(integer_of(copy, "SELECT count(*) FROM t"), 1);
  EXPECT_TRUE(copy.quick_check().empty());
  EXPECT_EQ(text_of(copy, "PRAGMA journal_mode"), "wal");
  VKB_EXPECT_ERROR(reader.copy_to(directory.file("no/copy")), ErrorCode::io_error, "no/copy");
}

TEST(Database, ACopyIsConsistentWhileAWriterGoesOn) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  make_large(path);
  Database reader(path, Mode::reader);
  std::atomic<bool> stop = false;
  std::atomic<int> commits = 0;
  std::thread writing([&] {
    Database writer(path, Mode::writer);
    writer.execute("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=50");
    while (!stop) {
      Transaction transaction(writer, Kind::write);
      // Every transaction leaves two rows for each c, in pages far apart.
      writer.execute(
          "UPDATE t SET b='c' || (SELECT count(*) FROM t) WHERE a IN (1, 3000);"
          "INSERT INTO t(b) VALUES(hex(randomblob(200)))");
      transaction.commit();
      ++commits;
    }
  });
  for (int round = 0; round < 5; ++round) {
    const int before = commits;
    while (commits == before) std::this_thread::yield();
    const std::string target = directory.file("copy" + std::to_string(round));
    reader.copy_to(target);
    Database copy(target, Mode::reader);
    EXPECT_TRUE(copy.quick_check().empty());
    EXPECT_EQ(integer_of(copy, "SELECT count(DISTINCT b) FROM t WHERE a IN (1, 3000)"), 1);
    EXPECT_EQ(text_of(copy, "SELECT b FROM t WHERE a=1"),
              "c" + std::to_string(integer_of(copy, "SELECT count(*)-1 FROM t")));
  }
  stop = true;
  writing.join();
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// How much of a log must be there (R1, R8), told by its mark.
#include "storage/log_mark.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "storage/sqlite.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_data.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

class LogMarks : public ::testing::Test {
 protected:
  void SetUp() override {
    writer_ = std::make_unique<Database>(path_, Database::Mode::writer);
    writer_->execute("CREATE TABLE t(a); INSERT INTO t VALUES(randomblob(20000))");
  }
  // What a kill would leave now.
  std::string killed() {
    const std::string copy = directory_.file("killed");
    for (const char* suffix : {"", "-wal", "-mark"}) {
      fs::remove(copy + suffix);
      if (fs::exists(path_ + suffix)) fs::copy_file(path_ + suffix, copy + suffix);
    }
    fs::remove(copy + "-shm");
    return copy;
  }

  TempDirectory directory_;
  const std::string path_ = directory_.file("db");
  std::unique_ptr<Database> writer_;
};

TEST_F(LogMarks, R1_EachCommitMovesTheMark) {
  for (int i = 0; i < 3; ++i) {
    writer_->execute("INSERT INTO t VALUES(1)");
    const std::string copy = killed();
    EXPECT_NO_THROW(verify_log(copy));
    fs::resize_file(copy + "-wal", fs::file_size(copy + "-wal") - 1);
    VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "it ends at byte");
  }
}

TEST_F(LogMarks, R8_DamageIsNamed) {
  const std::string copy = killed();
  const std::string log = read_whole_file(copy + "-wal");
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{9}, std::size_t{17}, std::size_t{31}, std::size_t{32},
        std::size_t{40}, std::size_t{50}, std::size_t{1000}, log.size() - 1}) {
    std::string bytes = log;
    bytes[at] = static_cast<char>(bytes[at] ^ 4);
    write_whole_file(copy + "-wal", bytes);
    VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "killed-wal");
  }
  fs::resize_file(copy + "-wal", 0);
  VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "it is empty");
  fs::remove(copy + "-wal");
  VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "it is missing");
}

// A mark that is damaged or gone says nothing, and nobody is accused.
TEST_F(LogMarks, ADamagedMarkSaysNothing) {
  const std::string copy = killed();
  const std::string mark = read_whole_file(copy + "-mark");
  fs::resize_file(copy + "-wal", 100);
  for (std::size_t at = 0; at < mark.size(); ++at) {
    std::string bytes = mark;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    write_whole_file(copy + "-mark", bytes);
    EXPECT_NO_THROW(verify_log(copy));
    write_whole_file(copy + "-mark", mark.substr(0, at));
    EXPECT_NO_THROW(verify_log(copy));
  }
  write_whole_file(copy + "-mark", mark);
  EXPECT_THROW(verify_log(copy), Error);
}

TEST_F(LogMarks, NoneIsLeftWhereNoLogIs) {
  ASSERT_TRUE(fs::exists(path_ + "-mark"));
  writer_->checkpoint();
  EXPECT_FALSE(fs::exists(path_ + "-mark"));
  writer_->execute("INSERT INTO t VALUES(1)");
  EXPECT_TRUE(fs::exists(path_ + "-mark"));
  EXPECT_NO_THROW(verify_log(path_));
  writer_.reset();
  EXPECT_FALSE(fs::exists(path_ + "-mark"));
}

TEST_F(LogMarks, ALogThatBeginsAnewIsAnother) {
  writer_->try_checkpoint();
  const std::string old_mark = read_whole_file(path_ + "-mark");
  writer_->execute("DELETE FROM t");
  const std::string copy = killed();
  EXPECT_NO_THROW(verify_log(copy));
  write_whole_file(copy + "-mark", old_mark);
  EXPECT_NO_THROW(verify_log(copy));
}

// What a rollback leaves in the log is not part of it, whatever is synced after.
TEST_F(LogMarks, ARollbackIsNotSynced) {
  writer_->execute("PRAGMA cache_size=1");
  const auto spill = [&] {
    writer_->execute("BEGIN");
    for (int i = 0; i < 50; ++i) writer_->execute("INSERT INTO t VALUES(randomblob(9000))");
  };
  const auto log_bytes = fs::file_size(path_ + "-wal");
  spill();
  writer_->execute("ROLLBACK");
  ASSERT_GT(fs::file_size(path_ + "-wal"), log_bytes) << "nothing was spilled";
  EXPECT_NO_THROW(verify_log(killed()));
  spill();
  // The checksums of a transaction that was spilled and then changed are written twice.
  writer_->execute("UPDATE t SET a=randomblob(9000)");
  writer_->execute("COMMIT");
  const std::string copy = killed();
  EXPECT_NO_THROW(verify_log(copy));
  fs::resize_file(copy + "-wal", log_bytes);
  EXPECT_THROW(verify_log(copy), Error);
}

// Another program may have read the store, and SQLite put the log away.
TEST_F(LogMarks, ALogThatIsInTheDatabaseIsNotMissed) {
  const std::string copy = killed();
  const std::string mark = read_whole_file(copy + "-mark");
  { Database(copy, Database::Mode::writer).execute("SELECT count(*) FROM t"); }
  ASSERT_FALSE(fs::exists(copy + "-wal"));
  write_whole_file(copy + "-mark", mark);
  EXPECT_NO_THROW(verify_log(copy));
}

// What a database holds, in one number.
std::int64_t content_of(Database& db) {
  Statement all(db, "SELECT sum(k * 7919 + v * v * 31) FROM u");
  all.step();
  return all.integer(0);
}

// R8: a damaged log, given up, leaves a state that the database had at some time, or is refused.
// Readers come and go meanwhile, so that checkpoints take over all of the log, a part, or nothing.
TEST_F(LogMarks, WhatIsLeftOfALogIsAStateThatWas) {
  std::mt19937 random(7);
  writer_->execute("CREATE TABLE u(k INTEGER PRIMARY KEY, v INTEGER, t BLOB)");
  writer_->execute(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) "
      "INSERT INTO u SELECT i, 0, randomblob(700) FROM n");
  writer_->checkpoint();
  std::size_t prefixes = 0;
  std::size_t drops = 0;
  std::size_t refusals = 0;
  std::int64_t version = 0;
  for (int round = 0; round < 12; ++round) {
    writer_->checkpoint();
    std::vector<std::int64_t> states = {content_of(*writer_)};
    std::unique_ptr<Database> reader;
    for (int step = 0; step < 20; ++step) {
      const auto what = random() % 5;
      if (what == 0) {
        reader = std::make_unique<Database>(path_, Database::Mode::reader);
        reader->execute("BEGIN");
        content_of(*reader);
      } else if (what == 1) {
        reader.reset();
      } else if (what == 2) {
        writer_->try_checkpoint();
      } else {
        Transaction transaction(*writer_, Transaction::Kind::write);
        for (int i = 0; i < 3; ++i) {
          Statement(*writer_, "UPDATE u SET v=? WHERE k=?")
              .bind(++version, static_cast<std::int64_t>(random() % 300 + 1))
              .run();
        }
        transaction.commit();
        states.push_back(content_of(*writer_));
      }
    }
    const std::string copy = killed();
    reader.reset();
    if (!fs::exists(copy + "-wal") || fs::file_size(copy + "-wal") == 0) continue;
    const std::string log = read_whole_file(copy + "-wal");
    const std::string database = read_whole_file(copy);
    const std::string mark = read_whole_file(copy + "-mark");
    for (std::size_t at = 1000; at < log.size() + 1000; at += 8192 + 24) {
      SCOPED_TRACE("round " + std::to_string(round) + ", byte " + std::to_string(at));
      std::string bytes = log;
      if (at < log.size()) {
        bytes[at] = static_cast<char>(bytes[at] ^ 1);
      } else {
        bytes.clear();  // the log is lost as a whole
      }
      write_whole_file(copy, database);
      write_whole_file(copy + "-wal", bytes);
      write_whole_file(copy + "-mark", mark);
      fs::remove(copy + "-shm");
      try {
        verify_log(copy);
      } catch (const Error&) {
        try {
          give_up_log(copy);
        } catch (const Error& refused) {
          EXPECT_EQ(refused.code(), ErrorCode::corruption);
          EXPECT_EQ(read_whole_file(copy + "-wal"), bytes);
          EXPECT_EQ(read_whole_file(copy + "-mark"), mark);
          ++refusals;
          continue;
        }
        EXPECT_FALSE(fs::exists(copy + "-mark"));
        ++(fs::file_size(copy + "-wal") == 0 ? drops : prefixes);
      }
      Database left(copy, Database::Mode::writer);
      EXPECT_TRUE(left.quick_check().empty());
      EXPECT_EQ(std::ranges::count(states, content_of(left)), 1);
    }
  }
  EXPECT_GT(prefixes, 10u);
  EXPECT_GT(drops, 10u);
  EXPECT_GT(refusals, 10u);
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// How much of a log must be there (R1, R8), told by its mark.
#include "storage/log_mark.h"

#include <gtest/gtest.h>

#include <filesystem>

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
  writer_->log_position();
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

}  // namespace
}  // namespace vkb

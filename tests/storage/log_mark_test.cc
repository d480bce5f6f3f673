// SPDX-License-Identifier: Apache-2.0
//
// How much of a log must be there (R1, R8), told by its mark.
#include "storage/log_mark.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

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
  std::string killed() { return killed(path_, "killed"); }
  std::string killed(const std::string& path, const char* name) {
    const std::string copy = directory_.file(name);
    for (const char* suffix : {"", "-wal", "-mark"}) {
      fs::remove(copy + suffix);
      if (fs::exists(path + suffix)) fs::copy_file(path + suffix, copy + suffix);
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
  for (std::size_t at = 0; at < 32; ++at) {  // behind that it says how far checkpoints have come
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
  EXPECT_NO_THROW(verify_log(path_));
  writer_->execute("INSERT INTO t VALUES(1)");
  EXPECT_NO_THROW(verify_log(path_));
  writer_.reset();
  EXPECT_FALSE(fs::exists(path_ + "-wal"));
  EXPECT_FALSE(fs::exists(path_ + "-mark"));
}

// R8: a kill while a log is put away leaves all of it, and all of it is in the database.
TEST_F(LogMarks, ALogThatWasPutAwayIsNotLaidOverTheDatabase) {
  writer_->execute("UPDATE t SET a=1; UPDATE t SET a=2");
  const std::string log = read_whole_file(path_ + "-wal");
  writer_->checkpoint();
  const std::string copy = killed();
  write_whole_file(copy + "-wal", log);
  EXPECT_NO_THROW(verify_log(copy));
  std::string bytes = log;
  bytes[20] = static_cast<char>(bytes[20] ^ 1);  // SQLite takes nothing of it
  write_whole_file(copy + "-wal", bytes);
  EXPECT_NO_THROW(verify_log(copy));
  bytes = log;
  bytes[log.size() - 100] = static_cast<char>(bytes[log.size() - 100] ^ 1);
  write_whole_file(copy + "-wal", bytes);
  VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "nothing is lost");
  give_up_log(copy);
  Database left(copy, Database::Mode::writer);
  Statement value(left, "SELECT a FROM t");
  EXPECT_TRUE(value.step() && value.integer(0) == 2);
}

// Where the end of a checkpoint could not be said it is said then.
TEST_F(LogMarks, PuttingALogAwaySaysThatItIsCopied) {
  const std::string copy = killed();
  ASSERT_TRUE(put_log_away(copy + "-wal"));
  fs::remove(copy + "-wal");
  EXPECT_NO_THROW(verify_log(copy));
  fs::remove(copy + "-mark");
  EXPECT_TRUE(put_log_away(copy + "-wal")) << "nothing is asked for";
  EXPECT_FALSE(fs::exists(copy + "-mark"));
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

// Another program may have read the store, and SQLite put the log away. That cannot be told from
// one that was lost; giving it up loses nothing then.
TEST_F(LogMarks, ALogThatAnotherProgramPutAwayIsMissed) {
  const std::string copy = killed();
  const std::string mark = read_whole_file(copy + "-mark");
  { Database(copy, Database::Mode::writer).execute("SELECT count(*) FROM t"); }
  ASSERT_FALSE(fs::exists(copy + "-wal"));
  write_whole_file(copy + "-mark", mark);
  VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "unless another program");
  give_up_log(copy);
  EXPECT_NO_THROW(verify_log(copy));
  Database left(copy, Database::Mode::reader);
  Statement count(left, "SELECT count(*) FROM t");
  EXPECT_TRUE(count.step() && count.integer(0) == 1);
}

// What the database has may be what the last transaction wrote, all the same.
TEST_F(LogMarks, R1_ALostLogIsNamedWhateverItsLastPageWas) {
  writer_->execute("CREATE TABLE u(a); INSERT INTO u VALUES(1)");
  writer_->checkpoint();
  writer_->execute("INSERT INTO t VALUES(1)");
  writer_->execute("UPDATE u SET a=a");
  const std::string copy = killed();
  fs::resize_file(copy + "-wal", 0);
  VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "it is empty");
  fs::remove(copy + "-wal");
  VKB_EXPECT_ERROR(verify_log(copy), ErrorCode::corruption, "it is missing");
}

// R8: what is copied was synced before, and a kill may keep the mark from saying so.
TEST_F(LogMarks, AMarkThatIsBehindAsksForWhatWasCopied) {
  const std::string behind = read_whole_file(path_ + "-mark").substr(0, 32);
  writer_->execute("INSERT INTO t VALUES(randomblob(20000))");
  const auto cut = [&](const std::string& mark) {
    const std::string copy = killed();
    write_whole_file(copy + "-mark", mark);
    fs::resize_file(copy + "-wal", fs::file_size(copy + "-wal") - 1);
    return error_of([&] { verify_log(copy); });
  };
  EXPECT_FALSE(cut(behind));  // SQLite's own rule
  writer_->try_checkpoint();
  const auto named = cut(behind + read_whole_file(path_ + "-mark").substr(32));
  ASSERT_TRUE(named);
  EXPECT_NE(std::string_view(named->what()).find("nothing is lost"), std::string_view::npos);
}

// Commits, checkpoints and readers that come and go, so that checkpoints take over all of a log, a
// part of it, or nothing; and what it is like with each frame damaged.
class GivenUpLogs : public LogMarks {
 protected:
  void SetUp() override {
    LogMarks::SetUp();
    writer_->execute(
        "CREATE TABLE u(k INTEGER PRIMARY KEY, v INTEGER, t BLOB);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) "
        "INSERT INTO u SELECT i, 0, randomblob(700) FROM n");
    writer_->checkpoint();
    states_ = {content_of(*writer_)};
  }

  // All that the table holds, in one number.
  static std::int64_t content_of(Database& db) {
    Statement all(db, "SELECT sum(k * 7919 + v * v * 31) FROM u");
    all.step();
    return all.integer(0);
  }

  void commit(Database& writer) {
    Transaction transaction(writer, Transaction::Kind::write);
    for (int i = 0; i < 3; ++i) {
      Statement(writer, "UPDATE u SET v=? WHERE k=?")
          .bind(++version_, static_cast<std::int64_t>(random_() % 300 + 1))
          .run();
    }
    transaction.commit();
    states_.push_back(content_of(writer));
  }

  void begin_anew() {
    reader_.reset();
    writer_->checkpoint();
  }

  void work(Database& writer, int steps) {
    for (int step = 0; step < steps; ++step) {
      switch (random_() % 5) {
        case 0:
          reader_ = std::make_unique<Database>(writer.path(), Database::Mode::reader);
          reader_->execute("BEGIN");
          content_of(*reader_);
          break;
        case 1:
          reader_.reset();
          break;
        case 2:
          writer.try_checkpoint();
          break;
        default:
          commit(writer);
      }
    }
  }

  // R8: what is left is a state that was, or the log is refused, and as it was.
  void damage_each_frame(const std::string& killed) {
    if (!fs::exists(killed + "-wal")) return;
    const std::string log = read_whole_file(killed + "-wal");
    const std::string database = read_whole_file(killed);
    const std::string mark = fs::exists(killed + "-mark") ? read_whole_file(killed + "-mark") : "";
    for (std::size_t at = 1000; at < log.size() + 1000; at += 8192 + 24) {
      SCOPED_TRACE("byte " + std::to_string(at) + " of " + std::to_string(log.size()));
      std::string bytes = log;
      if (at < log.size()) {
        bytes[at] = static_cast<char>(bytes[at] ^ 1);
      } else {
        bytes.clear();  // the log is lost as a whole
      }
      write_whole_file(killed, database);
      write_whole_file(killed + "-wal", bytes);
      write_whole_file(killed + "-mark", mark);
      fs::remove(killed + "-shm");
      const auto damage = error_of([&] { verify_log(killed); });
      if (!damage) {
        if (mark.size() < 32) continue;  // nobody can tell
      } else if (const auto refused = error_of([&] { give_up_log(killed); })) {
        EXPECT_EQ(refused->code(), ErrorCode::corruption);
        EXPECT_EQ(read_whole_file(killed + "-wal"), bytes);
        EXPECT_EQ(read_whole_file(killed + "-mark"), mark);
        ++refusals_;
        continue;
      } else {
        EXPECT_FALSE(fs::exists(killed + "-mark"));
        ++(fs::file_size(killed + "-wal") == 0 ? drops_ : prefixes_);
      }
      Database left(killed, Database::Mode::writer);
      EXPECT_TRUE(left.quick_check().empty());
      const std::int64_t content = content_of(left);
      EXPECT_EQ(std::ranges::count(states_, content), 1);
      if (damage && std::string_view(damage->what()).find("nothing is lost") != std::string::npos) {
        EXPECT_EQ(content, states_.back());
      }
    }
  }

  std::mt19937 random_{7};
  std::int64_t version_ = 0;
  std::vector<std::int64_t> states_;  // each that was committed
  std::unique_ptr<Database> reader_;
  std::size_t prefixes_ = 0;
  std::size_t drops_ = 0;
  std::size_t refusals_ = 0;
};

TEST_F(GivenUpLogs, LeaveAStateThatWas) {
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    begin_anew();
    work(*writer_, 20);
    damage_each_frame(killed());
  }
  EXPECT_GT(prefixes_, 10u);
  EXPECT_GT(drops_, 10u);
  EXPECT_GT(refusals_, 3u);
}

// A power loss may leave an older mark, or none, and a log that was put away already.
TEST_F(GivenUpLogs, LeaveAStateThatWasWithAMarkOfBefore) {
  for (int round = 0; round < 24; ++round) {
    SCOPED_TRACE(round);
    begin_anew();
    work(*writer_, 8);
    const std::string mark =
        fs::exists(path_ + "-mark") ? read_whole_file(path_ + "-mark") : std::string();
    work(*writer_, 8);
    if (round % 3 == 0) writer_->try_checkpoint();
    const std::string lost = killed(path_, "lost");
    reader_.reset();
    const std::vector<std::int64_t> known = states_;
    if (round % 2 == 0) {
      fs::remove(lost + "-mark");
    } else {
      write_whole_file(lost + "-mark", mark);
    }
    Database next(lost, Database::Mode::writer);
    if (round % 3 != 1) next.try_checkpoint();  // as a writer does that finds orphans
    work(next, 8);
    commit(next);
    damage_each_frame(killed(lost, "killed"));
    reader_.reset();
    states_ = known;
  }
  EXPECT_GT(prefixes_ + drops_, 10u);
  EXPECT_GT(refusals_, 10u);
}

// Who may write a database may write its mark, whoever made that.
TEST_F(LogMarks, AMarkHasTheModeOfItsDatabase) {
  writer_.reset();
  fs::permissions(path_, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_write);
  const ::mode_t mask = ::umask(0777);
  {
    Database writer(path_, Database::Mode::writer);
    writer.execute("INSERT INTO t VALUES(1)");
    EXPECT_EQ(fs::status(path_ + "-mark").permissions(), fs::status(path_).permissions());
  }
  ::umask(mask);
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints, and how long the log gets beside readers.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "storage/sqlite.h"
#include "tests/support/system_call_faults.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

using Mode = Database::Mode;
using Kind = Transaction::Kind;

class Checkpoints : public ::testing::Test {
 protected:
  std::uintmax_t log_bytes() const { return std::filesystem::file_size(path_ + "-wal"); }

  const TempDirectory directory_;
  const std::string path_ = directory_.file("db");
  Database writer_{path_, Mode::writer};
};

class CheckpointsBesideAReader : public Checkpoints {
 protected:
  void SetUp() override { writer_.execute("CREATE TABLE t(a); INSERT INTO t VALUES(1)"); }
  // Takes the log's present end.
  std::int64_t count() { return integer_of(reader_, "SELECT count(*) FROM t"); }

  Database reader_{path_, Mode::reader};
};

TEST_F(CheckpointsBesideAReader, EmptyTheLogUnlessItIsNeeded) {
  {
    Transaction transaction(reader_, Kind::read);
    count();
    writer_.execute("INSERT INTO t VALUES(2)");
    EXPECT_TRUE(writer_.try_checkpoint());
    writer_.checkpoint();
    EXPECT_GT(log_bytes(), 0u);
    EXPECT_EQ(count(), 1);
  }
  writer_.checkpoint();
  EXPECT_EQ(log_bytes(), 0u);
  EXPECT_EQ(count(), 2);
}

// R3: files are unlinked by what it says.
TEST_F(CheckpointsBesideAReader, R3_AreDoneWhenItDoesNotNeedTheLog) {
  std::uint64_t salt = 0;
  {
    const Transaction transaction(reader_, Kind::read);
    count();
    writer_.execute("INSERT INTO t VALUES(2)");
    for (int i = 0; i < 2; ++i) {
      const auto log = writer_.try_checkpoint();
      ASSERT_TRUE(log);
      EXPECT_FALSE(log->is_done);
      salt = log->salt;
    }
  }
  EXPECT_TRUE(writer_.try_checkpoint().value().is_done);
  // The next write begins the log anew, this time beside a reader of that.
  writer_.execute("INSERT INTO t VALUES(3)");
  const Transaction transaction(reader_, Kind::read);
  count();
  writer_.execute("INSERT INTO t VALUES(4)");
  const auto next = writer_.try_checkpoint();
  ASSERT_TRUE(next);
  EXPECT_FALSE(next->is_done);
  EXPECT_NE(next->salt, salt);
}

TEST_F(CheckpointsBesideAReader, SayNothingOfTheLogWhenTheyFail) {
  SystemCallFaults system_calls;
  system_calls.file_sync_error = EIO;
  EXPECT_FALSE(writer_.try_checkpoint());
}

// Two readers take turns so that one of them is always there: nobody ever sees the log unused.
class Relay {
 public:
  explicit Relay(const std::string& path) : path_(path) {
    for (int i = 0; i < 2; ++i) runners_.emplace_back([this] { run(); });
    entered_.wait(0);
  }
  ~Relay() {
    done_ = true;
    ++entered_;
    entered_.notify_all();
    for (std::thread& runner : runners_) runner.join();
  }

 private:
  void run() {
    Database reader(path_, Mode::reader);
    while (!done_) {
      const Transaction transaction(reader, Kind::read);
      integer_of(reader, "SELECT count(*) FROM t");  // that takes the log's present end
      const std::uint64_t mine = ++entered_;
      entered_.notify_all();
      if (!done_) entered_.wait(mine);  // until the other one is in
    }
  }

  const std::string path_;
  std::atomic<std::uint64_t> entered_ = 0;
  std::atomic<bool> done_ = false;
  std::vector<std::thread> runners_;
};

TEST_F(Checkpoints, TheLogStaysShortBesideReadersThatOverlap) {
  writer_.execute("PRAGMA synchronous=OFF; CREATE TABLE t(x)");
  writer_.set_checkpoint_pages(20);
  const Relay readers(path_);
  for (int i = 0; i < 1000; ++i) writer_.execute("INSERT INTO t VALUES(randomblob(8000))");
  EXPECT_LT(log_bytes(), 100u * 8192);
}

TEST_F(Checkpoints, AReaderThatNeverEndsHoldsUpFewCommits) {
  writer_.execute("PRAGMA synchronous=OFF; CREATE TABLE t(x)");
  writer_.set_checkpoint_pages(200);
  std::optional<Database> reader(std::in_place, path_, Mode::reader);
  std::optional<Transaction> transaction(std::in_place, *reader, Kind::read);
  EXPECT_EQ(integer_of(*reader, "SELECT count(*) FROM t"), 0);
  for (int i = 0; i < 140; ++i) writer_.execute("INSERT INTO t VALUES(randomblob(8000))");
  const auto longest = log_bytes();
  EXPECT_GT(longest, 140u * 8192);
  transaction.reset();
  // The log begins anew, in the file that is there.
  for (int i = 0; i < 400; ++i) writer_.execute("INSERT INTO t VALUES(randomblob(8000))");
  EXPECT_LT(log_bytes(), 2 * longest);
}

}  // namespace
}  // namespace vkb

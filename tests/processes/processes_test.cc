// SPDX-License-Identifier: Apache-2.0
//
// One writer and several readers, each a process of its own (R6, R7).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <string>

#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

using std::chrono::milliseconds;

class Helper {
 public:
  Helper(const char* role, const std::string& directory) {
    std::array<int, 2> input{};
    std::array<int, 2> output{};
    if (::pipe2(input.data(), O_CLOEXEC) != 0 || ::pipe2(output.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("no pipe");
    }
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
    std::array<const char*, 4> arguments = {VKB_PROCESS_HELPER, role, directory.c_str(), nullptr};
    if (::posix_spawn(&process_, arguments[0], &actions, nullptr,
                      const_cast<char* const*>(arguments.data()), ::environ) != 0) {
      throw std::runtime_error("cannot start the helper");
    }
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(input[0]);
    ::close(output[1]);
    to_ = input[1];
    from_ = output[0];
    EXPECT_EQ(answer(), "ready");
  }
  ~Helper() { end(); }
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  void tell(const std::string& command) const {
    const std::string line = command + "\n";
    ASSERT_EQ(::write(to_, line.data(), line.size()), static_cast<::ssize_t>(line.size()));
  }
  std::string answer() const {
    std::string line;
    char c = 0;
    while (::read(from_, &c, 1) == 1 && c != '\n') line += c;
    return line;
  }
  std::string ask(const std::string& command) const {
    tell(command);
    return answer();
  }
  ::pid_t process() const { return process_; }
  bool is_running() const { return ::waitpid(process_, nullptr, WNOHANG) == 0; }
  void kill() {
    ::kill(process_, SIGKILL);
    end();
  }

 private:
  void end() {
    if (process_ == 0) return;
    ::close(to_);
    ::close(from_);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }

  ::pid_t process_ = 0;
  int to_ = -1;
  int from_ = -1;
};

TEST(Processes, ReadersSeeEachBatchWholeAtOnceAndNeverGoBack) {
  const TempDirectory directory;
  const Helper writer("writer", directory.path());
  for (int group = 0; group < 5; ++group) {
    ASSERT_EQ(writer.ask("batch " + std::to_string(group)), "ok");
  }
  const Helper looker("reader", directory.path());
  const Helper watcher("reader", directory.path());
  watcher.tell("watch");
  std::array<int, 5> versions = {0, 1, 2, 3, 4};
  for (int version = 5; version < 120; ++version) {
    SCOPED_TRACE(version);
    const std::string number = std::to_string(version);
    if (version % 13 == 0) {
      ASSERT_EQ(writer.ask("load " + number), "ok");
      versions.fill(version);
    } else {
      ASSERT_EQ(writer.ask((version % 17 == 0 ? "remove " : "batch ") + number), "ok");
      versions[static_cast<std::size_t>(version % 5)] = version;
    }
    if (version % 19 == 0) {
      ASSERT_EQ(writer.ask("compact"), "ok");
    }
    if (version % 23 == 0) {
      ASSERT_EQ(writer.ask("settle"), "ok");
    }
    std::string expected = "sound";
    for (const int group_version : versions) {
      expected += numbered(" ", static_cast<std::uint64_t>(group_version));
    }
    ASSERT_EQ(looker.ask("look"), expected);
  }
  EXPECT_EQ(watcher.ask("stop").substr(0, 5), "sound");
  EXPECT_TRUE(is_sound(Store::open(directory.path(), {.read_only = true})));
}

TEST(Processes, ASecondWriterIsToldWhoHoldsTheLock) {
  const TempDirectory directory;
  Helper writer("writer", directory.path());
  ASSERT_EQ(writer.ask("hold"), "holding");
  Store store = Store::open(directory.path(), {.lock_timeout = milliseconds(50)});
  Collection collection = store.collection("shared");
  const Record record = test_record("mine", {1, 2, 3, 4});
  VKB_EXPECT_ERROR(collection.upsert({&record, 1}), ErrorCode::busy,
                   "pid " + std::to_string(writer.process()));
  EXPECT_NE(store.info().writer.find("pid " + std::to_string(writer.process())), std::string::npos);
  EXPECT_EQ(collection.count(), 0u);  // reading goes on
  // A killed writer leaves no lock behind.
  writer.kill();
  EXPECT_EQ(store.info().writer, "");
  collection.upsert({&record, 1});
  EXPECT_EQ(collection.count(), 1u);
}

TEST(Processes, AnIdleWriterGivesTheLockBack) {
  const TempDirectory directory;
  const Helper writer("writer", directory.path());
  ASSERT_EQ(writer.ask("batch 1"), "ok");
  Store store = Store::open(directory.path(), {.lock_timeout = milliseconds(30'000)});
  Collection collection = store.collection("shared");
  const Record record = test_record("mine", {1, 2, 3, 4});
  collection.upsert({&record, 1});
  EXPECT_TRUE(writer.is_running());
  EXPECT_EQ(collection.count(), 51u);
  // And takes it again, when this process has given it back, seeing what was written meanwhile.
  ASSERT_EQ(writer.ask("batch 6"), "ok");
  EXPECT_EQ(collection.count(), 51u);
}

TEST(Processes, AForkedChildIsRefusedAndMayGo) {
  const TempDirectory directory;
  const std::string path = directory.file("new");
  const Helper writer("writer", path);
  ASSERT_EQ(writer.ask("batch 1"), "ok");
  EXPECT_EQ(writer.ask("fork"), "unsupported");
  // The parent's locks and connections are as before.
  EXPECT_EQ(writer.ask("batch 6"), "ok");
  Store store = Store::open(path, {.read_only = true});
  EXPECT_EQ(store.collection("shared").count(), 50u);
  EXPECT_TRUE(is_sound(store));
}

}  // namespace
}  // namespace vkb

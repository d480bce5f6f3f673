// SPDX-License-Identifier: Apache-2.0
#include "engine/work_beside.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <stdexcept>

#include "tests/support/data_limit.h"

namespace vkb {
namespace {

constexpr std::string_view kStep = "build";

// Says how far it is, and again until it is told to stop. `said` is ready after the first time.
class Endless {
 public:
  int operator()(const ProgressFunction& progress) {
    int times = 0;
    while (progress({.step = kStep, .done = 7, .total = 9})) {
      if (++times == 1) said_.set_value();
    }
    return times;
  }
  void wait_until_said() { said_.get_future().wait(); }

 private:
  std::promise<void> said_;
};

TEST(WorkBeside, TellsWhatTheWorkSaid) {
  Endless endless;
  WorkBeside<int> beside(std::ref(endless));
  endless.wait_until_said();
  int told = 0;
  beside.wait([&](const Progress& at) {
    EXPECT_EQ(at.step, kStep);
    EXPECT_EQ(at.done, 7u);
    EXPECT_EQ(at.total, 9u);
    return ++told < 2;
  });
  EXPECT_EQ(told, 2);
  EXPECT_TRUE(beside.stopped());
  EXPECT_GE(beside.take(), 1);
}

TEST(WorkBeside, TellsNothingOnceStopped) {
  for (const bool by_progress : {true, false}) {
    Endless endless;
    WorkBeside<int> beside(std::ref(endless));
    endless.wait_until_said();
    int told = 0;
    const auto no = [&](const Progress&) {
      ++told;
      return false;
    };
    by_progress ? beside.tell(no) : beside.stop();
    beside.tell(no);
    beside.wait(no);
    EXPECT_EQ(told, by_progress ? 1 : 0);
  }
}

TEST(WorkBeside, TellsNothingBeforeTheWorkSaysSomething) {
  std::promise<void> begin;
  WorkBeside<int> beside([&](const ProgressFunction&) {
    begin.get_future().wait();
    return 5;
  });
  beside.tell([](const Progress&) {
    ADD_FAILURE() << "nothing was said";
    return true;
  });
  begin.set_value();
  beside.wait({});
  EXPECT_FALSE(beside.stopped());
  EXPECT_EQ(beside.take(), 5);
}

// Were it not stopped when a progress function throws, this would not end.
TEST(WorkBeside, EndsWithItsOwner) {
  Endless endless;
  const auto throwing = [](const Progress&) -> bool { throw std::runtime_error("no terminal"); };
  EXPECT_THROW(
      {
        WorkBeside<int> beside(std::ref(endless));
        beside.wait(throwing);
      },
      std::runtime_error);
}

TEST(WorkBeside, ThrowsWhatTheWorkThrew) {
  WorkBeside<int> beside([](const ProgressFunction&) -> int { throw std::runtime_error("gone"); });
  beside.wait({});
  EXPECT_THROW(beside.take(), std::runtime_error);
}

// Ends the process with 0 when the work is done where the system gives no thread.
[[noreturn]] void work_without_a_thread() {
  allow_data(1 << 20);  // not the stack of a thread
  WorkBeside<int> beside([](const ProgressFunction& progress) {
    return progress({.step = kStep, .done = 7, .total = 9}) ? 3 : 4;
  });
  beside.wait([](const Progress&) { return true; });
  ::_exit(beside.take() == 3 ? 0 : 1);
}

TEST(WorkBeside, WithoutAThreadItIsDoneWhenItIsTaken) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // else stacks of threads before are used again
  EXPECT_EXIT(work_without_a_thread(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vkb

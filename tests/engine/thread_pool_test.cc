// SPDX-License-Identifier: Apache-2.0
#include "engine/thread_pool.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <stdexcept>

#include "tests/support/data_limit.h"

namespace vkb {
namespace {

TEST(ThreadPool, RunsEverything) {
  std::atomic<int> sum = 0;
  ThreadPool pool;
  for (int i = 1; i <= 1000; ++i) pool.run([&sum, i] { sum += i; });
  EXPECT_TRUE(pool.wait());
  EXPECT_EQ(sum, 500500);
  EXPECT_EQ(pool.unfinished(), 0u);
}

TEST(ThreadPool, WaitingTellsWhetherTimeRanOut) {
  std::latch held(1);
  ThreadPool pool;
  pool.run([&] { held.wait(); });
  EXPECT_FALSE(pool.wait(0, 1));
  EXPECT_TRUE(pool.wait(1, 1));
  held.count_down();
  EXPECT_TRUE(pool.wait());
}

TEST(ThreadPool, RethrowsTheFirstErrorOnceAndGoesOn) {
  ThreadPool pool;
  pool.run([] { throw std::runtime_error("task"); });
  EXPECT_THROW(pool.wait(), std::runtime_error);
  EXPECT_TRUE(pool.wait());
  std::atomic<bool> ran = false;
  pool.run([&] { ran = true; });
  pool.wait();
  EXPECT_TRUE(ran);
}

TEST(ThreadPool, TheDestructorDropsWhatHasNotBegun) {
  std::latch begun(1);
  std::latch held(1);
  std::atomic<int> ran = 0;
  {
    ThreadPool pool;
    pool.run([&] {
      begun.count_down();
      held.wait();
    });
    begun.wait();
    for (int i = 0; i < 100; ++i) pool.run([&] { ++ran; });
    held.count_down();
  }
  EXPECT_LE(ran, 100);
}

// Ends the process with 0 when all is done where the system gives no thread.
[[noreturn]] void work_without_threads() {
  allow_data(1 << 20);  // not the stack of a thread
  int sum = 0;
  bool threw = false;
  ThreadPool pool;
  for (int i = 1; i <= 100; ++i) pool.run([&sum, i] { sum += i; });
  if (!pool.wait() || pool.unfinished() != 0) ::_exit(1);
  pool.run([] { throw std::runtime_error("task"); });
  try {
    pool.wait();
  } catch (const std::runtime_error&) {
    threw = true;
  }
  ::_exit(sum == 5050 && threw ? 0 : 2);
}

TEST(ThreadPool, WithoutThreadsTheCallerWorks) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // else stacks of threads before are used again
  EXPECT_EXIT(work_without_threads(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vkb

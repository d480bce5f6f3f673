// SPDX-License-Identifier: Apache-2.0
//
// A worker writes, and one of its calls of the operating system fails, or an allocation: the first,
// the second, and so on, in each of the ways that such a call has. It is reported as an error or
// made good; what was acknowledged stays, an operation that failed is there whole or not at all,
// and the store goes on working, on a full disk as soon as there is room (R1-R5).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/crash/worker_process.h"
#include "tests/support/io_shim.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

constexpr std::uint64_t kSeed = 77;
constexpr std::uint64_t kOperations = 14;  // of each kind at least one

class Faults : public ::testing::TestWithParam<std::size_t> {
 protected:
  IoFault fault() const { return static_cast<IoFault>(GetParam()); }
  // A program that meets it may not even notice.
  bool is_made_good() const {
    return fault() == IoFault::interrupted || fault() == IoFault::short_write ||
           fault() == IoFault::short_read;
  }

  // Runs the worker in a new directory, and returns how many calls the fault concerns.
  std::uint64_t run(std::uint64_t nth) {
    const std::string root = directory_.file("disk");
    store_ = root + "/store";
    std::filesystem::remove_all(root);
    std::filesystem::create_directory(root);
    const std::string count_path = directory_.file("count");
    ::setenv("VKB_IO_ROOT", (root + "/").c_str(), 1);
    ::setenv("VKB_IO_COUNT", count_path.c_str(), 1);
    ::setenv("VKB_IO_FAULT",
             (std::string(kIoFaults[GetParam()]) + " " + std::to_string(nth)).c_str(), 1);
    told_ = run_worker(
        VKB_CRASH_WORKER, store_, kSeed, 0, kSmallWorkload, "never", 0,
        [](const Told&) { return false; }, std::to_string(kOperations));
    for (const char* name : {"VKB_IO_ROOT", "VKB_IO_COUNT", "VKB_IO_FAULT"}) ::unsetenv(name);
    std::uint64_t count = 0;
    std::ifstream(count_path) >> count;
    return count;
  }

  // The states that the operations may have left, those that failed included.
  std::vector<Expected> states() const {
    std::vector<Expected> states{{}};
    for (std::uint64_t number = 0; number < told_.outcomes.size(); ++number) {
      const Operation operation = make_operation(kSeed, number, kSmallWorkload);
      std::vector<Expected> next;
      for (Expected& state : states) {
        if (told_.outcomes[number] == 'a') {
          apply_to(operation, state);
          next.push_back(std::move(state));
        } else {
          for (Expected& possible : possible_states(operation, state)) {
            next.push_back(std::move(possible));
          }
        }
      }
      states = std::move(next);
    }
    return states;
  }

  void verify() {
    ASSERT_TRUE(WIFEXITED(told_.status) && WEXITSTATUS(told_.status) == 0)
        << "worker status " << told_.status;
    if (is_made_good()) {
      EXPECT_EQ(told_.outcomes, std::string(kOperations, 'a'));
    }
    if (fault() != IoFault::full) {
      EXPECT_EQ(told_.outcomes.find("eee"), std::string::npos)
          << "the store did not recover: " << told_.outcomes;
    }
    Store store = Store::open(store_);
    Collection collection = store.get_or_create_collection("crash", kCrashOptions);
    const std::vector<Record> actual =
        collection.get({.ids = {}, .filter = {}, .include = kIncludeAll});
    std::string why;
    Expected found;
    for (const Expected& possible : states()) {
      const std::string difference = differences(possible, actual);
      found = possible;
      if (difference.empty()) {
        why.clear();
        break;
      }
      why += "\n  " + difference;
    }
    ASSERT_EQ(why, "") << "the store is in none of the possible states; " << told_.outcomes;
    ASSERT_TRUE(is_sound(store));
    if (!found.empty()) {
      TestRandom random(5);
      const std::vector<float> query = random_vector(random, kCrashDim);
      const auto hits = collection.query(query, {.k = 5, .exact = true});
      ASSERT_EQ(wrong_answer(Space::l2, query, 5, found, hits), "");
    }
    collection.compact();
    ASSERT_TRUE(is_sound(store));
  }

  TempDirectory directory_;
  std::string store_;
  Told told_;
};

TEST_P(Faults, AtTheNthCall) {
  const std::uint64_t count = run(0);
  ASSERT_NO_FATAL_FAILURE(verify());
  ASSERT_EQ(told_.outcomes, std::string(kOperations, 'a'));
  ASSERT_GT(count, 10U);
  const char* every = std::getenv("VKB_FAULTS_EVERY");
  const std::uint64_t step = every == nullptr ? std::max<std::uint64_t>(1, count / 8)
                                              : static_cast<std::uint64_t>(std::atoll(every));
  std::uint64_t met = 0;
  std::uint64_t failed = 0;
  for (std::uint64_t nth = 1; nth <= count; nth += step) {
    SCOPED_TRACE(::testing::Message()
                 << kIoFaults[GetParam()] << " at call " << nth << " of about " << count);
    run(nth);
    ASSERT_NO_FATAL_FAILURE(verify());
    ++met;
    failed += told_.outcomes.find('e') != std::string::npos;
  }
  std::printf("torture: %llu calls that failed (%s)\n", static_cast<unsigned long long>(met),
              kIoFaults[GetParam()]);
  EXPECT_EQ(failed > 0, !is_made_good());
}

INSTANTIATE_TEST_SUITE_P(Kinds, Faults, ::testing::Range<std::size_t>(0, kIoFaults.size()),
                         [](const auto& kind) { return std::string(kIoFaults[kind.param]); });

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// A worker process is killed again and again while it writes. After each kill every acknowledged
// operation must be there, the one in flight whole or not at all, and nothing else (R1-R5). A
// read-only store that this process keeps open through all the kills must agree (R7).
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <set>

#include "storage/manifest.h"
#include "storage/sqlite.h"
#include "tests/crash/worker_process.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

constexpr std::string_view kPoints[] = {
    "any",
    "write_before_commit",
    "write_committed",
    "segment_published",
    "any",
    "seal_before_commit",
    "seal_committed",
    "merge_before_commit",
    "any",
    "merge_committed",
    "batch_before_commit",
    "batch_committed",
    "append",
    "publish",
    "remove",
    "create",
};

// Only in the large workload: small collections have no document index.
constexpr std::string_view kIndexPoints[] = {"index_before_commit", "index_committed"};

// How a worker dies: by itself at a point, or killed some microseconds after some operation.
struct Death {
  std::string point = "never";
  std::uint64_t nth = 0;
  std::uint64_t operations = 0;
  int microseconds = 0;
};

Death make_death(TestRandom& random, const WorkloadSize& size) {
  if (random.below(4) == 0) {
    return {.operations = 1 + random.below(12),
            .microseconds = static_cast<int>(random.below(size.ids > 1000 ? 50000 : 3000))};
  }
  Death death;
  if (size.ids > 1000 && random.below(3) == 0) {
    death.point = kIndexPoints[random.below(std::size(kIndexPoints))];
    death.nth = 1 + random.below(4);
    return death;
  }
  death.point = kPoints[random.below(std::size(kPoints))];
  death.nth = 1 + random.below(death.point == "any" ? 120 : 4);
  return death;
}

class Crash : public ::testing::Test {
 protected:
  Told run_worker(std::uint64_t seed, std::uint64_t first, const WorkloadSize& size,
                  const Death& death) {
    return vkb::run_worker(
        VKB_CRASH_WORKER, store_, seed, first, size, death.point, death.nth, [&](const Told& told) {
          const bool due = death.operations > 0 && told.begun >= death.operations;
          // A death that the workload never meets is replaced by one from
          // outside.
          if (!due && told.begun <= kMostOperations) return false;
          ::pollfd none{};
          const ::timespec wait{0, death.microseconds * 1000L};
          ::ppoll(&none, 0, &wait, nullptr);
          return true;
        });
  }

  // Makes `expected_` the one of the possible states that the store is in.
  void identify_state(const std::vector<Expected>& states, const Collection& collection) {
    const std::vector<Record> actual =
        collection.get({.ids = {}, .filter = {}, .include = kIncludeAll});
    std::string why;
    for (auto state = states.rbegin(); state != states.rend(); ++state) {
      const std::string difference = differences(*state, actual);
      if (difference.empty()) {
        expected_ = *state;
        return;
      }
      why += "\n  " + difference;
    }
    FAIL() << "the store is in none of the possible states:" << why;
  }

  void expect_no_orphans() {
    Database database(store_ + "/vkb.sqlite3", Database::Mode::reader);
    std::vector<std::string> named = list_segment_files(database);
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(store_ + "/segments")) {
      found.push_back(entry.path().filename().string());
    }
    std::sort(named.begin(), named.end());
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, named);
  }

  void verify(const std::vector<Expected>& states, TestRandom& random) {
    Store store = Store::open(store_);
    Collection collection = store.collection("crash");
    ASSERT_NO_FATAL_FAILURE(identify_state(states, collection));
    ASSERT_TRUE(is_sound(store));
    ASSERT_EQ(collection.count(), expected_.size());
    if (!reading_) {
      reader_.emplace(Store::open(store_, {.read_only = true}));
      reading_.emplace(reader_->collection("crash"));
    }
    ASSERT_EQ(differences(expected_, *reading_), "");
    if (!expected_.empty()) {
      const std::vector<float> query = random_vector(random, kCrashDim);
      const std::string text = *expected_.begin()->second.document;
      const auto holds = [&](const auto& entry) {
        return entry.second.document->find(text) != std::string::npos;
      };
      const auto matches = std::count_if(expected_.begin(), expected_.end(), holds);
      const Filter filter = Filter::document(Filter::Op::document_contains, text);
      for (const Collection& asked : {collection, *reading_}) {
        const auto hits = asked.query(query, {.k = 5, .exact = true});
        ASSERT_EQ(wrong_answer(Space::l2, query, 5, expected_, hits), "");
        const auto found = asked.get({.ids = {}, .filter = filter, .include = {}});
        ASSERT_EQ(found.size(), static_cast<std::size_t>(matches)) << text;
      }
    }
    // The next write takes the lock that died with the worker, and removes what it left (R3).
    collection.modify({.model = "verified"});
    expect_no_orphans();
  }

  void torture(std::uint64_t seed, int rounds, const WorkloadSize& size) {
    TestRandom random(seed);
    std::uint64_t next = 0;
    for (int round = 0; round < rounds; ++round) {
      const Death death = make_death(random, size);
      SCOPED_TRACE(::testing::Message() << "seed " << seed << " round " << round << " at "
                                        << death.point << " " << death.nth);
      const Told told = run_worker(seed, next, size, death);
      ASSERT_TRUE(WIFSIGNALED(told.status) && WTERMSIG(told.status) == SIGKILL)
          << "worker status " << told.status;
      if (!told.killed_from_outside) met_.insert(death.point);
      for (std::uint64_t i = 0; i < told.done; ++i) {
        apply_to(make_operation(seed, next++, size), expected_);
      }
      std::vector<Expected> states{expected_};
      if (told.begun > told.done) {
        const Operation in_flight = make_operation(seed, next, size);
        SCOPED_TRACE(::testing::Message()
                     << "in flight: kind " << static_cast<int>(in_flight.kind));
        states = possible_states(in_flight, expected_);
        ++next;
      }
      if (told.begun == 0 && !exists_collection()) continue;
      ASSERT_NO_FATAL_FAILURE(verify(states, random));
    }
    std::printf("torture: %d kills\n", rounds);
  }

  bool exists_collection() {
    try {
      Store::open(store_, {.read_only = true}).collection("crash");
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(to_string(error.code()), to_string(ErrorCode::not_found)) << error.what();
      return false;
    }
  }

  // VKB_CRASH_ROUNDS=N: so many with small operations, a quarter of them with large ones.
  static int rounds(int usual, int share = 1) {
    const char* asked = std::getenv("VKB_CRASH_ROUNDS");
    return asked == nullptr ? usual : std::atoi(asked) / share;
  }

  static constexpr std::uint64_t kMostOperations = 40;
  std::set<std::string> met_;  // the points where a worker really died
  const TempDirectory directory_;
  const std::string store_ = directory_.file("store");
  Expected expected_;
  std::optional<Store> reader_;
  std::optional<Collection> reading_;
};

TEST_F(Crash, SmallOperations) {
  const int count = rounds(160);
  torture(other_seed(1), count, kSmallWorkload);
  if (count < 160) return;
  for (const std::string_view point : kPoints) {
    EXPECT_TRUE(met_.contains(std::string(point))) << "no worker died at " << point;
  }
}

TEST_F(Crash, WithGraphsAndBackgroundSeals) {
  const int count = rounds(40, 4);
  torture(other_seed(2), count, kLargeWorkload);
  if (count < 40) return;
  for (const std::string_view point : kIndexPoints) {
    EXPECT_TRUE(met_.contains(std::string(point))) << "no worker died at " << point;
  }
}

// A store whose creation is cut short is created by the next who opens it.
TEST_F(Crash, DuringCreation) {
  for (std::uint64_t nth = 1; nth <= 12; ++nth) {
    std::filesystem::remove_all(store_);
    Death death;
    death.point = "any";
    death.nth = nth;
    const Told told = run_worker(3, 0, kSmallWorkload, death);
    ASSERT_TRUE(WIFSIGNALED(told.status));
    Store store = Store::open(store_);
    store.get_or_create_collection("crash", kCrashOptions);
    EXPECT_TRUE(is_sound(store));
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// A worker writes, and every call that it makes of the file system is written down. Then power
// fails at many points of that journal: of what was not synced some is lost, or nothing, or all. In
// each image every acknowledged operation must be there, the one in flight whole or not at all, and
// nothing else (R1-R5).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <vector>

#include "tests/crash/disk.h"
#include "tests/crash/worker_process.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

using Loss = Disk::Loss;

// What had been acknowledged, and what begun, when the power failed.
struct Said {
  std::uint64_t begun = 0;
  std::uint64_t done = 0;
  Expected expected;         // after what is done
  std::uint64_t backup = 0;  // the operation that made the last one, and what is in it
  std::optional<Expected> backed_up{};
};

class PowerLoss : public ::testing::Test {
 protected:
  // The journal of a worker that carries out so many operations in an empty directory.
  std::vector<IoEntry> journal_of(std::uint64_t seed, const WorkloadSize& size,
                                  std::uint64_t operations) {
    const TempDirectory directory;
    root_ = directory.file("disk");
    std::filesystem::create_directory(root_);
    ::setenv("VKB_IO_JOURNAL", directory.file("journal").c_str(), 1);
    ::setenv("VKB_IO_ROOT", (root_ + "/").c_str(), 1);
    const Told told = run_worker(VKB_CRASH_WORKER, root_ + "/store", seed, 0, size, "never", 0,
                                 [&](const Told& so_far) { return so_far.begun > operations; });
    ::unsetenv("VKB_IO_JOURNAL");
    EXPECT_TRUE(told.killed_from_outside) << "worker status " << told.status;
    return read_io_journal(directory.file("journal"));
  }

  static void hear(const IoEntry& entry, std::uint64_t seed, const WorkloadSize& size, Said& said) {
    if (entry.kind != IoKind::said) return;
    if (entry.data == "b") {
      ++said.begun;
    } else {
      ASSERT_EQ(entry.data, "a");
      const Operation done = make_operation(seed, said.done, size);
      apply_to(done, said.expected);
      if (done.kind == Operation::Kind::backup) {
        said.backup = said.done;
        said.backed_up = said.expected;
      }
      ++said.done;
    }
  }

  void verify_image(const Disk& disk, Loss loss, TestRandom& random, const Said& said,
                    const std::vector<Expected>& states) {
    const TempDirectory image;
    disk.write_image(image.path(), loss, random);
    if (said.backed_up) {
      const std::string path = backup_of(image.file("store"), said.backup);
      const Store backup = Store::open(path, {.read_only = true});
      ASSERT_EQ(differences(*said.backed_up, backup.collection("crash")), "");
      ASSERT_TRUE(is_sound(backup));
    }
    Store store = Store::open(image.file("store"));
    const auto names = store.collections();
    if (names.empty()) {
      ASSERT_TRUE(states.front().empty()) << "the collection is lost";
      return;
    }
    Collection collection = store.collection("crash");
    const std::vector<Record> actual =
        collection.get({.ids = {}, .filter = {}, .include = kIncludeAll});
    std::string why;
    const auto state = std::find_if(states.begin(), states.end(), [&](const Expected& possible) {
      const std::string difference = differences(possible, actual);
      why += "\n  " + difference;
      return difference.empty();
    });
    ASSERT_NE(state, states.end()) << "the store is in none of the possible states:" << why;
    ASSERT_TRUE(is_sound(store));
    if (!state->empty()) {
      const std::vector<float> query = random_vector(random, kCrashDim);
      const auto hits = collection.query(query, {.k = 5, .exact = true});
      ASSERT_EQ(wrong_answer(Space::l2, query, 5, *state, hits), "");
    }
    collection.upsert(std::vector<Record>{test_record("after", random_vector(random, kCrashDim))});
    ++images_;
  }

  // Images at `cuts` random points of a worker's life.
  void torture(std::uint64_t seed, const WorkloadSize& size, std::uint64_t operations,
               std::size_t cuts) {
    const std::vector<IoEntry> journal = journal_of(seed, size, operations);
    ASSERT_GT(journal.size(), 100U);
    TestRandom random(seed);
    std::vector<std::size_t> points;
    for (std::size_t i = 0; i < cuts; ++i) points.push_back(random.below(journal.size() + 1));
    std::sort(points.begin(), points.end());
    Disk disk(root_);
    Said said;
    std::size_t at = 0;
    for (const std::size_t point : points) {
      for (; at < point; ++at) {
        disk.apply(journal[at]);
        hear(journal[at], seed, size, said);
      }
      std::vector<Expected> states{said.expected};
      if (said.begun > said.done) {
        states = possible_states(make_operation(seed, said.done, size), said.expected);
      }
      const Loss loss = std::array{Loss::some, Loss::some, Loss::all, Loss::none}[random.below(4)];
      SCOPED_TRACE(::testing::Message()
                   << "seed " << seed << ", power lost after " << point << " of " << journal.size()
                   << " calls, loss " << static_cast<int>(loss));
      ASSERT_NO_FATAL_FAILURE(verify_image(disk, loss, random, said, states));
    }
  }

  // VKB_POWER_LOSS_IMAGES=N: so many of small operations, a quarter of them of large ones.
  static std::size_t images(std::size_t usual, std::size_t share = 1) {
    const char* asked = std::getenv("VKB_POWER_LOSS_IMAGES");
    return asked == nullptr ? usual : static_cast<std::size_t>(std::atoll(asked)) / share;
  }
  void TearDown() override { std::printf("torture: %zu power losses\n", images_); }

  std::string root_;
  std::size_t images_ = 0;
};

TEST_F(PowerLoss, SmallOperations) {
  const std::size_t wanted = images(100);
  for (std::uint64_t seed = other_seed(1); images_ < wanted && !HasFatalFailure(); ++seed) {
    torture(seed, kSmallWorkload, 12, std::min<std::size_t>(wanted - images_, 50));
  }
}

TEST_F(PowerLoss, WithGraphsAndBackgroundSeals) {
  const std::size_t wanted = images(20, 4);
  for (std::uint64_t seed = other_seed(501); images_ < wanted && !HasFatalFailure(); ++seed) {
    torture(seed, kLargeWorkload, 6, std::min<std::size_t>(wanted - images_, 20));
  }
}

}  // namespace
}  // namespace vkb

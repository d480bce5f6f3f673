// SPDX-License-Identifier: Apache-2.0
//
// OpenOptions::memory_limit: what the engine allocates stays within it, and the answers are right.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <thread>

#include "engine/memory_budget.h"
#include "engine/vkb.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_data.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

constexpr std::size_t kDim = 1024;
constexpr std::size_t kRows = 60'000;
constexpr std::uint64_t kLimit = MemoryBudget::kLeast;
const CollectionOptions kOptions{.space = Space::l2, .dim = kDim, .m = 4, .ef_construction = 10};

// Bytes of this process that are no file's.
std::uint64_t anonymous_bytes() {
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  std::uint64_t shared = 0;
  std::ifstream("/proc/self/statm") >> size >> resident >> shared;
  return (resident - shared) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// The most that there were, above those at the beginning, while `work` was done. It looks once a
// millisecond: a loop without a pause would take a core from the tests beside it.
template <typename Work>
std::uint64_t most_bytes(const Work& work) {
  const std::uint64_t before = anonymous_bytes();
  std::atomic<std::uint64_t> most = before;
  std::atomic<bool> done = false;
  std::thread watching([&] {
    for (; !done; std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
      most = std::max(most.load(), anonymous_bytes());
    }
  });
  work();
  done = true;
  watching.join();
  return most - before;
}

Record record_of(std::size_t number) {
  TestRandom random(number);
  return test_record(numbered("r", number), random_vector(random, kDim));
}

// Records that are made when they are asked for.
class Numbers : public Source {
 public:
  explicit Numbers(std::size_t rows) : rows_(rows) {}
  bool next(std::vector<Record>& batch) override {
    batch.clear();
    for (; batch.size() < 200 && at_ < rows_; ++at_) batch.push_back(record_of(at_));
    return !batch.empty();
  }
  std::uint64_t size_hint() const override { return rows_; }

 private:
  const std::size_t rows_;
  std::size_t at_ = 0;
};

TEST(MemoryLimit, ALoadStaysWithinIt) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers take memory of their own";
#endif
  for (const std::uint64_t limit : {kLimit, std::uint64_t{0}}) {
    const TempDirectory directory;
    Store store = Store::open(directory.path(), {.memory_limit = limit});
    Collection collection = store.create_collection("vectors", kOptions);
    Numbers numbers(kRows);
    const std::uint64_t most = most_bytes([&] { collection.load(numbers); });
    const std::vector<CollectionInfo::Segment> segments = collection.info().segments;
    if (limit == 0) {  // which shows that there is something to limit
      EXPECT_GT(most, kLimit);
      EXPECT_EQ(segments.size(), 1U);
      continue;
    }
    EXPECT_LT(most, kLimit);
    EXPECT_GT(segments.size(), 2U);
    EXPECT_LT(most_bytes([&] { EXPECT_TRUE(collection.compact()); }), kLimit);
    const MemoryBudget budget(limit);
    std::uint64_t rows = 0;
    for (const CollectionInfo::Segment& segment : collection.info().segments) {
      EXPECT_LE(segment.row_count, budget.graph_rows(kDim, kOptions.m));
      rows += segment.row_count;
    }
    EXPECT_EQ(rows, kRows);
    for (std::size_t number = 0; number < kRows; number += kRows / 7) {
      const Record wanted = record_of(number);
      const std::vector<Hit> hits = collection.query(*wanted.embedding, {.k = 1, .exact = true});
      ASSERT_EQ(hits.size(), 1U);
      EXPECT_EQ(hits.front().record.id, wanted.id);
    }
  }
}

// Nobody merges while the log grows: it is sealed by the writer itself.
TEST(MemoryLimit, ALogStaysWithinIt) {
  const TempDirectory directory;
  Store store = Store::open(directory.path(), {.memory_limit = kLimit});
  Collection collection = store.create_collection("vectors", kOptions);
  const std::uint64_t most = MemoryBudget(kLimit).log_rows(kDim);
  constexpr std::size_t kBatch = 300;
  for (std::size_t number = 0; number < 2 * most; number += kBatch) {
    std::vector<Record> batch;
    for (std::size_t i = 0; i < kBatch; ++i) batch.push_back(record_of(number + i));
    collection.add(batch);
    EXPECT_LE(collection.info(InfoDetail::segments).unsealed_count, most + kBatch);
  }
}

// Built without a limit, and to be built anew with one: said, not done, and nothing is lost.
TEST(MemoryLimit, ASegmentThatIsTooLargeIsNamed) {
  const TempDirectory directory;
  constexpr std::size_t kMany = 15'000;
  {
    Store store = Store::open(directory.path());
    Collection collection = store.create_collection("vectors", kOptions);
    Numbers numbers(kMany);
    collection.load(numbers);
  }
  Store store = Store::open(directory.path(), {.memory_limit = kLimit});
  Collection collection = store.collection("vectors");
  EXPECT_TRUE(collection.compact());  // nothing to do
  collection.remove(std::vector<std::string>{numbered("r", 3)});
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::invalid_argument, "memory limit of 64 MB");
  EXPECT_EQ(collection.count(), kMany - 1);
  EXPECT_TRUE(store.check(true).problems.empty());
}

TEST(MemoryLimit, OneThatIsTooSmallIsRefused) {
  const TempDirectory directory;
  VKB_EXPECT_ERROR(Store::open(directory.path(), {.memory_limit = kLimit - 1}),
                   ErrorCode::invalid_argument, "64 MB");
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// check() and repair() on sound stores; damaged ones are in tests/corrupt.
#include <gtest/gtest.h>

#include "engine/vkb.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

TEST(Check, ASoundStoreHasNoProblemsAndIsCounted) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("checked");
  collection.add(test_records(50, 4));
  collection.compact();
  collection.add(test_records(5, 4, 2, "more"));
  for (const bool deep : {false, true}) {
    const CheckResult result = store.check(deep);
    EXPECT_TRUE(result.problems.empty());
    EXPECT_EQ(result.records, 55u);
    EXPECT_EQ(result.segments, 1u);
    EXPECT_EQ(result.bytes > 0, deep);
  }
  EXPECT_TRUE(store.repair().problems.empty());
  EXPECT_EQ(collection.count(), 55u);
}

TEST(Check, AnEmptyStoreIsSound) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  EXPECT_TRUE(is_sound(store));
  store.create_collection("empty");
  EXPECT_TRUE(is_sound(store));
}

TEST(Check, CanBeStopped) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("checked");
  collection.add(test_records(50, 4));
  collection.compact();
  int asked = 0;
  store.check(true, [&](const Progress& progress) {
    EXPECT_EQ(progress.step, "check");
    return ++asked < 2;
  });
  EXPECT_EQ(asked, 2);
}

// A compaction that takes a segment away while it is being checked is no damage.
TEST(Check, BesideACompactionFindsNothing) {
  const TempDirectory directory;
  FaultyFileSystem files;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("checked");
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    VectorSource source(test_records(20, 4, seed, numbered("s", seed)), 20);
    collection.load(source);
  }
  const std::vector<std::string> id{"s10"};
  collection.remove(id);
  const Store reader = Store::open(directory.path(), {.read_only = true, .file_system = &files});
  bool compacted = false;
  files.set_hook([&](FileCall call, const std::string&) {
    if (call != FileCall::map || compacted) return;
    compacted = true;
    collection.compact();
  });
  EXPECT_TRUE(is_sound(reader));
  EXPECT_TRUE(compacted);
}

}  // namespace
}  // namespace vkb

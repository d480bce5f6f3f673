// SPDX-License-Identifier: Apache-2.0
//
// Opening does not cost more for more rows: the same calls of the file layer, whatever the number
// of records. Counting and getting touch no segment (docs/overview.md).
#include <gtest/gtest.h>

#include "engine/tuning.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

void fill(const std::string& path, std::size_t rows) {
  Store store = Store::open(path);
  Collection collection =
      store.create_collection("rows", {.space = Space::l2, .m = 4, .ef_construction = 20});
  VectorSource source(test_records(rows, 4), 5000);
  collection.load(source);
}

std::vector<std::string> calls_of_first_query(const std::string& path, std::size_t rows) {
  FaultyFileSystem files;
  const Store store = Store::open(path, {.file_system = &files});
  const Collection collection = store.collection("rows");
  EXPECT_EQ(collection.count(), rows);
  EXPECT_EQ(collection.query(std::vector<float>(4, 0.5F), {.k = 5}).size(), 5u);
  std::vector<std::string> calls;
  for (const std::string& entry : files.log()) calls.push_back(entry.substr(0, entry.find(' ')));
  return calls;
}

TEST(OpenCost, DoesNotGrowWithRows) {
  const TempDirectory directory;
  constexpr std::size_t kFew = kGraphMinRows + 100;
  fill(directory.file("few"), kFew);
  fill(directory.file("many"), 10 * kFew);
  const auto few = calls_of_first_query(directory.file("few"), kFew);
  EXPECT_EQ(few, calls_of_first_query(directory.file("many"), 10 * kFew));
  EXPECT_EQ(std::count(few.begin(), few.end(), "map"), 1);
  EXPECT_EQ(std::count(few.begin(), few.end(), "list"), 0);
  EXPECT_EQ(std::count(few.begin(), few.end(), "try_lock"), 0);
}

TEST(OpenCost, CountGetAndFiltersMapNoSegment) {
  const TempDirectory directory;
  fill(directory.path(), 1000);
  FaultyFileSystem files;
  const Store store = Store::open(directory.path(), {.file_system = &files});
  const Collection collection = store.collection("rows");
  EXPECT_EQ(collection.count(), 1000u);
  EXPECT_EQ(collection.get().size(), 1000u);
  EXPECT_EQ(
      collection
          .get({.ids = {}, .filter = Filter::compare(Filter::Op::eq, "group", std::string("g1"))})
          .size(),
      100u);
  EXPECT_EQ(files.count(FileCall::map), 0u);
}

}  // namespace
}  // namespace vkb

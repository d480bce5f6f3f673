// SPDX-License-Identifier: Apache-2.0
#include "engine/filter_cache.h"

#include <gtest/gtest.h>

#include "engine/tuning.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

Filter page(std::int64_t number) { return Filter::compare(Filter::Op::eq, "page", number); }

TEST(FilterCacheTest, GivesBackForTheSameFilterAndVersion) {
  FilterCache cache;
  const auto compiled = std::make_shared<const CompiledFilter>();
  cache.put(page(1), {.changes = 5, .manifest_version = 2}, compiled, kCachedFilters);
  EXPECT_EQ(cache.find(page(1), {.changes = 5, .manifest_version = 2}), compiled);
  EXPECT_EQ(cache.find(page(2), {.changes = 5, .manifest_version = 2}), nullptr);
  EXPECT_EQ(cache.find(page(1), {.changes = 6, .manifest_version = 2}), nullptr);
  EXPECT_EQ(cache.find(page(1), {.changes = 5, .manifest_version = 3}), nullptr);
  // A new version's filters take the place of the old one's.
  cache.put(page(2), {.changes = 6, .manifest_version = 2}, compiled, kCachedFilters);
  EXPECT_EQ(cache.find(page(1), {.changes = 6, .manifest_version = 2}), nullptr);
  EXPECT_EQ(cache.find(page(2), {.changes = 6, .manifest_version = 2}), compiled);
}

TEST(FilterCacheTest, KeepsTheOnesUsedLast) {
  FilterCache cache;
  const auto compiled = std::make_shared<const CompiledFilter>();
  for (std::size_t i = 0; i <= kCachedFilters; ++i) {
    cache.put(page(static_cast<std::int64_t>(i)), {}, compiled, kCachedFilters);
    EXPECT_NE(cache.find(page(0), {}), nullptr) << i;
  }
  EXPECT_EQ(cache.find(page(1), {}), nullptr);
}

// Requests from a network may not fill the memory with operands.
TEST(FilterCacheTest, LargeFiltersAreNotKept) {
  FilterCache cache;
  const auto compiled = std::make_shared<const CompiledFilter>();
  const Filter many = Filter::one_of(Filter::Op::in, "page", std::vector<Value>(2000, Value{1.0}));
  const Filter text = Filter::compare(Filter::Op::eq, "page", std::string(100'000, 'x'));
  const Filter nested = Filter::combine(Filter::Op::any_of, std::vector<Filter>(1000, page(1)));
  for (const Filter& filter : {many, text, nested}) {
    cache.put(filter, {}, compiled, kCachedFilters);
    EXPECT_EQ(cache.find(filter, {}), nullptr);
  }
}

// R7: a filter asked again answers what is there now, whoever changed it and whatever changed.
TEST(FilterCacheTest, NoChangeIsMissed) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("pages", {.space = Space::l2});
  std::vector<Record> records = test_records(100, 4);
  for (std::size_t i = 0; i < records.size(); ++i) {
    records[i].metadata = Metadata{{"page", static_cast<std::int64_t>(i % 10)}};
    records[i].document = i % 2 == 0 ? "even" : "odd";
  }
  collection.add(records);
  Store other = Store::open(directory.path());
  Collection elsewhere = other.collection("pages");
  const auto count = [&](const Filter& filter) {
    const std::vector<float> origin(4, 0.0F);
    const std::size_t here = collection.query(origin, {.k = 100, .filter = filter}).size();
    EXPECT_EQ(elsewhere.query(origin, {.k = 100, .filter = filter}).size(), here);
    return here;
  };
  const Filter even = Filter::document(Filter::Op::document_contains, "even");
  const Filter not_three = Filter::compare(Filter::Op::ne, "page", std::int64_t{3});
  EXPECT_EQ(count(page(3)), 10U);
  EXPECT_EQ(count(not_three), 90U);
  EXPECT_EQ(count(even), 50U);
  // Metadata alone, from the other store.
  const Record moved{.id = records[0].id, .metadata = Metadata{{"page", std::int64_t{3}}}};
  elsewhere.update({&moved, 1});
  EXPECT_EQ(count(page(3)), 11U);
  EXPECT_EQ(count(not_three), 89U);
  const Record rewritten{.id = records[0].id, .document = "odd"};
  collection.update({&rewritten, 1});
  EXPECT_EQ(count(even), 49U);
  collection.remove(page(3));
  EXPECT_EQ(count(page(3)), 0U);
  EXPECT_EQ(count(not_three), 89U);
  collection.compact();
  EXPECT_EQ(count(page(3)), 0U);
  EXPECT_EQ(count(not_three), 89U);
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

SegmentRow segment(const std::string& file, std::uint64_t rows = 10) {
  return {.segment_id = 0,
          .file = file,
          .row_count = rows,
          .byte_count = 4096,
          .checksum = 1,
          .has_graph = false};
}

std::vector<std::pair<std::uint32_t, std::int64_t>> tombstones(Database& db, std::int64_t id,
                                                               std::int64_t after = 0) {
  std::vector<std::pair<std::uint32_t, std::int64_t>> out;
  for (const Tombstone& tombstone : list_tombstones(db, id, after))
    out.emplace_back(tombstone.slot, tombstone.seq);
  std::sort(out.begin(), out.end());
  return out;
}

using Pairs = std::vector<std::pair<std::uint32_t, std::int64_t>>;

TEST(Manifest, SegmentsComeBackOldestFirst) {
  TestDatabase file;
  const std::int64_t one = make_collection(file.db(), "one");
  const std::int64_t two = make_collection(file.db(), "two");
  const SegmentRow big = {.segment_id = 0,
                          .file = "z.vseg",
                          .row_count = 1ull << 40,
                          .byte_count = 1ull << 50,
                          .checksum = std::numeric_limits<std::uint64_t>::max(),
                          .has_graph = true};
  const std::int64_t first = insert_segment(file.db(), one, big);
  const std::int64_t second = insert_segment(file.db(), one, segment("a.vseg"));
  insert_segment(file.db(), two, segment("b.vseg"));
  const std::vector<SegmentRow> rows = list_segments(file.db(), one);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].segment_id, first);
  EXPECT_EQ(rows[0].file, "z.vseg");
  EXPECT_EQ(rows[0].row_count, big.row_count);
  EXPECT_EQ(rows[0].byte_count, big.byte_count);
  EXPECT_EQ(rows[0].checksum, big.checksum);
  EXPECT_TRUE(rows[0].has_graph);
  EXPECT_EQ(rows[1].segment_id, second);
  EXPECT_FALSE(rows[1].has_graph);
  std::vector<std::string> files = list_segment_files(file.db());
  std::sort(files.begin(), files.end());
  EXPECT_EQ(files, (std::vector<std::string>{"a.vseg", "b.vseg", "z.vseg"}));
}

TEST(Manifest, TombstonesKeepTheirFirstSeq) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  const std::int64_t a = insert_segment(file.db(), collection, segment("a"));
  const std::int64_t b = insert_segment(file.db(), collection, segment("b"));
  insert_tombstone(file.db(), a, {.slot = 3, .seq = 20});
  insert_tombstone(file.db(), a, {.slot = 3, .seq = 30});
  insert_tombstone(file.db(), a, {.slot = 0xFFFF'FFFF, .seq = 10});
  insert_tombstone(file.db(), b, {.slot = 3, .seq = 40});
  EXPECT_EQ(tombstones(file.db(), a), (Pairs{{3, 20}, {0xFFFF'FFFF, 10}}));
  EXPECT_EQ(tombstones(file.db(), a, 10), (Pairs{{3, 20}}));
  EXPECT_TRUE(tombstones(file.db(), a, 20).empty());
  EXPECT_EQ(tombstones(file.db(), b), (Pairs{{3, 40}}));
}

TEST(Manifest, DeletingASegmentTakesItsTombstonesAndNeverReusesItsId) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  const std::int64_t a = insert_segment(file.db(), collection, segment("a"));
  const std::int64_t b = insert_segment(file.db(), collection, segment("b"));
  insert_tombstone(file.db(), a, {.slot = 1, .seq = 1});
  insert_tombstone(file.db(), b, {.slot = 2, .seq = 2});
  delete_segment(file.db(), b);
  EXPECT_TRUE(tombstones(file.db(), b).empty());
  EXPECT_EQ(tombstones(file.db(), a), (Pairs{{1, 1}}));
  EXPECT_EQ(list_segment_files(file.db()), std::vector<std::string>{"a"});
  file.reopen();
  EXPECT_GT(insert_segment(file.db(), collection, segment("b")), b);
}

TEST(Manifest, AFileIsNamedOnce) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  insert_segment(file.db(), collection, segment("a"));
  VKB_EXPECT_ERROR(insert_segment(file.db(), collection, segment("a")), ErrorCode::io_error,
                   "UNIQUE");
}

TEST(Manifest, StrayTombstonesAreThoseBeyondTheirSegment) {
  TestDatabase file;
  const std::int64_t one = make_collection(file.db(), "one");
  const std::int64_t two = make_collection(file.db(), "two");
  const std::int64_t a = insert_segment(file.db(), one, segment("a", 10));
  const std::int64_t b = insert_segment(file.db(), one, segment("b", 20));
  const std::int64_t other = insert_segment(file.db(), two, segment("c", 1));
  for (const std::int64_t id : {a, b, other})
    for (const std::uint32_t slot : {0u, 9u, 10u, 19u, 20u})
      insert_tombstone(file.db(), id, {.slot = slot, .seq = 1});
  remove_stray_tombstones(file.db(), one);
  EXPECT_EQ(tombstones(file.db(), a), (Pairs{{0, 1}, {9, 1}}));
  EXPECT_EQ(tombstones(file.db(), b), (Pairs{{0, 1}, {9, 1}, {10, 1}, {19, 1}}));
  EXPECT_EQ(tombstones(file.db(), other).size(), 5u);
}

}  // namespace
}  // namespace vkb

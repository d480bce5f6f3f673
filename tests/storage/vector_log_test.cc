// SPDX-License-Identifier: Apache-2.0
#include "storage/vector_log.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

struct Entry {
  std::int64_t seq;
  std::int64_t row_id;
  std::vector<std::uint32_t> bits;
  bool operator==(const Entry&) const = default;
};

std::vector<std::uint32_t> bits_of(std::span<const float> vector) {
  std::vector<std::uint32_t> bits;
  for (const float value : vector) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

std::vector<Entry> entries_of(Database& db, std::int64_t collection, std::int64_t after,
                              std::uint32_t dim) {
  std::vector<Entry> entries;
  read_log(db, collection, after, dim, [&](const LogEntry& entry) {
    entries.push_back({entry.seq, entry.row_id, bits_of(entry.vector)});
  });
  return entries;
}

TEST(VectorLog, GivesVectorsBackBitForBitInOrder) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  const std::vector<float> odd = {-0.0F, std::numeric_limits<float>::denorm_min(),
                                  std::nextafter(1.0F, 2.0F)};
  const std::vector<float> plain = {1, 2, 3};
  const std::int64_t first = append_log(file.db(), collection, 7, odd);
  const std::int64_t second = append_removal(file.db(), collection, 7);
  const std::int64_t third = append_log(file.db(), collection, 5, plain);
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  const std::vector<Entry> all = {
      {first, 7, bits_of(odd)}, {second, 7, {}}, {third, 5, bits_of(plain)}};
  EXPECT_EQ(entries_of(file.db(), collection, 0, 3), all);
  EXPECT_EQ(entries_of(file.db(), collection, first, 3),
            std::vector<Entry>(all.begin() + 1, all.end()));
  EXPECT_TRUE(entries_of(file.db(), collection, third, 3).empty());
  EXPECT_EQ(count_log(file.db(), collection), 3u);
}

TEST(VectorLog, CollectionsAreApart) {
  TestDatabase file;
  const std::int64_t one = make_collection(file.db(), "one");
  const std::int64_t two = make_collection(file.db(), "two");
  const std::vector<float> narrow = {1};
  const std::vector<float> wide = {1, 2};
  const std::int64_t a = append_log(file.db(), one, 1, narrow);
  const std::int64_t b = append_log(file.db(), two, 2, wide);
  trim_log(file.db(), one, b);
  EXPECT_EQ(count_log(file.db(), one), 0u);
  EXPECT_EQ(entries_of(file.db(), two, 0, 2), (std::vector<Entry>{{b, 2, bits_of(wide)}}));
  EXPECT_LT(a, b);
}

TEST(VectorLog, TrimIsInclusive) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  const std::vector<float> vector = {1};
  append_log(file.db(), collection, 1, vector);
  const std::int64_t middle = append_log(file.db(), collection, 2, vector);
  const std::int64_t last = append_log(file.db(), collection, 3, vector);
  trim_log(file.db(), collection, middle);
  const std::vector<Entry> left = entries_of(file.db(), collection, 0, 1);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].seq, last);
}

TEST(VectorLog, R4_SeqIsNeverReused) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  const std::vector<float> vector = {1};
  append_log(file.db(), collection, 1, vector);
  const std::int64_t last = append_removal(file.db(), collection, 1);
  trim_log(file.db(), collection, last);
  EXPECT_GT(append_log(file.db(), collection, 1, vector), last);
  trim_log(file.db(), collection, last + 1);
  file.reopen();
  EXPECT_GT(append_log(file.db(), collection, 1, vector), last + 1);
}

TEST(VectorLog, AVectorOfAnotherLengthIsCorruption) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  const std::vector<float> vector = {1, 2, 3};
  append_log(file.db(), collection, 1, vector);
  for (const std::uint32_t dim : {2u, 4u, 1u}) {
    VKB_EXPECT_ERROR(
        entries_of(file.db(), collection, 0, dim), ErrorCode::corruption,
        "vector_log entry 1: expected " + std::to_string(dim * 4) + " bytes, found 12");
  }
  file.db().execute("UPDATE vector_log SET vector=x''");
  VKB_EXPECT_ERROR(entries_of(file.db(), collection, 0, 3), ErrorCode::corruption, "found 0");
}

TEST(VectorLog, AVisitorMayThrowAndMayUseTheDatabase) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "one");
  const std::vector<float> vector = {1};
  for (int row = 1; row <= 3; ++row) append_log(file.db(), collection, row, vector);
  const auto stop = [](const LogEntry&) { throw Error(ErrorCode::not_found, "stop"); };
  VKB_EXPECT_ERROR(read_log(file.db(), collection, 0, 1, stop), ErrorCode::not_found, "stop");
  int pairs = 0;
  read_log(file.db(), collection, 0, 1, [&](const LogEntry&) {
    read_log(file.db(), collection, 0, 1, [&](const LogEntry&) { ++pairs; });
  });
  EXPECT_EQ(pairs, 9);
}

}  // namespace
}  // namespace vkb

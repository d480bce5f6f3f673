// SPDX-License-Identifier: Apache-2.0
#include "storage/row_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "tests/support/test_data.h"

namespace vkb {
namespace {

using Model = std::set<std::int64_t>;

// Sparse, dense and contiguous stretches, on both sides of 2^32 and of 2^62.
Model random_rows(TestRandom& random) {
  Model rows;
  for (std::uint64_t part = random.below(4); part > 0; --part) {
    const std::int64_t bases[] = {1, 65'530, std::int64_t{1} << 32, std::int64_t{1} << 62};
    const std::int64_t base = bases[random.below(4)] + static_cast<std::int64_t>(random.below(9));
    const std::int64_t stride =
        random.below(3) == 0 ? 1 : static_cast<std::int64_t>(random.below(300)) + 1;
    std::int64_t row = base;
    for (std::uint64_t count = random.below(7000); count > 0; --count) {
      rows.insert(row);
      row += 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(stride)));
    }
  }
  return rows;
}

RowSet set_of(const Model& model) {
  return RowSet(std::vector<std::int64_t>(model.begin(), model.end()));
}
std::vector<std::int64_t> list_of(const Model& model) { return {model.begin(), model.end()}; }

template <typename Algorithm>
std::vector<std::int64_t> merged(const Model& a, const Model& b, Algorithm algorithm) {
  std::vector<std::int64_t> out;
  algorithm(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(out));
  return out;
}

TEST(RowSet, AgreesWithAStdSet) {
  TestRandom random(5);
  for (int round = 0; round < 60; ++round) {
    const Model a = random_rows(random);
    const Model b = random_rows(random);
    const RowSet left = set_of(a);
    const RowSet right = set_of(b);
    ASSERT_EQ(left.size(), a.size());
    ASSERT_EQ(left.empty(), a.empty());
    ASSERT_EQ(left == right, a == b);
    RowSet both = left;
    both &= right;
    ASSERT_EQ(both.values(), merged(a, b, [](auto... x) { std::set_intersection(x...); }));
    RowSet either = left;
    either |= right;
    ASSERT_EQ(either.values(), merged(a, b, [](auto... x) { std::set_union(x...); }));
    RowSet rest = left;
    rest -= right;
    const auto difference = merged(a, b, [](auto... x) { std::set_difference(x...); });
    ASSERT_EQ(rest.values(), difference);
    ASSERT_EQ(rest.empty(), difference.empty());
    const std::vector<std::byte> bytes = either.serialized();
    ASSERT_EQ(RowSet::parse(bytes), either);
    ASSERT_EQ(left.values(), list_of(a)) << "an operand was changed";
  }
}

TEST(RowSet, OneByOne) {
  RowSet rows{7, 3, 7, std::int64_t{1} << 40};
  EXPECT_EQ(rows.size(), 3u);
  EXPECT_TRUE(rows.contains(3));
  EXPECT_FALSE(rows.contains(4));
  EXPECT_FALSE(rows.contains((std::int64_t{1} << 40) + 3));
  rows.remove(std::int64_t{1} << 40);
  rows.remove(4);
  EXPECT_EQ(rows, (RowSet{3, 7}));
  rows.remove(3);
  rows.remove(7);
  EXPECT_EQ(rows, RowSet());
  EXPECT_TRUE(rows.empty());
  rows |= rows;
  rows.add(9);
  rows &= rows;
  EXPECT_EQ(rows.values(), std::vector<std::int64_t>{9});
  rows -= rows;
  EXPECT_TRUE(rows.empty());
}

TEST(RowSet, OffsetAndLimit) {
  Model model;
  for (std::int64_t row = 1; row < 20'000; row += 2) model.insert(row);
  const std::vector<std::int64_t> all = list_of(model);
  const RowSet rows = set_of(model);
  for (const std::uint64_t offset : {0u, 1u, 2047u, 2048u, 9999u, 10'000u, 10'001u}) {
    for (const std::uint64_t limit : {0u, 1u, 2048u, 2049u, 50'000u}) {
      const auto first =
          all.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(offset, all.size()));
      const auto count =
          std::min<std::uint64_t>(limit, static_cast<std::uint64_t>(all.end() - first));
      EXPECT_EQ(rows.values(offset, limit),
                std::vector<std::int64_t>(first, first + static_cast<std::ptrdiff_t>(count)));
    }
  }
}

TEST(RowSet, VisitEndsWhenAsked) {
  Model model;
  for (std::int64_t row = 0; row < 10'000; ++row) model.insert(row * 1'000'000'000);
  int batches = 0;
  set_of(model).visit([&](std::span<const std::int64_t>) { return ++batches < 3; });
  EXPECT_EQ(batches, 3);
}

// R8: whatever the bytes, the answer is an error or a set that works.
TEST(RowSet, R8_DamagedBytesAreRefusedOrHarmless) {
  TestRandom random(8);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::byte> bytes = set_of(random_rows(random)).serialized();
    if (round % 3 == 0) bytes.resize(random.below(bytes.size()));
    const std::size_t reach =
        random.below(2) == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 64);
    for (std::uint64_t i = 1 + random.below(3); i > 0 && reach > 0; --i) {
      bytes[random.below(reach)] ^= static_cast<std::byte>(1 + random.below(255));
    }
    try {
      RowSet rows = RowSet::parse(bytes);
      const std::vector<std::int64_t> values = rows.values();
      ASSERT_EQ(values.size(), rows.size());
      ASSERT_TRUE(std::is_sorted(values.begin(), values.end(), std::less_equal<>()));
      rows &= RowSet{1, 2, 3};
      rows |= RowSet(values);
      ASSERT_EQ(rows.values(), values);
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::corruption);
      ++refused;
    }
  }
  EXPECT_GT(refused, 2000);
}

TEST(RowSet, WhatEachRefusalSays) {
  const auto bytes_of = [](const char* hex) {
    std::vector<std::byte> out;
    for (; *hex != '\0'; hex += 2) {
      out.push_back(static_cast<std::byte>(std::stoi(std::string(hex, 2), nullptr, 16)));
    }
    return out;
  };
  const std::string one = "010000000000000000000000";  // one part, high bits 0
  // Without runs: cookie, containers, key, count - 1, offset, values.
  EXPECT_EQ(RowSet::parse(bytes_of((one + "3a300000010000000000010010000000"
                                          "05000700")
                                       .c_str())),
            (RowSet{5, 7}));
  // With one run: cookie, which are runs, key, count - 1, runs, start, length - 1.
  EXPECT_EQ(RowSet::parse(bytes_of((one + "3b300000"
                                          "01"
                                          "00000200"
                                          "0100"
                                          "05000200")
                                       .c_str())),
            (RowSet{5, 6, 7}));
  const std::pair<std::string, const char*> wrong[] = {
      {"", "cut short"},
      {one, "cut short"},
      {one + "3c30000001000000", "not a bitmap"},
      {one + "3a30000001000100", "too many containers"},
      {one + "3a300000010000000000010010000000"
             "07000500",
       "values out of order"},
      {one + "3a300000010000000000010010000000"
             "07000700",
       "values out of order"},
      {one + "3a300000010000000000010010000000"
             "0500070000",
       "bytes behind its end"},
      {one + "3a30000000000000", "an empty part"},
      {one + "3a300000"
             "02000000"
             "00000000"
             "00000000"
             "1800000018000000"
             "05000700",
       "containers out of order"},
      {one + "3b300000"
             "01"
             "00000300"
             "0100"
             "05000200",
       "runs of another size"},
      {one + "3b300000"
             "01"
             "00000200"
             "0100"
             "feff0200",
       "runs of another size"},
      {one + "3b300000"
             "01"
             "00000500"
             "0200"
             "05000200"
             "07000200",
       "runs out of order"},
      {"0200000000000000"
       "01000000"
       "3b300000"
       "01"
       "00000000"
       "0100"
       "05000000"
       "01000000",
       "parts out of order"},
  };
  for (const auto& [hex, message] : wrong) {
    VKB_EXPECT_ERROR(RowSet::parse(bytes_of(hex.c_str())), ErrorCode::corruption, message);
  }
  std::string bits = one +
                     "3a30000001000000"
                     "00000010"
                     "10000000";  // 4,097 of them
  for (int i = 0; i < 8192; ++i) bits += i < 512 ? "ff" : "00";
  VKB_EXPECT_ERROR(RowSet::parse(bytes_of(bits.c_str())), ErrorCode::corruption,
                   "bits of another number");
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/posting_index.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "storage/posting_block.h"
#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

constexpr std::int64_t k2To53 = std::int64_t{1} << 53;

struct Before {
  bool operator()(const PostingValue& a, const PostingValue& b) const { return compare(a, b) < 0; }
};

// What the index must hold: entries of keys as value -> rows.
using ModelKey = std::map<PostingValue, std::set<std::int64_t>, Before>;

class PostingIndexTest : public ::testing::Test {
 protected:
  PostingIndexTest() {
    db().execute("PRAGMA synchronous=OFF");
    for (int key = 1; key <= 5; ++key) {
      db().execute("INSERT INTO metadata_key(key_id, collection_id, key, kind) VALUES(" +
                   std::to_string(key) + "," + std::to_string(collection_) + ",'k" +
                   std::to_string(key) + "',0)");
    }
  }
  Database& db() { return file_.db(); }
  std::int64_t blocks() { return integer_of(db(), "SELECT count(*) FROM posting_block"); }
  std::int64_t loose() {
    return integer_of(db(),
                      "SELECT (SELECT count(*) FROM posting) + (SELECT count(*) FROM"
                      " posting_pending) + (SELECT count(*) FROM posting_removed)");
  }
  PostingDigest digest() {
    return digest_postings(db(), collection_, [] {});
  }

  void put(std::int64_t row, std::vector<PostingEntry> entries, bool bulk = false) {
    insert_postings(db(), row, entries, bulk);
  }
  // Rows 1..count with value_of(row) under key 1, in blocks.
  template <typename ValueOf>
  void fill(std::int64_t count, ValueOf value_of) {
    for (std::int64_t row = 1; row <= count; ++row) put(row, {{1, value_of(row)}}, true);
    merge_postings(db());
  }
  RowSet find(Comparison comparison, PostingValue bound, std::int64_t key = 1) {
    return find_postings(db(), key, comparison, bound);
  }

  TestDatabase file_;
  std::int64_t collection_ = make_collection(file_.db(), "one");
};

constexpr Comparison kComparisons[] = {Comparison::equal, Comparison::less,
                                       Comparison::less_or_equal, Comparison::greater,
                                       Comparison::greater_or_equal};

bool agrees(Comparison comparison, int order) {
  return comparison == Comparison::equal           ? order == 0
         : comparison == Comparison::less          ? order < 0
         : comparison == Comparison::less_or_equal ? order <= 0
         : comparison == Comparison::greater       ? order > 0
                                                   : order >= 0;
}

TEST_F(PostingIndexTest, ValuesCompareAsInSqlite) {
  const std::vector<PostingValue> values = {0.0,
                                            -0.0,
                                            0.5,
                                            -0.5,
                                            1.0,
                                            0x1p53,
                                            0x1p53 + 2,
                                            0x1p63,
                                            -0x1p63,
                                            std::nextafter(0x1p63, 0.0),
                                            1e300,
                                            -1e300,
                                            INT64_MAX,
                                            INT64_MIN,
                                            std::int64_t{0},
                                            k2To53 + 1,
                                            -k2To53 - 1,
                                            INT64_MAX - 512,
                                            std::int64_t{1},
                                            std::int64_t{-1},
                                            std::string(),
                                            std::string("a"),
                                            std::string("a\0b", 3),
                                            std::string("ü"),
                                            std::string("1")};
  for (const PostingValue& a : values) {
    for (const PostingValue& b : values) {
      Statement order(db(), "SELECT (?1>?2)-(?1<?2)");
      order.bind(a, b).step();
      EXPECT_EQ(compare(a, b), order.integer(0));
    }
  }
}

// TestRandom changes and merges against a map: five keys, with integers, floats, texts of two
// lengths and (as arrays have) several values a row. Some values have many rows.
class Play {
 public:
  Play(Database& db, std::uint64_t seed) : db_(db), random_(seed) {}

  void step() {
    const std::uint64_t dice = random_.below(100);
    if (dice < 45) {
      const std::int64_t row = ++last_row_;
      rows_[row] = entries();
      insert_postings(db_, row, rows_[row], random_.below(2) == 0);
      for (const PostingEntry& entry : rows_[row]) model_[entry.key_id][entry.value].insert(row);
    } else if (dice < 98) {
      if (rows_.empty()) return;
      auto at = rows_.lower_bound(
          1 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(last_row_))));
      if (at == rows_.end()) return;
      const bool removes = dice < 60;
      std::vector<PostingEntry> next = removes ? std::vector<PostingEntry>() : entries();
      change_postings(db_, at->first, at->second, next, random_.below(2) == 0);
      for (const PostingEntry& entry : at->second) {
        model_[entry.key_id][entry.value].erase(at->first);
      }
      for (const PostingEntry& entry : next) model_[entry.key_id][entry.value].insert(at->first);
      at->second = next;
      if (removes) rows_.erase(at);
    } else if (dice == 98) {
      merge_some_postings(db_, 1 + random_.below(3));
    } else if (random_.below(5) == 0) {
      merge_postings(db_);
    }
  }

  RowSet expected(std::int64_t key, Comparison comparison, const PostingValue& bound) const {
    RowSet out;
    const auto found = model_.find(key);
    if (found == model_.end()) return out;
    for (const auto& [value, rows] : found->second) {
      if (!agrees(comparison, compare(value, bound))) continue;
      for (const std::int64_t row : rows) out.add(row);
    }
    return out;
  }
  PostingDigest digest() const {
    PostingDigest out;
    for (const auto& [key, values] : model_) {
      for (const auto& [value, rows] : values) {
        for (const std::int64_t row : rows) out.add(key, value, row);
      }
    }
    return out;
  }

  PostingValue value(std::int64_t key) {
    const auto few = static_cast<std::int64_t>(random_.below(3));
    const auto many = static_cast<std::int64_t>(random_.below(3000)) - 1500;
    if (key == 1) return random_.below(3) == 0 ? few * 100 : many;  // in the middle of the rest
    if (key == 2) return static_cast<double>(many) / 8;
    if (key == 3) return "text " + std::to_string(random_.below(2) == 0 ? few : many);
    if (key == 4) return few;
    return std::to_string(many % 40) + std::string(30, 'x');
  }

 private:
  std::vector<PostingEntry> entries() {
    std::vector<PostingEntry> out;
    for (std::int64_t key = 1; key <= 4; ++key) {
      if (random_.below(4) > 0) out.push_back({key, value(key)});
    }
    std::set<PostingValue> members;
    for (std::uint64_t i = random_.below(4); i > 0; --i) members.insert(value(5));
    for (const PostingValue& member : members) out.push_back({5, member});
    return out;
  }

  Database& db_;
  TestRandom random_;
  std::int64_t last_row_ = 0;
  std::map<std::int64_t, std::vector<PostingEntry>> rows_;
  std::map<std::int64_t, ModelKey> model_;
};

TEST_F(PostingIndexTest, AgreesWithAMap) {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    drop_postings(db(), collection_);
    Play play(db(), seed);
    std::size_t found = 0;
    for (int round = 0; round < 25; ++round) {
      Transaction transaction(db(), Transaction::Kind::write);
      for (int step = 0; step < 300; ++step) play.step();
      transaction.commit();
      ASSERT_EQ(digest(), play.digest());
      for (int query = 0; query < 40; ++query) {
        const std::int64_t key = 1 + query % 5;
        const Comparison comparison = key == 5 ? Comparison::equal : kComparisons[query % 4 + 1];
        const PostingValue bound = play.value(key);
        for (const Comparison one : {comparison, Comparison::equal}) {
          const RowSet expected = play.expected(key, one, bound);
          ASSERT_EQ(find(one, bound, key).values(), expected.values())
              << "round " << round << " key " << key << " comparison " << static_cast<int>(one);
          found += expected.size();
        }
        if (key == 5) continue;  // several values a row
        std::vector<PostingValue> several(static_cast<std::size_t>(query), bound);
        RowSet expected;
        for (PostingValue& value : several) {
          value = play.value(key);
          expected |= play.expected(key, Comparison::equal, value);
        }
        ASSERT_EQ(find_postings(db(), key, several), expected)
            << "round " << round << " key " << key << ", " << query << " values";
      }
    }
    EXPECT_GT(found, 10'000u);
    merge_postings(db());
    EXPECT_EQ(loose(), 0);
    EXPECT_EQ(digest(), play.digest());
  }
}

TEST_F(PostingIndexTest, RangesCutTheBlocksAtTheirEdges) {
  fill(10'000, [](std::int64_t row) { return PostingValue(row * 7919 % 10'007); });
  EXPECT_GT(blocks(), 4);
  for (const std::int64_t bound : {-1, 0, 1, 777, 1024, 5003, 10'006, 10'007}) {
    for (const Comparison comparison : kComparisons) {
      for (const PostingValue& asked :
           {PostingValue(bound), PostingValue(static_cast<double>(bound)),
            PostingValue(static_cast<double>(bound) + 0.5)}) {
        RowSet expected;
        for (std::int64_t row = 1; row <= 10'000; ++row) {
          if (agrees(comparison, compare(row * 7919 % 10'007, asked))) expected.add(row);
        }
        ASSERT_EQ(find(comparison, asked), expected) << bound;
      }
    }
  }
}

TEST_F(PostingIndexTest, ManyValuesAreFoundInOneWalk) {
  fill(10'000, [](std::int64_t row) {
    return row % 3 == 0 ? PostingValue(std::string("many")) : PostingValue(row * 7919 % 10'007);
  });
  // Before, between and behind all blocks, twice, and of other kinds.
  std::vector<PostingValue> wanted{-5.5, std::int64_t{-1}, std::nan(""),        1e30,
                                   0.5,  std::string("a"), std::string("many"), std::string("z")};
  RowSet expected;
  for (std::int64_t row = 1; row <= 10'000; ++row) {
    if (row % 3 == 0) expected.add(row);
    if (row % 3 == 0 || row % 5 != 0) continue;
    expected.add(row);
    wanted.emplace_back(row * 7919 % 10'007);
    if (row % 2 == 0) wanted.emplace_back(static_cast<double>(row * 7919 % 10'007));
  }
  EXPECT_EQ(find_postings(db(), 1, wanted), expected);
  EXPECT_TRUE(find_postings(db(), 1, std::vector<PostingValue>{}).empty());
  EXPECT_TRUE(find_postings(db(), 2, wanted).empty());
}

TEST_F(PostingIndexTest, LargeIntegersAndFloatsCompareExactly) {
  fill(3, [](std::int64_t row) { return PostingValue(k2To53 + row - 2); });  // 2^53 - 1 .. + 1
  EXPECT_EQ(find(Comparison::greater, 0x1p53), RowSet{3});
  EXPECT_EQ(find(Comparison::greater_or_equal, 0x1p53), (RowSet{2, 3}));
  EXPECT_EQ(find(Comparison::equal, 0x1p53), RowSet{2});
  EXPECT_EQ(find(Comparison::less, 0x1p53 + 2), (RowSet{1, 2, 3}));
}

TEST_F(PostingIndexTest, AValueWithManyRowsHasABlockOfItsOwn) {
  fill(5000, [](std::int64_t row) { return PostingValue(row % 2 == 0 ? 500 : row); });
  EXPECT_EQ(integer_of(db(), "SELECT count(*) FROM posting_block WHERE entries IS NULL"), 1);
  EXPECT_EQ(integer_of(db(), "SELECT entry_count FROM posting_block WHERE first_value=500"), 2500);
  EXPECT_EQ(find(Comparison::equal, std::int64_t{500}).size(), 2500u);
  // Losing most of them, it goes back among the others.
  for (std::int64_t row = 2; row <= 4900; row += 2)
    change_postings(db(), row, {{1, std::int64_t{500}}}, {}, false);
  merge_postings(db());
  EXPECT_EQ(integer_of(db(), "SELECT count(*) FROM posting_block WHERE entries IS NULL"), 0);
  EXPECT_EQ(find(Comparison::equal, std::int64_t{500}).size(), 50u);
  EXPECT_EQ(digest().count, 2550u);
}

// Values that come in ascending, descending and random order, a few at a time.
TEST_F(PostingIndexTest, BlocksStayFilledWhateverTheOrder) {
  TestRandom random(4);
  for (int row = 1; row <= 40'000; ++row) {
    put(row, {{1, std::int64_t{row}},
              {2, std::int64_t{-row}},
              {3, static_cast<std::int64_t>(random.below(1'000'000'000))}});
    if (row % 500 == 0) merge_postings(db());
  }
  for (const char* key : {"1", "2", "3"}) {
    EXPECT_LE(
        integer_of(db(), std::string("SELECT count(*) FROM posting_block WHERE key_id=") + key),
        45);
  }
  EXPECT_EQ(integer_of(db(), "SELECT max(entry_count)<=2048 FROM posting_block"), 1);
  EXPECT_EQ(digest().count, 120'000u);
}

TEST_F(PostingIndexTest, AMergeRewritesOnlyTheBlocksThatChange) {
  fill(50'000, [](std::int64_t row) { return PostingValue(row); });
  const auto ids = [&] {
    return texts_of(db(), "SELECT block_id||' '||first_value FROM posting_block ORDER BY 1");
  };
  const std::vector<std::string> before = ids();
  put(50'001, {{1, std::int64_t{25'000}}});
  change_postings(db(), 7, {{1, std::int64_t{7}}}, {}, false);
  merge_postings(db());
  const std::vector<std::string> after = ids();
  std::vector<std::string> kept;
  std::set_intersection(before.begin(), before.end(), after.begin(), after.end(),
                        std::back_inserter(kept));
  EXPECT_GE(kept.size(), before.size() - 2);
}

// A row whose value changed is found once and by its new value at every moment of a merge in parts.
TEST_F(PostingIndexTest, AChangedValueIsRightBetweenTheStepsOfAMerge) {
  fill(20'000, [](std::int64_t row) { return PostingValue(row); });
  for (std::int64_t row = 1; row <= 20'000; row += 10) {
    change_postings(db(), row, {{1, row}}, {{1, 20'001 - row}}, false);
    change_postings(db(), row + 1, {}, {{2, row}}, false);
  }
  const RowSet everything = find(Comparison::greater, std::int64_t{0});
  EXPECT_EQ(everything.size(), 20'000u);
  const RowSet upper = find(Comparison::greater, std::int64_t{10'000});
  int steps = 0;
  for (; count_unmerged_postings(db(), 100'000) > 0; ++steps) {
    merge_some_postings(db(), 1);
    ASSERT_EQ(find(Comparison::greater, std::int64_t{0}), everything);
    ASSERT_EQ(find(Comparison::greater, std::int64_t{10'000}), upper);
    ASSERT_EQ(find(Comparison::greater, std::int64_t{0}, 2).size(), 2000u);
  }
  EXPECT_GT(steps, 1);
}

TEST_F(PostingIndexTest, PendingEntriesWaitForAFullMerge) {
  put(1, {{1, std::int64_t{1}}}, true);
  put(2, {{1, std::int64_t{2}}}, false);
  EXPECT_EQ(count_unmerged_postings(db(), 10), 1u);
  merge_some_postings(db(), 10);
  EXPECT_EQ(count_unmerged_postings(db(), 10), 0u);
  EXPECT_EQ(loose(), 1);
  EXPECT_EQ(find(Comparison::greater, std::int64_t{0}), (RowSet{1, 2}));
  merge_postings(db());
  EXPECT_EQ(loose(), 0);
  EXPECT_EQ(find(Comparison::greater, std::int64_t{0}), (RowSet{1, 2}));
}

TEST_F(PostingIndexTest, WhatComesBackIsNotWrittenAgain) {
  fill(10, [](std::int64_t row) { return PostingValue(row); });
  change_postings(db(), 3, {{1, std::int64_t{3}}}, {}, false);
  EXPECT_EQ(loose(), 1);
  EXPECT_TRUE(find(Comparison::equal, std::int64_t{3}).empty());
  change_postings(db(), 3, {}, {{1, std::int64_t{3}}}, false);
  EXPECT_EQ(loose(), 0);
  EXPECT_EQ(find(Comparison::equal, std::int64_t{3}), RowSet{3});
  change_postings(db(), 3, {{1, std::int64_t{3}}}, {{1, std::int64_t{3}}}, false);
  EXPECT_EQ(loose(), 0);
}

TEST_F(PostingIndexTest, DroppingACollectionLeavesTheOthers) {
  db().execute("INSERT INTO metadata_key(key_id, collection_id, key, kind) VALUES(9, " +
               std::to_string(make_collection(db(), "two")) + ", 'k', 0)");
  put(1, {{1, std::int64_t{1}}, {9, std::int64_t{1}}});
  merge_postings(db());
  put(2, {{1, std::int64_t{2}}, {9, std::int64_t{2}}}, true);
  put(3, {{1, std::int64_t{3}}, {9, std::int64_t{3}}});
  change_postings(db(), 1, {{1, std::int64_t{1}}, {9, std::int64_t{1}}}, {}, false);
  drop_postings(db(), collection_);
  EXPECT_EQ(digest(), PostingDigest());
  EXPECT_EQ(find(Comparison::greater, std::int64_t{0}, 9), (RowSet{2, 3}));
  EXPECT_EQ(loose(), 3);
}

// R8: damage of a block is an error or an answer, never a crash; and it can be told.
TEST_F(PostingIndexTest, R8_DamagedBlocks) {
  fill(3000, [](std::int64_t row) {
    return row % 3 == 0   ? PostingValue(static_cast<double>(row) / 4)
           : row % 3 == 1 ? PostingValue(row)
                          : PostingValue("text " + std::to_string(row));
  });
  const PostingDigest sound = digest();
  TestRandom random(6);
  int told = 0;
  constexpr int kRounds = 400;
  for (int round = 0; round < kRounds; ++round) {
    db().execute("SAVEPOINT damage");
    const std::int64_t id =
        integer_of(db(), "SELECT block_id FROM posting_block ORDER BY block_id LIMIT 1 OFFSET " +
                             std::to_string(random.below(static_cast<std::uint64_t>(blocks()))));
    const char* column = random.below(4) == 0 ? "rows" : "entries";
    std::vector<std::byte> bytes;
    {
      Statement block(db(),
                      std::string("SELECT ") + column + " FROM posting_block WHERE block_id=?");
      block.bind(id).step();
      bytes.assign(block.blob(0).begin(), block.blob(0).end());
    }
    if (random.below(4) == 0) bytes.resize(random.below(bytes.size() + 1));
    for (std::uint64_t i = random.below(3); i > 0 && !bytes.empty(); --i) {
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(256));
    }
    Statement(db(), std::string("UPDATE posting_block SET ") + column + "=? WHERE block_id=?")
        .bind(bytes, id)
        .run();
    for (const Comparison comparison : kComparisons) {
      const auto error =
          error_of([&] { find(comparison, static_cast<std::int64_t>(random.below(3000))); });
      ASSERT_TRUE(!error || error->code() == ErrorCode::corruption);
    }
    const auto error = error_of([&] { told += digest() != sound; });
    told += error.has_value();
    put(9000, {{1, static_cast<std::int64_t>(random.below(3000))}, {1, std::string("text 5")}});
    const auto merging = error_of([&] { merge_postings(db()); });
    ASSERT_TRUE(!merging || merging->code() == ErrorCode::corruption);
    db().execute("ROLLBACK TO damage; RELEASE damage");
  }
  EXPECT_GT(told, kRounds / 2);  // some changes change nothing
  EXPECT_EQ(digest(), sound);
}

TEST_F(PostingIndexTest, TheDigestTellsWhatIsWrong) {
  fill(5000, [](std::int64_t row) { return PostingValue(row); });
  const std::pair<const char*, const char*> damages[] = {
      {"UPDATE posting_block SET entry_count=entry_count+1", "another number of entries"},
      {"UPDATE posting_block SET first_value=first_value-1 WHERE block_id=1", "other values"},
      {"UPDATE posting_block SET last_value=1e9", "other values"},
      {"UPDATE posting_block SET rows=NULL", "its set of rows"},
      {"UPDATE posting_block SET rows=(SELECT rows FROM posting_block WHERE block_id=2)",
       "its set of rows"},
      {"INSERT INTO posting_block SELECT NULL, key_id, first_value+1, last_value, entry_count,"
       " rows, entries FROM posting_block WHERE block_id=1",
       "overlaps"},
      {"UPDATE posting_block SET entries=x'80'", "cut short"},
      {"UPDATE posting_block SET entries=x'0302'", "no type"},
  };
  for (const auto& [sql, message] : damages) {
    db().execute(std::string("SAVEPOINT damage; ") + sql);
    VKB_EXPECT_ERROR(digest(), ErrorCode::corruption, message);
    VKB_EXPECT_ERROR(digest(), ErrorCode::corruption, "vkb repair");
    db().execute("ROLLBACK TO damage; RELEASE damage");
  }
}

}  // namespace
}  // namespace vkb

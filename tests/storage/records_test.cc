// SPDX-License-Identifier: Apache-2.0
#include "storage/records.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

using Ids = std::vector<std::int64_t>;

class RecordsTest : public ::testing::Test {
 protected:
  RecordsTest() { file_.db().execute("PRAGMA synchronous=OFF"); }
  RecordRow record(const std::string& id, std::optional<Metadata> metadata = {}) {
    RecordRow row;
    row.id = id;
    row.metadata = std::move(metadata);
    return row;
  }
  std::uint64_t postings() { return digest().count; }
  PostingDigest digest() {
    return digest_postings(file_.db(), collection_, [] {});
  }
  std::int64_t pending() { return integer_of(file_.db(), "SELECT count(*) FROM posting_pending"); }

  TestDatabase file_;
  std::int64_t collection_ = make_collection(file_.db(), "one");
};

TEST_F(RecordsTest, ARecordComesBackAsItWasPut) {
  Records records(file_.db(), collection_);
  RecordRow full = record("ü\x01 id", Metadata{{"k", 2.0}, {"n", std::int64_t{2}}});
  full.document = std::string("a\0b\xF0\x9F\x8E\x89", 7);
  full.uri = "";
  full.origin = std::string("\0\xFF\xFE binary", 10);
  const std::int64_t row_id = records.insert(full);
  const std::int64_t bare_id = records.insert(record("bare"));
  file_.reopen();
  Records again(file_.db(), collection_);
  EXPECT_EQ(again.find(full.id), row_id);
  EXPECT_EQ(again.find("missing"), std::nullopt);
  const RecordRow row = again.read(row_id);
  EXPECT_EQ(row.row_id, row_id);
  EXPECT_EQ(row.id, full.id);
  EXPECT_EQ(row.document, full.document);
  EXPECT_EQ(row.uri, full.uri);
  EXPECT_EQ(row.origin, full.origin);
  EXPECT_EQ(row.metadata, full.metadata);
  const RecordRow bare = again.read(bare_id);
  EXPECT_FALSE(bare.document || bare.uri || bare.origin || bare.metadata);
}

TEST_F(RecordsTest, OnlyTheColumnsAskedForAreRead) {
  Records records(file_.db(), collection_);
  RecordRow full = record("a", Metadata{{"k", true}});
  full.document = "document";
  full.uri = "uri";
  full.origin = "origin";
  const std::int64_t row_id = records.insert(full);
  for (unsigned mask = 0; mask < 16; ++mask) {
    const RecordColumns columns = {.document = (mask & 1) != 0,
                                   .uri = (mask & 2) != 0,
                                   .metadata = (mask & 4) != 0,
                                   .origin = (mask & 8) != 0};
    const RecordRow row = records.read(row_id, columns);
    EXPECT_EQ(row.document, columns.document ? full.document : std::nullopt);
    EXPECT_EQ(row.uri, columns.uri ? full.uri : std::nullopt);
    EXPECT_EQ(row.metadata, columns.metadata ? full.metadata : std::nullopt);
    EXPECT_EQ(row.origin, columns.origin ? full.origin : std::nullopt);
  }
}

TEST_F(RecordsTest, ReplaceWritesEveryColumnAndKeepsTheRowId) {
  Records records(file_.db(), collection_);
  RecordRow row = record("a", Metadata{{"k", std::int64_t{1}}, {"x", true}});
  row.document = "old";
  row.uri = "old";
  row.row_id = records.insert(row);
  EXPECT_EQ(postings(), 2u);
  row.document = std::nullopt;
  row.uri = "new";
  row.origin = "new";
  row.metadata = Metadata{{"k", 1.0}};
  records.replace(row);
  const RecordRow after = records.read(row.row_id);
  EXPECT_EQ(records.find("a"), row.row_id);
  EXPECT_EQ(after.document, std::nullopt);
  EXPECT_EQ(after.uri, "new");
  EXPECT_EQ(after.origin, "new");
  EXPECT_EQ(after.metadata, row.metadata);
  EXPECT_EQ(postings(), 1u);
  row.metadata = std::nullopt;
  records.replace(row);
  EXPECT_EQ(postings(), 0u);
}

TEST_F(RecordsTest, R4_ARowIdIsNeverReused) {
  Records records(file_.db(), collection_);
  records.insert(record("a"));
  const std::int64_t last = records.insert(record("b"));
  records.remove(last);
  EXPECT_GT(records.insert(record("b")), last);
  records.remove(last + 1);
  file_.reopen();
  Records again(file_.db(), collection_);
  EXPECT_GT(again.insert(record("b")), last + 1);
  EXPECT_EQ(again.count(), 2u);
}

TEST_F(RecordsTest, PagesOfRowIds) {
  Records records(file_.db(), collection_);
  Records others(file_.db(), make_collection(file_.db(), "two"));
  Ids all;
  for (int i = 0; i < 10; ++i) {
    all.push_back(records.insert(record(std::to_string(9 - i))));
    others.insert(record(std::to_string(i)));
  }
  constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(records.row_ids(0, 0, kAll), all);
  EXPECT_EQ(records.row_ids(0, 3, 2), (Ids{all[3], all[4]}));
  EXPECT_EQ(records.row_ids(all[7], 0, kAll), (Ids{all[8], all[9]}));
  EXPECT_EQ(records.row_ids(all[7], 1, 5), (Ids{all[9]}));
  EXPECT_TRUE(records.row_ids(0, 0, 0).empty());
  EXPECT_TRUE(records.row_ids(0, kAll, kAll).empty());
  EXPECT_TRUE(records.row_ids(all[9], 0, kAll).empty());
  EXPECT_EQ(records.count(), 10u);
}

TEST_F(RecordsTest, CollectionsNeverSeeEachOthersRows) {
  Records one(file_.db(), collection_);
  Records two(file_.db(), make_collection(file_.db(), "two"));
  const std::int64_t first = one.insert(record("same", Metadata{{"k", true}}));
  const std::int64_t second = two.insert(record("same", Metadata{{"k", true}}));
  EXPECT_NE(first, second);
  EXPECT_EQ(one.find("same"), first);
  EXPECT_EQ(two.find("same"), second);
  EXPECT_NE(one.key_id("k", ValueKind::boolean), two.key_id("k", ValueKind::boolean));
  VKB_EXPECT_ERROR(two.read(first), ErrorCode::corruption, "row " + std::to_string(first));
  VKB_EXPECT_ERROR(two.remove(first), ErrorCode::corruption, "row " + std::to_string(first));
  VKB_EXPECT_ERROR(one.insert(record("same")), ErrorCode::io_error, "UNIQUE");
  one.remove(first);
  EXPECT_EQ(two.count(), 1u);
  EXPECT_EQ(postings(), 0u);
}

TEST_F(RecordsTest, DamagedRowsAreCorruption) {
  Records records(file_.db(), collection_);
  const std::int64_t row_id = records.insert(record("a", Metadata{{"k", true}}));
  file_.db().execute("UPDATE record SET metadata='{'");
  VKB_EXPECT_ERROR(records.read(row_id), ErrorCode::corruption,
                   "record 'a': metadata: expected a JSON object");
  EXPECT_EQ(records.read(row_id, {.document = true, .uri = true, .metadata = false}).id, "a");
  VKB_EXPECT_ERROR(records.read(row_id + 1), ErrorCode::corruption, "has a vector but no record");
}

TEST_F(RecordsTest, LongMetadataComesBackAndItsDamageIsCorruption) {
  Records records(file_.db(), collection_);
  for (std::size_t size = 1; size < 100'000; size *= 3) {
    const Metadata metadata = {{"k", std::string(size, 'x')}, {"n", 2.0}};
    const std::int64_t row_id = records.insert(record(std::to_string(size), metadata));
    EXPECT_EQ(records.read(row_id).metadata, metadata) << size;
  }
  const std::int64_t last = *records.find("59049");
  ASSERT_EQ(text_of(file_.db(),
                    "SELECT typeof(metadata) FROM record WHERE row_id=" + std::to_string(last)),
            "blob");
  for (const char* damage : {"x''", "x'00'", "substr(metadata, 1, length(metadata) - 1)",
                             "metadata || x'00'", "substr(metadata, 2)"}) {
    Transaction transaction(file_.db(), Transaction::Kind::write);  // rolled back
    file_.db().execute(std::string("UPDATE record SET metadata=CAST(") + damage + " AS BLOB)");
    VKB_EXPECT_ERROR(records.read(last), ErrorCode::corruption, "record '59049'");
  }
  EXPECT_TRUE(records.read(last).metadata.has_value());
}

TEST_F(RecordsTest, RefusedMetadataLeavesNothingAfterTheRollback) {
  const auto put = [&](const Metadata& metadata) {
    Transaction transaction(file_.db(), Transaction::Kind::write);
    Records(file_.db(), collection_).insert(record("a", metadata));
    transaction.commit();
  };
  VKB_EXPECT_ERROR(put({{"k", std::nan("")}}), ErrorCode::invalid_argument, "finite");
  VKB_EXPECT_ERROR(put({{"k", std::string("\xFF")}}), ErrorCode::invalid_argument, "UTF-8");
  VKB_EXPECT_ERROR(put({{"a", true}, {"k", Value()}}), ErrorCode::invalid_argument, "null");
  EXPECT_EQ(Records(file_.db(), collection_).count(), 0u);
  EXPECT_EQ(postings(), 0u);
  EXPECT_EQ(integer_of(file_.db(), "SELECT count(*) FROM metadata_key"), 0);
}

TEST_F(RecordsTest, PostingsPerScalarOnce) {
  Records records(file_.db(), collection_);
  records.insert(record("a", Metadata{{"b", std::vector<bool>{true, false, true}},
                                      {"e", std::vector<std::string>{}},
                                      {"f", std::vector<double>{1.0, 1.0}},
                                      {"i", std::vector<std::int64_t>{1, 2, 3}},
                                      {"s", std::string("x")},
                                      {"t", std::vector<std::string>{"x", "x"}}}));
  EXPECT_EQ(postings(), 2u + 1u + 3u + 1u + 1u);
}

TEST_F(RecordsTest, BulkPostingsWaitUntilTheyAreMerged) {
  Records records(file_.db(), collection_);
  RecordRow row = record("a", Metadata{{"k", std::int64_t{1}}, {"t", std::string("x")}});
  row.row_id = records.insert(row, true);
  records.insert(record("b", Metadata{{"k", std::int64_t{2}}}), false);
  EXPECT_EQ(pending(), 2);
  EXPECT_EQ(postings(), 3u);
  row.metadata = Metadata{{"k", std::int64_t{3}}};
  records.replace(row, true);
  EXPECT_EQ(pending(), 1);
  merge_postings(file_.db());
  EXPECT_EQ(pending(), 0);
  EXPECT_EQ(postings(), 2u);
  records.remove(row.row_id);
  EXPECT_EQ(postings(), 1u);
}

TEST_F(RecordsTest, R9_TheIndexIsRebuiltFromTheRecords) {
  Records records(file_.db(), collection_);
  Records others(file_.db(), make_collection(file_.db(), "two"));
  for (int i = 0; i < 30; ++i) {
    const Metadata metadata = {{"k", std::int64_t{i}},
                               {"t", std::vector<std::string>{"x", std::to_string(i)}}};
    records.insert(record(std::to_string(i), metadata), i % 2 == 0);
    others.insert(record(std::to_string(i), metadata), i % 2 == 0);
  }
  merge_postings(file_.db());
  const PostingDigest sound = digest();
  ASSERT_EQ(sound.count, 90u);
  const std::int64_t other = integer_of(file_.db(), "SELECT max(collection_id) FROM collection");
  const PostingDigest sound_other = digest_postings(file_.db(), other, [] {});
  file_.db().execute(
      "DELETE FROM posting_block WHERE block_id=2; INSERT INTO posting SELECT key_id, 'stray', 1"
      " FROM metadata_key; INSERT INTO posting_removed SELECT key_id, 'stray', 2 FROM metadata_key;"
      "UPDATE posting_block SET entries=x'ff'");
  rebuild_postings(file_.db(), collection_);
  EXPECT_EQ(digest(), sound);
  EXPECT_THROW(digest_postings(file_.db(), other, [] {}), Error);
  rebuild_postings(file_.db(), other);
  EXPECT_EQ(digest_postings(file_.db(), other, [] {}), sound_other);
  merge_postings(file_.db());
  EXPECT_EQ(pending(), 0);
  EXPECT_EQ(digest(), sound);
  EXPECT_EQ(digest_postings(file_.db(), other, [] {}), sound_other);
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/snapshot.h"

#include <gtest/gtest.h>

#include "engine/compaction.h"
#include "engine/record_writer.h"
#include "engine/tuning.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

class SnapshotTest : public ::testing::Test {
 protected:
  SnapshotTest()
      : store_(directory_.path(), {.file_system = &files_}),
        row_(store_.write([](Database& db) {
          CollectionRow fresh;
          fresh.name = "seen";
          fresh.space = static_cast<std::uint32_t>(Space::l2);
          fresh.m = 4;
          fresh.ef_construction = 20;
          fresh.ef_search = 20;
          return insert_collection(db, kDefaultTenant, kDefaultDatabase, fresh);
        })),
        collection_(store_.open_collection(row_)) {}

  void upsert(std::span<const Record> records) {
    store_.write([&](Database& db) {
      RecordWriter writer(db, *collection_);
      for (const Record& record : records) writer.upsert(record);
      writer.finish();
    });
  }

  void merge_all() {
    const auto all = now();
    Merger merger(store_, *collection_,
                  store_.read([&](Database& db) { return collection_->row(db); }), 0);
    for (const SegmentView& view : all->segments) merger.add(view);
    merger.finish({});
  }

  std::shared_ptr<const Snapshot> now() {
    return store_.read(
        [&](Database& db) { return collection_->snapshot(db, collection_->row(db)); });
  }

  TempDirectory directory_;
  FaultyFileSystem files_;
  OpenStore store_;
  // As for whoever seals and merges: else the lock is given back when idle, and whoever takes it
  // next removes files that are not named yet.
  OpenStore::WriterHold hold_{store_};
  CollectionRow row_;
  std::shared_ptr<OpenCollection> collection_;
};

TEST_F(SnapshotTest, IsReusedWhileNothingChanges) {
  upsert(test_records(3, 4));
  EXPECT_EQ(now(), now());
}

// R7: what a transaction sees depends on nothing that was committed after it began, though another
// thread has moved the cache on.
TEST_F(SnapshotTest, AnOldTransactionGetsItsOwn) {
  const std::vector<Record> records = test_records(3, 4);
  upsert(records);
  seal(store_, *collection_);
  Database old(directory_.file("vkb.sqlite3"), Database::Mode::reader);
  const Transaction transaction(old, Transaction::Kind::read);
  const CollectionRow old_row = collection_->row(old);
  Record changed = records[1];
  changed.embedding = std::vector<float>{7, 7, 7, 7};
  upsert({&changed, 1});
  const auto newer = now();
  const auto older = collection_->snapshot(old, old_row);
  EXPECT_EQ(older->last_seq, old_row.last_seq);
  EXPECT_TRUE(same_bits(older->vector_of(2).value(), *records[1].embedding));
  EXPECT_TRUE(same_bits(newer->vector_of(2).value(), *changed.embedding));
  EXPECT_EQ(older->segments[0].dead_count, 0u);
  EXPECT_EQ(newer->segments[0].dead_count, 1u);
  // The newest one stays the cached one.
  EXPECT_EQ(now(), newer);
}

// R3: files stay while a transaction may name them. Where they went all the same, as for readers of
// a medium that is read-only to them, who hold no lock, it begins anew.
TEST_F(SnapshotTest, AnOldTransactionAfterAMergeHasItsFilesOrIsTold) {
  upsert(test_records(3, 4));
  seal(store_, *collection_);
  upsert(test_records(3, 4, 2, "more"));
  seal(store_, *collection_);
  const std::vector<std::string> merged = posix_file_system().list(directory_.file("segments"));
  Database old(directory_.file("vkb.sqlite3"), Database::Mode::reader);
  const Transaction transaction(old, Transaction::Kind::read);
  const CollectionRow old_row = collection_->row(old);
  merge_all();
  EXPECT_EQ(OpenStore(directory_.path(), {.read_only = true})
                .open_collection(old_row)
                ->snapshot(old, old_row)
                ->segments.size(),
            2u);
  for (const std::string& file : merged) {
    posix_file_system().remove(directory_.file("segments/" + file));
  }
  OpenStore other(directory_.path(), {.read_only = true});
  const auto unaware = other.open_collection(old_row);
  EXPECT_THROW(unaware->snapshot(old, old_row), SegmentMissing);
  // OpenStore::read begins anew and succeeds.
  EXPECT_EQ(other.read([&](Database& db) {
    return unaware->snapshot(db, unaware->row(db))->segments.size();
  }),
            1u);
}

TEST_F(SnapshotTest, MapsOnlyWhatIsNew) {
  upsert(test_records(3, 4));
  seal(store_, *collection_);
  now();
  upsert(test_records(3, 4, 2, "more"));
  seal(store_, *collection_);
  files_.clear();
  now();
  now();
  EXPECT_EQ(files_.count(FileCall::map), 1u);
}

TEST_F(SnapshotTest, SegmentsStayReadableAfterTheyWereMergedAway) {
  const std::vector<Record> records = test_records(3, 4);
  upsert(records);
  seal(store_, *collection_);
  upsert(test_records(3, 4, 2, "more"));
  seal(store_, *collection_);
  const auto before = now();
  merge_all();
  EXPECT_EQ(now()->segments.size(), 1u);
  EXPECT_TRUE(same_bits(before->vector_of(1).value(), *records[0].embedding));
}

// A file that is named and gone is damage, and is not looked for for ever.
TEST_F(SnapshotTest, AMissingFileIsCorruption) {
  upsert(test_records(3, 4));
  seal(store_, *collection_);
  const std::string file = now()->segments[0].row.file;
  files_.remove(store_.segment_directory() + "/" + file);
  OpenStore other(directory_.path(), {.read_only = true});
  const auto open = other.open_collection(row_);
  VKB_EXPECT_ERROR(other.read([&](Database& db) { return open->snapshot(db, open->row(db)); }),
                   ErrorCode::corruption, file);
}

// R4: a row keeps its id, so a segment may keep it too.
TEST_F(SnapshotTest, ASegmentWithAGraphKnowsTheIdsOfItsRecords) {
  std::vector<Record> records = test_records(kGraphMinRows + 2, 4);
  records[1].id = std::string(kRecordIdBytes - 1, 'x');
  records[2].id = std::string(kRecordIdBytes, 'x');
  upsert(records);
  seal(store_, *collection_);
  EXPECT_EQ(now()->record_id(1), std::nullopt);
  merge_all();
  const auto snapshot = now();
  ASSERT_TRUE(snapshot->segments.at(0).row.has_graph);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto id = snapshot->record_id(static_cast<std::int64_t>(i + 1));
    if (i == 2) {
      EXPECT_EQ(id, std::nullopt);
    } else {
      EXPECT_EQ(id, records[i].id);
    }
  }
  EXPECT_EQ(snapshot->record_id(0), std::nullopt);
  EXPECT_EQ(snapshot->record_id(kGraphMinRows + 3), std::nullopt);
}

}  // namespace
}  // namespace vkb

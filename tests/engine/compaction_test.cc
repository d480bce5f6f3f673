// SPDX-License-Identifier: Apache-2.0
#include "engine/compaction.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <limits>
#include <mutex>
#include <thread>

#include "engine/record_writer.h"
#include "engine/tuning.h"
#include "storage/document_index.h"
#include "storage/posting_index.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_data.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

SegmentView view_of(std::uint64_t rows, std::uint64_t dead = 0) {
  SegmentView view{.row = {}, .segment = nullptr, .dead = nullptr, .dead_count = dead};
  view.row.row_count = rows;
  return view;
}

using Positions = std::vector<std::size_t>;
constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();

TEST(ChooseMerge, LeavesFewSegmentsAlone) {
  const std::vector<SegmentView> three = {view_of(10), view_of(10), view_of(10)};
  EXPECT_EQ(choose_merge({}, kAny), Positions{});
  EXPECT_EQ(choose_merge(three, kAny), Positions{});
}

TEST(ChooseMerge, TakesSegmentsOfLikeSizeAndLeavesALargeOne) {
  const std::vector<SegmentView> some = {view_of(1'000'000), view_of(2000), view_of(2048),
                                         view_of(1900), view_of(2000)};
  EXPECT_EQ(choose_merge(some, kAny), (Positions{1, 2, 3, 4}));
}

TEST(ChooseMerge, RewritesASegmentWithManyDead) {
  const std::vector<SegmentView> some = {view_of(900, 300), view_of(900, 301)};
  EXPECT_EQ(choose_merge(some, kAny), Positions{1});
}

TEST(ChooseMerge, TakesNoMoreRowsThanItMay) {
  std::vector<SegmentView> some = {view_of(1500), view_of(2000), view_of(2048), view_of(1900),
                                   view_of(2000)};
  EXPECT_EQ(choose_merge(some, 9447), (Positions{0, 1, 3, 4}));
  EXPECT_EQ(choose_merge(some, 9448), (Positions{0, 1, 2, 3, 4}));
  EXPECT_EQ(choose_merge(some, 7399), Positions{});
  some = {view_of(900, 301)};
  EXPECT_EQ(choose_merge(some, 599), Positions{0});
  EXPECT_EQ(choose_merge(some, 598), Positions{});
}

// The engine's parts by hand, without the background thread being told of anything.
class Compaction : public ::testing::Test {
 protected:
  struct Opened {
    explicit Opened(const std::string& path, FileSystem* files = nullptr)
        : store(path, {.lock_timeout = std::chrono::milliseconds(20), .file_system = files}),
          row(find_or_create(store)),
          collection(store.open_collection(row)) {}

    // Takes the writer lock only to create.
    static CollectionRow find_or_create(OpenStore& store) {
      const auto known = store.read([](Database& db) {
        return find_collection(db, kDefaultTenant, kDefaultDatabase, "vectors");
      });
      if (known) return *known;
      CollectionRow fresh;
      fresh.name = "vectors";
      fresh.space = static_cast<std::uint32_t>(Space::l2);
      fresh.m = 4;
      fresh.ef_construction = 20;
      fresh.ef_search = 20;
      return store.write([&](Database& db) {
        return insert_collection(db, kDefaultTenant, kDefaultDatabase, fresh);
      });
    }

    template <typename Change>
    void change(Change change_with) {
      store.write([&](Database& db) {
        RecordWriter writer(db, *collection);
        change_with(writer);
        writer.finish();
      });
    }
    void upsert(std::span<const Record> records) {
      change([&](RecordWriter& writer) {
        for (const Record& record : records) writer.upsert(record);
      });
    }
    void remove(const std::string& id) {
      change([&](RecordWriter& writer) { writer.remove(*writer.records().find(id)); });
    }
    bool seal() {
      const std::scoped_lock reshape(collection->reshape_mutex);
      const OpenStore::WriterHold hold(store);
      return vkb::seal(store, *collection);
    }
    std::shared_ptr<const Snapshot> snapshot() {
      return store.read(
          [&](Database& db) { return collection->snapshot(db, collection->row(db)); });
    }

    OpenStore store;
    CollectionRow row;
    std::shared_ptr<OpenCollection> collection;
  };

  void expect(const Expected& expected) {
    const Store store = Store::open(directory_.path(), {.read_only = true});
    EXPECT_EQ(differences(expected, store.collection("vectors")), "");
    EXPECT_TRUE(is_sound(store));
  }

  TempDirectory directory_;
  FaultyFileSystem files_;
};

TEST_F(Compaction, SealMovesTheLogIntoAFlatSegment) {
  const std::vector<Record> records = test_records(100, 4);
  {
    Opened opened(directory_.path());
    opened.upsert(records);
    opened.remove("r7");
    EXPECT_TRUE(opened.seal());
    EXPECT_FALSE(opened.seal());
    const auto snapshot = opened.snapshot();
    ASSERT_EQ(snapshot->segments.size(), 1u);
    EXPECT_EQ(snapshot->segments[0].row.row_count, 99u);
    EXPECT_FALSE(snapshot->segments[0].segment->has_graph());
    EXPECT_EQ(snapshot->memtable.entry_count(), 0u);
  }
  Expected expected = expected_of(records);
  expected.erase("r7");
  expect(expected);
}

TEST_F(Compaction, SealingOnlyRemovalsLeavesNoSegment) {
  Opened opened(directory_.path());
  opened.upsert(test_records(1, 4));
  opened.remove("r0");
  EXPECT_TRUE(opened.seal());
  EXPECT_TRUE(opened.snapshot()->segments.empty());
  expect({});
}

// R5: what changes while a segment is being written stays changed.
TEST_F(Compaction, ChangesDuringASealAreNotLost) {
  const std::vector<Record> records = test_records(50, 4);
  const Record changed = test_record("r1", {9, 9, 9, 9});
  Expected expected = expected_of(records);
  expected["r1"].embedding = changed.embedding;
  expected.erase("r2");
  {
    Opened opened(directory_.path(), &files_);
    opened.upsert(records);
    files_.set_hook([&](FileCall call, const std::string& point) {
      if (call != FileCall::reached || point != "segment_published") return;
      opened.upsert({&changed, 1});
      opened.remove("r2");
    });
    EXPECT_TRUE(opened.seal());
    files_.set_hook({});
    EXPECT_EQ(opened.snapshot()->segments.at(0).dead_count, 2u);
  }
  expect(expected);
}

TEST_F(Compaction, ChangesDuringAMergeAreNotLost) {
  const std::vector<Record> records = test_records(50, 4);
  const Record changed = test_record("r1", {9, 9, 9, 9});
  Expected expected = expected_of(records);
  expected["r1"].embedding = changed.embedding;
  expected.erase("r2");
  expected.erase("r30");
  {
    Opened opened(directory_.path(), &files_);
    opened.upsert(std::span(records).first(25));
    opened.seal();
    opened.upsert(std::span(records).subspan(25));
    opened.seal();
    opened.remove("r30");
    const std::scoped_lock reshape(opened.collection->reshape_mutex);
    const OpenStore::WriterHold hold(opened.store);
    const auto snapshot = opened.snapshot();
    Merger merger(opened.store, *opened.collection,
                  opened.store.read([&](Database& db) { return opened.collection->row(db); }), 0);
    for (const SegmentView& view : snapshot->segments) merger.add(view);
    files_.set_hook([&](FileCall call, const std::string& point) {
      if (call != FileCall::reached || point != "segment_published") return;
      opened.upsert({&changed, 1});
      opened.remove("r2");
    });
    EXPECT_TRUE(merger.finish({}));
    files_.set_hook({});
    ASSERT_EQ(opened.snapshot()->segments.size(), 1u);
    EXPECT_EQ(opened.snapshot()->segments[0].row.row_count, 49u);
    EXPECT_EQ(opened.snapshot()->segments[0].dead_count, 2u);
  }
  expect(expected);
}

TEST_F(Compaction, AMergeOfDeadSegmentsLeavesNone) {
  Opened opened(directory_.path());
  opened.upsert(test_records(1, 4));
  opened.seal();
  opened.remove("r0");
  maintain_collection(opened.store, *opened.collection);
  EXPECT_TRUE(opened.snapshot()->segments.empty());
  EXPECT_TRUE(opened.store.files().list(opened.store.segment_directory()).empty());
}

// R2 and R3, by the order of calls: a file is published before the transaction that names it
// commits, and unlinked after the one that stops naming it.
TEST_F(Compaction, FilesArePublishedBeforeAndRemovedAfterTheCommit) {
  Opened opened(directory_.path(), &files_);
  for (std::uint64_t seed = 1; seed <= kMergeMinSegments; ++seed) {
    opened.upsert(test_records(20, 4, seed, numbered("s", seed)));
    opened.seal();
  }
  files_.clear();
  maintain_collection(opened.store, *opened.collection);
  std::string order;
  for (const std::string& entry : files_.log()) {
    const std::string call = entry.substr(0, entry.find(' '));
    if (call == "create" || call == "publish" || call == "remove") order += call + ' ';
    if (call == "reached") order += entry.substr(call.size() + 1) + ' ';
  }
  EXPECT_EQ(order,
            "create publish segment_published merge_before_commit merge_committed "
            "remove remove remove remove ");
}

// R6: while a segment is not named yet, no other process may become the writer, who would remove
// it as an orphan.
TEST_F(Compaction, MaintenanceHoldsTheWriterLockWhileItWritesSegments) {
  std::vector<Record> records;
  {
    Opened first(directory_.path());
    for (std::uint64_t seed = 1; seed <= kMergeMinSegments; ++seed) {
      for (Record& record : test_records(20, 4, seed, numbered("s", seed))) {
        records.push_back(std::move(record));
        first.upsert({&records.back(), 1});
      }
      first.seal();
    }
  }
  Opened second(directory_.path(), &files_);
  ASSERT_EQ(second.store.writer_holder(), "");
  ASSERT_EQ(second.snapshot()->segments.size(), kMergeMinSegments);
  int refused = 0;
  files_.set_hook([&](FileCall call, const std::string& point) {
    if (call != FileCall::reached || point != "segment_published") return;
    Opened third(directory_.path());
    const std::optional<Error> error = error_of([&] { third.remove("s10"); });
    refused += error && error->code() == ErrorCode::busy;
  });
  maintain_collection(second.store, *second.collection);
  files_.set_hook({});
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(second.snapshot()->segments.size(), 1u);
  expect(expected_of(records));
}

TEST_F(Compaction, AFailedWriteLeavesEverythingAsItWas) {
  const std::vector<Record> records = test_records(30, 4);
  for (const FileCall call : {FileCall::create, FileCall::append, FileCall::publish}) {
    SCOPED_TRACE(to_string(call));
    Opened opened(directory_.path(), &files_);
    opened.upsert(records);
    files_.fail(call);
    VKB_EXPECT_ERROR(opened.seal(), ErrorCode::io_error, ".vseg");
    EXPECT_TRUE(opened.store.files().list(opened.store.segment_directory()).empty());
    EXPECT_EQ(opened.snapshot()->memtable.live_count(), 30u);
  }
  expect(expected_of(records));
}

// A file that cannot be unlinked is an orphan, and goes with the next writer.
TEST_F(Compaction, AFileThatStaysIsRemovedByTheNextWriter) {
  {
    Opened opened(directory_.path(), &files_);
    opened.upsert(test_records(3, 4));
    opened.seal();
    for (const char* id : {"r0", "r1", "r2"}) opened.remove(id);
    files_.fail(FileCall::remove);
    maintain_collection(opened.store, *opened.collection);
    EXPECT_EQ(files_.list(opened.store.segment_directory()).size(), 1u);
  }
  Opened next(directory_.path(), &files_);
  next.upsert(test_records(1, 4));
  EXPECT_TRUE(files_.list(next.store.segment_directory()).empty());
}

template <typename Condition>
bool comes_true(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

// R3: a reader needs the log, and so the files that are named without it. Nobody writes later.
TEST_F(Compaction, FilesThatWaitForAReaderGoWhenItHasEnded) {
  Opened opened(directory_.path());
  opened.upsert(test_records(3, 4));
  opened.seal();
  const auto files = [&] { return opened.store.files().list(opened.store.segment_directory()); };
  Database reader(directory_.file("vkb.sqlite3"), Database::Mode::reader);
  {
    const Transaction reading(reader, Transaction::Kind::read);
    Statement(reader, "SELECT count(*) FROM record").step();
    for (const char* id : {"r0", "r1", "r2"}) opened.remove(id);
    maintain_collection(opened.store, *opened.collection);
    EXPECT_EQ(files().size(), 1u);
    EXPECT_TRUE(comes_true([&] { return opened.store.writer_holder().empty(); }));
    EXPECT_EQ(files().size(), 1u);
  }
  EXPECT_TRUE(comes_true([&] { return files().empty(); }));
}

// What a killed repair leaves; it has all records in it.
TEST_F(Compaction, TheNextWriterRemovesWhatASalvageLeft) {
  const std::string left = directory_.file("vkb.sqlite3-salvage");
  {
    Opened opened(directory_.path());
    opened.upsert(test_records(3, 4));
  }
  for (const char* suffix : {"", "-journal"}) write_whole_file(left + suffix, "r1");
  Opened(directory_.path()).upsert(test_records(1, 4));
  for (const char* suffix : {"", "-journal"}) EXPECT_FALSE(std::filesystem::exists(left + suffix));
}

// The maintenance thread indexes documents when many are not; compact() all of them.
TEST_F(Compaction, DocumentsAreIndexedBehindTheCaller) {
  Store store = Store::open(directory_.path());
  Collection collection = store.create_collection("vectors", {.space = Space::l2});
  std::vector<Record> records = test_records(kIndexRows + 10, 4);
  const auto unindexed = [&] {
    Database db(directory_.file("vkb.sqlite3"), Database::Mode::reader);
    return count_unindexed(db, 1, kIndexRows);
  };
  const auto found = [&](const std::string& text) {
    const Filter filter = Filter::document(Filter::Op::document_contains, text);
    return collection.get({.ids = {}, .filter = filter, .include = {}}).size();
  };
  collection.add(std::span(records).first(kIndexRows - 1));
  collection.wait_for_maintenance();
  EXPECT_TRUE(collection.compact());
  EXPECT_EQ(unindexed(), kIndexRows - 1);  // too few to be worth it
  collection.add(std::span(records).last(11));
  collection.wait_for_maintenance();
  EXPECT_EQ(unindexed(), 0u);
  EXPECT_EQ(found("document 2057"), 1u);
  for (std::size_t i = 0; i < 100; ++i) records[i].document = "changed";
  collection.upsert(std::span(records).first(100));
  collection.remove(std::vector<std::string>{"r100"});
  collection.wait_for_maintenance();
  EXPECT_EQ(unindexed(), 101u);
  EXPECT_EQ(found("changed"), 100u);
  EXPECT_EQ(found("document 99"), 10u);  // 990 to 999
  EXPECT_TRUE(is_sound(store));
  EXPECT_TRUE(collection.compact());
  EXPECT_EQ(std::filesystem::file_size(directory_.file("vkb.sqlite3-wal")), 0u);
  EXPECT_EQ(unindexed(), 0u);
  EXPECT_EQ(found("changed"), 100u);
  EXPECT_TRUE(is_sound(store));
}

// R9: a damaged document index costs its own answers, and neither writes nor merges.
TEST_F(Compaction, GoesOnBesideADamagedDocumentIndex) {
  std::vector<Record> records = test_records(4 * kIndexRows, 4);
  Store store = Store::open(directory_.path());
  Collection collection = store.create_collection("vectors", {.space = Space::l2, .m = 4});
  collection.add(std::span(records).first(kIndexRows));
  collection.wait_for_maintenance();
  {
    Database db(directory_.file("vkb.sqlite3"), Database::Mode::writer);
    db.execute("DELETE FROM document_trigram_1_data WHERE id=10");
  }
  for (std::size_t at = kIndexRows; at < records.size(); at += kIndexRows) {
    collection.add(std::span(records).subspan(at, kIndexRows));
    VKB_EXPECT_ERROR(collection.wait_for_maintenance(), ErrorCode::corruption,
                     "document index of collection vectors");
  }
  EXPECT_EQ(collection.count(), records.size());
  EXPECT_LT(collection.info().segments.size(), 4u);
  const Filter filter = Filter::document(Filter::Op::document_contains, "document 17");
  VKB_EXPECT_ERROR(collection.get({.ids = {}, .filter = filter, .include = {}}),
                   ErrorCode::corruption, "document_trigram");
  EXPECT_TRUE(store.repair().problems.empty());
  EXPECT_EQ(collection.get({.ids = {}, .filter = filter, .include = {}}).size(), 111u);
  EXPECT_EQ(differences(expected_of(records), collection), "");
}

// The maintenance thread brings metadata into blocks when much of it waits.
TEST_F(Compaction, MetadataIsMergedBehindTheCaller) {
  Store store = Store::open(directory_.path());
  Collection collection = store.create_collection("vectors", {.space = Space::l2});
  const auto record = [](std::size_t i, std::int64_t value) {
    return Record{.id = "r" + std::to_string(i),
                  .embedding = std::vector<float>(4, static_cast<float>(i)),
                  .metadata = Metadata{{"n", value}, {"half", value % 2 == 0}}};
  };
  const auto unmerged = [&] {
    Database db(directory_.file("vkb.sqlite3"), Database::Mode::reader);
    return count_unmerged_postings(db, kMergePostings);
  };
  const auto above = [&](std::int64_t bound) {
    const Filter filter = Filter::compare(Filter::Op::gte, "n", bound);
    return collection.get({.ids = {}, .filter = filter, .include = {}}).size();
  };
  std::vector<Record> records;
  for (std::size_t i = 0; i < kMergePostings / 2; ++i) {
    records.push_back(record(i, static_cast<std::int64_t>(i)));
  }
  collection.add(std::span(records).first(records.size() - 1));
  collection.wait_for_maintenance();
  EXPECT_EQ(unmerged(), kMergePostings - 2);  // too few to be worth it
  collection.add(std::span(records).last(1));
  collection.wait_for_maintenance();
  EXPECT_EQ(unmerged(), 0u);
  EXPECT_EQ(above(1000), records.size() - 1000);
  for (std::size_t i = 0; i < 500; ++i) records[i] = record(i, 10'000);
  collection.upsert(std::span(records).first(500));
  collection.remove(std::vector<std::string>{"r4000"});
  EXPECT_EQ(above(1000), records.size() - 1000 + 499);
  EXPECT_TRUE(collection.compact());
  EXPECT_EQ(unmerged(), 0u);
  EXPECT_EQ(above(1000), records.size() - 1000 + 499);
  EXPECT_TRUE(is_sound(store));
}

// R9: a damaged metadata index costs its own answers, and neither writes nor seals.
TEST_F(Compaction, GoesOnBesideADamagedMetadataIndex) {
  std::vector<Record> records = test_records(2 * kMergePostings, 4);
  Store store = Store::open(directory_.path());
  Collection collection = store.create_collection("vectors", {.space = Space::l2, .m = 4});
  collection.add(std::span(records).first(kMergePostings));
  collection.wait_for_maintenance();
  {
    Database db(directory_.file("vkb.sqlite3"), Database::Mode::writer);
    db.execute("UPDATE posting_block SET rows=x'00', entries=x'00'");
  }
  collection.add(std::span(records).last(kMergePostings));
  VKB_EXPECT_ERROR(collection.wait_for_maintenance(), ErrorCode::corruption, "metadata index");
  EXPECT_EQ(collection.count(), records.size());
  EXPECT_TRUE(store.repair().problems.empty());
  EXPECT_EQ(differences(expected_of(records), collection), "");
}

// Compaction beside a writer that never stops comes to an end.
TEST_F(Compaction, EndsBesideASteadyWriter) {
  Store store = Store::open(directory_.path(), {.file_system = &files_});
  Collection collection = store.create_collection("vectors", {.space = Space::l2});
  std::vector<Record> records = test_records(100, 4);
  collection.add(std::span(records).first(50));
  std::size_t next = 50;
  files_.set_hook([&](FileCall call, const std::string& point) {
    if (call != FileCall::reached || point != "segment_published") return;
    ASSERT_LT(next, records.size()) << "compact() seals for ever";
    collection.add({&records[next++], 1});
  });
  EXPECT_TRUE(collection.compact());
  files_.set_hook({});
  records.resize(next);
  EXPECT_EQ(differences(expected_of(records), collection), "");
  EXPECT_TRUE(is_sound(store));
}

}  // namespace
}  // namespace vkb

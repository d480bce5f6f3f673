// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <future>
#include <set>
#include <string_view>
#include <thread>

#include "engine/tuning.h"
#include "engine/vkb.h"
#include "storage/document_index.h"
#include "storage/segment.h"
#include "storage/sqlite.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

class Load : public ::testing::Test {
 protected:
  Load()
      : store_(Store::open(directory_.path(), {.file_system = &files_})),
        collection_(store_.create_collection(
            "loaded", {.space = Space::l2, .m = 4, .ef_construction = 20})) {}

  LoadResult load(std::vector<Record> records, std::size_t batch,
                  const ProgressFunction& progress = {}) {
    VectorSource source(std::move(records), batch);
    return collection_.load(source, progress);
  }
  std::uint64_t unindexed() const {
    Database db(directory_.file("vkb.sqlite3"), Database::Mode::reader);
    return count_unindexed(db, 1, 1'000'000);
  }

  TempDirectory directory_;
  FaultyFileSystem files_;
  Store store_;
  Collection collection_;
};

TEST_F(Load, EndsWithOneGraphSegment) {
  const std::vector<Record> records = test_records(kGraphMinRows + 500, 4);
  const LoadResult result = load(records, 700);
  EXPECT_EQ(result.records, records.size());
  EXPECT_EQ(result.replaced, 0u);
  EXPECT_FALSE(result.stopped);
  const CollectionInfo info = collection_.info();
  ASSERT_EQ(info.segments.size(), 1u);
  EXPECT_TRUE(info.segments[0].has_graph);
  EXPECT_EQ(info.unsealed_count, 0u);
  EXPECT_EQ(differences(expected_of(records), collection_), "");
  EXPECT_TRUE(is_sound(store_));
  EXPECT_EQ(files_.list(directory_.file("segments")).size(), 1u);
}

TEST_F(Load, ReplacesRecordsAsAWhole) {
  std::vector<Record> records = test_records(20, 4);
  for (Record& record : records) record.uri = "somewhere";
  collection_.add(records);
  std::vector<Record> again = test_records(30, 4, 2);
  for (Record& record : again) {
    record.document.reset();
    record.origin = "elsewhere";
  }
  const LoadResult result = load(again, 7);
  EXPECT_EQ(result.records, 30u);
  EXPECT_EQ(result.replaced, 20u);
  EXPECT_EQ(differences(expected_of(again), collection_), "");
  EXPECT_TRUE(is_sound(store_));
}

// A record that comes again in a later batch of the same load has two rows in the merged segment,
// of which the newer one counts, with a graph and without (R5).
TEST_F(Load, TheLastOfRecordsWithOneIdCounts) {
  for (const std::size_t rows : {std::size_t{60}, kGraphMinRows + 60}) {
    SCOPED_TRACE(rows);
    std::vector<Record> records = test_records(rows, 4);
    for (const Record& record : test_records(20, 4, 3)) records.push_back(record);
    records.push_back(test_record("r5", {1, 2, 3, 4}));
    records.push_back(test_record("r5", {5, 6, 7, 8}));
    load(records, rows / 3);
    EXPECT_EQ(differences(expected_of(records), collection_), "");
    EXPECT_TRUE(is_sound(store_));
    // Its tombstones go on working when it changes again.
    const std::vector<std::string> ids{"r5", "r6"};
    EXPECT_EQ(collection_.remove(ids), 2u);
    Expected expected = expected_of(records);
    expected.erase("r5");
    expected.erase("r6");
    EXPECT_EQ(differences(expected, collection_), "");
    const std::vector<float> query{5, 6, 7, 8};
    const auto hits = collection_.query(query, {.k = 20, .exact = true});
    EXPECT_EQ(wrong_answer(Space::l2, query, 20, expected, hits), "");
    collection_.compact();
    EXPECT_EQ(differences(expected, collection_), "");
    EXPECT_TRUE(is_sound(store_));
    collection_.remove(Filter{});
    EXPECT_EQ(collection_.count(), 0u);
  }
}

TEST_F(Load, StoppedKeepsWholeBatchesAndGoesOnLater) {
  const std::vector<Record> records = test_records(100, 4);
  const LoadResult result =
      load(records, 10, [](const Progress& progress) { return progress.done < 30; });
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.records, 30u);
  EXPECT_EQ(differences(expected_of(std::span(records).first(30)), collection_), "");
  EXPECT_EQ(load(records, 10).replaced, 30u);
  EXPECT_EQ(differences(expected_of(records), collection_), "");
  EXPECT_TRUE(is_sound(store_));
}

// Codes and norms of what is stored go into the graph segment as they are, but not damaged ones.
TEST_F(Load, R9_DamagedCodesOfABatchAreMadeAnew) {
  const std::vector<Record> records = test_records(kGraphMinRows + 500, 4);
  for (const SectionKind kind : {SectionKind::codes_int8, SectionKind::norms}) {
    load(records, 700, [](const Progress& progress) { return progress.done < 1400; });
    const std::string path = directory_.file("segments/" + collection_.info().segments[0].file);
    std::uint64_t offset = 0;
    const auto segment = Segment::open(files_, path);
    for (const SectionEntry& section : segment->sections()) {
      if (section.kind == static_cast<std::uint32_t>(kind)) offset = section.offset;
    }
    ASSERT_GT(offset, 0u);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put('\x55');
    file.close();
    EXPECT_FALSE(is_sound(store_));
    load(records, 700);
    EXPECT_EQ(differences(expected_of(records), collection_), "");
    EXPECT_TRUE(is_sound(store_));
    collection_.remove(Filter{});
    collection_.compact();
  }
}

TEST_F(Load, IndexesTheDocuments) {
  const std::vector<Record> records = test_records(kIndexRows + 500, 4);
  // Too few to be indexed when they were added: the load takes them in, too.
  const std::size_t first = kIndexRows - 100;
  collection_.add(std::span(records).first(first));
  EXPECT_EQ(unindexed(), first);
  const std::vector<Record> rest(records.begin() + first, records.end());
  const LoadResult stopped =
      load(rest, 700, [](const Progress& progress) { return progress.step != "index"; });
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.records, rest.size());
  EXPECT_GT(unindexed(), 0u);
  EXPECT_LT(unindexed(), first);
  EXPECT_TRUE(is_sound(store_));
  EXPECT_EQ(load(records, 700).replaced, records.size());
  EXPECT_EQ(unindexed(), 0u);
  EXPECT_TRUE(is_sound(store_));
  const Filter filter = Filter::document(Filter::Op::document_contains, "document 254");
  EXPECT_EQ(collection_.get({.ids = {}, .filter = filter, .include = {}}).size(), 9u);
}

// The documents of a batch are indexed before the next batch is stored.
TEST_F(Load, IndexesDocumentsAsTheyCome) {
  const LoadResult stopped =
      load(test_records(3 * kIndexRows, 4), kIndexRows,
           [](const Progress& progress) { return progress.done < 2 * kIndexRows; });
  EXPECT_TRUE(stopped.stopped);
  EXPECT_EQ(stopped.records, 2 * kIndexRows);
  EXPECT_EQ(unindexed(), 0u);
}

// A document index that cannot be written keeps neither records nor their graph from being made.
TEST_F(Load, AnErrorOfTheIndexComesLast) {
  const std::vector<Record> records = test_records(kGraphMinRows + 500, 4);
  files_.set_hook([](FileCall call, const std::string& point) {
    if (call == FileCall::reached && point == "index_before_commit") {
      throw Error(ErrorCode::io_error, "no room for it");
    }
  });
  VKB_EXPECT_ERROR(load(records, 700), ErrorCode::io_error,
                   "document index of collection loaded: no room for it");
  files_.set_hook({});
  EXPECT_EQ(unindexed(), records.size());
  EXPECT_EQ(differences(expected_of(records), collection_), "");
  const CollectionInfo info = collection_.info();
  ASSERT_EQ(info.segments.size(), 1u);
  EXPECT_TRUE(info.segments[0].has_graph);
  EXPECT_TRUE(is_sound(store_));
  load(test_records(1, 4, 1, "more"), 700);
  EXPECT_EQ(unindexed(), 0u);
}

// Also when the load is stopped after the batch whose documents could not be indexed.
TEST_F(Load, AnErrorOfTheIndexIsToldToWhoeverStops) {
  files_.set_hook([](FileCall call, const std::string& point) {
    if (call == FileCall::reached && point == "index_before_commit") {
      throw Error(ErrorCode::io_error, "no room for it");
    }
  });
  const std::vector<Record> records = test_records(3 * kIndexRows, 4);
  VKB_EXPECT_ERROR(load(records, kIndexRows,
                        [](const Progress& progress) { return progress.done < 2 * kIndexRows; }),
                   ErrorCode::io_error, "document index of collection loaded: no room for it");
  files_.set_hook({});
  EXPECT_EQ(collection_.count(), 2 * kIndexRows);
  EXPECT_EQ(unindexed(), 2 * kIndexRows);
  EXPECT_TRUE(is_sound(store_));
}

// What a progress function throws, an Error too, passes at once, and it is not called again: were
// the end of the graph waited for, that would be told of.
TEST_F(Load, ErrorsOfTheProgressFunctionPassThrough) {
  const std::vector<Record> records = test_records(kIndexRows + 500, 4);
  const std::size_t first = kIndexRows - 100;
  collection_.add(std::span(records).first(first));  // indexed when all is loaded
  std::promise<void> told_again;
  const std::shared_future<void> again = told_again.get_future().share();
  files_.set_hook([again, caller = std::this_thread::get_id()](FileCall call, const std::string&) {
    if (call != FileCall::publish || std::this_thread::get_id() == caller) return;
    again.wait_for(std::chrono::seconds(1));  // longer than between two calls
  });
  bool thrown = false;
  const auto progress = [&](const Progress& at) -> bool {
    if (thrown) {
      ADD_FAILURE() << "called again for " << at.step;
      told_again.set_value();
      return false;
    }
    thrown = at.step == "index";
    if (thrown) throw Error(ErrorCode::unsupported, "no terminal");
    return true;
  };
  const std::vector<Record> rest(records.begin() + first, records.end());
  VKB_EXPECT_ERROR(load(rest, 700, progress), ErrorCode::unsupported, "no terminal");
  files_.set_hook({});
  EXPECT_GT(unindexed(), 0u);
  EXPECT_EQ(differences(expected_of(records), collection_), "");
  EXPECT_TRUE(is_sound(store_));
}

// The segment is written by another thread.
TEST_F(Load, TellsItsProgressFromOneThread) {
  std::set<std::thread::id> threads;
  std::set<std::string_view> steps;
  load(test_records(kGraphMinRows + 500, 4), 700, [&](const Progress& progress) {
    threads.insert(std::this_thread::get_id());
    steps.insert(progress.step);
    return true;
  });
  EXPECT_EQ(threads, std::set{std::this_thread::get_id()});
  EXPECT_TRUE(steps.contains("load"));
}

// Each batch is visible, here and through another store, when the next one is asked for.
TEST_F(Load, BatchesAreVisibleAsTheyCome) {
  class Watching : public VectorSource {
   public:
    Watching(const Collection& collection, std::vector<Record> records)
        : VectorSource(std::move(records), 10), collection_(collection) {}
    bool next(std::vector<Record>& batch) override {
      counts.push_back(collection_.count());
      return VectorSource::next(batch);
    }
    std::vector<std::uint64_t> counts;

   private:
    const Collection& collection_;
  };
  const Store reader = Store::open(directory_.path(), {.read_only = true});
  const Collection reading = reader.collection("loaded");
  Watching source(reading, test_records(40, 4));
  collection_.load(source);
  // One batch is fetched while the one before is stored.
  ASSERT_EQ(source.counts.size(), 5u);
  for (std::size_t i = 2; i < 5; ++i) EXPECT_GE(source.counts[i], 10 * (i - 1));
  EXPECT_EQ(reading.count(), 40u);
}

TEST_F(Load, ErrorsOfTheSourcePassThrough) {
  class Failing : public VectorSource {
   public:
    Failing() : VectorSource(test_records(20, 4), 10) {}
    bool next(std::vector<Record>& batch) override {
      if (++calls_ == 3) throw std::runtime_error("source is gone");
      return VectorSource::next(batch);
    }

   private:
    int calls_ = 0;
  };
  Failing source;
  EXPECT_THROW(collection_.load(source), std::runtime_error);
  EXPECT_EQ(collection_.count(), 20u);
  EXPECT_TRUE(is_sound(store_));
}

TEST_F(Load, ABadRecordFailsItsBatchOnly) {
  std::vector<Record> records = test_records(25, 4);
  records[17].embedding->pop_back();
  VKB_EXPECT_ERROR(load(records, 10), ErrorCode::invalid_argument, "'r17'");
  EXPECT_EQ(collection_.count(), 10u);
  records[17].embedding.reset();
  VKB_EXPECT_ERROR(load(records, 10), ErrorCode::invalid_argument, "'r17'");
  EXPECT_EQ(collection_.count(), 10u);
  EXPECT_TRUE(is_sound(store_));
}

TEST_F(Load, AFullDiskKeepsWholeBatches) {
  files_.fail(FileCall::publish, 3);
  VKB_EXPECT_ERROR(load(test_records(50, 4), 10), ErrorCode::io_error, "injected");
  EXPECT_EQ(collection_.count(), 20u);
  EXPECT_TRUE(is_sound(store_));
  load(test_records(50, 4), 10);
  EXPECT_EQ(differences(expected_of(test_records(50, 4)), collection_), "");
}

TEST_F(Load, OfNothingIsNothing) {
  EXPECT_EQ(load({}, 10).records, 0u);
  EXPECT_EQ(collection_.count(), 0u);
  EXPECT_TRUE(collection_.compact());
}

// A few new rows do not make a large graph be built anew, but many do.
TEST_F(Load, RebuildsAGraphOnlyForManyNewRows) {
  load(test_records(2 * kGraphMinRows, 4), 3000);
  load(test_records(100, 4, 2, "few"), 50);
  CollectionInfo info = collection_.info();
  ASSERT_EQ(info.segments.size(), 2u);
  EXPECT_EQ(info.segments[0].has_graph + info.segments[1].has_graph, 1);
  load(test_records(kGraphMinRows, 4, 3, "many"), 3000);
  info = collection_.info();
  ASSERT_EQ(info.segments.size(), 1u);
  EXPECT_TRUE(info.segments[0].has_graph);
  EXPECT_EQ(info.record_count, 3 * kGraphMinRows + 100);
  EXPECT_TRUE(is_sound(store_));
}

// Ids of records are in segments: a check compares them with the records. Of a large segment they
// are read together, of one beside it that is small one by one.
TEST_F(Load, SegmentsHaveTheIdsOfTheirRecords) {
  load(test_records(5 * kGraphMinRows, 4), 5000);
  load(test_records(kGraphMinRows + 4, 4, 2, "more"), 5000);
  const CollectionInfo info = collection_.info();
  ASSERT_EQ(info.segments.size(), 2u);
  EXPECT_TRUE(info.segments[0].has_graph && info.segments[1].has_graph);
  EXPECT_TRUE(is_sound(store_));
  for (const std::string id : {"r7", "more7"}) {
    const std::vector<std::string> ids = {id};
    const Record record =
        collection_.get({.ids = ids, .filter = {}, .include = {.embeddings = true}}).at(0);
    const auto hits = collection_.query(*record.embedding, {.k = 1, .include = {}});
    EXPECT_EQ(hits.at(0).record.id, id);
  }
}

}  // namespace
}  // namespace vkb

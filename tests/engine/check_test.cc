// SPDX-License-Identifier: Apache-2.0
//
// check() and repair() on sound stores; damaged ones are in tests/corrupt.
#include <gtest/gtest.h>

#include "engine/vkb.h"
#include "storage/file.h"
#include "storage/sqlite.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

TEST(Check, ASoundStoreHasNoProblemsAndIsCounted) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("checked");
  collection.add(test_records(50, 4));
  collection.compact();
  collection.add(test_records(5, 4, 2, "more"));
  for (const bool deep : {false, true}) {
    const CheckResult result = store.check(deep);
    EXPECT_TRUE(result.problems.empty());
    EXPECT_EQ(result.records, 55u);
    EXPECT_EQ(result.segments, 1u);
    EXPECT_EQ(result.bytes > 0, deep);
    EXPECT_EQ(result.recall, std::nullopt);  // there is no graph
  }
  EXPECT_TRUE(store.repair().problems.empty());
  EXPECT_EQ(collection.count(), 55u);
}

TEST(Check, AnEmptyStoreIsSound) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  EXPECT_TRUE(is_sound(store));
  store.create_collection("empty");
  EXPECT_TRUE(is_sound(store));
}

TEST(Check, CanBeStopped) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("checked");
  collection.add(test_records(50, 4));
  collection.compact();
  int asked = 0;
  store.check(true, [&](const Progress& progress) {
    EXPECT_EQ(progress.step, "check");
    return ++asked < 2;
  });
  EXPECT_EQ(asked, 2);
}

// They are no damage, and none of those whose names a writer may be about to commit.
TEST(Check, FilesThatNothingNamesAreCountedWhileNobodyWrites) {
  const TempDirectory directory;
  const std::string orphan = directory.file("segments/left.vseg");
  {
    Store store = Store::open(directory.path());
    Collection collection = store.create_collection("checked");
    collection.add(test_records(50, 4));
    collection.compact();
  }
  write_whole_file(orphan, "half a segm");
  const Store reader = Store::open(directory.path(), {.read_only = true});
  CheckResult result = reader.check(false);
  EXPECT_EQ(result.orphans, 1U);
  EXPECT_TRUE(result.problems.empty());
  {
    const auto lock = posix_file_system().try_lock(directory.file("writer.lock"), "a writer");
    ASSERT_NE(lock, nullptr);
    EXPECT_EQ(reader.check(false).orphans, 0U);
  }
  EXPECT_EQ(reader.check(false).orphans, 1U);
  Store::open(directory.path()).create_collection("more");
  EXPECT_EQ(reader.check(false).orphans, 0U);
  EXPECT_FALSE(posix_file_system().exists(orphan));
}

// A compaction that takes a segment away while it is being checked is no damage.
TEST(Check, BesideACompactionFindsNothing) {
  const TempDirectory directory;
  FaultyFileSystem files;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("checked");
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    VectorSource source(test_records(20, 4, seed, numbered("s", seed)), 20);
    collection.load(source);
  }
  const std::vector<std::string> id{"s10"};
  collection.remove(id);
  const Store reader = Store::open(directory.path(), {.read_only = true, .file_system = &files});
  bool compacted = false;
  files.set_hook([&](FileCall call, const std::string&) {
    if (call != FileCall::map || compacted) return;
    compacted = true;
    collection.compact();
  });
  EXPECT_TRUE(is_sound(reader));
  EXPECT_TRUE(compacted);
}

// Rows of SQLite's that no version writes. What would lead to wrong answers without a word is
// found; what would make arrays of any size is refused by whoever reads it (R8).
TEST(Check, RowsThatNoVersionWritesAreFound) {
  struct Case {
    const char* sql;
    const char* message;
    bool refused = false;
  };
  const std::vector<Case> cases = {
      {"UPDATE collection SET dim=4294967297", "dim is 4294967297, expected 1 to 16384", true},
      {"UPDATE collection SET m=1000000000", "m is 1000000000, expected 2 to 512", true},
      {"UPDATE collection SET ef_search=0", "ef_search is 0, expected 1 to 100000", true},
      {"UPDATE collection SET space=7", "space is 7, expected 0 to 2", true},
      {"UPDATE collection SET space=1", "is not the file that the store wrote", true},
      {"UPDATE collection SET metadata='none'", "expected a JSON object, found none"},
      {"UPDATE collection SET database_id=99", "is in no database", true},
      {"UPDATE collection SET last_seq=1", "its log goes on to entry"},
      {"UPDATE vector_log SET vector=x'0000c07f000000000000000000000000'", "holds NaN or infinity"},
      {"UPDATE segment SET byte_count=1", "is not the file that the store wrote"},
      {"UPDATE record SET row_id=-row_id WHERE id='r3'", "1 records have no row id of ours"},
      {"INSERT INTO tombstone VALUES(77, 1, 1)", "a segment which is not there"},
  };
  for (const Case& broken : cases) {
    const TempDirectory directory;
    {
      Store store = Store::open(directory.path());
      Collection collection = store.create_collection("checked");
      collection.add(test_records(10, 4));
      collection.compact();
      collection.add(test_records(2, 4, 2, "more"));
    }
    Database(directory.file("vkb.sqlite3"), Database::Mode::writer).execute(broken.sql);
    const Store store = Store::open(directory.path(), {.read_only = true});
    std::string found;
    for (const Problem& problem : store.check(true).problems) found += problem.message + "\n";
    EXPECT_NE(found.find(broken.message), std::string::npos) << broken.sql << ": " << found;
    if (!broken.refused) continue;
    const std::vector<float> query(4, 1.0F);
    EXPECT_TRUE(error_of([&] { store.collection("checked").query(query); })) << broken.sql;
  }
}

TEST(Check, ALogThatTheCollectionDoesNotKnowOfIsRepaired) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("checked");
  const std::vector<Record> records = test_records(10, 4);
  collection.add(records);
  collection.upsert(records);
  Database(directory.file("vkb.sqlite3"), Database::Mode::copy)
      .execute("UPDATE collection SET last_seq=3, manifest_version=manifest_version+1");
  EXPECT_FALSE(is_sound(store));
  EXPECT_TRUE(store.repair().problems.empty());
  EXPECT_EQ(differences(expected_of(records), collection), "");
  EXPECT_EQ(collection.query(*records[0].embedding, {.k = 20}).size(), 10U);
}

}  // namespace
}  // namespace vkb

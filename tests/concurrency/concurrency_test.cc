// SPDX-License-Identifier: Apache-2.0
//
// Threads on one Store: readers, writers, the background maintenance and a compaction together.
// Meant to run under ThreadSanitizer as well.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

constexpr std::int64_t kWriters = 2;
constexpr std::int64_t kGroupRecords = 60;
constexpr std::int64_t kVersions = 60;
constexpr std::size_t kReaders = 3;

class Concurrency : public ::testing::Test {
 protected:
  Concurrency()
      : store_(Store::open(directory_.path())),
        collection_(store_.create_collection(
            "shared", {.space = Space::l2, .m = 4, .ef_construction = 20})) {}

  // Each group is one version all through, and versions do not go back.
  void read_until_done() {
    std::array<std::int64_t, kWriters> last{};
    while (!done_) {
      std::array<std::int64_t, kWriters> versions{};
      std::array<std::int64_t, kWriters> counts{};
      for (const Record& record :
           collection_.get({.ids = {}, .filter = {}, .include = kIncludeAll})) {
        const auto group =
            static_cast<std::size_t>(std::get<std::int64_t>(record.metadata->at("group")));
        const auto version = std::get<std::int64_t>(record.metadata->at("version"));
        ASSERT_EQ(static_cast<float>(version), record.embedding->at(0));
        if (counts[group]++ > 0) {
          ASSERT_EQ(versions[group], version);
        }
        versions[group] = version;
      }
      for (std::size_t group = 0; group < kWriters; ++group) {
        ASSERT_EQ(counts[group], kGroupRecords);
        ASSERT_GE(versions[group], last[group]);
      }
      last = versions;
      for (const Hit& hit :
           collection_.query(std::vector<float>(4, 0.0F), {.k = 20, .include = kIncludeAll})) {
        ASSERT_NEAR(hit.distance,
                    true_distance(Space::l2, std::vector<float>(4, 0.0F), *hit.record.embedding),
                    1e-3 * (1 + hit.distance));
      }
      ASSERT_EQ(collection_.count(), kWriters * kGroupRecords);
      collection_.info();
    }
  }

  TempDirectory directory_;
  Store store_;
  Collection collection_;
  std::atomic<bool> done_ = false;
};

TEST_F(Concurrency, ReadersSeeWholeBatchesBesideWritersAndCompaction) {
  for (std::int64_t group = 0; group < kWriters; ++group)
    collection_.add(group_at(group, 0, kGroupRecords));
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < kReaders; ++i) readers.emplace_back([this] { read_until_done(); });
  std::vector<std::thread> writers;
  for (std::int64_t group = 0; group < kWriters; ++group) {
    writers.emplace_back([this, group] {
      for (std::int64_t version = 1; version <= kVersions; ++version) {
        collection_.upsert(group_at(group, version, kGroupRecords));
        if (version % 20 == 0) {
          EXPECT_TRUE(store_.check(false).problems.empty());
        }
      }
    });
  }
  std::thread compactor([this] {
    while (!done_) collection_.compact();
  });
  for (std::thread& writer : writers) writer.join();
  done_ = true;
  for (std::thread& reader : readers) reader.join();
  compactor.join();
  collection_.wait_for_maintenance();
  Expected expected;
  for (std::int64_t group = 0; group < kWriters; ++group) {
    expected.merge(expected_of(group_at(group, kVersions, kGroupRecords)));
  }
  EXPECT_EQ(differences(expected, collection_), "");
  EXPECT_TRUE(is_sound(store_));
}

// A load and upserts from other threads: all of them count, the later one for each record.
TEST_F(Concurrency, LoadsBesideWriters) {
  const std::vector<Record> loaded = test_records(6000, 4, 1, "loaded");
  std::thread loader([&] {
    VectorSource source(loaded, 500);
    collection_.load(source);
  });
  const std::vector<Record> written = test_records(600, 4, 2, "written");
  std::thread writer([&] {
    for (std::size_t at = 0; at < written.size(); at += 20) {
      collection_.upsert(std::span(written).subspan(at, 20));
      const std::vector<std::string> id{written[at].id};
      collection_.remove(id);
    }
  });
  loader.join();
  writer.join();
  collection_.wait_for_maintenance();
  Expected expected = expected_of(loaded);
  expected.merge(expected_of(written));
  for (std::size_t at = 0; at < written.size(); at += 20) expected.erase(written[at].id);
  EXPECT_EQ(differences(expected, collection_), "");
  EXPECT_TRUE(is_sound(store_));
}

TEST_F(Concurrency, CollectionsComeAndGoWhileOthersLook) {
  std::atomic<int> round = 0;
  std::thread looker([&] {
    while (round < 20) {
      for (const std::string& name : store_.collections()) {
        const auto error = error_of([&] {
          Collection collection = store_.collection(name);
          collection.query(std::vector<float>(4, 0.5F));
          collection.count();
        });
        if (error) {
          EXPECT_EQ(to_string(error->code()), "not_found") << error->what();
        }
      }
    }
  });
  for (; round < 20; ++round) {
    Collection collection = store_.create_collection("short-lived");
    collection.add(test_records(30, 4));
    if (round % 2 == 0) collection.compact();
    store_.delete_collection("short-lived");
  }
  looker.join();
  EXPECT_TRUE(is_sound(store_));
}

}  // namespace
}  // namespace vkb

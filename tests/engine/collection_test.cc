// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <limits>

#include "engine/vkb.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

class CollectionTest : public ::testing::Test {
 protected:
  CollectionTest()
      : store_(Store::open(directory_.path())),
        collection_(store_.create_collection("tested", {.space = Space::l2})) {}

  Record only(const std::string& id) {
    const auto records = collection_.get(
        {.ids = std::vector<std::string>{id}, .filter = {}, .include = kIncludeAll});
    return records.size() == 1 ? records[0] : Record{};
  }
  void upsert(const Record& record) { collection_.upsert({&record, 1}); }
  void update(const Record& record) { collection_.update({&record, 1}); }

  TempDirectory directory_;
  Store store_;
  Collection collection_;
};

TEST_F(CollectionTest, AddLeavesExistingRecordsAlone) {
  std::vector<Record> records = test_records(2, 4);
  records.push_back(test_record("r0", {9, 9, 9, 9}));
  collection_.add(records);
  records.pop_back();
  EXPECT_EQ(differences(expected_of(records), collection_), "");
  collection_.add(test_records(2, 4, 7));
  EXPECT_EQ(differences(expected_of(records), collection_), "");
}

TEST_F(CollectionTest, UpsertMerges) {
  Record record = test_record("a", {1, 2, 3, 4});
  record.document = "text";
  record.uri = "here";
  record.origin = "import";
  record.metadata = Metadata{{"keep", std::int64_t{1}}, {"drop", true}, {"change", 2.5}};
  upsert(record);
  Record change = test_record("a", {5, 6, 7, 8});
  change.metadata =
      Metadata{{"drop", std::monostate{}}, {"change", std::string("text")}, {"new", false}};
  upsert(change);
  const Record merged = only("a");
  EXPECT_EQ(merged.document, "text");
  EXPECT_EQ(merged.uri, "here");
  EXPECT_EQ(merged.origin, std::nullopt);
  EXPECT_EQ(merged.metadata,
            (Metadata{{"keep", std::int64_t{1}}, {"change", std::string("text")}, {"new", false}}));
  EXPECT_TRUE(same_bits(*merged.embedding, {5, 6, 7, 8}));
  EXPECT_TRUE(is_sound(store_));
}

TEST_F(CollectionTest, UpdateIgnoresUnknownIdsAndNeedsNoEmbedding) {
  collection_.add(test_records(1, 4));
  Record change;
  change.id = "r0";
  change.document = "new";
  update(change);
  change.id = "unknown";
  update(change);
  EXPECT_EQ(collection_.count(), 1u);
  EXPECT_EQ(only("r0").document, "new");
  EXPECT_TRUE(same_bits(*only("r0").embedding, *test_records(1, 4)[0].embedding));
}

TEST_F(CollectionTest, EveryKindOfValueComesBack) {
  Record record = test_record("\xE2\x82\xAC \xF0\x9F\x98\x80", {-0.0F, 1e-45F, 3e38F, 1});
  record.document = std::string("nul\0inside", 10);
  record.uri = "";
  record.origin = std::string("\0\xFF\x80 bytes", 9);
  record.metadata = Metadata{{"text", std::string("\xC3\xBC\"\\\n")},
                             {"integer", std::numeric_limits<std::int64_t>::min()},
                             {"large", std::numeric_limits<std::int64_t>::max()},
                             {"float", 2.0},
                             {"small", 5e-324},
                             {"bool", true},
                             {"texts", std::vector<std::string>{"a", "", "a"}},
                             {"integers", std::vector<std::int64_t>{3, -1}},
                             {"floats", std::vector<double>{1.0, 0.1}},
                             {"bools", std::vector<bool>{true, false}},
                             {"", std::int64_t{0}}};
  collection_.add({&record, 1});
  const Expected expected{{record.id, record}};
  EXPECT_EQ(differences(expected, collection_), "");
  EXPECT_EQ(only(record.id).origin, record.origin);
  collection_.compact();
  EXPECT_EQ(differences(expected, collection_), "");
  EXPECT_TRUE(is_sound(store_));
}

TEST_F(CollectionTest, BadRecordsAreRefusedAndChangeNothing) {
  collection_.add(test_records(1, 4));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto refused = [&](const Record& bad, const std::string& text) {
    SCOPED_TRACE(text);
    std::vector<Record> batch = test_records(2, 4, 5, "good");
    batch.push_back(bad);
    VKB_EXPECT_ERROR(collection_.add(batch), ErrorCode::invalid_argument, text);
    VKB_EXPECT_ERROR(collection_.upsert(batch), ErrorCode::invalid_argument, text);
  };
  refused(test_record("", {1, 2, 3, 4}), "Empty ID");
  refused(test_record("bad\xFF", {1, 2, 3, 4}), "not valid UTF-8");
  refused(test_record("short", {1, 2, 3}), "'short'");
  refused(test_record("long", {1, 2, 3, 4, 5}), "dimension of 4, got 5");
  refused(test_record("none", {}), "'none'");
  refused(test_record("not", {1, nan, 3, 4}), "'not'");
  refused(test_record("infinite", {1, 2, -infinity, 4}), "'infinite'");
  Record record;
  record.id = "without";
  refused(record, "'without'");
  record = test_record("document", {1, 2, 3, 4});
  record.document = "\xC0\x80";
  refused(record, "'document'");
  record = test_record("uri", {1, 2, 3, 4});
  record.uri = "\xED\xA0\x80";
  refused(record, "'uri'");
  record = test_record("metadata", {1, 2, 3, 4});
  record.metadata = Metadata{{"key", double{nan}}};
  refused(record, "'key'");
  record.metadata = Metadata{{"key", std::string("\xFF")}};
  refused(record, "UTF-8");
  record.metadata = Metadata{{"\xFF", true}};
  refused(record, "UTF-8");
  EXPECT_EQ(differences(expected_of(test_records(1, 4)), collection_), "");
  EXPECT_TRUE(is_sound(store_));
}

TEST_F(CollectionTest, TheFirstEmbeddingDecidesTheDimension) {
  EXPECT_EQ(collection_.info().options.dim, std::nullopt);
  EXPECT_TRUE(collection_.query(std::vector<float>{1, 2}).empty());
  const std::vector<Record> mixed = {test_record("a", {1, 2, 3}), test_record("b", {1, 2})};
  VKB_EXPECT_ERROR(collection_.add(mixed), ErrorCode::invalid_argument, "'b'");
  EXPECT_EQ(collection_.info().options.dim, std::nullopt);
  collection_.add(std::span(mixed).subspan(1));
  EXPECT_EQ(collection_.info().options.dim, 2u);
  Collection fixed = store_.create_collection("fixed", {.dim = 3});
  VKB_EXPECT_ERROR(fixed.add(std::span(mixed).subspan(1)), ErrorCode::invalid_argument,
                   "dimension of 3, got 2");
}

TEST_F(CollectionTest, RemovesByIdAndByFilter) {
  const std::vector<Record> records = test_records(40, 4);
  collection_.add(records);
  Expected expected = expected_of(records);
  const std::vector<std::string> ids{"r3", "unknown", "r3", "r4"};
  EXPECT_EQ(collection_.remove(ids), 2u);
  EXPECT_EQ(collection_.remove(ids), 0u);
  expected.erase("r3");
  expected.erase("r4");
  EXPECT_EQ(differences(expected, collection_), "");
  const Filter group = Filter::compare(Filter::Op::eq, "group", std::string("g5"));
  EXPECT_EQ(collection_.remove(group, 1), 1u);
  expected.erase("r5");
  EXPECT_EQ(differences(expected, collection_), "");
  const std::vector<std::string> among{"r25", "r26"};
  EXPECT_EQ(collection_.remove(group, {}, among), 1u);
  expected.erase("r25");
  EXPECT_EQ(collection_.remove(group), 2u);
  expected.erase("r15");
  expected.erase("r35");
  EXPECT_EQ(differences(expected, collection_), "");
  EXPECT_EQ(collection_.remove(Filter{}, 0), 0u);
  EXPECT_EQ(collection_.remove(Filter{}), expected.size());
  EXPECT_EQ(collection_.count(), 0u);
  EXPECT_TRUE(is_sound(store_));
}

TEST_F(CollectionTest, GetPagesInInsertionOrder) {
  collection_.add(test_records(25, 4));
  const std::vector<std::string> first{"r0"};
  collection_.remove(first);
  collection_.add(test_records(1, 4));  // r0 again: now the newest
  const auto ids = [&](const GetOptions& options) {
    std::vector<std::string> out;
    for (const Record& record : collection_.get(options)) out.push_back(record.id);
    return out;
  };
  EXPECT_EQ(ids({.ids = {}, .filter = {}, .offset = 0, .limit = 2}),
            (std::vector<std::string>{"r1", "r2"}));
  EXPECT_EQ(ids({.ids = {}, .filter = {}, .offset = 23}), (std::vector<std::string>{"r24", "r0"}));
  EXPECT_TRUE(ids({.ids = {}, .filter = {}, .offset = 25}).empty());
  EXPECT_TRUE(ids({.ids = {}, .filter = {}, .limit = 0}).empty());
  EXPECT_EQ(ids({.ids = std::vector<std::string>{"r9", "unknown", "r3", "r9"}, .filter = {}}),
            (std::vector<std::string>{"r3", "r9"}));
  const Filter group = Filter::compare(Filter::Op::eq, "group", std::string("g3"));
  EXPECT_EQ(ids({.ids = {}, .filter = group, .offset = 1, .limit = 1}),
            std::vector<std::string>{"r13"});
  EXPECT_EQ(ids({.ids = std::vector<std::string>{"r4", "r13"}, .filter = group}),
            std::vector<std::string>{"r13"});
  EXPECT_TRUE(ids({.ids = std::vector<std::string>{}, .filter = {}}).empty());
}

// A complement is not spelled out further than asked for.
TEST_F(CollectionTest, GetPagesThroughWhatAFilterLeavesOut) {
  const std::vector<Record> records = test_records(2500, 4);
  collection_.add(records);
  const std::vector<std::string> removed{"r7", "r1999"};
  collection_.remove(removed);
  const Filter others = Filter::compare(Filter::Op::ne, "group", std::string("g3"));
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (i % 10 != 3 && i != 7 && i != 1999) expected.push_back(records[i].id);
  }
  const auto ids = [&](std::uint64_t offset, std::optional<std::uint64_t> limit) {
    std::vector<std::string> out;
    for (const Record& record :
         collection_.get({.ids = {}, .filter = others, .offset = offset, .limit = limit})) {
      out.push_back(record.id);
    }
    return out;
  };
  EXPECT_EQ(ids(0, {}), expected);
  const auto slice = [&](std::size_t from, std::size_t to) {
    return std::vector<std::string>(expected.begin() + static_cast<std::ptrdiff_t>(from),
                                    expected.begin() + static_cast<std::ptrdiff_t>(to));
  };
  EXPECT_EQ(ids(0, 3), slice(0, 3));
  EXPECT_EQ(ids(1500, 700), slice(1500, 2200));
  EXPECT_EQ(ids(expected.size() - 1, 5), slice(expected.size() - 1, expected.size()));
  EXPECT_TRUE(ids(expected.size(), 5).empty());
  EXPECT_EQ(collection_.remove(others, 2000), 2000u);
  EXPECT_EQ(ids(0, {}), slice(2000, expected.size()));
}

TEST_F(CollectionTest, OnlyWhatIsAskedForIsIncluded) {
  Record record = test_records(1, 4)[0];
  record.uri = "u";
  record.origin = "o";
  collection_.add({&record, 1});
  const Record none = collection_.get(
      {.ids = {}, .filter = {}, .include = {.documents = false, .metadatas = false}})[0];
  EXPECT_FALSE(none.document || none.metadata || none.embedding || none.uri || none.origin);
  const Record usual = collection_.get()[0];
  EXPECT_TRUE(usual.document && usual.metadata);
  EXPECT_FALSE(usual.embedding || usual.uri || usual.origin);
}

TEST_F(CollectionTest, ForEachVisitsAllOnOneSnapshotAndStops) {
  const std::vector<Record> records = test_records(2500, 4);
  collection_.add(records);
  std::vector<Record> visited;
  collection_.for_each(kIncludeAll, [&](Record&& record) {
    if (visited.empty()) collection_.remove(Filter{});  // seen by later readers only
    visited.push_back(std::move(record));
    return true;
  });
  EXPECT_EQ(differences(expected_of(records), visited), "");
  EXPECT_EQ(collection_.count(), 0u);
  collection_.add(std::span(records).first(5));
  std::size_t calls = 0;
  collection_.for_each({}, [&](Record&&) { return ++calls < 3; });
  EXPECT_EQ(calls, 3u);
}

TEST_F(CollectionTest, ModifyChangesWhatIsGiven) {
  const Metadata metadata{{"a", std::int64_t{1}}};
  collection_.modify({.name = "renamed", .metadata = metadata, .ef_search = 77, .model = "m"});
  collection_.modify({});
  const CollectionInfo info = store_.collection("renamed").info();
  EXPECT_EQ(info.options.metadata, metadata);
  EXPECT_EQ(info.options.ef_search, 77u);
  EXPECT_EQ(info.options.model, "m");
  store_.create_collection("taken");
  VKB_EXPECT_ERROR(collection_.modify({.name = "taken"}), ErrorCode::already_exists, "taken");
  VKB_EXPECT_ERROR(collection_.modify({.name = "no good"}), ErrorCode::invalid_argument, "no good");
  EXPECT_NO_THROW(collection_.modify({.name = "renamed"}));
}

TEST_F(CollectionTest, EmptyBatchesAreFine) {
  collection_.add({});
  collection_.upsert({});
  collection_.update({});
  EXPECT_EQ(collection_.remove(std::span<const std::string>{}), 0u);
  EXPECT_EQ(collection_.count(), 0u);
}

TEST_F(CollectionTest, InfoLooksAtPagesOnlyWhenAskedTo) {
  collection_.add(test_records(5000, 4));
  collection_.compact();
  const CollectionInfo all = collection_.info();
  ASSERT_EQ(all.segments.size(), 1u);
  EXPECT_GT(all.segments[0].resident_bytes, 0u);  // just written
  const CollectionInfo without_pages = collection_.info(InfoDetail::segments);
  ASSERT_EQ(without_pages.segments.size(), 1u);
  EXPECT_EQ(without_pages.segments[0].resident_bytes, 0u);
  EXPECT_EQ(without_pages.segments[0].sections, all.segments[0].sections);
  EXPECT_TRUE(collection_.info(InfoDetail::records).segments.empty());
  EXPECT_EQ(collection_.info(InfoDetail::records).record_count, 5000u);
}

TEST_F(CollectionTest, CompactReportsProgressAndMayBeStopped) {
  const std::vector<Record> records = test_records(5000, 4);
  collection_.add(records);
  EXPECT_FALSE(collection_.compact([](const Progress&) { return false; }));
  EXPECT_EQ(differences(expected_of(records), collection_), "");
  EXPECT_TRUE(collection_.compact([](const Progress& progress) {
    EXPECT_LE(progress.done, progress.total);
    return true;
  }));
  const CollectionInfo info = collection_.info();
  ASSERT_EQ(info.segments.size(), 1u);
  EXPECT_TRUE(info.segments[0].has_graph);
  EXPECT_EQ(info.tombstone_count, 0u);
  EXPECT_EQ(differences(expected_of(records), collection_), "");
}

}  // namespace
}  // namespace vkb

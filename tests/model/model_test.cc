// SPDX-License-Identifier: Apache-2.0
//
// Random operations on a store and on a std::map; after every one both must hold the same, and an
// exact query must answer what distances in double say. A read-only store that is open all along
// must agree (R7), and so must a reopened one.
#include <gtest/gtest.h>

#include <optional>

#include "engine/tuning.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

struct Setting {
  std::uint64_t seed;
  Space space;
  std::size_t dim;
  std::size_t steps;
  std::size_t ids;        // records come from this many ids
  std::size_t batch;      // records a small operation touches, at most
  std::size_t bulk;       // records of a load, at most
  std::size_t full_each;  // every so many steps everything is compared
};

class Model : public ::testing::TestWithParam<Setting> {
 protected:
  Model() : random_(GetParam().seed) {}

  void SetUp() override {
    reopen();
    reader_.emplace(Store::open(directory_.path(), {.read_only = true}));
    reading_.emplace(reader_->collection("model"));
  }

  void reopen() {
    collection_.reset();
    store_.reset();
    store_.emplace(Store::open(directory_.path()));
    collection_.emplace(store_->get_or_create_collection(
        "model", {.space = GetParam().space, .m = 8, .ef_construction = 40}));
  }

  std::string random_id() { return numbered("id", random_.below(GetParam().ids)); }

  Metadata random_metadata() {
    Metadata metadata;
    if (random_.below(4) > 0) metadata["n"] = static_cast<std::int64_t>(random_.below(100));
    if (random_.below(4) > 0) metadata["group"] = numbered("g", random_.below(5));
    if (random_.below(4) == 0) metadata["x"] = static_cast<double>(random_.real());
    if (random_.below(8) == 0) metadata["on"] = random_.below(2) == 0;
    return metadata;
  }

  // Some share a word, some have one of their own, or one that the document index sees otherwise.
  std::string random_document() {
    std::string text = numbered("word", random_.below(20)) + " end";
    if (random_.below(2) == 0) text += numbered(" only ", random_.below(2000));
    if (random_.below(8) == 0) text += random_.below(2) == 0 ? " WORD7 END" : " wörd7 Ωmega";
    if (random_.below(8) == 0) text += std::string("\0after", 6);
    return text;
  }

  Record random_record(bool with_embedding = true) {
    Record record;
    record.id = random_id();
    if (with_embedding) record.embedding = random_vector(random_, GetParam().dim);
    if (random_.below(3) > 0) record.document = random_document();
    if (random_.below(3) > 0) record.metadata = random_metadata();
    if (random_.below(6) == 0) record.uri = numbered("file:", random_.below(100));
    return record;
  }

  static void settle(Record& record) {
    if (record.metadata && record.metadata->empty()) record.metadata.reset();
  }

  void merge(const Record& change) {
    Record& record = expected_[change.id];
    if (change.embedding) record.embedding = change.embedding;
    if (change.document) record.document = change.document;
    if (change.uri) record.uri = change.uri;
    if (!change.metadata) return;
    if (!record.metadata) record.metadata.emplace();
    for (const auto& [key, value] : *change.metadata) {
      if (std::holds_alternative<std::monostate>(value)) {
        record.metadata->erase(key);
      } else {
        (*record.metadata)[key] = value;
      }
    }
    settle(record);
  }

  void insert(Record record) {
    settle(record);
    expected_[record.id] = std::move(record);
  }

  std::vector<Record> random_batch(bool with_embedding = true) {
    std::vector<Record> batch(1 + random_.below(GetParam().batch));
    for (Record& record : batch) {
      record = random_record(with_embedding || random_.below(2) == 0);
    }
    return batch;
  }

  void add() {
    const std::vector<Record> batch = random_batch();
    collection_->add(batch);
    for (const Record& record : batch) {
      if (!expected_.contains(record.id)) insert(record);
    }
  }

  void upsert() {
    const std::vector<Record> batch = random_batch();
    collection_->upsert(batch);
    for (const Record& record : batch) {
      expected_.contains(record.id) ? merge(record) : insert(record);
    }
  }

  void update() {
    std::vector<Record> batch = random_batch(false);
    if (random_.below(3) == 0) batch.front().metadata = Metadata{{"n", std::monostate{}}};
    collection_->update(batch);
    for (const Record& record : batch) {
      if (expected_.contains(record.id)) merge(record);
    }
  }

  void remove_ids() {
    std::vector<std::string> ids(1 + random_.below(GetParam().batch));
    std::uint64_t known = 0;
    for (std::string& id : ids) id = random_id();
    const std::uint64_t removed = collection_->remove(ids);
    for (const std::string& id : ids) known += expected_.erase(id);
    EXPECT_EQ(removed, known);
  }

  void remove_matches() {
    const auto low = static_cast<std::int64_t>(random_.below(100));
    const Filter filter = Filter::combine(
        Filter::Op::all_of, {Filter::compare(Filter::Op::gte, "n", low),
                             Filter::compare(Filter::Op::lt, "n", low + std::int64_t{3})});
    const std::uint64_t removed = collection_->remove(filter);
    const std::size_t erased = std::erase_if(
        expected_, [&](const auto& entry) { return number_in(entry.second, low, low + 3); });
    EXPECT_EQ(removed, erased);
  }

  void load() {
    std::vector<Record> records(1 + random_.below(GetParam().bulk));
    for (Record& record : records) record = random_record();
    VectorSource source(records, 1 + random_.below(1000));
    const LoadResult result = collection_->load(source);
    EXPECT_FALSE(result.stopped);
    for (const Record& record : records) insert(record);
  }

  static bool number_in(const Record& record, std::int64_t low, std::int64_t high) {
    if (!record.metadata) return false;
    const auto n = record.metadata->find("n");
    if (n == record.metadata->end()) return false;
    const auto value = std::get<std::int64_t>(n->second);
    return value >= low && value < high;
  }

  static std::string group_of(const Record& record) {
    if (!record.metadata) return "";
    const auto group = record.metadata->find("group");
    return group == record.metadata->end() ? "" : std::get<std::string>(group->second);
  }

  static bool has(const Record& record, const std::string& text) {
    return record.document && record.document->find(text) != std::string::npos;
  }

  // A text as documents have it, with spaces and quotes that mean nothing.
  std::string random_needle() {
    switch (random_.below(5)) {
      case 0:
        return numbered("only ", random_.below(2000));
      case 1:
        return "WORD7 E";
      case 2:
        return "d7 Ωme";
      case 3:
        return std::string("\0aft", 4);
      default:
        return numbered("word", random_.below(20)) + " ";
    }
  }

  // A random condition, and what of the model it matches.
  std::optional<Filter> random_filter(Expected& matches) {
    const auto keep = [&](const auto& condition) {
      for (const auto& [id, record] : expected_) {
        if (condition(record)) matches.emplace(id, record);
      }
    };
    switch (random_.below(8)) {
      case 0: {
        const std::string group = numbered("g", random_.below(5));
        keep([&](const Record& record) { return group_of(record) == group; });
        return Filter::compare(Filter::Op::eq, "group", group);
      }
      case 1: {
        const auto bound = static_cast<std::int64_t>(random_.below(100));
        keep([&](const Record& record) { return number_in(record, 0, bound); });
        return Filter::compare(Filter::Op::lt, "n", bound);
      }
      case 2:
        keep([&](const Record& record) { return group_of(record) != "g1"; });
        return Filter::compare(Filter::Op::ne, "group", std::string("g1"));
      case 3: {
        const std::string text = random_needle();
        const bool negated = random_.below(4) == 0;
        keep([&](const Record& record) { return has(record, text) != negated; });
        return Filter::document(
            negated ? Filter::Op::document_not_contains : Filter::Op::document_contains, text);
      }
      case 4: {
        const std::string number = std::to_string(random_.below(200));
        keep([&](const Record& record) {
          return has(record, "only " + number) || has(record, "WORD7 END");
        });
        return Filter::document(Filter::Op::document_regex,
                                "only " + number + "|(?i:WORD[6-8]) END");
      }
      case 5: {
        const std::string number = std::to_string(random_.below(20));
        const std::string group = numbered("g", random_.below(5));
        keep([&](const Record& record) {
          return group_of(record) == group && has(record, "only " + number);
        });
        return Filter::combine(Filter::Op::all_of,
                               {Filter::document(Filter::Op::document_contains, "only " + number),
                                Filter::compare(Filter::Op::eq, "group", group)});
      }
      default:
        matches = expected_;
        return std::nullopt;
    }
  }

  void check_queries(const Collection& collection) {
    const std::vector<float> query = random_vector(random_, GetParam().dim);
    const auto k = static_cast<std::uint32_t>(1 + random_.below(20));
    Expected matches;
    QueryOptions options{.k = k, .filter = random_filter(matches), .include = {}};
    options.exact = true;
    ASSERT_EQ(wrong_answer(GetParam().space, query, k, matches, collection.query(query, options)),
              "");
    options.exact = false;
    const std::vector<Hit> hits = collection.query(query, options);
    ASSERT_EQ(wrong_answer(GetParam().space, query, k, matches, hits, false), "");
    const std::vector<Hit> nearest =
        collection.query(query, {.k = k, .exact = true, .filter = options.filter, .include = {}});
    for (std::size_t i = 0; i < hits.size(); ++i) {
      ++asked_;
      found_ += hits[i].distance <= nearest[i].distance + 1e-5F;
    }
  }

  // One random operation; returns its name.
  std::string step() {
    const std::uint64_t choice = random_.below(100);
    if (choice < 22) return add(), "add";
    if (choice < 50) return upsert(), "upsert";
    if (choice < 65) return update(), "update";
    if (choice < 83) return remove_ids(), "remove by id";
    if (choice < 87) return remove_matches(), "remove by filter";
    if (choice < 93) return load(), "load";
    if (choice < 96) return collection_->compact(), "compact";
    return reopen(), "reopen";
  }

  TempDirectory directory_;
  TestRandom random_;
  Expected expected_;
  std::optional<Store> store_;
  std::optional<Collection> collection_;
  std::optional<Store> reader_;
  std::optional<Collection> reading_;
  std::uint64_t asked_ = 0;
  std::uint64_t found_ = 0;
};

TEST_P(Model, HoldsWhatAMapHolds) {
  for (std::size_t i = 0; i < GetParam().steps; ++i) {
    const std::string operation = step();
    SCOPED_TRACE(::testing::Message() << "step " << i << " " << operation);
    ASSERT_EQ(collection_->count(), expected_.size());
    ASSERT_EQ(reading_->count(), expected_.size());
    if (i % GetParam().full_each == 0) {
      ASSERT_EQ(differences(expected_, *collection_), "");
      ASSERT_EQ(differences(expected_, *reading_), "");
    }
    // A collection without embeddings has no dimension to hold queries against.
    ASSERT_NO_FATAL_FAILURE(check_queries(random_.below(2) == 0 ? *collection_ : *reading_));
  }
  collection_->wait_for_maintenance();
  ASSERT_EQ(differences(expected_, *collection_), "");
  EXPECT_TRUE(is_sound(*store_));
  // Removed records stay away (R5): after everything was written anew, too.
  collection_->compact();
  reopen();
  ASSERT_EQ(differences(expected_, *collection_), "");
  ASSERT_EQ(differences(expected_, *reading_), "");
  EXPECT_TRUE(is_sound(*store_));
  EXPECT_GE(static_cast<double>(found_), 0.95 * static_cast<double>(asked_));
}

INSTANTIATE_TEST_SUITE_P(Settings, Model,
                         ::testing::Values(Setting{1, Space::cosine, 4, 500, 60, 6, 30, 1},
                                           Setting{2, Space::l2, 7, 500, 60, 6, 30, 1},
                                           Setting{3, Space::ip, 16, 500, 200, 20, 100, 1},
                                           Setting{4, Space::l2, 1, 300, 40, 5, 20, 1},
                                           // Past kSealRows and kGraphMinRows:
                                           Setting{5, Space::cosine, 8, 60, 9000, 700, 5000, 10},
                                           Setting{6, Space::l2, 4, 60, 7000, 900, 6000, 10}));

// The thresholds are really crossed: the log is sealed, and graphs are built, behind the caller.
TEST(ModelThresholds, SealsAndBuildsGraphsInTheBackground) {
  const TempDirectory directory;
  const Store opened = Store::open(directory.path());
  Store store = opened;
  Collection collection =
      store.create_collection("big", {.space = Space::l2, .m = 8, .ef_construction = 40});
  const std::vector<Record> records = test_records(5 * kSealRows, 4);
  for (std::size_t at = 0; at < records.size(); at += kSealRows / 2) {
    collection.add(std::span(records).subspan(at, kSealRows / 2));
    collection.wait_for_maintenance();
  }
  const CollectionInfo info = collection.info();
  EXPECT_LT(info.unsealed_count, kSealRows);
  ASSERT_FALSE(info.segments.empty());
  EXPECT_LT(info.segments.size(), 4u);
  EXPECT_TRUE(info.segments.front().has_graph);
  EXPECT_EQ(differences(expected_of(records), collection), "");
  EXPECT_TRUE(is_sound(store));
}

}  // namespace
}  // namespace vkb

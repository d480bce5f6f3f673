// SPDX-License-Identifier: Apache-2.0
//
// Whole stores of this version and of earlier ones answer for ever what they answered when they
// were made. And a store of a version still to come is refused, with nothing on disk changed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "storage/schema.h"
#include "storage/segment_format.h"
#include "storage/sqlite.h"
#include "tests/golden/golden_answers.h"
#include "tests/support/seal_segment.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

constexpr int kSealed = 4096;  // rows of the graph, which fewer would not get
constexpr std::uint32_t kDim = 4;
constexpr const char* kTenant = "tenant ünïcode";
const std::vector<std::pair<std::string, std::string>> kDatabases = {
    {"default_tenant", "default_database"}, {kTenant, "second"}, {kTenant, "third"}};

// By schema; the last one is today's.
constexpr int kSchemas[] = {3, 4};
std::string archive(int schema) {
  return VKB_GOLDEN_DIR "/store_v" + std::to_string(schema) + ".tar.xz";
}

// With VKB_CMAKE -E tar, which is there wherever this was built.
void tar(const std::string& directory, const std::string& arguments) {
  const std::string command =
      "cd '" + directory + "' && '" VKB_CMAKE "' -E tar " + arguments + " >/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
}

// Multiples of 1/2, which are added up exactly whatever the order.
std::vector<float> golden_vector(std::uint64_t number, std::uint32_t dim) {
  TestRandom random(number);
  std::vector<float> vector(dim);
  for (float& component : vector) component = static_cast<float>(random.below(25)) / 2 - 6;
  return vector;
}

Record graph_record(int number) {
  return {.id = numbered("r", static_cast<std::uint64_t>(number)),
          .embedding = golden_vector(static_cast<std::uint64_t>(number), kDim),
          .document = "of group " + std::to_string(number % 7),
          .metadata = Metadata{{"n", std::int64_t{number}}}};
}

// Metadata of all types, and texts that are easily broken.
std::vector<Record> odd_records() {
  const std::string texts[] = {"plain",
                               "日本語 group 3",
                               std::string("nul\0inside", 10),
                               "e\u0301 É E\u0301",
                               "🔑👩‍👩‍👧",
                               "\u202Eright to left",
                               "line\nbreak\ttab\"quote\\",
                               std::string(63, 'i'),
                               std::string(64, 'j'),
                               std::string(300, 'k'),
                               "\u00FF\u0100\uFFFD\U0010FFFF",
                               " spaces "};
  std::vector<Record> records;
  for (int i = 0; i < 12; ++i) {
    const std::string& text = texts[i];
    Record record{.id = text,
                  .embedding = golden_vector(static_cast<std::uint64_t>(1000 + i), 3),
                  .document = i == 5 ? std::optional<std::string>() : text + " of group " + text,
                  .metadata = Metadata{{"n", std::int64_t{i}},
                                       {"even", i % 2 == 0},
                                       {"half", i * 0.5},
                                       {"kind", std::string(i % 3 == 0 ? "a" : "ключ 🔑")},
                                       {"ключ 🔑", std::string(i < 6 ? "значение" : "")},
                                       {"list", std::vector<std::int64_t>{i, 3 * i, INT64_MIN}},
                                       {"texts", std::vector<std::string>{text, "é"}},
                                       {"flags", std::vector<bool>{true, i > 4}},
                                       {"reals", std::vector<double>{0.1, -0.0, 1e300, 2}}}};
    if (i == 7) record.metadata->emplace("long", std::string(5000, 'x') + text);
    if (i == 8) record.metadata.reset();
    if (i % 4 == 0) record.uri = "file:///" + std::to_string(i) + "?ü";
    if (i % 5 == 0) record.origin = std::string("\x00\xFF\xFE bytes", 9);
    records.push_back(std::move(record));
  }
  records[0].embedding = std::vector{-0.0F, 0.0F, 1e-45F};  // bits are kept
  return records;
}

// Puts the golden store into `directory`; what it holds then.
std::map<std::string, Expected> make_golden_store(const std::string& directory) {
  std::map<std::string, Expected> expected;
  Store store = Store::open(directory);
  store.create_tenant(kTenant);
  for (const char* name : {"second", "third"}) store.create_database(name, kTenant);

  Collection graph = store.create_collection("graph", {.m = 2, .ef_construction = 40});
  std::vector<Record> records;
  for (int i = 0; i < kSealed; ++i) records.push_back(graph_record(i));
  VectorSource source(records, 3000);
  graph.load(source);
  graph.remove(parse_where(R"({"n":{"$lt":20}})"));
  records.erase(records.begin(), records.begin() + 20);
  std::vector<Record> changed;
  for (int i = 40; i < 50; ++i) {
    changed.push_back(graph_record(i));
    changed.back().embedding = golden_vector(static_cast<std::uint64_t>(i) + 9000, kDim);
    records[static_cast<std::size_t>(i - 20)] = changed.back();
  }
  for (int i = kSealed; i < kSealed + 10; ++i) changed.push_back(graph_record(i));
  graph.upsert(changed);
  records.insert(records.end(), changed.end() - 10, changed.end());
  expected["graph"] = expected_of(records);

  Collection odd =
      store.create_collection("odd", {.space = Space::l2, .dim = 3}, "second", kTenant);
  records = odd_records();
  odd.add(records);
  odd.compact();
  odd.remove(std::vector<std::string>{records[1].id, records[10].id});
  records.erase(records.begin() + 10);
  records.erase(records.begin() + 1);
  records[2].embedding = std::vector{0.5F, -0.25F, 8.0F};
  records[2].metadata->erase("even");
  Record update = records[2];
  (*update.metadata)["even"] = std::monostate();
  odd.upsert({&update, 1});
  records.push_back({.id = "new", .embedding = std::vector{1.0F, 2.0F, 3.0F}, .document = ""});
  odd.add({&records.back(), 1});
  expected["odd"] = expected_of(records);

  Collection log = store.create_collection("log-only",
                                           {.space = Space::ip,
                                            .m = 5,
                                            .ef_construction = 77,
                                            .ef_search = 33,
                                            .model = "model/ü",
                                            .metadata = Metadata{{"made", std::string("for ever")}},
                                            .extra = R"({"kept":["as","given"]})"},
                                           "third", kTenant);
  records = test_records(5, 2);
  log.add(records);
  expected["log-only"] = expected_of(records);
  store.create_collection("empty", {.dim = 5}, "third", kTenant);
  expected["empty"] = {};
  return expected;
}

// Of every file of a store that holds something for good, by its name. An empty -wal is as good as
// none.
std::map<std::string, std::string> bytes_of(const std::string& directory) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::string name = entry.path().string();
    const bool passing = name.ends_with("-shm") || name.ends_with("writer.lock");
    if (!entry.is_regular_file() || passing || entry.file_size() == 0) continue;
    out[name] = read_whole_file(name);
  }
  return out;
}

void expect_unchanged(const std::map<std::string, std::string>& before,
                      const std::string& directory) {
  const auto after = bytes_of(directory);
  EXPECT_EQ(before.size(), after.size());
  for (const auto& [file, bytes] : before) {
    ASSERT_TRUE(after.contains(file)) << file;
    EXPECT_TRUE(after.at(file) == bytes) << file;
  }
}

class GoldenStore : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    tar(directory_.path(), "xf '" + archive(GetParam()) + "'");
    answers_ = Json::parse(read_whole_file(directory_.file("answers.json")));
  }
  std::string path() const { return directory_.file("store"); }
  void sql(const std::string& text) const {
    Database(path() + "/vkb.sqlite3", Database::Mode::writer).execute(text);
  }

  TempDirectory directory_;
  Json answers_;
};

// With VKB_WRITE_GOLDEN=1 in the environment it keeps the store as a golden file.
TEST(GoldenStoreToday, MakesWhatItIsToldAndAnswersRight) {
  const TempDirectory directory;
  const auto expected = make_golden_store(directory.file("store"));
  GoldenAnswers answers;
  {
    const Store store = Store::open(directory.file("store"), {.read_only = true});
    answers = answers_of(store, kDatabases);
    for (const auto& [tenant, database] : kDatabases) {
      for (const std::string& name : store.collections(database, tenant)) {
        const Collection collection = store.collection(name, database, tenant);
        EXPECT_EQ(differences(expected.at(name), collection), "") << name;
      }
    }
    EXPECT_TRUE(is_sound(store));
  }
  for (const auto& [name, collection] : answers.contents.items()) {
    for (const Json& query : collection.at("queries")) {
      EXPECT_EQ(difference(query.at("exact"), query.at("nearest")), "") << name;
    }
  }
  if (std::getenv("VKB_WRITE_GOLDEN") == nullptr) return;
  ASSERT_EQ(std::end(kSchemas)[-1], kSchemaVersion);
  const std::string archive_path = archive(kSchemaVersion);
  ASSERT_FALSE(std::filesystem::exists(archive_path));
  const Json kept = {{"contents", answers.contents}, {"layout", answers.layout}};
  directory.write("answers.json", kept.dump(1));
  const std::string store = directory.file("store");
  for (const char* name : {"/vkb.sqlite3-wal", "/vkb.sqlite3-shm", "/writer.lock"}) {
    std::filesystem::remove(store + name);
  }
  tar(directory.path(), "cJf '" + archive_path + "' --mtime=1970-01-01 answers.json store");
}

TEST_P(GoldenStore, IsReadAsItIs) {
  const auto before = bytes_of(path());
  {
    const Store store = Store::open(path(), {.read_only = true});
    EXPECT_TRUE(store.has_tenant(kTenant));
    EXPECT_EQ(store.databases(kTenant), (std::vector<std::string>{"second", "third"}));
    EXPECT_EQ(store.all_collections().size(), 4U);
    const GoldenAnswers found = answers_of(store, kDatabases);
    EXPECT_EQ(difference(answers_.at("contents"), found.contents), "");
    EXPECT_EQ(difference(answers_.at("layout"), found.layout), "");
    EXPECT_TRUE(is_sound(store));
  }
  expect_unchanged(before, path());
}

TEST_P(GoldenStore, IsWrittenToAndCompactedWithTheSameAnswers) {
  Store store = Store::open(path());
  store.create_tenant("later");  // a write: brings the schema up to date
  EXPECT_EQ(store.info().schema_version, kSchemaVersion);
  EXPECT_EQ(difference(answers_.at("contents"), answers_of(store, kDatabases).contents), "");
  for (Collection& collection : store.all_collections()) collection.compact();
  EXPECT_EQ(difference(answers_.at("contents"), answers_of(store, kDatabases).contents), "");
  EXPECT_TRUE(is_sound(store));
  EXPECT_TRUE(store.repair().problems.empty());

  Collection graph = store.collection("graph");
  const Record added = graph_record(5000);
  graph.add({&added, 1});
  EXPECT_EQ(graph.query(*added.embedding, {.k = 1}).front().record.id, "r5000");
  graph.remove(std::vector<std::string>{"r5000"});
  EXPECT_EQ(difference(answers_.at("contents"), answers_of(store, kDatabases).contents), "");
  EXPECT_TRUE(is_sound(store));
}

TEST_P(GoldenStore, IsBackedUpAndTheCopyAnswersTheSame) {
  Store::open(path(), {.read_only = true}).backup(directory_.file("copy"));
  const Store copy = Store::open(directory_.file("copy"), {.read_only = true});
  EXPECT_EQ(difference(answers_.at("contents"), answers_of(copy, kDatabases).contents), "");
  EXPECT_TRUE(is_sound(copy));
}

// What a newer vkb's store must say, whoever opens it, and however.
TEST_P(GoldenStore, ANewerSchemaIsRefusedWithNothingChanged) {
  sql("PRAGMA user_version=" + std::to_string(kSchemaVersion + 1));
  // What a later version could leave behind, and a writer of this one would clear away.
  write_whole_file(path() + "/segments/of_a_later_version.vseg", "kept");
  const auto before = bytes_of(path());
  for (const bool read_only : {true, false}) {
    VKB_EXPECT_ERROR(Store::open(path(), {.read_only = read_only}), ErrorCode::unsupported,
                     path() + "/vkb.sqlite3: written by a newer vkb (schema " +
                         std::to_string(kSchemaVersion + 1) + ", this build reads up to " +
                         std::to_string(kSchemaVersion) + "); use that version");
  }
  expect_unchanged(before, path());
}

// The store was opened when it was of this version still.
TEST_P(GoldenStore, ASchemaThatBecomesNewerIsRefusedByTheNextWrite) {
  Store store = Store::open(path());
  sql("PRAGMA user_version=" + std::to_string(kSchemaVersion + 1));
  const auto before = bytes_of(path());
  VKB_EXPECT_ERROR(store.create_tenant("later"), ErrorCode::unsupported, "written by a newer vkb");
  const Record added = graph_record(5000);
  VKB_EXPECT_ERROR(store.collection("graph").add({&added, 1}), ErrorCode::unsupported,
                   path() + "/vkb.sqlite3");
  expect_unchanged(before, path());
}

TEST_P(GoldenStore, ANewerSegmentIsRefusedWithNothingChanged) {
  Store::open(path()).create_tenant("later");  // a write: brings the schema up to date
  std::string file;
  for (const auto& segment : Store::open(path()).collection("graph").info().segments) {
    file = segment.file;
  }
  std::string bytes = read_whole_file(path() + "/segments/" + file);
  bytes[offsetof(SegmentHeader, format_version)] = static_cast<char>(kSegmentFormatVersion + 1);
  seal_segment(bytes);
  write_whole_file(path() + "/segments/" + file, bytes);
  const std::string problem =
      "segment " + file + ": its format is version " + std::to_string(kSegmentFormatVersion + 1) +
      ", this program reads up to " + std::to_string(kSegmentFormatVersion) + "; use a newer vkb";
  const auto before = bytes_of(path());
  const std::vector<float> query(kDim, 1.0F);
  const Record known = graph_record(100);
  const Record added = graph_record(5000);
  for (const bool read_only : {true, false}) {
    const Store store = Store::open(path(), {.read_only = read_only});
    Collection graph = store.collection("graph");
    VKB_EXPECT_ERROR(graph.query(query), ErrorCode::unsupported, problem);
    VKB_EXPECT_ERROR(graph.get({.include = {.embeddings = true}}), ErrorCode::unsupported, problem);
    VKB_EXPECT_ERROR(graph.info(), ErrorCode::unsupported, problem);
    VKB_EXPECT_ERROR(store.backup(directory_.file("copy")), ErrorCode::unsupported, problem);
    std::filesystem::remove_all(directory_.file("copy"));
    const CheckResult found = store.check(false);
    const auto named = std::ranges::find(found.problems, "segment " + file, &Problem::object);
    ASSERT_NE(named, found.problems.end());
    EXPECT_EQ(named->object + ": " + named->message, problem);
    EXPECT_FALSE(named->repairable);
    if (read_only) continue;
    VKB_EXPECT_ERROR(graph.upsert({&known, 1}), ErrorCode::unsupported, problem);
    VKB_EXPECT_ERROR(graph.add({&added, 1}), ErrorCode::unsupported, problem);
    VKB_EXPECT_ERROR(graph.remove(std::vector<std::string>{"r100"}), ErrorCode::unsupported,
                     problem);
    VKB_EXPECT_ERROR(graph.compact(), ErrorCode::unsupported, problem);
    VectorSource source({added}, 1);
    VKB_EXPECT_ERROR(graph.load(source), ErrorCode::unsupported, problem);
  }
  expect_unchanged(before, path());
}

INSTANTIATE_TEST_SUITE_P(Schemas, GoldenStore, ::testing::ValuesIn(kSchemas),
                         [](const auto& schema) { return std::to_string(schema.param); });

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// After Collection::purge() no file of the store holds a byte of what was removed. The files are
// read as bytes, by nothing of vkb.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/codes.h"
#include "engine/vkb.h"
#include "storage/sqlite.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDim = 128;  // with codes
// Enough for a graph, and for a document index.
constexpr std::size_t kMany = 4200;

std::string bytes_of(std::span<const float> vector) {
  return {reinterpret_cast<const char*>(vector.data()), vector.size_bytes()};
}

// What is never to be seen again, each in a form in which it is in a file as it is.
struct Secrets {
  std::map<std::string, std::string> patterns;  // by what it is
  std::string trigram;                          // in no other document
};

// A record with much to hide. `version`: its contents differ; its id does not.
Record secret_record(int version, Secrets& secrets) {
  TestRandom random(static_cast<std::uint64_t>(100 + version));
  const std::string tag = "-version-" + std::to_string(version) + "-";
  const auto words = [&](std::size_t count) {
    std::string text;
    while (text.size() < count) text += std::to_string(random.below(1'000'000'000)) + " ";
    return text;
  };
  Record record = test_record("patient-4711-the-id", random_vector(random, kDim));
  record.document = "Diagnosis" + tag + words(300) + "\u2603\u2604\u2605";
  record.uri = "file:///patients/4711" + tag + ".txt";
  record.origin = "origin" + tag + "4711";
  record.metadata = Metadata{{"surname", "Mustermann" + tag},
                             {"key-of-this-record-only" + tag, true},
                             {"weight", 80.0625 + version},
                             {"tags", std::vector<std::string>{"rare" + tag, "common"}}};
  // Longer metadata is kept compressed, and the index of it is not.
  if (version % 2 == 1) record.metadata->emplace("letter", "Dear Sir" + tag + words(900));
  secrets.trigram = "\u2603\u2604\u2605";
  auto& patterns = secrets.patterns;
  patterns["id"] = record.id;
  patterns["document" + tag] = record.document->substr(0, 60);
  patterns["end of document" + tag] = record.document->substr(record.document->size() - 40);
  patterns["uri" + tag] = *record.uri;
  patterns["origin" + tag] = *record.origin;
  patterns["metadata text" + tag] = "Mustermann" + tag;
  patterns["metadata key" + tag] = "key-of-this-record-only" + tag;
  patterns["metadata array" + tag] = "rare" + tag;
  if (version % 2 == 1) patterns["letter" + tag] = "Dear Sir" + tag;
  patterns["vector" + tag] = bytes_of(*record.embedding);
  patterns["half a vector" + tag] = bytes_of(std::span(*record.embedding).subspan(kDim / 2));
  std::string code(code_bytes(kDim), '\0');
  encode_int8(*record.embedding, norm_of(*record.embedding), Space::cosine,
              reinterpret_cast<std::byte*>(code.data()));
  patterns["code" + tag] = code.substr(sizeof(Int8CodeHeader));
  return record;
}

class Purge : public ::testing::Test {
 protected:
  std::string everything() const {
    std::string all;
    for (const auto& entry : fs::recursive_directory_iterator(path_)) {
      if (!entry.is_regular_file()) continue;
      std::ostringstream bytes;
      bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      all += bytes.str() + std::string(100, '|');
    }
    return all;
  }

  // The names of the secrets that are in some file.
  std::set<std::string> visible() const {
    const std::string all = everything();
    std::set<std::string> names;
    for (const auto& [name, pattern] : secrets_.patterns) {
      if (all.find(pattern) != std::string::npos) names.insert(name);
    }
    return names;
  }

  // Documents that the document index has the trigram of; none without an index.
  std::int64_t indexed_documents() const {
    Database db(path_ + "/vkb.sqlite3", Database::Mode::reader);
    Statement index(db, "SELECT 1 FROM sqlite_master WHERE name='document_term_1'");
    if (!index.step()) return 0;
    Statement found(db, "SELECT doc FROM document_term_1 WHERE term=?");
    found.bind(secrets_.trigram);
    return found.step() ? found.integer(0) : 0;
  }

  void expect_erased(const Expected& left) {
    EXPECT_EQ(visible(), std::set<std::string>{});
    EXPECT_EQ(indexed_documents(), 0);
    EXPECT_EQ(differences(left, collection_), "");
    EXPECT_TRUE(is_sound(store_));
    for (const auto& [key, kind] : collection_.info().metadata_keys) {
      EXPECT_EQ(key.find("key-of-this-record-only"), std::string::npos) << key;
    }
  }

  void remove_secret() {
    const std::vector<std::string> ids = {"patient-4711-the-id"};
    ASSERT_EQ(collection_.remove(ids), 1u);
  }

  const TempDirectory directory_;
  const std::string path_ = directory_.file("store");
  FaultyFileSystem files_;
  Store store_ =
      Store::open(path_, {.lock_timeout = std::chrono::milliseconds(300), .file_system = &files_});
  Collection collection_ = store_.create_collection("vectors");
  Secrets secrets_;
};

TEST_F(Purge, ErasesWhatWasInTheLogOnly) {
  const std::vector<Record> others = test_records(5, kDim);
  collection_.add(others);
  collection_.add(std::vector{secret_record(1, secrets_)});
  const std::set<std::string> before = visible();
  for (const char* name : {"id", "document-version-1-", "metadata text-version-1-",
                           "metadata key-version-1-", "vector-version-1-"}) {
    EXPECT_TRUE(before.contains(name)) << name;
  }
  remove_secret();
  EXPECT_TRUE(collection_.purge());
  expect_erased(expected_of(others));
}

TEST_F(Purge, ErasesWhatWasInAFlatSegment) {
  const std::vector<Record> others = test_records(20, kDim);
  collection_.add(others);
  collection_.add(std::vector{secret_record(1, secrets_)});
  collection_.compact();
  ASSERT_FALSE(collection_.info().segments.at(0).has_graph);
  remove_secret();
  // Removing alone does not erase.
  EXPECT_TRUE(visible().contains("vector-version-1-"));
  EXPECT_TRUE(visible().contains("code-version-1-"));
  EXPECT_TRUE(collection_.purge());
  expect_erased(expected_of(others));
}

TEST_F(Purge, ErasesWhatWasInASegmentWithAGraph) {
  const std::vector<Record> others = test_records(kMany, kDim);
  collection_.add(std::span(others).first(kMany / 2));
  collection_.add(std::vector{secret_record(1, secrets_)});
  collection_.add(std::span(others).subspan(kMany / 2));
  collection_.compact();
  ASSERT_TRUE(collection_.info().segments.at(0).has_graph);
  ASSERT_EQ(indexed_documents(), 1);
  for (const char* name : {"id", "vector-version-1-", "code-version-1-"}) {
    EXPECT_TRUE(visible().contains(name)) << name;
  }
  remove_secret();
  EXPECT_TRUE(visible().contains("id"));  // the segment has it
  EXPECT_TRUE(collection_.purge());
  expect_erased(expected_of(others));
  EXPECT_TRUE(collection_.info().segments.at(0).has_graph);
}

TEST_F(Purge, ErasesTheOnlyRecord) {
  EXPECT_TRUE(collection_.purge());  // of nothing
  for (const bool sealed : {false, true}) {
    collection_.add(std::vector{secret_record(1, secrets_)});
    if (sealed) collection_.compact();
    EXPECT_TRUE(visible().contains("id"));
    remove_secret();
    EXPECT_TRUE(collection_.purge());
    expect_erased({});
  }
}

TEST_F(Purge, ErasesWhatADeletedCollectionLeft) {
  collection_.add(std::vector{secret_record(1, secrets_)});
  collection_.compact();
  collection_.upsert(std::vector{secret_record(2, secrets_)});
  const std::vector<std::string> names = store_.collections();
  store_.delete_collection(names.at(0));
  EXPECT_TRUE(visible().contains("id"));
  store_.purge();
  EXPECT_EQ(visible(), std::set<std::string>{});
}

TEST_F(Purge, ErasesAllVersionsOfARecord) {
  const std::vector<Record> others = test_records(kMany, kDim);
  collection_.add(others);
  const auto put = [&](int version) {
    collection_.upsert(std::vector{secret_record(version, secrets_)});
  };
  put(1);
  collection_.compact();  // into a graph, and both indexes
  put(2);
  put(3);
  collection_.add(test_records(3000, kDim, 9, "more"));
  collection_.wait_for_maintenance();  // into a flat segment
  put(4);
  put(5);  // in the log
  const std::set<std::string> before = visible();
  for (const char* name : {"id", "vector-version-1-", "vector-version-3-", "vector-version-5-",
                           "document-version-5-", "metadata text-version-5-"}) {
    EXPECT_TRUE(before.contains(name)) << name;
  }
  remove_secret();
  EXPECT_TRUE(collection_.purge());
  Expected left = expected_of(others);
  left.merge(expected_of(test_records(3000, kDim, 9, "more")));
  expect_erased(left);
}

TEST_F(Purge, ErasesOldVersionsOfARecordThatStays) {
  const std::vector<Record> others = test_records(10, kDim);
  collection_.add(others);
  collection_.add(std::vector{secret_record(1, secrets_)});
  collection_.compact();
  Secrets kept;
  Record now = secret_record(2, kept);
  now.metadata->emplace("letter", std::monostate());
  now.metadata->emplace("key-of-this-record-only-version-1-", std::monostate());
  collection_.upsert(std::vector{now});
  secrets_.patterns.erase("id");
  EXPECT_FALSE(visible().empty());
  EXPECT_TRUE(collection_.purge());
  EXPECT_EQ(visible(), std::set<std::string>{});
  EXPECT_EQ(collection_.count(), 11u);
  EXPECT_TRUE(is_sound(store_));
}

// What SQLite did not overwrite: a program that was built so, or an earlier version, has left it.
TEST_F(Purge, ErasesWhatIsInFreePages) {
  const std::vector<Record> others = test_records(5, kDim);
  collection_.add(others);
  std::vector<Record> many;
  for (int i = 0; i < 200; ++i) {
    many.push_back(secret_record(1, secrets_));
    many.back().id += "-" + std::to_string(i);
  }
  collection_.add(many);
  std::vector<std::string> ids;
  for (const Record& record : many) ids.push_back(record.id);
  {
    // Removed by hand, without overwriting; the store counts wrongly until it is repaired.
    Database db(path_ + "/vkb.sqlite3", Database::Mode::writer);
    db.execute("PRAGMA secure_delete=OFF");
    Transaction transaction(db, Transaction::Kind::write);
    db.execute("CREATE TABLE scratch(text)");
    for (int i = 0; i < 200; ++i) {
      Statement(db, "INSERT INTO scratch VALUES(?)").bind("scratch text 0815").run();
    }
    transaction.commit();
    Transaction dropping(db, Transaction::Kind::write);
    db.execute("DROP TABLE scratch");
    dropping.commit();
    db.checkpoint();
  }
  ASSERT_NE(everything().find("scratch text 0815"), std::string::npos);
  EXPECT_EQ(collection_.remove(ids), 200u);
  EXPECT_TRUE(collection_.purge());
  EXPECT_EQ(everything().find("scratch text 0815"), std::string::npos);
  expect_erased(expected_of(others));
}

TEST_F(Purge, SaysWhenAReaderKeepsTheLog) {
  const std::vector<Record> others = test_records(5, kDim);
  collection_.add(others);
  collection_.add(std::vector{secret_record(1, secrets_)});
  remove_secret();
  bool refused = false;
  const auto purge_in_vain = [&] {
    refused = true;
    VKB_EXPECT_ERROR(collection_.purge(), ErrorCode::busy, "vkb.sqlite3-wal");
  };
  collection_.for_each({}, [&](Record&&) {
    purge_in_vain();
    return false;
  });
  EXPECT_TRUE(refused);
  EXPECT_TRUE(collection_.purge());
  expect_erased(expected_of(others));
}

TEST_F(Purge, SaysWhenAFileCannotBeRemoved) {
  const std::vector<Record> others = test_records(20, kDim);
  collection_.add(others);
  collection_.add(std::vector{secret_record(1, secrets_)});
  collection_.compact();
  remove_secret();
  const std::string old = collection_.info().segments.at(0).file;
  files_.set_hook([&](FileCall call, const std::string& path) {
    if (call == FileCall::remove && path.ends_with(old)) {
      throw Error(ErrorCode::io_error, "cannot remove " + path);
    }
  });
  // As often as it is so, though no manifest names the file any more.
  for (int i = 0; i < 3; ++i) VKB_EXPECT_ERROR(collection_.purge(), ErrorCode::io_error, old);
  files_.set_hook({});
  EXPECT_TRUE(collection_.purge());
  EXPECT_FALSE(fs::exists(path_ + "/segments/" + old));
}

TEST_F(Purge, LeavesAloneWhatIsNoSegment) {
  collection_.add(std::vector{secret_record(1, secrets_)});
  remove_secret();
  fs::create_directory(path_ + "/segments/lost+found");
  EXPECT_TRUE(collection_.purge());
  EXPECT_TRUE(fs::exists(path_ + "/segments/lost+found"));
  EXPECT_EQ(store_.check(true).orphans, 0u);
}

TEST_F(Purge, CanBeStoppedAndRepeated) {
  const std::vector<Record> others = test_records(kMany, kDim);
  collection_.add(others);
  collection_.add(std::vector{secret_record(1, secrets_)});
  collection_.compact();
  remove_secret();
  EXPECT_FALSE(collection_.purge([](const Progress&) { return false; }));
  EXPECT_EQ(differences(expected_of(others), collection_), "");
  EXPECT_TRUE(collection_.purge());
  expect_erased(expected_of(others));
}

TEST_F(Purge, KeepsFiltersRight) {
  std::vector<Record> records = test_records(50, kDim);
  records.push_back(secret_record(1, secrets_));
  collection_.add(records);
  const Filter filter = parse_where(R"({"surname": {"$ne": "nobody"}})");
  const auto matches = [&] {
    return collection_.query(*records[0].embedding, {.k = 100, .ids = {}, .filter = filter}).size();
  };
  EXPECT_EQ(matches(), 51u);
  remove_secret();
  EXPECT_TRUE(collection_.purge());
  EXPECT_EQ(matches(), 50u);
  collection_.add(std::vector{secret_record(2, secrets_)});  // the keys again
  EXPECT_EQ(collection_
                .query(*records[0].embedding,
                       {.k = 100,
                        .ids = {},
                        .filter = parse_where(R"({"surname": "Mustermann-version-2-"})")})
                .size(),
            1u);
  EXPECT_TRUE(is_sound(store_));
}

}  // namespace
}  // namespace vkb

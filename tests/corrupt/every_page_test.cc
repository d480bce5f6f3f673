// SPDX-License-Identifier: Apache-2.0
//
// Each page of each file damaged: every answer is right or an Error that names the file (R8).
#include "storage/file.h"
#include "storage/manifest.h"
#include "tests/corrupt/corrupt_store.h"

#include <cstdio>
#include <deque>
#include <tuple>

namespace vkb {
namespace {

// A page of a file with a bit turned, with zeros, or where the file ends.
std::string damaged(std::string bytes, std::size_t page, std::string_view damage,
                    TestRandom& random) {
  constexpr std::size_t kPage = 4096;
  const std::size_t size = std::min(kPage, bytes.size() - page * kPage);
  if (damage == "bit") {
    char& hit = bytes[page * kPage + random.below(size)];
    hit = static_cast<char>(hit ^ (1 << random.below(8)));
  } else if (damage == "zeros") {
    bytes.replace(page * kPage, size, size, '\0');
  } else {
    bytes.resize(page * kPage);
  }
  return bytes;
}

// A bit of a page turned, a page of zeros, a file cut short there: of each file, and at many pages.
// Every answer is right or an error that names the file, and what was hit is found.
TEST_F(Corrupt, EveryPage) {
  constexpr std::size_t kPage = 4096;
  ASSERT_EQ(std::filesystem::exists(database() + "-wal") &&
                std::filesystem::file_size(database() + "-wal") > 0,
            false);
  std::vector<std::string> files{database()};
  for (const auto& entry : std::filesystem::directory_iterator(path() + "/segments")) {
    files.push_back(entry.path());
  }
  TestRandom random(21);
  std::size_t damaged_pages = 0;
  std::size_t unnoticed = 0;  // by answers as by a check: pages that nobody uses
  for (const std::string& file : files) {
    const std::string name = std::filesystem::path(file).filename();
    const std::string sound = read_whole_file(file);
    const std::size_t pages = (sound.size() + kPage - 1) / kPage;
    const std::size_t step =
        pages_every() != 0 ? pages_every() : std::max<std::size_t>(1, pages / 25);
    for (std::size_t page = 0; page < pages; page += step) {
      for (const std::string_view damage : {"bit", "zeros", "cut"}) {
        SCOPED_TRACE(name + ", page " + std::to_string(page) + ": " + std::string(damage));
        const std::string bytes = damaged(sound, page, damage, random);
        if (bytes == sound) continue;
        write_whole_file(file, bytes);
        const std::vector<std::string> errors = ask_everything();
        for (const std::string& error : errors) {
          EXPECT_NE(error.find(name), std::string::npos) << error;
        }
        const std::vector<Problem> found = problems();
        EXPECT_TRUE(found.empty() || mentions(found, name));
        ++damaged_pages;
        unnoticed += found.empty() && errors.empty();
        EXPECT_TRUE(!found.empty() || errors.empty()) << "check() does not find it";
        ASSERT_FALSE(HasFailure());
      }
    }
    write_whole_file(file, sound);
  }
  std::printf("torture: %zu damaged pages\ntorture: %zu damaged pages that nothing uses\n",
              damaged_pages, unnoticed);
  EXPECT_GT(damaged_pages, 100U);
  EXPECT_LT(unnoticed, damaged_pages / 10);
}

// The same for the log of a process that was killed: all that it has was acknowledged, and none of
// it goes without a word.
TEST_F(Corrupt, EveryPageOfTheLog) {
  const TempDirectory killed;
  Expected now = expected();
  {
    Store store = Store::open(path());
    Collection collection = store.collection("vectors");
    for (Record& record : test_records(300, kDim)) {
      record.embedding = std::vector<float>(kDim, 0.75F);
      if (!now.contains(record.id)) continue;
      now.at(record.id).embedding = record.embedding;
      collection.update({&record, 1});
    }
    std::filesystem::copy(path(), killed.file("store"), std::filesystem::copy_options::recursive);
  }
  const std::string database = killed.file("store") + "/vkb.sqlite3";
  const auto open_killed = [&] {
    std::filesystem::remove(database + "-shm");
    return Store::open(killed.file("store"), {.read_only = true});
  };
  EXPECT_EQ(differences(now, open_killed().collection("vectors")), "");

  const std::string sound = read_whole_file(database + "-wal");
  const std::size_t pages = (sound.size() + 4095) / 4096;
  const std::size_t step =
      pages_every() != 0 ? pages_every() : std::max<std::size_t>(1, pages / 25);
  ASSERT_GT(pages, 300U);
  TestRandom random(22);
  std::size_t damaged_pages = 0;
  for (std::size_t page = 0; page < pages; page += step) {
    for (const std::string_view damage : {"bit", "zeros", "cut"}) {
      SCOPED_TRACE("log, page " + std::to_string(page) + ": " + std::string(damage));
      const std::string bytes = damaged(sound, page, damage, random);
      if (bytes == sound) continue;
      write_whole_file(database + "-wal", bytes);
      VKB_EXPECT_ERROR(open_killed(), ErrorCode::corruption, "vkb.sqlite3-wal");
      // Beside a repair, or a restore, that has not come to it.
      const auto lock =
          posix_file_system().try_lock(killed.file("store") + "/writer.lock", "pid 1");
      VKB_EXPECT_ERROR(open_killed(), ErrorCode::corruption, "vkb.sqlite3-wal");
      ASSERT_FALSE(HasFailure());
      ++damaged_pages;
    }
  }
  std::printf("torture: %zu damaged pages of a log\n", damaged_pages);

  // Whoever may give up what is lost gets a store that works.
  VKB_EXPECT_ERROR(Store::open(killed.file("store")), ErrorCode::corruption, "repair --lost");
  write_whole_file(database + "-wal", sound.substr(0, sound.size() / 2));
  std::filesystem::remove(database + "-shm");
  const auto give_up = [&] { Store::open(killed.file("store"), {.abandon_log = true}); };
  {
    // Who has the store open has taken the damage for good: only without it is the log compared.
    Database reader(database, Database::Mode::reader);
    Statement(reader, "SELECT count(*) FROM record").step();
    VKB_EXPECT_ERROR(give_up(), ErrorCode::busy, "stop it");
  }
  {
    Store store = Store::open(killed.file("store"), {.abandon_log = true});
    Collection collection = store.collection("vectors");
    EXPECT_EQ(collection.count(), now.size());
    for (const Problem& problem : store.check(true).problems) ADD_FAILURE() << problem.message;
    collection.remove(std::vector<std::string>{"r1"});
  }
  EXPECT_EQ(open_killed().collection("vectors").count(), now.size() - 1);
}

// R3: what a compaction has replaced is unlinked when the database itself names the new segment, so
// that a log which is lost costs nothing but its own writes.
TEST_F(Corrupt, ALogThatIsLostTakesNoSegments) {
  const TempDirectory killed;
  Expected now = expected();
  Store store = Store::open(path());
  Collection collection = store.collection("vectors");
  std::optional<Database> reader(std::in_place, database(), Database::Mode::reader);
  std::optional<Transaction> reading(std::in_place, *reader, Transaction::Kind::read);
  Statement(*reader, "SELECT count(*) FROM record").step();
  const auto files = [&] { return posix_file_system().list(path() + "/segments").size(); };
  for (const std::size_t left : {4U, 1U}) {  // while a reader needs the log, and after
    SCOPED_TRACE(left);
    collection.compact();
    if (left == 1) collection.upsert(std::vector<Record>{now.at("r0")});
    EXPECT_EQ(files(), left);
    std::filesystem::remove_all(killed.file("store"));
    std::filesystem::copy(path(), killed.file("store"), std::filesystem::copy_options::recursive);
    std::filesystem::resize_file(killed.file("store") + "/vkb.sqlite3-wal", 40);
    std::filesystem::remove(killed.file("store") + "/vkb.sqlite3-shm");
    VKB_EXPECT_ERROR(Store::open(killed.file("store")), ErrorCode::corruption, "vkb.sqlite3-wal");
    Store opened = Store::open(killed.file("store"), {.abandon_log = true});
    EXPECT_EQ(differences(now, opened.collection("vectors")), "");
    for (const Problem& problem : opened.check(true).problems) ADD_FAILURE() << problem.message;
    reading.reset();
    reader.reset();
    collection.upsert(std::vector<Record>{now.at("r1")});
  }
}

// R3: with a part of the log in it the database may name files of before, though the commits that
// stopped naming them are among that part.
TEST_F(Corrupt, APartOfTheLogInTheDatabaseUnlinksNothing) {
  Store store = Store::open(path());
  Collection collection = store.collection("vectors");
  std::deque<std::pair<Database, std::optional<Transaction>>> readers;
  const auto read = [&] {
    auto& [reader, reading] = readers.emplace_back(
        std::piecewise_construct, std::forward_as_tuple(database(), Database::Mode::reader),
        std::forward_as_tuple());
    reading.emplace(reader, Transaction::Kind::read);
    Statement(reader, "SELECT count(*) FROM record").step();
  };
  const auto write = [&] {
    collection.upsert(std::vector<Record>{expected().at("r0"), expected().at("r1")});
  };
  std::size_t named = 0;
  for (int round = 0; round < 12; ++round) {
    if (round % 2 == 0) write();
    read();
    if (round % 3 == 0) write();
    collection.compact();
    if (round % 4 != 0) readers.pop_front();
    const TempDirectory copy;
    const std::vector<std::string> files = posix_file_system().list(path() + "/segments");
    std::filesystem::copy_file(database(), copy.file("vkb.sqlite3"));
    Database alone(copy.file("vkb.sqlite3"), Database::Mode::frozen);
    std::vector<std::string> needed;
    try {
      needed = list_segment_files(alone);
    } catch (const Error&) {  // of several times at once: nobody may rely on it
    }
    for (const std::string& file : needed) {
      EXPECT_EQ(std::ranges::count(files, file), 1) << "round " << round;
      ++named;
    }
  }
  EXPECT_GT(named, 12u);
  readers.clear();
  write();
  collection.compact();
  EXPECT_EQ(posix_file_system().list(path() + "/segments").size(), 1u);
}

// With the database of another time, or of another store, segments belong to nothing, and are kept:
// whoever puts the right one back needs them.
TEST_F(Corrupt, SegmentsStayUnderAnotherDatabase) {
  const std::string right = read_whole_file(database());
  const auto files = [&] { return posix_file_system().list(path() + "/segments"); };
  const std::vector<std::string> all = files();
  {
    const TempDirectory directory;
    Store other = Store::open(directory.file("other"));
    Collection collection = other.create_collection("vectors", {.space = Space::l2});
    collection.add(test_records(200, kDim));
    collection.compact();
    write_whole_file(database(), "");
    std::filesystem::remove(database());
    Database(directory.file("other") + "/vkb.sqlite3", Database::Mode::reader).copy_to(database());
  }
  {
    Store store = Store::open(path());
    Collection collection = store.collection("vectors");
    EXPECT_ANY_THROW(collection.add(test_records(1, kDim, 9, "new")));
    EXPECT_FALSE(store.repair().problems.empty());
    store.create_collection("third");
    EXPECT_EQ(files(), all);
    store.repair({}, [](const Collection&, std::span<const Record>) {});
    for (const std::string& file : all) {
      EXPECT_TRUE(std::filesystem::exists(path() + "/reports/" + file + ".unnamed"));
    }
  }
  std::filesystem::remove(database());
  for (const std::string& file : all) {
    if (std::filesystem::exists(segment(file))) continue;
    std::filesystem::rename(path() + "/reports/" + file + ".unnamed", segment(file));
  }
  write_whole_file(database(), right);
  EXPECT_TRUE(ask_everything().empty());
}

// Most of a database's pages are indexes, its own or ours: those are written anew (R9). Of others
// the damage is named and nothing touched, until what they had is given up: then all other records
// are there, and what is left of the lost ones was handed out.
TEST_F(Corrupt, DamagedPagesOfTheDatabaseAreWrittenAnewFromTheOthers) {
  constexpr std::size_t kDatabasePage = 8192;
  const std::string sound = read_whole_file(database());
  const std::size_t pages = sound.size() / kDatabasePage;
  std::size_t repaired = 0;
  std::size_t given_up = 0;
  std::size_t named = 0;
  for (std::size_t page = 0; page < pages; page += std::max<std::size_t>(1, pages / 25)) {
    SCOPED_TRACE("page " + std::to_string(page + 1) + " of " + std::to_string(pages));
    restore();
    std::string bytes = sound;
    bytes[page * kDatabasePage + 4000] ^= 0x20;
    write_whole_file(database(), bytes);
    std::optional<Store> store;
    try {
      store.emplace(Store::open(path()));
      const std::vector<Problem> before = store->check(true).problems;
      ASSERT_FALSE(before.empty());
      const bool can_repair = before.front().repairable;
      EXPECT_EQ(store->repair().problems.empty(), can_repair);
      Expected left = expected();
      if (!can_repair) {
        std::size_t lost = 0;
        const std::vector<Problem> after =
            store
                ->repair({},
                         [&](const Collection&, std::span<const Record> records) {
                           for (const Record& record : records) lost += left.erase(record.id);
                         })
                .problems;
        EXPECT_TRUE(after.empty()) << after.front().message;
        EXPECT_LT(lost, expected().size() / 10);
        EXPECT_GT(left.size(), expected().size() * 9 / 10);
      }
      can_repair ? ++repaired : ++given_up;
      Collection collection = store->collection("vectors");
      EXPECT_EQ(differences(left, collection), "");
      // Ids of rows are not given out again (R4), and writing goes on.
      collection.add(std::vector<Record>{test_record("after", std::vector<float>(kDim, 1.0F))});
      EXPECT_EQ(collection.count(), left.size() + 1);
      EXPECT_TRUE(store->check(true).problems.empty());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corruption) << error.what();
      ++named;
    }
    ASSERT_FALSE(HasFailure());
  }
  std::printf("%zu pages of a database written anew, %zu given up, %zu named\n", repaired, given_up,
              named);
  EXPECT_GT(repaired, 5U);
  EXPECT_GT(given_up, 5U);
  EXPECT_LT(named, 5U);
}

// R5, R8: what a program has in memory of a log is no longer what the log says.
TEST(RepairLost, WhoHasTheStoreOpenForgetsWhatIsGone) {
  constexpr std::size_t kDatabasePage = 8192;
  const TempDirectory directory;
  const std::string path = directory.file("store");
  const std::vector<Record> records = test_records(500, kDim);
  Store::open(path).create_collection("vectors").add(records);
  Store store = Store::open(path);
  Collection collection = store.collection("vectors");
  const std::vector<float>& query = *records[250].embedding;
  EXPECT_EQ(collection.query(query).at(0).record.id, records[250].id);

  std::string bytes = read_whole_file(path + "/vkb.sqlite3");
  const auto damage_page_with = [&](std::string_view content) {
    for (std::size_t at = bytes.find(content); at != std::string::npos;
         at = bytes.find(content, at + 1)) {
      const std::size_t page = at / kDatabasePage * kDatabasePage;
      if (bytes[page] != 13) continue;  // a leaf of a table
      bytes[page + 4000] ^= 1;
      return;
    }
    FAIL() << "no page has it";
  };
  damage_page_with(*records[250].document);
  damage_page_with({reinterpret_cast<const char*>(query.data()), query.size() * sizeof(float)});
  write_whole_file(path + "/vkb.sqlite3", bytes);

  Store repairing = Store::open(path);
  std::size_t lost = 0;
  const CheckResult result = repairing.repair(
      {}, [&](const Collection&, std::span<const Record> some) { lost += some.size(); });
  EXPECT_TRUE(result.problems.empty());
  const std::size_t left = collection.count();
  EXPECT_EQ(lost, records.size() - left);
  EXPECT_GT(lost, 0U);
  { const Store closed = std::move(repairing); }
  EXPECT_EQ(collection.query(query, {.k = 500}).size(), left);
  std::vector<Record> more = test_records(5000, kDim, 9);
  for (Record& record : more) record.id += "+";
  collection.add(more);
  collection.compact();
  EXPECT_EQ(collection.query(query, {.k = 10'000, .exact = true}).size(), left + more.size());
  for (const Problem& problem : store.check(true).problems) ADD_FAILURE() << problem.message;
}

}  // namespace
}  // namespace vkb

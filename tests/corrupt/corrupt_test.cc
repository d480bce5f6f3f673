// SPDX-License-Identifier: Apache-2.0
//
// Damaged stores: every answer is right or an Error that names what is damaged, check() finds it,
// and repair() rebuilds what can be rebuilt from the vectors (R8, R9).
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "engine/tuning.h"
#include "storage/segment_format.h"
#include "storage/sqlite.h"
#include "tests/support/seal_segment.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

constexpr std::size_t kDim = 8;
// VKB_PAGES_EVERY=N, for `make torture`: a large store, of which each Nth page is damaged.
std::size_t pages_every() {
  const char* asked = std::getenv("VKB_PAGES_EVERY");
  return asked == nullptr ? 0 : static_cast<std::size_t>(std::atoll(asked));
}

const std::size_t kGraphRows = pages_every() == 0 ? kGraphMinRows + 100 : 19'650;
constexpr std::size_t kFlatRows = 300;

// A store with a graph segment, a flat segment and a log, each with changes; built once.
class Pristine {
 public:
  Pristine() {
    Store store = Store::open(path());
    Collection collection =
        store.create_collection("vectors", {.space = Space::l2, .m = 4, .ef_construction = 20});
    std::vector<Record> records = test_records(kGraphRows + kFlatRows + 50, kDim);
    const auto part = [&](std::size_t from, std::size_t count) {
      const auto begin = records.begin() + static_cast<std::ptrdiff_t>(from);
      return std::vector<Record>(begin, begin + static_cast<std::ptrdiff_t>(count));
    };
    VectorSource first(part(0, kGraphRows), 2000);
    collection.load(first);
    VectorSource second(part(kGraphRows, kFlatRows), 1000);
    collection.load(second);
    collection.add(part(kGraphRows + kFlatRows, 50));
    expected = expected_of(records);
    const std::vector<std::string> removed{"r17", numbered("r", kGraphRows + 7)};
    collection.remove(removed);
    for (const std::string& id : removed) expected.erase(id);
    Record& changed = expected.at("r100");
    changed.embedding = std::vector<float>(kDim, 0.25F);
    collection.upsert({&changed, 1});
    for (const CollectionInfo::Segment& segment : collection.info().segments) {
      (segment.has_graph ? graph_file : flat_file) = segment.file;
    }
  }
  std::string path() const { return directory_.file("store"); }

  Expected expected;
  std::string graph_file;
  std::string flat_file;

 private:
  TempDirectory directory_;
};

class Corrupt : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { pristine_ = std::make_unique<Pristine>(); }
  static void TearDownTestSuite() { pristine_.reset(); }

  void SetUp() override {
    ASSERT_FALSE(pristine_->graph_file.empty());
    ASSERT_FALSE(pristine_->flat_file.empty());
    restore();
  }
  void restore() {
    std::filesystem::remove_all(path());
    std::filesystem::copy(pristine_->path(), path(), std::filesystem::copy_options::recursive);
  }
  std::string path() const { return directory_.file("store"); }
  std::string database() const { return path() + "/vkb.sqlite3"; }
  std::string segment(const std::string& file) const { return path() + "/segments/" + file; }
  const Expected& expected() const { return pristine_->expected; }
  void sql(const std::string& text) { Database(database(), Database::Mode::writer).execute(text); }

  // Asks everything; returns the messages of all errors. An answer that is neither right nor an
  // error fails the test; with `vectors_differ` only its form is looked at.
  std::vector<std::string> ask_everything(bool vectors_differ = false) {
    std::vector<std::string> errors;
    const auto ask = [&](const std::function<std::string()>& question) {
      try {
        const std::string wrong = question();
        if (!vectors_differ) {
          EXPECT_EQ(wrong, "");
        }
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()), "");
        errors.emplace_back(error.what());
      }
    };
    ask([&]() -> std::string {
      const Store store = Store::open(path(), {.read_only = true});
      const Collection collection = store.collection("vectors");
      ask([&] { return collection.count() == expected().size() ? "" : "count"; });
      ask([&] { return differences(expected(), collection); });
      const Filter filter = Filter::compare(Filter::Op::eq, "group", std::string("g3"));
      Expected group;
      for (const auto& [id, record] : expected()) {
        if (std::get<std::string>(record.metadata->at("group")) == "g3") group.emplace(id, record);
      }
      ask([&] {
        const Filter text = Filter::document(Filter::Op::document_contains, "document 417");
        std::size_t holding = 0;
        for (const auto& [id, record] : expected()) {
          holding += record.document->find("document 417") != std::string::npos;
        }
        const auto found = collection.get({.ids = {}, .filter = text, .include = {}});
        return found.size() == holding ? "" : "document filter";
      });
      TestRandom random(11);
      for (int i = 0; i < 3; ++i) {
        const std::vector<float> query = random_vector(random, kDim);
        for (const bool exact : {true, false}) {
          ask([&] {
            return wrong_answer(Space::l2, query, 10, expected(),
                                collection.query(query, {.exact = exact}), exact);
          });
          ask([&] {
            return wrong_answer(
                Space::l2, query, 10, group,
                collection.query(query, {.exact = exact, .ids = {}, .filter = filter}), exact);
          });
        }
      }
      ask([&] {
        std::size_t visited = 0;
        collection.for_each(kIncludeAll, [&](Record&&) { return ++visited > 0; });
        return visited == expected().size() ? "" : "for_each";
      });
      return "";
    });
    return errors;
  }

  std::vector<Problem> problems(bool deep = true) {
    std::vector<Problem> found;
    const std::optional<Error> error =
        error_of([&] { found = Store::open(path(), {.read_only = true}).check(deep).problems; });
    if (error) found.push_back({"vkb.sqlite3", error->what(), false});
    return found;
  }
  static bool mentions(const std::vector<Problem>& found, const std::string& text) {
    return std::any_of(found.begin(), found.end(), [&](const Problem& problem) {
      return (problem.object + ": " + problem.message).find(text) != std::string::npos;
    });
  }

  // Changes a section's bytes; with `seal_again` all checksums are made to fit.
  void change_section(const std::string& file, SectionKind kind, bool seal_again,
                      const std::function<void(std::span<std::byte>)>& change) {
    std::string bytes = read_whole_file(segment(file));
    vkb::change_section(bytes, kind, change);
    if (seal_again) {
      const auto checksum = static_cast<std::int64_t>(seal_segment(bytes));
      sql("UPDATE segment SET checksum=" + std::to_string(checksum) + " WHERE file='" + file + "'");
    }
    write_whole_file(segment(file), bytes);
  }

  // check() names `text`, repair() mends it, and everything is as it never had been damaged.
  void expect_repair(const std::string& text) {
    const std::vector<Problem> found = problems();
    EXPECT_TRUE(mentions(found, text)) << "check() does not mention " << text;
    for (const Problem& problem : found) EXPECT_TRUE(problem.repairable) << problem.message;
    {
      Store store = Store::open(path());
      const CheckResult after = store.repair();
      for (const Problem& problem : after.problems) ADD_FAILURE() << problem.message;
    }
    EXPECT_TRUE(problems().empty());
    EXPECT_TRUE(ask_everything().empty());
  }

  static std::unique_ptr<Pristine> pristine_;
  TempDirectory directory_;
};

std::unique_ptr<Pristine> Corrupt::pristine_;

template <typename T>
void put(std::span<std::byte> bytes, std::size_t index, T value) {
  std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
}

TEST_F(Corrupt, NothingIsWrongBeforehand) {
  EXPECT_TRUE(ask_everything().empty());
  EXPECT_TRUE(problems().empty());
}

TEST_F(Corrupt, EveryByteOfAHeaderCounts) {
  const std::string& file = pristine_->flat_file;
  const std::string bytes = read_whole_file(segment(file));
  const std::vector<float> query(kDim, 0.5F);
  for (std::size_t at = 0; at < kSegmentHeaderBytes; at += at < 400 || at >= 4080 ? 1 : 97) {
    SCOPED_TRACE(at);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    write_whole_file(segment(file), damaged);
    const Store store = Store::open(path(), {.read_only = true});
    const Collection collection = store.collection("vectors");
    const std::optional<Error> error = error_of([&] { collection.query(query); });
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->code() == ErrorCode::corruption || error->code() == ErrorCode::unsupported);
    EXPECT_NE(std::string(error->what()).find(file), std::string::npos) << error->what();
    EXPECT_EQ(collection.count(), expected().size());
    if (at % 16 == 0) {
      EXPECT_TRUE(mentions(store.check(false).problems, file));
    }
  }
}

TEST_F(Corrupt, SegmentsCutShortOrGone) {
  for (const std::string& file : {pristine_->flat_file, pristine_->graph_file}) {
    const std::uint64_t size = std::filesystem::file_size(segment(file));
    for (const std::uint64_t cut : {std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{4096},
                                    size / 2, size - 4096, size - 1}) {
      SCOPED_TRACE(file + " " + std::to_string(cut));
      restore();
      std::filesystem::resize_file(segment(file), cut);
      const std::vector<std::string> errors = ask_everything();
      ASSERT_FALSE(errors.empty());
      for (const std::string& error : errors) EXPECT_NE(error.find(file), std::string::npos);
      EXPECT_TRUE(mentions(problems(false), file));
    }
    restore();
    std::filesystem::remove(segment(file));
    const std::vector<std::string> errors = ask_everything();
    ASSERT_FALSE(errors.empty());
    for (const std::string& error : errors) EXPECT_NE(error.find(file), std::string::npos);
    EXPECT_TRUE(mentions(problems(false), file));
  }
}

TEST_F(Corrupt, AnotherSegmentUnderItsName) {
  std::filesystem::copy_file(segment(pristine_->graph_file), segment(pristine_->flat_file),
                             std::filesystem::copy_options::overwrite_existing);
  for (const std::string& error : ask_everything()) {
    EXPECT_NE(error.find(pristine_->flat_file), std::string::npos) << error;
  }
  EXPECT_TRUE(mentions(problems(false), pristine_->flat_file));
}

// R9: caches are rebuilt from the vectors.
TEST_F(Corrupt, DamagedCachesAreFoundAndRebuilt) {
  for (const SectionKind kind :
       {SectionKind::codes_int8, SectionKind::norms, SectionKind::sorted_row_ids,
        SectionKind::sorted_slots, SectionKind::links0, SectionKind::upper_slots,
        SectionKind::upper_links, SectionKind::record_ids, SectionKind::page_checksums}) {
    SCOPED_TRACE(to_string(kind));
    restore();
    change_section(pristine_->graph_file, kind, false, [](std::span<std::byte> bytes) {
      TestRandom random(3);
      for (int i = 0; i < 50; ++i) bytes[random.below(bytes.size())] ^= std::byte{0xA5};
    });
    ask_everything();
    expect_repair("section " + std::string(to_string(kind)));
  }
  restore();
  change_section(pristine_->flat_file, SectionKind::sorted_slots, false,
                 [](std::span<std::byte> bytes) { put<std::uint32_t>(bytes, 3, 0xFFFFFFFF); });
  ask_everything();
  expect_repair("section sorted_slots");
}

// Wrong from the beginning, with checksums that fit: what a bug would write.
TEST_F(Corrupt, NumbersOutOfRangeAreNoticedWhenFollowed) {
  constexpr std::uint32_t kFar = 0x7FFFFFFF;
  const auto everywhere = [](std::span<std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size() / sizeof kFar; i += 3) put(bytes, i, kFar);
  };
  for (const SectionKind kind :
       {SectionKind::links0, SectionKind::upper_slots, SectionKind::upper_links}) {
    SCOPED_TRACE(to_string(kind));
    restore();
    change_section(pristine_->graph_file, kind, true, everywhere);
    const std::vector<std::string> errors = ask_everything();
    ASSERT_FALSE(errors.empty());
    for (const std::string& error : errors) {
      EXPECT_NE(error.find(pristine_->graph_file), std::string::npos) << error;
      EXPECT_NE(error.find(to_string(kind)), std::string::npos) << error;
    }
    expect_repair(pristine_->graph_file);
  }
  for (const SectionKind kind : {SectionKind::codes_int8, SectionKind::norms,
                                 SectionKind::sorted_row_ids, SectionKind::sorted_slots}) {
    SCOPED_TRACE(to_string(kind));
    restore();
    change_section(pristine_->graph_file, kind, true, everywhere);
    ask_everything(true);
    expect_repair(pristine_->graph_file);
  }
}

// R9: a segment's record ids are a cache of the records'. Lengths that none can have (R8) leave the
// asking to SQLite.
TEST_F(Corrupt, WrongRecordIdsAreFoundAndRebuilt) {
  change_section(pristine_->graph_file, SectionKind::record_ids, true,
                 [](std::span<std::byte> bytes) {
                   for (std::size_t i = 0; i < bytes.size(); i += 64) bytes[i] = std::byte{64};
                 });
  EXPECT_TRUE(ask_everything().empty());
  restore();
  change_section(pristine_->graph_file, SectionKind::record_ids, true,
                 [](std::span<std::byte> bytes) { bytes[1] ^= std::byte{1}; });
  expect_repair("1 record ids that differ");
}

// Vectors are the truth: nothing can mend them, and nothing launders them. All others are kept, and
// what is left of those that are lost is handed out before they go.
TEST_F(Corrupt, DamagedVectorsAreNamedAndGivenUpOnDemand) {
  change_section(pristine_->graph_file, SectionKind::vectors, false,
                 [](std::span<std::byte> bytes) { bytes[64 * 40 + 3] ^= std::byte{0x10}; });
  const std::vector<std::string> errors = ask_everything();
  ASSERT_FALSE(errors.empty());
  for (const std::string& error : errors) {
    EXPECT_NE(error.find(pristine_->graph_file), std::string::npos) << error;
  }
  EXPECT_TRUE(mentions(problems(), "section vectors"));
  EXPECT_TRUE(mentions(problems(), "its vector, in segment " + pristine_->graph_file));
  Store store = Store::open(path());
  Collection collection = store.collection("vectors");
  EXPECT_TRUE(mentions(store.repair().problems, "section vectors"));
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::corruption, pristine_->graph_file);
  EXPECT_EQ(collection.count(), expected().size());

  // When they cannot be handed out they stay.
  VKB_EXPECT_ERROR(store.repair({},
                                [](const Collection&, std::span<const Record>) {
                                  throw Error(ErrorCode::io_error, "nowhere to put them");
                                }),
                   ErrorCode::io_error, "nowhere");
  EXPECT_EQ(collection.count(), expected().size());

  Expected left = expected();
  std::size_t lost = 0;
  const CheckResult after =
      store.repair({}, [&](const Collection& of, std::span<const Record> records) {
        EXPECT_EQ(of.uuid(), collection.uuid());
        lost += records.size();
        for (const Record& record : records) {
          const Record& was = expected().at(record.id);
          EXPECT_EQ(record.document, was.document);
          EXPECT_EQ(record.metadata, was.metadata);
          left.erase(record.id);
        }
      });
  for (const Problem& problem : after.problems) ADD_FAILURE() << problem.message;
  EXPECT_GE(lost, 1U);
  EXPECT_LE(lost, kSegmentPageBytes / 64);
  EXPECT_EQ(differences(left, collection), "");
  const std::vector<float> query(kDim, 0.5F);
  EXPECT_EQ(wrong_answer(Space::l2, query, 10, left, collection.query(query), false), "");
}

// Which row a slot is of stands in three sections.
TEST_F(Corrupt, DamagedRowIdsAreRebuilt) {
  for (const std::string& file : {pristine_->graph_file, pristine_->flat_file}) {
    restore();
    change_section(file, SectionKind::row_ids, false, [](std::span<std::byte> bytes) {
      for (std::size_t i = 0; i < 100; ++i) put<std::uint64_t>(bytes, i, 1'000'000);
    });
    ask_everything();
    expect_repair("section row_ids");
  }
}

// With these gone too nobody knows: that is said, and nothing is thrown that is not an Error.
TEST_F(Corrupt, RowIdsThatNothingTellsAreNamed) {
  for (const SectionKind also : {SectionKind::sorted_slots, SectionKind::sorted_row_ids}) {
    restore();
    const auto damage = [](std::span<std::byte> bytes) {
      for (std::size_t i = 0; i < bytes.size(); i += 64) bytes[i] ^= std::byte{0x77};
    };
    change_section(pristine_->graph_file, SectionKind::row_ids, false, damage);
    change_section(pristine_->graph_file, also, false, damage);
    for (const std::string& error : ask_everything()) {
      EXPECT_NE(error.find(pristine_->graph_file), std::string::npos) << error;
    }
    EXPECT_TRUE(mentions(problems(), pristine_->graph_file));
    Store store = Store::open(path());
    std::size_t lost = 0;
    const CheckResult after = store.repair(
        {}, [&](const Collection&, std::span<const Record> records) { lost += records.size(); });
    EXPECT_TRUE(mentions(after.problems, pristine_->graph_file));
    EXPECT_EQ(lost, 0u);
    EXPECT_EQ(store.collection("vectors").count(), expected().size());
  }
  // The same where only some of the slots are missing from what is left.
  restore();
  change_section(pristine_->graph_file, SectionKind::row_ids, false,
                 [](std::span<std::byte> bytes) { bytes[5] ^= std::byte{1}; });
  change_section(pristine_->graph_file, SectionKind::sorted_slots, true,
                 [](std::span<std::byte> bytes) { put<std::uint32_t>(bytes, 3, 0xFFFFFFFF); });
  change_section(pristine_->graph_file, SectionKind::row_ids, false,
                 [](std::span<std::byte> bytes) { bytes[5] ^= std::byte{1}; });
  Store store = Store::open(path());
  EXPECT_NO_THROW(store.repair());
  EXPECT_EQ(store.collection("vectors").count(), expected().size());
}

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
  std::printf("torture: %zu damaged pages\ntorture: %zu of them where nothing is kept\n",
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
      ASSERT_FALSE(HasFailure());
      ++damaged_pages;
    }
  }
  std::printf("torture: %zu damaged pages of a log\n", damaged_pages);

  // Whoever may give up what is lost gets a store that works.
  VKB_EXPECT_ERROR(Store::open(killed.file("store")), ErrorCode::corruption, "repair --lost");
  write_whole_file(database + "-wal", sound.substr(0, sound.size() / 2));
  std::filesystem::remove(database + "-shm");
  {
    Store store = Store::open(killed.file("store"), {.abandon_log = true});
    Collection collection = store.collection("vectors");
    EXPECT_EQ(collection.count(), now.size());
    for (const Problem& problem : store.check(true).problems) ADD_FAILURE() << problem.message;
    collection.remove(std::vector<std::string>{"r1"});
  }
  EXPECT_EQ(open_killed().collection("vectors").count(), now.size() - 1);
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
        // Of records that were in the log, and on the page, nothing may be left.
        std::erase_if(left, [&](const auto& entry) {
          return store->collection("vectors").get({.ids = {{entry.first}}}).empty();
        });
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

TEST_F(Corrupt, AVectorOfTheWrongSizeInTheLog) {
  sql("UPDATE vector_log SET vector=x'00112233' WHERE seq=(SELECT max(seq) FROM vector_log)");
  const std::vector<std::string> errors = ask_everything();
  ASSERT_FALSE(errors.empty());
  for (const std::string& error : errors) EXPECT_NE(error.find("vector_log"), std::string::npos);
  EXPECT_TRUE(mentions(problems(false), "vector_log"));
}

TEST_F(Corrupt, ARecordWithoutAVectorAndAVectorWithoutARecord) {
  sql("DELETE FROM vector_log WHERE seq=(SELECT min(seq) FROM vector_log WHERE vector NOT NULL);"
      "DELETE FROM record WHERE id='r200'");
  for (const std::string& error : ask_everything(true)) {
    EXPECT_NE(error.find("record"), std::string::npos) << error;
  }
  const std::vector<Problem> found = problems(false);
  EXPECT_TRUE(mentions(found, "has a record but no vector"));
  EXPECT_TRUE(mentions(found, "has a vector but no record"));
  EXPECT_TRUE(mentions(found, "counts "));
  // Half a record is given up, if that may be, and handed out.
  Store store = Store::open(path());
  EXPECT_TRUE(mentions(store.repair().problems, "has a record but no vector"));
  std::vector<Record> lost;
  EXPECT_TRUE(store
                  .repair({},
                          [&](const Collection&, std::span<const Record> records) {
                            lost.insert(lost.end(), records.begin(), records.end());
                          })
                  .problems.empty());
  ASSERT_EQ(lost.size(), 2U);
  EXPECT_EQ(lost[0].id, "r200");
  EXPECT_EQ(lost[0].embedding, expected().at("r200").embedding);
  EXPECT_EQ(lost[1].document, expected().at(lost[1].id).document);
  Expected left = expected();
  for (const Record& record : lost) left.erase(record.id);
  EXPECT_EQ(differences(left, store.collection("vectors")), "");
}

// All of a segment, when it does not even open: what is left of its records is handed out, all
// others stay, and the file is kept.
TEST_F(Corrupt, ASegmentThatDoesNotOpenIsGivenUpOnDemand) {
  for (const std::string& file : {pristine_->graph_file, pristine_->flat_file}) {
    for (const std::string_view damage : {"cut", "longer", "gone", "other"}) {
      SCOPED_TRACE(file + " " + std::string(damage));
      restore();
      const std::string bytes = read_whole_file(segment(file));
      if (damage == "cut") std::filesystem::resize_file(segment(file), bytes.size() - 1);
      if (damage == "longer") write_whole_file(segment(file), bytes + "x");
      if (damage == "gone") std::filesystem::remove(segment(file));
      if (damage == "other") {
        const std::string& other =
            file == pristine_->graph_file ? pristine_->flat_file : pristine_->graph_file;
        write_whole_file(segment(file), read_whole_file(segment(other)));
      }
      for (const std::string& error : ask_everything()) {
        EXPECT_NE(error.find(file), std::string::npos) << error;
      }
      Store store = Store::open(path());
      EXPECT_TRUE(mentions(store.repair().problems, file));
      Expected left = expected();
      const CheckResult after =
          store.repair({}, [&](const Collection&, std::span<const Record> records) {
            for (const Record& record : records) {
              EXPECT_EQ(record.document, expected().at(record.id).document);
              left.erase(record.id);
            }
          });
      for (const Problem& problem : after.problems) ADD_FAILURE() << problem.message;
      EXPECT_GT(left.size(), 40U);
      EXPECT_LT(left.size(), expected().size());
      EXPECT_EQ(differences(left, store.collection("vectors")), "");
      EXPECT_EQ(std::filesystem::exists(path() + "/reports/" + file + ".damaged"),
                damage != "gone");
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(Corrupt, MetadataThatIsNotJson) {
  sql("UPDATE record SET metadata='{broken' WHERE id='r300'");
  const std::vector<std::string> errors = ask_everything();
  ASSERT_FALSE(errors.empty());
  for (const std::string& error : errors) EXPECT_NE(error.find("record 301"), std::string::npos);
  EXPECT_TRUE(mentions(problems(), "record 301"));
}

TEST_F(Corrupt, TheMetadataIndexIsRebuilt) {
  const std::string differs = "does not agree with the records";
  sql("DELETE FROM posting_block WHERE block_id % 2 = 0");
  ask_everything(true);
  expect_repair(differs);
  sql("INSERT OR IGNORE INTO posting SELECT key_id, first_value, 1 FROM posting_block");
  expect_repair(differs);
  sql("INSERT INTO posting_removed SELECT key_id, first_value, 1 FROM posting_block");
  expect_repair(differs);
  for (const char* column : {"rows", "entries"}) {
    sql(std::string("UPDATE posting_block SET ") + column + "=zeroblob(length(" + column +
        ")) WHERE " + column + " NOT NULL");
    ask_everything();
    expect_repair("metadata index, block");
  }
  sql("DELETE FROM posting_block");
  expect_repair(differs);
}

TEST_F(Corrupt, TheDocumentIndexIsRebuilt) {
  sql("UPDATE document_trigram_1_data SET block=zeroblob(length(block)) WHERE id>10");
  ask_everything(true);
  expect_repair("document index of collection vectors");
  sql("DELETE FROM document_trigram_1_data WHERE id=10");
  EXPECT_FALSE(ask_everything().empty());
  expect_repair("document index of collection vectors");
  sql("INSERT INTO document_trigram_1(document_trigram_1, rowid, document)"
      " VALUES('delete', 418, 'document 417')");
  ask_everything(true);  // a row that the index does not name is not found
  expect_repair("document index of collection vectors");
}

TEST_F(Corrupt, CountsAndStrayTombstonesAreMended) {
  sql("UPDATE collection SET record_count=record_count+5");
  expect_repair("counts ");
  sql("INSERT INTO tombstone SELECT segment_id, row_count+9, 1 FROM segment");
  EXPECT_FALSE(ask_everything().empty());
  expect_repair("tombstone for slot");
}

TEST_F(Corrupt, ATombstoneTooManyIsNamed) {
  sql("INSERT OR IGNORE INTO tombstone SELECT segment_id, 5, 1 FROM segment");
  ask_everything(true);
  EXPECT_TRUE(mentions(problems(false), "has a record but no vector"));
}

// A damaged store can still be written where the damage allows it, and says so where not.
TEST_F(Corrupt, WritingNamesTheDamageToo) {
  std::filesystem::resize_file(segment(pristine_->graph_file), 5000);
  Store store = Store::open(path());
  Collection collection = store.collection("vectors");
  VKB_EXPECT_ERROR(collection.add(test_records(1, kDim, 9, "new")), ErrorCode::corruption,
                   pristine_->graph_file);
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::corruption, pristine_->graph_file);
  EXPECT_EQ(collection.count(), expected().size());
  Collection other = store.create_collection("other");
  other.add(test_records(3, 4));
  EXPECT_EQ(other.count(), 3u);
}

}  // namespace
}  // namespace vkb

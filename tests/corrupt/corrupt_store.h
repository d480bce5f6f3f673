// SPDX-License-Identifier: Apache-2.0
//
// A store of which every part can be damaged, and what is asked of it then.
#pragma once

#include <gtest/gtest.h>

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

inline constexpr std::size_t kDim = 8;
// VKB_PAGES_EVERY=N, for `make torture`: a large store, of which each Nth page is damaged.
inline std::size_t pages_every() {
  const char* asked = std::getenv("VKB_PAGES_EVERY");
  return asked == nullptr ? 0 : static_cast<std::size_t>(std::atoll(asked));
}

inline const std::size_t kGraphRows = pages_every() == 0 ? kGraphMinRows + 100 : 19'650;
inline constexpr std::size_t kFlatRows = 300;

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

  static inline std::unique_ptr<Pristine> pristine_;
  TempDirectory directory_;
};

}  // namespace vkb

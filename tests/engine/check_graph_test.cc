// SPDX-License-Identifier: Apache-2.0
//
// What check() says of graphs whose checksums are right: nothing of sound ones, whatever they are
// made of; of each kind of damage its name, until repair() has built the graph anew (R8, R9).
#include "engine/check_graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/tuning.h"
#include "engine/vkb.h"
#include "storage/segment_format.h"
#include "storage/sqlite.h"
#include "tests/engine/sample_segment.h"
#include "tests/support/seal_segment.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

constexpr std::uint32_t kEf = 128;

GraphFindings findings_in(const Segment& segment, const Bitmap& dead) {
  return check_graph(segment, dead, kEf, [] {});
}

// Vectors of which all but every `share`th are the same.
std::vector<float> mostly_equal(std::size_t rows, std::size_t dim, std::size_t share) {
  std::vector<float> vectors = random_vectors(rows, dim);
  for (std::size_t i = 0; i < rows; ++i) {
    if (i % share != 0) std::copy_n(vectors.begin() + 1, dim, &vectors[i * dim]);
  }
  return vectors;
}

TEST(CheckGraphTest, ASoundGraphHasNoFindings) {
  struct Case {
    const char* name;
    std::vector<float> vectors;
    std::uint32_t dim;
    SampleOptions options{};
  };
  std::vector<Case> cases = {
      {"one row", random_vectors(1, 8), 8},
      {"fewer rows than places in a list", random_vectors(20, 8), 8},
      {"clusters", clustered_vectors(5000, 32, 1), 32},
      {"clusters, as poor a graph as can be",
       clustered_vectors(5000, 32, 1),
       32,
       {.m = 2, .ef_construction = 2}},
      {"768 dimensions", random_vectors(2000, 768), 768, {.m = 4, .ef_construction = 20}},
      {"one-bit codes",
       random_vectors(5000, 128),
       128,
       {.m = 8, .ef_construction = 50, .bit_codes = true}},
      {"many equal ones", mostly_equal(6000, 8, 6), 8},
      {"all equal", mostly_equal(5000, 8, 5000), 8, {.m = 4}},
      {"zeros", std::vector<float>(5000 * 8), 8},
  };
  const TempDirectory directory;
  for (Case& sound : cases) {
    for (const Space space : {Space::cosine, Space::l2, Space::ip}) {
      sound.options.space = space;
      sound.options.threads = 2;
      const auto segment =
          make_segment(directory.file("sound.vseg"), sound.vectors, sound.dim, sound.options);
      const GraphFindings found = findings_in(*segment, Bitmap(segment->row_count()));
      EXPECT_EQ(found.problems, std::vector<std::string>{})
          << sound.name << ", space " << static_cast<int>(space);
      EXPECT_GE(found.asked, std::min<std::uint64_t>(segment->row_count(), kCheckedRows));
    }
  }
}

TEST(CheckGraphTest, RowsAreAskedForByTheirOwnVectors) {
  const TempDirectory directory;
  const auto vectors = clustered_vectors(5000, 32, 1);
  const auto segment = make_segment(directory.file("graph.vseg"), vectors, 32, {.threads = 2});
  Bitmap dead(5000);
  for (std::size_t slot = 0; slot < 2500; ++slot) dead.set(slot);
  GraphFindings found = findings_in(*segment, Bitmap(5000));
  EXPECT_EQ(found.asked, 200U);
  EXPECT_GE(found.found, 199U);
  found = findings_in(*segment, dead);
  EXPECT_EQ(found.asked, 100U);
  EXPECT_GE(found.found, 99U);
}

// The lists of a graph that is being damaged.
class Lists {
 public:
  Lists(std::span<std::byte> section, std::size_t width)
      : places_(reinterpret_cast<std::uint32_t*>(section.data()), section.size() / 4),
        width_(width) {}
  std::uint32_t count() const { return static_cast<std::uint32_t>(places_.size() / width_); }
  std::span<std::uint32_t> operator[](std::size_t slot) const {
    return places_.subspan(slot * width_, width_);
  }
  // Leaves no list that names `slot`.
  void forget(std::uint32_t slot) const {
    for (std::uint32_t other = 0; other < count(); ++other) {
      const std::span<std::uint32_t> list = (*this)[other];
      std::fill(std::remove(list.begin(), list.end(), slot), list.end(), kNoNeighbour);
    }
  }

 private:
  std::span<std::uint32_t> places_;
  std::size_t width_;
};

constexpr std::uint32_t kM = 8;
constexpr std::uint32_t kRows = kGraphMinRows + 100;
constexpr std::uint32_t kRemoved = 10;

// A store with a graph, some of whose rows are removed; built once.
class CheckDamagedGraphTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    pristine_ = std::make_unique<TempDirectory>();
    Store store = Store::open(pristine_->file("store"));
    Collection collection =
        store.create_collection("graph", {.space = Space::l2, .m = kM, .ef_construction = 50});
    VectorSource source(test_records(kRows, 8), 1000);
    collection.load(source);
    std::vector<std::string> removed;
    for (std::uint32_t i = 0; i < kRemoved; ++i) removed.push_back(numbered("r", 7 + i));
    collection.remove(removed);
    ASSERT_TRUE(is_sound(store));
  }
  static void TearDownTestSuite() { pristine_.reset(); }

  // Changes a section of the graph, with all checksums made to fit.
  void damage(SectionKind kind, const std::function<void(std::span<std::byte>)>& change) {
    std::filesystem::remove_all(path());
    std::filesystem::copy(pristine_->file("store"), path(),
                          std::filesystem::copy_options::recursive);
    std::string file;
    {
      const Store store = Store::open(path(), {.read_only = true});
      const auto segments = store.collection("graph").info().segments;
      ASSERT_EQ(segments.size(), 1U);
      ASSERT_TRUE(segments[0].has_graph);
      file = segments[0].file;
    }
    std::string bytes = read_whole_file(path() + "/segments/" + file);
    change_section(bytes, kind, change);
    const std::uint64_t checksum = seal_segment(bytes);
    write_whole_file(path() + "/segments/" + file, bytes);
    Database(path() + "/vkb.sqlite3", Database::Mode::writer)
        .execute("UPDATE segment SET checksum=" +
                 std::to_string(static_cast<std::int64_t>(checksum)));
  }
  void damage_links(const std::function<void(const Lists&)>& change) {
    damage(SectionKind::links0,
           [&](std::span<std::byte> section) { change(Lists(section, 2 * kM)); });
  }

  // check(deep) says `message` and nothing else; repair() mends that, and loses nothing.
  void expect_finding(const std::string& message) {
    Store store = Store::open(path());
    const std::vector<Problem> found = store.check(true).problems;
    ASSERT_EQ(found.size(), 1U) << message;
    EXPECT_NE(found[0].message.find(message), std::string::npos) << found[0].message;
    EXPECT_TRUE(found[0].repairable);
    EXPECT_TRUE(store.repair().problems.empty()) << message;
    EXPECT_TRUE(is_sound(store));
    EXPECT_EQ(store.collection("graph").count(), kRows - kRemoved);
  }
  std::string path() const { return directory_.file("store"); }

  static std::unique_ptr<TempDirectory> pristine_;
  const TempDirectory directory_;
};

std::unique_ptr<TempDirectory> CheckDamagedGraphTest::pristine_;

TEST_F(CheckDamagedGraphTest, ListsThatNoBuilderWrites) {
  damage_links([](const Lists& lists) { lists[17][0] = kRows; });
  expect_finding("1 links that lead nowhere");
  damage_links([](const Lists& lists) { lists[17][0] = 17; });
  expect_finding("1 links that lead nowhere");
  damage_links([](const Lists& lists) { lists[17][0] = lists[17][1]; });
  expect_finding("1 links that are twice in their list");
  damage_links([](const Lists& lists) {
    const auto size = std::ranges::find(lists[17], kNoNeighbour) - lists[17].begin();
    ASSERT_GE(size, 3);
    lists[17][static_cast<std::size_t>(size) - 3] = kNoNeighbour;
  });
  expect_finding("2 links behind the end of their list");
}

TEST_F(CheckDamagedGraphTest, UpperLevels) {
  const auto first = [](std::span<std::byte> section) {
    return reinterpret_cast<std::uint32_t*>(section.data());
  };
  damage(SectionKind::upper_slots,
         [&](std::span<std::byte> section) { first(section)[1] = kRows; });
  expect_finding("1 upper nodes that are not rows");
  damage(SectionKind::upper_slots,
         [&](std::span<std::byte> section) { first(section)[2] = first(section)[1]; });
  expect_finding("1 rows that are upper nodes twice");
  damage(SectionKind::upper_links, [&](std::span<std::byte> section) { first(section)[0] = 0; });
  expect_finding("1 links that lead nowhere");
}

TEST_F(CheckDamagedGraphTest, ARowThatNoListNames) {
  damage_links([](const Lists& lists) { lists.forget(4000); });
  expect_finding("1 live rows that no walk from the entry point reaches");
}

TEST_F(CheckDamagedGraphTest, AnEntryPointWithoutLinks) {
  damage_links([](const Lists& lists) { std::ranges::fill(lists[0], kNoNeighbour); });
  expect_finding(" live rows that no walk from the entry point reaches");
}

// Each row has the list of another: well formed, and all are reached.
TEST_F(CheckDamagedGraphTest, LinksThatDoNotLeadToNearRows) {
  damage_links([](const Lists& lists) {
    std::vector<std::uint32_t> whole;
    for (std::uint32_t slot = 0; slot < kRows; ++slot) {
      whole.insert(whole.end(), lists[slot].begin(), lists[slot].end());
    }
    for (std::uint32_t slot = 0; slot < kRows; ++slot) {
      const std::uint32_t other = (slot + kRows / 2) % kRows;
      std::copy_n(&whole[std::size_t{other} * 2 * kM], 2 * kM, lists[slot].begin());
      // Not to itself: to the row whose list it has.
      std::ranges::replace(lists[slot], slot, other);
    }
  });
  expect_finding(" links in a sample lead to rows no nearer than any");
}

// Nobody misses it.
TEST(CheckGraphTest, ARemovedRowNeedNotBeReached) {
  const TempDirectory directory;
  const std::string path = directory.file("graph.vseg");
  make_segment(path, random_vectors(2000, 8), 8, {});
  std::string bytes = read_whole_file(path);
  change_section(bytes, SectionKind::links0,
                 [](std::span<std::byte> section) { Lists(section, 32).forget(1234); });
  seal_segment(bytes);
  write_whole_file(path, bytes);
  const auto segment = Segment::open(posix_file_system(), path);
  Bitmap dead(2000);
  EXPECT_EQ(findings_in(*segment, dead).problems.size(), 1U);
  dead.set(1234);
  EXPECT_EQ(findings_in(*segment, dead).problems, std::vector<std::string>{});
}

// Through loads, removals and compaction.
TEST(CheckGraphTest, AStoreInUseIsSound) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("used", {.m = 8, .ef_construction = 50});
  VectorSource first(test_records(6000, 16), 1000);
  collection.load(first);
  EXPECT_TRUE(is_sound(store));
  EXPECT_GE(store.check(true).recall, 0.99);
  EXPECT_EQ(store.check(false).recall, std::nullopt);
  std::vector<std::string> removed;
  for (std::uint32_t i = 0; i < 1500; ++i) removed.push_back(numbered("r", 3 * i));
  collection.remove(removed);
  EXPECT_TRUE(is_sound(store));
  VectorSource second(test_records(4000, 16, 2, "equal"), 1000);
  collection.load(second);
  collection.add(test_records(3000, 16, 3, "more"));
  EXPECT_TRUE(is_sound(store));
  collection.compact();
  EXPECT_TRUE(is_sound(store));
}

}  // namespace
}  // namespace vkb

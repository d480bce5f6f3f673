// SPDX-License-Identifier: Apache-2.0
#include "server/store_health.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "engine/vkb.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

class StoreHealthTest : public ::testing::Test {
 protected:
  // A store with one segment; returns its path.
  std::string make_segment() {
    Store store = Store::open(directory_.path());
    Collection notes = store.get_or_create_collection("notes", {.dim = 2});
    const std::vector<Record> records{{.id = "a", .embedding = {{1, 0}}}};
    notes.upsert(records);
    notes.compact();
    return directory_.file("segments/" + notes.info().segments.at(0).file);
  }
  TempDirectory directory_;
};

TEST_F(StoreHealthTest, ASoundStoreHasNoDamage) {
  make_segment();
  EXPECT_EQ(StoreHealth(directory_.path()).damage(), "");
}

TEST_F(StoreHealthTest, ATruncatedSegmentIsNamedUntilItIsWholeAgain) {
  const std::string segment = make_segment();
  const std::string whole = read_whole_file(segment);
  std::filesystem::resize_file(segment, whole.size() / 2);
  StoreHealth health(directory_.path());
  const std::string name = std::filesystem::path(segment).filename();
  EXPECT_NE(health.damage().find(name), std::string::npos) << health.damage();
  EXPECT_NE(health.damage().find("`vkb check`"), std::string::npos);
  write_whole_file(segment, whole);
  EXPECT_EQ(health.damage(), "");
}

TEST_F(StoreHealthTest, TheLastOfManyCollectionsIsLookedAt) {
  {
    Store store = Store::open(directory_.path());
    for (int i = 0; i < 250; ++i) store.create_collection("many" + std::to_string(i), {.dim = 2});
  }
  std::filesystem::remove(make_segment());
  EXPECT_NE(StoreHealth(directory_.path()).damage(), "");
}

TEST_F(StoreHealthTest, AMissingSegmentIsNamed) {
  const std::string segment = make_segment();
  std::filesystem::remove(segment);
  const std::string name = std::filesystem::path(segment).filename();
  EXPECT_NE(StoreHealth(directory_.path()).damage().find(name), std::string::npos);
}

TEST_F(StoreHealthTest, ADatabaseThatCannotBeReadIsDamage) {
  make_segment();
  const std::string file = directory_.file("vkb.sqlite3");
  std::string bytes = read_whole_file(file);
  std::fill(bytes.begin() + 8192, bytes.end(), 'x');
  write_whole_file(file, bytes);
  EXPECT_NE(StoreHealth(directory_.path()).damage().find("vkb.sqlite3"), std::string::npos);
}

}  // namespace
}  // namespace vkb

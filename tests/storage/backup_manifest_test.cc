// SPDX-License-Identifier: Apache-2.0
#include "storage/backup_manifest.h"

#include <gtest/gtest.h>

#include "storage/file_hash.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

BackupManifest sample() {
  return {.created = "2026-11-23T13:19:59Z",
          .store = "/data/\"kb\"",
          .schema_version = 3,
          .segment_format = 2,
          .collections = {{"u-1", "t", "d", "notes", 12}, {"u-2", "t", "d", "others", 0}},
          .files = {{"vkb.sqlite3", 8192, 8192, "00ff"}, {"segments/a.vseg", 9000, 4096, "11ee"}}};
}

void write_manifest(const TempDirectory& directory, const std::string& name, std::string created) {
  BackupManifest manifest = sample();
  manifest.created = std::move(created);
  directory.write(name, to_json(manifest));
}

std::string found_in(const TempDirectory& directory) {
  const auto found = find_backup(posix_file_system(), directory.path());
  return found ? found->created : "none";
}

// With the hash that a program which writes such a manifest would give it.
std::string with_hash(std::string json) {
  const std::size_t at = json.rfind("\"xxh3_128\"");
  FileHash hash;
  hash.update(std::as_bytes(std::span(json).first(at)));
  return json.substr(0, at) + "\"xxh3_128\": \"" + hash.value() + "\"\n}\n";
}

TEST(BackupManifest, ComesBackAsItWas) {
  EXPECT_EQ(parse_backup_manifest(to_json(sample()), "m"), sample());
}

TEST(BackupManifest, WhatIsNoneIsRefused) {
  const std::string good = to_json(sample());
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("{}"), std::string("{\"format\":1}"),
        good.substr(0, good.size() / 2), std::string(100'000, '[')}) {
    VKB_EXPECT_ERROR(parse_backup_manifest(bad, "the file"), ErrorCode::corruption, "the file: ");
  }
  const auto with = [&](const std::string& what, const std::string& instead) {
    std::string json = good;
    json.replace(json.find(what), what.size(), instead);
    return with_hash(json);
  };
  VKB_EXPECT_ERROR(parse_backup_manifest(with("\"version\": 1", "\"version\": 2"), "m"),
                   ErrorCode::unsupported, "newer vkb");
  // R8: names become paths.
  for (const char* name : {"../a.vseg", "segments/../../a.vseg", "/etc/passwd", "segments/a",
                           "segments/a\\u0000b.vseg", "writer.lock"}) {
    VKB_EXPECT_ERROR(parse_backup_manifest(with("segments/a.vseg", name), "m"),
                     ErrorCode::corruption, "it names");
  }
  VKB_EXPECT_ERROR(parse_backup_manifest(with("vkb.sqlite3", "segments/b.vseg"), "m"),
                   ErrorCode::corruption, "no database");
  VKB_EXPECT_ERROR(parse_backup_manifest(with("4096", "9001"), "m"), ErrorCode::corruption,
                   "it names");
}

TEST(BackupManifest, NoByteOfItMayChange) {
  const std::string good = to_json(sample());
  EXPECT_EQ(with_hash(good), good);
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      VKB_EXPECT_ERROR(parse_backup_manifest(bad, "m"), ErrorCode::corruption, "hash");
    }
    VKB_EXPECT_ERROR(parse_backup_manifest(good.substr(0, at), "m"), ErrorCode::corruption,
                     "expected its " + std::to_string(at) + " bytes to end with their hash");
  }
  VKB_EXPECT_ERROR(parse_backup_manifest(good + "\n", "m"), ErrorCode::corruption, "found none");
  std::string bad = good;
  bad.replace(bad.find("12"), 2, "13");
  const std::string stated = good.substr(good.size() - 36, 32);
  VKB_EXPECT_ERROR(parse_backup_manifest(bad, "m"), ErrorCode::corruption,
                   "expected the XXH3-128 hash " + stated + " of its first " +
                       std::to_string(good.size() - 49) + " bytes, found ");
}

TEST(BackupManifest, TheNewOneCountsOnceTheDatabaseHasItsName) {
  const TempDirectory directory;
  EXPECT_EQ(found_in(directory), "none");
  write_manifest(directory, "backup.json", "old");
  EXPECT_EQ(found_in(directory), "old");
  directory.write("vkb.sqlite3.new", "database");
  write_manifest(directory, "backup.json.new", "new");
  EXPECT_EQ(found_in(directory), "old");
  std::filesystem::rename(directory.file("vkb.sqlite3.new"), directory.file("vkb.sqlite3"));
  EXPECT_EQ(found_in(directory), "new");
  settle_backup(posix_file_system(), directory.path());
  EXPECT_EQ(found_in(directory), "new");
  EXPECT_FALSE(std::filesystem::exists(directory.file("backup.json.new")));
}

TEST(BackupManifest, SettlingDropsWhatWasNotCommitted) {
  const TempDirectory directory;
  write_manifest(directory, "backup.json", "old");
  directory.write("vkb.sqlite3.new", "database");
  directory.write("vkb.sqlite3.new-journal", "journal");
  write_manifest(directory, "backup.json.new", "new");
  FaultyFileSystem files;
  settle_backup(files, directory.path());
  EXPECT_EQ(found_in(directory), "old");
  EXPECT_FALSE(std::filesystem::exists(directory.file("vkb.sqlite3.new")));
  EXPECT_FALSE(std::filesystem::exists(directory.file("vkb.sqlite3.new-journal")));
  // The manifest goes first, durably: without the database it would count.
  const std::vector<std::string> log = files.log();
  const auto at = [&](const std::string& call) {
    return std::find(log.begin(), log.end(), call) - log.begin();
  };
  EXPECT_LT(at("remove backup.json.new"),
            at("sync_directory " + std::filesystem::path(directory.path()).filename().string()));
  EXPECT_LT(at("sync_directory " + std::filesystem::path(directory.path()).filename().string()),
            at("remove vkb.sqlite3.new"));
}

TEST(BackupManifest, DescribesAFile) {
  const TempDirectory directory;
  directory.write("empty", "");
  directory.write("abc", "abc");
  // Of xxhsum -H128.
  EXPECT_EQ(describe_file(posix_file_system(), directory.path(), "empty"),
            (BackupFile{"empty", 0, 0, "99aa06d3014798d86001c324468d497f"}));
  EXPECT_EQ(describe_file(posix_file_system(), directory.path(), "abc"),
            (BackupFile{"abc", 3, 3, "06b05ab6733a618578af5f94892f3950"}));
  EXPECT_EQ(describe_file(posix_file_system(), directory.path(), "abc", 0).hash,
            "99aa06d3014798d86001c324468d497f");
  VKB_EXPECT_ERROR(describe_file(posix_file_system(), directory.path(), "abc", 4),
                   ErrorCode::corruption, "has 3 bytes");
  // Longer than the pieces it is read in: the same as in one.
  std::string large;
  for (int i = 0; large.size() < (std::size_t{5} << 19); ++i) large += std::to_string(i);
  directory.write("large", large);
  const BackupFile whole = describe_file(posix_file_system(), directory.path(), "large");
  directory.write("first", large.substr(0, large.size() - 1));
  EXPECT_EQ(describe_file(posix_file_system(), directory.path(), "large", large.size() - 1).hash,
            describe_file(posix_file_system(), directory.path(), "first").hash);
  EXPECT_NE(describe_file(posix_file_system(), directory.path(), "first").hash, whole.hash);
}

}  // namespace
}  // namespace vkb

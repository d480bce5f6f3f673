// SPDX-License-Identifier: Apache-2.0
//
// What is in a directory that `vkb backup` made:
//
//   backup.json          the manifest: all files below with their sizes and hashes
//   vkb.sqlite3          the database
//   segments/*.vseg      those that the database names
//   backup.lock          held while a backup is being made
//
// A backup that is there is replaced without a moment at which neither it nor the new one can be
// restored. New segments come beside the old. The new database is written as vkb.sqlite3.new and
// synced, then the new manifest as backup.json.new; then the database is renamed, then the
// manifest, and what the new one does not name is removed. So the manifest that counts is
// backup.json.new where vkb.sqlite3.new is no longer there, else backup.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/file.h"

namespace vkb {

inline constexpr std::string_view kBackupManifest = "backup.json";
inline constexpr std::string_view kBackupLock = "backup.lock";
inline constexpr std::string_view kNewSuffix = ".new";
inline constexpr std::string_view kDatabaseFile = "vkb.sqlite3";
inline constexpr std::string_view kSegmentFolder = "segments";

struct BackupFile {
  std::string name;                // "vkb.sqlite3" or "segments/<name>"
  std::uint64_t bytes = 0;         // the size of the file
  std::uint64_t hashed_bytes = 0;  // how many of its first bytes the hash is of: all of a database,
                                   // and the header of a segment, which holds its sections'
                                   // checksums
  std::string hash;                // FileHash, XXH3 with 128 bits
  bool operator==(const BackupFile&) const = default;
};

struct BackedUpCollection {
  std::string uuid;
  std::string tenant;
  std::string database;
  std::string name;
  std::uint64_t records = 0;
  bool operator==(const BackedUpCollection&) const = default;
};

struct BackupManifest {
  std::string created;  // when, in UTC: "2026-11-23T13:19:59Z"
  std::string store;    // the directory that was backed up
  int schema_version = 0;
  std::uint32_t segment_format = 0;
  std::vector<BackedUpCollection> collections;
  std::vector<BackupFile> files;
  bool operator==(const BackupManifest&) const = default;
};

// Its last member, "xxh3_128", is the FileHash of all the bytes before that name.
std::string to_json(const BackupManifest& manifest);
// Throws corruption, with `object` as the message's beginning, for what is no manifest, does not
// have its hash, or names a file outside its backup; unsupported for one of a newer version.
BackupManifest parse_backup_manifest(std::string_view json, const std::string& object);

// The file as it is to stand in a manifest. Throws corruption where it has fewer bytes than are
// hashed.
BackupFile describe_file(FileSystem& files, const std::string& directory, const std::string& name,
                         std::optional<std::uint64_t> hashed_bytes = {});

// What keeps the backup in `directory`, if there is one, from being restored, read as far as its
// manifest tells: all of the database, of segments the headers. While it is open as well.
std::vector<std::string> backup_findings(FileSystem& files, const std::string& directory);

// The manifest that counts in `directory`; nothing when there is no complete backup.
std::optional<BackupManifest> find_backup(FileSystem& files, const std::string& directory);
// Ends what a crash cut short: either the old backup or the new one is there then, and nothing that
// was on its way. The caller holds the lock.
void settle_backup(FileSystem& files, const std::string& directory);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/backup_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "storage/database_file.h"
#include "storage/error.h"
#include "storage/file_hash.h"
#include "storage/json_depth.h"
#include "storage/segment_format.h"

namespace vkb {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormat = "vkb backup";
constexpr int kVersion = 1;
constexpr int kDeepest = 8;
// A manifest ends with the hash of all its bytes before these.
constexpr std::string_view kBeforeHash = "\"xxh3_128\": \"";
constexpr std::size_t kHashDigits = 32;
constexpr std::string_view kAfterHash = "\"\n}\n";

std::string in(const std::string& directory, std::string_view name) {
  return directory + "/" + std::string(name);
}
std::string newer(const std::string& directory, std::string_view name) {
  return in(directory, name) + std::string(kNewSuffix);
}

// Names from a manifest become paths (R8).
bool is_file_of_a_store(std::string_view name) {
  if (name == kDatabaseFile) return true;
  const std::string folder = std::string(kSegmentFolder) + "/";
  return name.starts_with(folder) && name.ends_with(kSegmentSuffix) &&
         name.find('/', folder.size()) == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

std::string hash_of(std::string_view text) {
  FileHash hash;
  hash.update(std::as_bytes(std::span(text)));
  return hash.value();
}

// As describe_file() of all of a database, which may be open.
BackupFile describe_database(const std::string& directory) {
  DatabaseFile file(in(directory, kDatabaseFile));
  FileHash hash;
  read_pieces(file, [&](auto piece) { hash.update(piece); });
  return {.name = std::string(kDatabaseFile),
          .bytes = file.size(),
          .hashed_bytes = file.size(),
          .hash = hash.value()};
}

BackupManifest manifest_of(const Json& json) {
  BackupManifest manifest{.created = json.at("created").get<std::string>(),
                          .store = json.at("store").get<std::string>(),
                          .schema_version = json.at("schema_version").get<int>(),
                          .segment_format = json.at("segment_format").get<std::uint32_t>(),
                          .collections = {},
                          .files = {}};
  for (const Json& each : json.at("collections")) {
    manifest.collections.push_back({.uuid = each.at("uuid").get<std::string>(),
                                    .tenant = each.at("tenant").get<std::string>(),
                                    .database = each.at("database").get<std::string>(),
                                    .name = each.at("name").get<std::string>(),
                                    .records = each.at("records").get<std::uint64_t>()});
  }
  for (const Json& each : json.at("files")) {
    manifest.files.push_back({.name = each.at("file").get<std::string>(),
                              .bytes = each.at("bytes").get<std::uint64_t>(),
                              .hashed_bytes = each.at("hashed_bytes").get<std::uint64_t>(),
                              .hash = each.at("xxh3_128").get<std::string>()});
  }
  return manifest;
}

std::optional<BackupManifest> read_manifest(FileSystem& files, const std::string& path) {
  if (!files.exists(path)) return std::nullopt;
  const std::unique_ptr<MappedFile> file = files.map(path);
  std::string text;
  read_pieces(*file, 0, file->bytes().size(), [&](std::span<const std::byte> piece) {
    text.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  });
  return parse_backup_manifest(text, path);
}

// Whether the new database has its name already: then the new manifest counts.
bool is_committed(FileSystem& files, const std::string& directory) {
  return files.exists(newer(directory, kBackupManifest)) &&
         !files.exists(newer(directory, kDatabaseFile));
}

}  // namespace

std::string to_json(const BackupManifest& manifest) {
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"created", manifest.created},
               {"store", manifest.store},
               {"schema_version", manifest.schema_version},
               {"segment_format", manifest.segment_format},
               {"collections", Json::array()},
               {"files", Json::array()}};
  for (const BackedUpCollection& each : manifest.collections) {
    json["collections"].push_back({{"uuid", each.uuid},
                                   {"tenant", each.tenant},
                                   {"database", each.database},
                                   {"name", each.name},
                                   {"records", each.records}});
  }
  for (const BackupFile& each : manifest.files) {
    json["files"].push_back({{"file", each.name},
                             {"bytes", each.bytes},
                             {"hashed_bytes", each.hashed_bytes},
                             {"xxh3_128", each.hash}});
  }
  // A directory's name may be any bytes.
  std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace);
  text.resize(text.size() - std::string_view("\n}").size());
  text += ",\n ";
  const std::string hash = hash_of(text);
  return text.append(kBeforeHash).append(hash).append(kAfterHash);
}

BackupManifest parse_backup_manifest(std::string_view json, const std::string& object) {
  const auto damaged = [&](const std::string& what) -> Error {
    return {ErrorCode::corruption, object + ": not the manifest of a backup, or damaged: " + what +
                                       "; restore another backup, or make one elsewhere"};
  };
  constexpr std::size_t kEndBytes = kBeforeHash.size() + kHashDigits + kAfterHash.size();
  const std::string_view hashed = json.substr(0, json.size() - std::min(json.size(), kEndBytes));
  const std::string_view end = json.substr(hashed.size());
  if (!end.starts_with(kBeforeHash) || !end.ends_with(kAfterHash)) {
    throw damaged("expected its " + std::to_string(json.size()) +
                  " bytes to end with their hash, found none");
  }
  const std::string expected(end.substr(kBeforeHash.size(), kHashDigits));
  if (const std::string found = hash_of(hashed); found != expected) {
    throw damaged("expected the XXH3-128 hash " + expected + " of its first " +
                  std::to_string(hashed.size()) + " bytes, found " + found);
  }
  if (json_depth(json) > kDeepest) throw damaged("nested too deeply");
  try {
    const Json tree = Json::parse(json);
    if (!tree.is_object() || tree.value("format", "") != kFormat) throw damaged("another format");
    const int version = tree.at("version").get<int>();
    if (version != kVersion) {
      throw Error(ErrorCode::unsupported, object + ": made by a newer vkb (version " +
                                              std::to_string(version) + ", this program reads " +
                                              std::to_string(kVersion) + "); use that");
    }
    BackupManifest manifest = manifest_of(tree);
    std::size_t databases = 0;
    for (const BackupFile& file : manifest.files) {
      if (!is_file_of_a_store(file.name) || file.hashed_bytes > file.bytes) {
        throw damaged("it names " + file.name.substr(0, 200));
      }
      databases += file.name == kDatabaseFile;
    }
    if (databases != 1) throw damaged("it names no database");
    return manifest;
  } catch (const Json::exception& error) {
    throw damaged(error.what());
  }
}

BackupFile describe_file(FileSystem& files, const std::string& directory, const std::string& name,
                         std::optional<std::uint64_t> hashed_bytes) {
  const std::unique_ptr<MappedFile> file = files.map(in(directory, name));
  BackupFile found{.name = name,
                   .bytes = file->bytes().size(),
                   .hashed_bytes = hashed_bytes.value_or(file->bytes().size()),
                   .hash = {}};
  if (found.hashed_bytes > found.bytes) {
    throw Error(ErrorCode::corruption,
                in(directory, name) + ": has " + std::to_string(found.bytes) +
                    " bytes, expected at least " + std::to_string(found.hashed_bytes));
  }
  FileHash hash;
  read_pieces(*file, 0, found.hashed_bytes, [&](auto piece) { hash.update(piece); });
  found.hash = hash.value();
  return found;
}

std::vector<std::string> backup_findings(FileSystem& files, const std::string& directory) {
  try {
    const std::optional<BackupManifest> manifest = find_backup(files, directory);
    if (!manifest) {
      if (!files.exists(in(directory, kBackupLock))) return {};  // no backup at all
      return {"is missing: this backup was never complete"};
    }
    std::vector<std::string> findings;
    for (const BackupFile& file : manifest->files) {
      const BackupFile found = file.name == kDatabaseFile
                                   ? describe_database(directory)
                                   : describe_file(files, directory, file.name, file.hashed_bytes);
      if (found == file) continue;
      findings.push_back(file.name + " is not what was backed up: expected " +
                         std::to_string(file.bytes) + " bytes, hash " + file.hash + ", found " +
                         std::to_string(found.bytes) + ", hash " + found.hash);
    }
    return findings;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption && error.code() != ErrorCode::not_found) throw;
    return {error.what()};
  }
}

std::optional<BackupManifest> find_backup(FileSystem& files, const std::string& directory) {
  return read_manifest(files, is_committed(files, directory) ? newer(directory, kBackupManifest)
                                                             : in(directory, kBackupManifest));
}

void settle_backup(FileSystem& files, const std::string& directory) {
  if (is_committed(files, directory)) {
    files.rename(newer(directory, kBackupManifest), in(directory, kBackupManifest));
    files.sync_directory(directory);
    return;
  }
  files.remove(newer(directory, kBackupManifest));
  // Or a crash could leave the manifest and take the database away, which reads as committed.
  files.sync_directory(directory);
  for (const char* suffix : {"-journal", "-wal", "-shm", ""}) {
    files.remove(newer(directory, kDatabaseFile) + suffix);
  }
}

}  // namespace vkb

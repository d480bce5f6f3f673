// SPDX-License-Identifier: Apache-2.0
#include "engine/leftovers.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "engine/open_store.h"
#include "storage/backup_manifest.h"
#include "storage/database_file.h"
#include "storage/error.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

// What a store consists of. With anything else in it a directory is not replaced.
constexpr std::array<std::string_view, 10> kStoreFiles = {kDatabaseFile,
                                                          "vkb.sqlite3-journal",
                                                          "vkb.sqlite3-mark",
                                                          "vkb.sqlite3-salvage",
                                                          "vkb.sqlite3-salvage-journal",
                                                          "vkb.sqlite3-shm",
                                                          "vkb.sqlite3-wal",
                                                          kSegmentFolder,
                                                          kWriterLock,
                                                          kReportFolder};

std::string in(const std::string& directory, std::string_view name) {
  return directory + "/" + std::string(name);
}

std::vector<std::string> leftovers(FileSystem& files, const fs::path& place) {
  const std::string prefix = place.filename().string() + std::string(kRestoringSuffix);
  std::vector<std::string> found;
  for (const std::string& name : files.list(place.parent_path().string())) {
    if (!name.starts_with(prefix) || name.size() == prefix.size()) continue;
    if (name.find_first_not_of("0123456789", prefix.size()) != std::string::npos) continue;
    const std::string path = (place.parent_path() / name).string();
    if (fs::is_directory(fs::symlink_status(path))) found.push_back(path);
  }
  return found;
}

// Why the directory must not be removed, or "".
std::string reason_to_keep(FileSystem& files, const std::string& path) {
  if (const std::string name = foreign_name(files.list(path)); !name.empty()) {
    return "it has " + name + ", which is no part of a store";
  }
  const std::string writer = files.lock_holder(in(path, kWriterLock));
  if (!writer.empty()) return "it is held by a writer, " + writer;
  if (is_open_in_process(path) || has_connections(files, path)) return "a program has it open";
  return "";
}

}  // namespace

std::string foreign_name(const std::vector<std::string>& names) {
  const auto found = std::find_if(names.begin(), names.end(), [](const std::string& name) {
    return std::find(kStoreFiles.begin(), kStoreFiles.end(), name) == kStoreFiles.end();
  });
  return found == names.end() ? "" : *found;
}

bool has_connections(FileSystem& files, const std::string& directory) {
  const std::string path = in(directory, kDatabaseFile);
  if (!files.exists(path + "-shm")) return false;  // whoever has it open keeps this beside it
  DatabaseFile file(path, DatabaseFile::Use::lock);
  // It was removed: whoever has it open holds a lock of its -shm all the same.
  if (!file.is_open()) return !files.lock_holder(path + "-shm").empty();
  return !file.lock_alone();
}

std::vector<std::string> remove_cut_short(FileSystem& files, const std::string& place) {
  std::vector<std::string> left;
  for (const std::string& path : leftovers(files, place)) {
    const bool may_be_old =
        files.exists(in(path, kWriterLock)) || files.exists(in(path, kReportFolder));
    try {
      if (!may_be_old && reason_to_keep(files, path).empty()) fs::remove_all(path);
    } catch (const std::exception&) {
      // It is told at the end why it is kept.
    }
    if (files.exists(path)) left.push_back(path);
  }
  return left;
}

std::vector<std::string> remove_old_stores(FileSystem& files, const std::vector<std::string>& left,
                                           const std::string& place) {
  std::vector<std::string> kept;
  for (const std::string& path : left) {
    try {
      if (const std::string reason = reason_to_keep(files, path); !reason.empty()) {
        kept.push_back(path + ": " + reason);
        continue;
      }
      move_reports(files, path, place);
      fs::remove_all(path);
    } catch (const std::exception& error) {  // the restore itself is done
      kept.push_back(path + ": " + error.what());
    }
  }
  return kept;
}

void move_reports(FileSystem& files, const std::string& from, const std::string& place) {
  const std::string reports = in(from, kReportFolder);
  const std::string target = in(place, kReportFolder);
  if (!files.exists(reports)) return;
  if (!files.exists(target)) {
    files.rename(reports, target);
    files.sync_directory(place);  // or a crash could take it away here and there
    return;
  }
  for (const std::string& name : files.list(reports)) {
    if (files.exists(in(target, name))) {
      throw Error(ErrorCode::already_exists, in(reports, name) +
                                                 ": there is another report of that name in " +
                                                 target + "; move one of them away");
    }
    files.rename(in(reports, name), in(target, name));
  }
  files.sync_directory(target);
}

}  // namespace vkb

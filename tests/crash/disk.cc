// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/disk.h"

#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace vkb {
namespace {

// What a disk writes as one.
constexpr std::size_t kBlock = 512;

void write_bytes(std::string& content, std::uint64_t at, std::string_view data) {
  if (content.size() < at + data.size()) content.resize(at + data.size());
  std::copy(data.begin(), data.end(), content.begin() + static_cast<std::ptrdiff_t>(at));
}

std::string parent_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

std::string plain(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

}  // namespace

std::optional<Disk::Id> Disk::find(const std::string& path) const {
  const auto name = names_.find(path);
  return name == names_.end() ? std::nullopt : name->second.now();
}

Disk::Id Disk::make(const std::string& path, bool is_directory) {
  files_.push_back({is_directory, {}, {}});
  names_[path].since.emplace_back(files_.size() - 1);
  return files_.size() - 1;
}

void Disk::apply(const IoEntry& entry) {
  const std::string path = plain(entry.path);
  const auto file_of = [&](int fd) -> File& {
    const auto found = open_.find(fd);
    if (found == open_.end() || !found->second.id) throw std::logic_error("not an open file");
    return files_[*found->second.id];
  };
  switch (entry.kind) {
    case IoKind::open: {
      std::optional<Id> id = find(path);
      if (!id && path != plain(root_)) id = make(path, false);
      if ((entry.value & O_TRUNC) != 0) files_[id.value()].since.push_back({true, 0, {}});
      open_[entry.fd] = {path, id};
      return;
    }
    case IoKind::close:
      open_.erase(entry.fd);
      return;
    case IoKind::write:
      file_of(entry.fd).since.push_back({false, entry.value, entry.data});
      return;
    case IoKind::truncate:
      file_of(entry.fd).since.push_back({true, entry.value, {}});
      return;
    case IoKind::sync:
      sync(entry.fd);
      return;
    case IoKind::make_directory:
      make(path, true);
      return;
    case IoKind::unlink:
      names_[path].since.emplace_back(std::nullopt);
      return;
    case IoKind::rename:
    case IoKind::link: {
      const std::optional<Id> id = find(path);
      names_[plain(entry.to)].since.push_back(id);
      if (entry.kind == IoKind::rename) names_[path].since.emplace_back(std::nullopt);
      return;
    }
    case IoKind::said:
      return;
  }
}

// A file is synced with its size; a directory with the names in it, not with what these name.
void Disk::sync(int fd) {
  const auto& [path, id] = open_.at(fd);
  if (id && !files_[*id].is_directory) {
    File& file = files_[*id];
    file.synced = content(file, file.since.size());
    file.since.clear();
    return;
  }
  for (auto& [name, versions] : names_) {
    if (parent_of(name) != path) continue;
    versions.synced = versions.now();
    versions.since.clear();
  }
}

// After so many of the changes since its last sync.
std::string Disk::content(const File& file, std::size_t changes) {
  std::string bytes = file.synced;
  for (std::size_t i = 0; i < changes; ++i) {
    const Change& change = file.since[i];
    if (change.is_size) {
      bytes.resize(change.at);
    } else {
      write_bytes(bytes, change.at, change.data);
    }
  }
  return bytes;
}

std::string Disk::mixed_content(const File& file, TestRandom& random) const {
  if (file.since.empty()) return file.synced;
  // A change of size is there or is not: blocks are mixed from what came between two of them.
  std::vector<std::size_t> begins{0};
  for (std::size_t i = 0; i < file.since.size(); ++i) {
    if (file.since[i].is_size) begins.push_back(i + 1);
  }
  const std::size_t chosen = random.below(begins.size());
  const std::size_t first = begins[chosen];
  const std::size_t last = chosen + 1 < begins.size() ? begins[chosen + 1] - 1 : file.since.size();
  const auto some = [&] { return first + random.below(last - first + 1); };
  std::string mixed = content(file, some());
  // A few versions are enough, and each costs the whole content.
  std::vector<std::string> versions;
  for (int i = 0; i < 4; ++i) versions.push_back(content(file, some()));
  for (std::size_t at = 0; at < mixed.size(); at += kBlock) {
    const std::string& version = versions[random.below(versions.size())];
    const std::size_t size = std::min(kBlock, mixed.size() - at);
    std::string block = at < version.size() ? version.substr(at, size) : std::string();
    block.resize(size);
    mixed.replace(at, size, block);
  }
  return mixed;
}

void Disk::write_image(const std::string& directory, Loss loss, TestRandom& random) const {
  std::map<Id, std::string> contents;        // two names of a file show the same
  for (const auto& [path, name] : names_) {  // a directory comes before what is in it
    const std::size_t version = loss == Loss::none  ? name.since.size()
                                : loss == Loss::all ? 0
                                                    : random.below(name.since.size() + 1);
    const std::optional<Id> id = version == 0 ? name.synced : name.since[version - 1];
    if (!id || path.ends_with("-shm")) continue;  // SQLite makes that one anew
    const std::string at = directory + path.substr(plain(root_).size());
    if (!std::filesystem::is_directory(parent_of(at))) continue;  // lost itself
    const File& file = files_[*id];
    if (file.is_directory) {
      std::filesystem::create_directory(at);
      continue;
    }
    if (!contents.contains(*id)) {
      contents[*id] = loss == Loss::some
                          ? mixed_content(file, random)
                          : content(file, loss == Loss::none ? file.since.size() : 0);
    }
    std::ofstream out(at, std::ios::binary);
    out << contents[*id];
    if (!out.flush()) throw std::runtime_error("cannot write " + at);
  }
}

}  // namespace vkb

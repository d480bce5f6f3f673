// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/error.h"
#include "storage/file.h"

namespace vkb {

enum class FileCall {
  map,
  create,
  append,
  write_at,
  publish,
  try_lock,
  lock_holder,
  make_directory,
  exists,
  is_writable,
  list,
  file_size,
  remove,
  rename,
  sync_directory,
  hard_link_or_copy,
  reached,
};
inline constexpr std::size_t kFileCalls = 17;

inline std::string_view to_string(FileCall call) noexcept {
  constexpr std::array<std::string_view, kFileCalls> kNames = {
      "map",     "create",      "append",         "write_at",
      "publish", "try_lock",    "lock_holder",    "make_directory",
      "exists",  "is_writable", "list",           "file_size",
      "remove",  "rename",      "sync_directory", "hard_link_or_copy",
      "reached"};
  return kNames[static_cast<std::size_t>(call)];
}

// Forwards every call to another FileSystem, after counting it, showing it to a hook, and failing
// it with io_error when told to. A failed publish() removes its file, as a failed sync does.
// Subclasses may override what they want to do differently. Thread safety: all methods; the hook
// runs in the thread of the call, and may itself throw, stop or end the process.
class FaultyFileSystem : public FileSystem {
 public:
  using Hook = std::function<void(FileCall call, const std::string& path)>;

  explicit FaultyFileSystem(FileSystem& inner = posix_file_system()) : inner_(inner) {}

  std::uint64_t count(FileCall call) const {
    const std::lock_guard lock(mutex_);
    return counts_[static_cast<std::size_t>(call)];
  }
  std::uint64_t count() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t total = 0;
    for (const std::uint64_t count : counts_) total += count;
    return total;
  }
  // "create a.vseg", "append a.vseg", ... in order; the last component of the path, or the point.
  std::vector<std::string> log() const {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    counts_ = {};
    log_.clear();
  }
  // Fails the nth such call from now (1: the next).
  void fail(FileCall call, std::uint64_t nth = 1) {
    const std::lock_guard lock(mutex_);
    fail_in_[static_cast<std::size_t>(call)] = nth;
  }
  // Called before each call is forwarded. For `reached` the path is the name of the point.
  void set_hook(Hook hook) {
    const std::lock_guard lock(mutex_);
    hook_ = std::move(hook);
  }

  std::unique_ptr<MappedFile> map(const std::string& path) override {
    called(FileCall::map, path);
    return inner_.map(path);
  }
  std::unique_ptr<NewFile> create(const std::string& path) override {
    called(FileCall::create, path);
    return std::make_unique<File>(*this, path, inner_.create(path));
  }
  std::unique_ptr<FileLock> try_lock(const std::string& path, std::string_view holder) override {
    called(FileCall::try_lock, path);
    return inner_.try_lock(path, holder);
  }
  std::string lock_holder(const std::string& path) override {
    called(FileCall::lock_holder, path);
    return inner_.lock_holder(path);
  }
  void make_directory(const std::string& path) override {
    called(FileCall::make_directory, path);
    inner_.make_directory(path);
  }
  bool exists(const std::string& path) override {
    called(FileCall::exists, path);
    return inner_.exists(path);
  }
  std::string network_file_system(const std::string& path) override {
    return inner_.network_file_system(path);
  }
  bool is_writable(const std::string& path) override {
    called(FileCall::is_writable, path);
    return inner_.is_writable(path);
  }
  std::vector<std::string> list(const std::string& directory) override {
    called(FileCall::list, directory);
    return inner_.list(directory);
  }
  std::uint64_t file_size(const std::string& path) override {
    called(FileCall::file_size, path);
    return inner_.file_size(path);
  }
  void remove(const std::string& path) override {
    called(FileCall::remove, path);
    inner_.remove(path);
  }
  void rename(const std::string& from, const std::string& to) override {
    called(FileCall::rename, from);
    inner_.rename(from, to);
  }
  void exchange(const std::string& one, const std::string& other) override {
    called(FileCall::rename, one);
    inner_.exchange(one, other);
  }
  void sync_directory(const std::string& path) override {
    called(FileCall::sync_directory, path);
    inner_.sync_directory(path);
  }
  void hard_link_or_copy(const std::string& from, const std::string& to) override {
    called(FileCall::hard_link_or_copy, from);
    inner_.hard_link_or_copy(from, to);
  }
  void reached(std::string_view point) override {
    called(FileCall::reached, std::string(point));
    inner_.reached(point);
  }

 protected:
  void called(FileCall call, const std::string& path) {
    Hook hook;
    bool fails = false;
    {
      const std::lock_guard lock(mutex_);
      const auto i = static_cast<std::size_t>(call);
      ++counts_[i];
      log_.push_back(std::string(to_string(call)) + " " +
                     std::filesystem::path(path).filename().string());
      fails = fail_in_[i] > 0 && --fail_in_[i] == 0;
      hook = hook_;
    }
    if (hook) hook(call, path);
    if (fails) {
      throw Error(ErrorCode::io_error,
                  "cannot " + std::string(to_string(call)) + " " + path + ": injected fault");
    }
  }

 private:
  class File final : public NewFile {
   public:
    File(FaultyFileSystem& files, std::string path, std::unique_ptr<NewFile> inner)
        : files_(files), path_(std::move(path)), inner_(std::move(inner)) {}
    void append(std::span<const std::byte> data) override {
      files_.called(FileCall::append, path_);
      inner().append(data);
    }
    void write_at(std::uint64_t offset, std::span<const std::byte> data) override {
      files_.called(FileCall::write_at, path_);
      inner().write_at(offset, data);
    }
    std::uint64_t size() const noexcept override { return inner_ ? inner_->size() : 0; }
    void expect_reads(MappedFile::Access access) override { inner().expect_reads(access); }
    void publish() override {
      try {
        files_.called(FileCall::publish, path_);
      } catch (const Error&) {
        inner_.reset();
        throw;
      }
      inner().publish();
    }

   private:
    NewFile& inner() const {
      if (inner_) return *inner_;
      throw Error(ErrorCode::io_error, "cannot write " + path_ + ": publishing it failed before");
    }

    FaultyFileSystem& files_;
    std::string path_;
    std::unique_ptr<NewFile> inner_;
  };

  FileSystem& inner_;
  mutable std::mutex mutex_;
  std::array<std::uint64_t, kFileCalls> counts_{};   // guarded by mutex_
  std::array<std::uint64_t, kFileCalls> fail_in_{};  // guarded by mutex_; 0: never
  std::vector<std::string> log_;                     // guarded by mutex_
  Hook hook_;                                        // guarded by mutex_
};

}  // namespace vkb

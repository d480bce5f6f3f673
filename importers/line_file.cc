// SPDX-License-Identifier: Apache-2.0
#include "importers/line_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "engine/vkb.h"

namespace vkb {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18;

std::string reason() { return std::generic_category().message(errno); }

}  // namespace

LineFile::LineFile(std::string path)
    : path_(std::move(path)),
      fd_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (fd_ < 0) fail("cannot be created");
}

LineFile::~LineFile() {
  if (fd_ >= 0) ::close(fd_);
}

void LineFile::fail(std::string_view what) const {
  throw Error(ErrorCode::io_error, path_ + ' ' + std::string(what) + ": " + reason());
}

void LineFile::write(std::string_view text) {
  buffer_.append(text);
  if (buffer_.size() >= kBufferBytes) flush();
}

void LineFile::flush() {
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ssize_t written = ::write(fd_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("cannot be written");
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  buffer_.clear();
}

void LineFile::close() {
  flush();
  if (::fsync(fd_) != 0) fail("cannot be synced");
  ::close(fd_);
  fd_ = -1;
  const std::string directory = std::filesystem::absolute(path_).parent_path().string();
  const int handle = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) fail("has a directory that cannot be opened");
  const int synced = ::fsync(handle);
  ::close(handle);
  if (synced != 0) fail("has a directory that cannot be synced");
}

void replace_file(const std::string& path, std::string_view content) {
  const std::string part = path + ".part";
  {
    LineFile file(part);
    file.write(content);
    file.close();
  }
  if (std::rename(part.c_str(), path.c_str()) != 0) {
    throw Error(ErrorCode::io_error, path + " cannot be replaced: " + reason());
  }
}

std::string read_whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::not_found, path + " cannot be read: " + reason());
  std::ostringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

}  // namespace vkb

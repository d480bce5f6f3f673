// SPDX-License-Identifier: Apache-2.0
//
// What the fuzz targets share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

namespace vkb {

// What has to hold whatever the input is.
inline void require(bool condition) {
  if (!condition) std::abort();
}

// Takes an input apart from its front. What it lacks is zero or empty.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : left_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const noexcept { return left_.empty(); }
  // The next bytes, at most `size`.
  std::string_view text(std::size_t size) {
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(taken.size());
    return taken;
  }
  template <typename T>
  T number() {
    T value{};
    const std::string_view bytes = text(sizeof(T));
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  std::uint8_t byte() { return number<std::uint8_t>(); }
  // A text behind its length, in one byte and in two.
  std::string_view short_text() { return text(byte()); }
  std::string_view long_text() { return text(number<std::uint16_t>()); }
  std::string_view rest() { return text(left_.size()); }

 private:
  std::string_view left_;
};

// A directory that lives as long as the process.
class FuzzDirectory {
 public:
  FuzzDirectory() : path_((std::filesystem::temp_directory_path() / "vkb-fuzz-XXXXXX").string()) {
    require(mkdtemp(path_.data()) != nullptr);
  }
  ~FuzzDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzDirectory(const FuzzDirectory&) = delete;
  FuzzDirectory& operator=(const FuzzDirectory&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tests/support/test_data.h"

namespace vkb {

// An empty directory of its own for a test, removed with everything in it by the destructor.
class TempDirectory {
 public:
  TempDirectory() : path_(::testing::TempDir() + "vkb_test_XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) {
      throw std::filesystem::filesystem_error("no temporary directory", path_,
                                              std::error_code(errno, std::generic_category()));
    }
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::string& path() const noexcept { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  // Makes a file; returns its path.
  std::string write(const std::string& name, const std::string& bytes) const {
    write_whole_file(file(name), bytes);
    return file(name);
  }

 private:
  std::string path_;
};

}  // namespace vkb

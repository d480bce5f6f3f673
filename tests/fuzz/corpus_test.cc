// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target over its corpus, and over random changes of it, without libFuzzer: what it
// would take for a crash fails here too.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> corpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(VKB_CORPUS)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> files;
  for (const std::filesystem::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return files;
}

// One to eight changes: bytes flipped, taken out, doubled, or taken from another file.
Bytes changed(Bytes bytes, const Bytes& other, std::mt19937& random) {
  const auto below = [&](std::size_t end) {
    return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
  };
  for (std::size_t n = 1 + below(8); n > 0; --n) {
    if (bytes.empty()) return other;
    const auto at = static_cast<std::ptrdiff_t>(below(bytes.size()));
    const auto size = static_cast<std::ptrdiff_t>(
        std::min<std::size_t>(1 + below(16), bytes.size() - static_cast<std::size_t>(at)));
    switch (below(4)) {
      case 0:
        bytes[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1U << below(8));
        break;
      case 1:
        bytes.erase(bytes.begin() + at, bytes.begin() + at + size);
        break;
      case 2: {
        const Bytes part(bytes.begin() + at, bytes.begin() + at + size);
        bytes.insert(bytes.begin() + at, part.begin(), part.end());
        break;
      }
      default:
        if (!other.empty()) {
          const auto from = static_cast<std::ptrdiff_t>(below(other.size()));
          bytes.insert(bytes.begin() + at, other.begin() + from, other.end());
        }
    }
  }
  return bytes;
}

TEST(Corpus, EveryFile) {
  const std::vector<Bytes> files = corpus();
  ASSERT_FALSE(files.empty());
  for (const Bytes& file : files) LLVMFuzzerTestOneInput(file.data(), file.size());
}

TEST(Corpus, RandomChanges) {
  const std::vector<Bytes> files = corpus();
  std::mt19937 random(1);
  for (int round = 0; round < VKB_ROUNDS; ++round) {
    const Bytes bytes =
        changed(files[random() % files.size()], files[random() % files.size()], random);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
}

}  // namespace

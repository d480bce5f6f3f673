// SPDX-License-Identifier: Apache-2.0
#include "tools/byte_search.h"

#include <gtest/gtest.h>

#include "storage/error.h"
#include "tests/support/test_data.h"

namespace vkb {
namespace {

// Where pieces of `text` are found in `bytes`, which come in parts of `step`.
std::vector<std::uint64_t> places(const std::string& text, const std::string& bytes,
                                  std::size_t step = 1000) {
  ByteSearch search(text);
  std::vector<std::uint64_t> found;
  for (int pass = 0; pass < 2; ++pass) {  // the second one begins anew
    found.clear();
    search.start();
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      search.look_at(std::string_view(bytes).substr(at, step),
                     [&](std::uint64_t offset) { found.push_back(offset); });
    }
  }
  return found;
}

using Offsets = std::vector<std::uint64_t>;

TEST(ByteSearch, FindsShortTextsWhereverTheyAre) {
  for (const std::size_t step : {1, 2, 3, 1000}) {
    EXPECT_EQ(places("ab", "abcabab", step), (Offsets{0, 3, 5}));
    EXPECT_EQ(places("aa", "aaaa", step), (Offsets{0, 1, 2}));
    EXPECT_EQ(places("x", "axbx", step), (Offsets{1, 3}));
    EXPECT_EQ(places("abc", "ab", step), Offsets{});
    EXPECT_EQ(places("abc", "", step), Offsets{});
    EXPECT_EQ(places(std::string("\0\0", 2), std::string("\0a\0\0", 4), step), (Offsets{2}));
  }
  EXPECT_THROW(ByteSearch(""), Error);
}

TEST(ByteSearch, FindsWhatAPlainSearchFinds) {
  TestRandom random(3);
  std::string bytes;  // of few letters, so that much is alike
  for (int i = 0; i < 20'000; ++i) bytes += static_cast<char>('a' + random.below(3));
  for (std::size_t size = 1; size <= ByteSearch::kPieceBytes; ++size) {
    const std::string text = bytes.substr(random.below(bytes.size() - size), size);
    Offsets expected;
    for (auto at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1)) {
      expected.push_back(at);
    }
    EXPECT_EQ(places(text, bytes, 1 + random.below(5000)), expected) << size;
  }
}

TEST(ByteSearch, FindsPartsOfLongTexts) {
  TestRandom random(4);
  const auto noise = [&](std::size_t size) {
    std::string bytes;
    while (bytes.size() < size) bytes += static_cast<char>(random.below(256));
    return bytes;
  };
  const std::string text = noise(1000);
  EXPECT_EQ(places(text, noise(50'000)), Offsets{});
  EXPECT_EQ(places(text, noise(50) + text).size(), 16u);
  // Any part of twice the size of a piece, and the end.
  for (std::size_t first = 0; first + 128 <= text.size(); ++first) {
    const std::string part = noise(100) + text.substr(first, 128) + noise(100);
    ASSERT_GE(places(text, part).size(), 1u) << first;
  }
  EXPECT_EQ(places(text, noise(10) + text.substr(text.size() - 64)), (Offsets{10}));
  EXPECT_EQ(places(text, text.substr(1, 126)), Offsets{});
}

}  // namespace
}  // namespace vkb

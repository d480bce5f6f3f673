// SPDX-License-Identifier: Apache-2.0
#include "storage/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace vkb {
namespace {

// Decodes by the definition: read the length from the lead byte, collect the bits, then judge the
// code point.
bool is_utf8_by_decoding(std::string_view text) {
  while (!text.empty()) {
    const auto lead = static_cast<std::uint8_t>(text[0]);
    const std::size_t size = lead < 0x80             ? 1
                             : (lead & 0xE0) == 0xC0 ? 2
                             : (lead & 0xF0) == 0xE0 ? 3
                             : (lead & 0xF8) == 0xF0 ? 4
                                                     : 0;
    if (size == 0 || text.size() < size) return false;
    std::uint32_t point = size == 1 ? lead : lead & (0x7Fu >> size);
    for (std::size_t i = 1; i < size; ++i) {
      const auto next = static_cast<std::uint8_t>(text[i]);
      if ((next & 0xC0) != 0x80) return false;
      point = point << 6 | (next & 0x3Fu);
    }
    constexpr std::uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < kSmallest[size] || point > 0x10FFFF) return false;
    if (point >= 0xD800 && point <= 0xDFFF) return false;
    text.remove_prefix(size);
  }
  return true;
}

TEST(Utf8, AgreesWithDecodingOnEveryTextOfOneOrTwoBytes) {
  EXPECT_TRUE(is_utf8(""));
  for (unsigned a = 0; a < 256; ++a) {
    EXPECT_EQ(is_utf8(std::string(1, static_cast<char>(a))), a < 0x80) << a;
    for (unsigned b = 0; b < 256; ++b) {
      const std::string text = {static_cast<char>(a), static_cast<char>(b)};
      ASSERT_EQ(is_utf8(text), is_utf8_by_decoding(text)) << a << ' ' << b;
    }
  }
}

TEST(Utf8, AgreesWithDecodingAtEveryBoundaryOfThreeAndFourBytes) {
  constexpr std::string_view kBytes =
      "a\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5"
      "\xF8\xFE\xFF";
  for (const char a : kBytes) {
    for (const char b : kBytes) {
      for (const char c : kBytes) {
        const std::string three = {a, b, c};
        ASSERT_EQ(is_utf8(three), is_utf8_by_decoding(three)) << ::testing::PrintToString(three);
        for (const char d : kBytes) {
          const std::string four = {a, b, c, d};
          ASSERT_EQ(is_utf8(four), is_utf8_by_decoding(four)) << ::testing::PrintToString(four);
        }
      }
    }
  }
}

TEST(Utf8, FindsABadByteAnywhereInALongText) {
  const std::string sound = "Grüße, 世界 🎉 \U0010FFFF";
  ASSERT_TRUE(is_utf8(sound));
  EXPECT_TRUE(is_utf8(std::string("a\0b", 3)));
  for (std::size_t i = 0; i <= sound.size(); ++i) {
    std::string broken = sound;
    broken.insert(i, 1, '\xFF');
    EXPECT_FALSE(is_utf8(broken)) << i;
  }
}

TEST(Utf8, EveryCodePointGoesThereAndBack) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code == 0xD800) code = 0xE000;
    const std::string text = to_utf8({&code, 1});
    ASSERT_TRUE(is_utf8(text)) << static_cast<std::uint32_t>(code);
    ASSERT_EQ(code_points(text), std::u32string(1, code));
  }
  EXPECT_EQ(code_points("a\u00FC\U0001F600z"), U"a\u00FC\U0001F600z");
}

TEST(Utf8, BytesThatAreNoCharacterAreReplacedOneByOne) {
  EXPECT_EQ(code_points("\xC3(a"), U"\uFFFD(a");
  EXPECT_EQ(code_points("\xED\xA0\x80"), U"\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(code_points("a\xF0\x9F\x98"), U"a\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(code_points("\x80\xFF"), U"\uFFFD\uFFFD");
  EXPECT_EQ(code_points(""), U"");
}

}  // namespace
}  // namespace vkb

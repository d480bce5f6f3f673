// SPDX-License-Identifier: Apache-2.0
#include "importers/bytes.h"

#include <gtest/gtest.h>

#include "engine/vkb.h"

namespace vkb {
namespace {

std::string all_bytes() {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  return bytes;
}

TEST(BytesTest, FindsWhereUtf8Stops) {
  EXPECT_TRUE(valid_utf8("plain, Größe, 東京, 😀"));
  EXPECT_EQ(first_invalid_utf8("caf\xe9 x"), 3u);
  EXPECT_EQ(first_invalid_utf8("ab\xf0\x9f\x98"), 2u);  // cut off
  EXPECT_FALSE(valid_utf8("\xc0\xaf"));                 // overlong
  EXPECT_FALSE(valid_utf8("\xe0\x80\xaf"));
  EXPECT_FALSE(valid_utf8("\xed\xa0\x80"));      // surrogate
  EXPECT_FALSE(valid_utf8("\xf4\x90\x80\x80"));  // beyond U+10FFFF
}

TEST(BytesTest, Base64GoesThereAndBack) {
  EXPECT_EQ(base64_encode("f"), "Zg==");
  EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");
  const std::string bytes = all_bytes();
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_EQ(base64_decode(base64_encode(bytes.substr(0, length))), bytes.substr(0, length));
  }
  for (const char* broken : {"Zg=", "Z===", "Zg==Zg==", "Z!==", "=g=="}) {
    EXPECT_THROW(base64_decode(broken), Error) << broken;
  }
}

TEST(BytesTest, EscapedBytesAreOneLineOfUtf8AndComeBack) {
  const std::string bytes = all_bytes() + "東京\\x41";
  const std::string text = escape_bytes(bytes);
  EXPECT_TRUE(valid_utf8(text));
  EXPECT_EQ(text.find_first_of(std::string("\n\t\r\0", 4)), std::string::npos);
  EXPECT_EQ(unescape_bytes(text), bytes);
  EXPECT_EQ(escape_bytes("doc:Größe"), "doc:Größe");
  EXPECT_THROW(unescape_bytes("\\q"), Error);
  EXPECT_THROW(unescape_bytes("\\x4"), Error);
}

TEST(BytesTest, PrefixesStandForThemselvesInPatterns) {
  EXPECT_EQ(glob_for_prefix("doc:"), "doc:*");
  EXPECT_EQ(glob_for_prefix("a*b?[c]^-\\"), "a\\*b\\?\\[c\\]\\^\\-\\\\*");
}

TEST(BytesTest, HashesAreReadBackFromTheirDigits) {
  const Hash128 hash = hash_bytes("record");
  EXPECT_EQ(hash.hex().size(), 32u);
  EXPECT_EQ(parse_hash(hash.hex()), hash);
  EXPECT_NE(hash_bytes("recore"), hash);
  EXPECT_FALSE(parse_hash("12"));
  EXPECT_FALSE(parse_hash(std::string(32, 'g')));
}

TEST(BytesTest, CountsReadWell) {
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1234567), "1,234,567");
  EXPECT_EQ(count_of(1, "record"), "1 record");
  EXPECT_EQ(count_of(1000, "record"), "1,000 records");
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "tools/jsonl.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>

#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

std::string error_of(const std::string& line) {
  try {
    parse_record_line(line);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    return error.what();
  }
  ADD_FAILURE() << "no error for: " << line;
  return "";
}

TEST(Jsonl, ReadsAWholeRecord) {
  const Record record = parse_record_line(
      R"({"id":"a","embedding":[1,-2.5,3e-3],"document":"text","uri":"u",)"
      R"("metadata":{"s":"x","i":3,"f":2.0,"b":true,"l":[1,2],"t":["a:","{"],"big":18446744073709551615}})");
  EXPECT_EQ(record.id, "a");
  EXPECT_EQ(record.embedding, (std::vector<float>{1, -2.5f, 3e-3f}));
  EXPECT_EQ(record.document, "text");
  EXPECT_EQ(record.uri, "u");
  const Metadata& metadata = record.metadata.value();
  EXPECT_EQ(metadata.at("s"), Value("x"));
  EXPECT_EQ(metadata.at("i"), Value(std::int64_t{3}));
  EXPECT_EQ(metadata.at("f"), Value(2.0));
  EXPECT_EQ(metadata.at("b"), Value(true));
  EXPECT_EQ(metadata.at("l"), Value(std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(metadata.at("t"), Value(std::vector<std::string>{"a:", "{"}));
  EXPECT_EQ(metadata.at("big"), Value(18446744073709551615.0));
}

TEST(Jsonl, NullAndAbsentAreTheSame) {
  for (const char* line :
       {R"({"id":"a"})",
        R"({"id":"a","embedding":null,"document":null,"metadata":null,"uri":null})"}) {
    const Record record = parse_record_line(line);
    EXPECT_FALSE(record.embedding);
    EXPECT_FALSE(record.document);
    EXPECT_FALSE(record.metadata);
    EXPECT_FALSE(record.uri);
  }
  EXPECT_TRUE(parse_record_line(R"({"id":"a","metadata":{}})").metadata);
}

TEST(Jsonl, MistakesAreNamed) {
  EXPECT_NE(error_of("{").find("not JSON"), std::string::npos);
  EXPECT_NE(error_of("").find("not JSON"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a"} x)").find("not JSON"), std::string::npos);
  for (const char* line : {"3", "\"a\"", "null", "true", "[1]", "2.5"}) {
    EXPECT_NE(error_of(line).find("object"), std::string::npos) << line;
  }
  EXPECT_NE(error_of("{}").find("\"id\""), std::string::npos);
  EXPECT_NE(error_of(R"({"id":""})").find("empty"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":7})").find("text"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":null})").find("null"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","id":"b"})").find("twice"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","vector":[1]})").find("vector"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","embedding":[]})").find("empty"), std::string::npos);
  for (const char* value :
       {"1", "\"x\"", "{}", "true", "[null]", "[\"1\"]", "[[1]]", "[{}]", "[true]"}) {
    EXPECT_NE(error_of(R"({"id":"a","embedding":)" + std::string(value) + "}").find("embedding"),
              std::string::npos)
        << value;
  }
  EXPECT_NE(error_of(R"({"id":"a","embedding":[1,1e39]})").find("number 1"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","embedding":[1e999]})"), "");
  EXPECT_NE(error_of(R"({"id":"a","embedding":[NaN]})"), "");
  EXPECT_NE(error_of(R"({"id":"a","document":[1]})").find("document"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","document":{}})").find("document"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","metadata":[1]})").find("metadata"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","metadata":{"k":{"n":1}}})").find("'k'"), std::string::npos);
  EXPECT_NE(error_of(R"({"id":"a","metadata":{"k":[1,"x"]}})").find("'k'"), std::string::npos);
}

TEST(Jsonl, EveryFloatComesBackBitForBit) {
  std::mt19937 random(7);
  Record record{.id = "a", .embedding = std::vector<float>{}};
  using Limits = std::numeric_limits<float>;
  *record.embedding = {0.0f,
                       -0.0f,
                       Limits::min(),
                       Limits::max(),
                       Limits::lowest(),
                       Limits::denorm_min(),
                       Limits::epsilon(),
                       16777216.0f,
                       0.1f};
  while (record.embedding->size() < 20000) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isfinite(value)) record.embedding->push_back(value);
  }
  const Record back = parse_record_line(format_record_line(record));
  ASSERT_EQ(back.embedding->size(), record.embedding->size());
  for (std::size_t i = 0; i < record.embedding->size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>((*back.embedding)[i]),
              std::bit_cast<std::uint32_t>((*record.embedding)[i]))
        << (*record.embedding)[i];
  }
}

TEST(Jsonl, WritesWhatItReads) {
  const std::string line =
      R"({"id":"a\"b","embedding":[0.5],"document":"line 1\nline 2","metadata":{"f":2.0,"l":[1]},"uri":"u"})";
  EXPECT_EQ(format_record_line(parse_record_line(line)), line);
  EXPECT_EQ(format_record_line({.id = "a"}), R"({"id":"a"})");
}

TEST(LineReader, GivesEachLineWithItsNumber) {
  TempDirectory directory;
  const std::string large(1 << 20, 'x');
  const std::string file = directory.write("lines", "one\r\n\n" + large + "\nlast");
  LineReader reader(file);
  std::string line;
  ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(line, "one");
  ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(line, "");
  ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(line, large);
  ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(line, "last");
  EXPECT_EQ(reader.number(), 4u);
  EXPECT_FALSE(reader.next(line));
  EXPECT_THROW(LineReader(directory.file("none")), Error);
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/test_data.h"

namespace vkb {
namespace {

using Integers = std::vector<std::int64_t>;
using Floats = std::vector<double>;
using Texts = std::vector<std::string>;
using Booleans = std::vector<bool>;

Value parsed(const std::string& json) { return parse_metadata("{\"k\":" + json + "}").at("k"); }

std::string printed(Value value) {
  const std::string text = to_json({{"k", std::move(value)}});
  return text.substr(5, text.size() - 6);  // between {"k": and }
}

TEST(Value, ScalarsKeepTheirTypes) {
  EXPECT_EQ(parsed("2"), Value(std::int64_t{2}));
  EXPECT_EQ(parsed("2.0"), Value(2.0));
  EXPECT_EQ(parsed("-0"), Value(std::int64_t{0}));
  EXPECT_EQ(parsed("1e-07"), Value(1e-07));
  EXPECT_EQ(parsed("1e2"), Value(100.0));
  EXPECT_EQ(parsed("true"), Value(true));
  EXPECT_EQ(parsed("\"2\""), Value(std::string("2")));
  EXPECT_EQ(parsed("null"), Value());
}

TEST(Value, IntegersReachTheLimitsOf64BitsAndBecomeFloatsBeyond) {
  EXPECT_EQ(parsed("9223372036854775807"), Value(std::numeric_limits<std::int64_t>::max()));
  EXPECT_EQ(parsed("-9223372036854775808"), Value(std::numeric_limits<std::int64_t>::min()));
  EXPECT_EQ(parsed("9223372036854775808"), Value(0x1p63));
  EXPECT_EQ(parsed("18446744073709551615"), Value(0x1p64));
  EXPECT_EQ(parsed("18446744073709551616"), Value(0x1p64));
  EXPECT_EQ(parsed("-9223372036854775809"), Value(-0x1p63));
  EXPECT_EQ(parsed("[1, 9223372036854775808]"), Value(Floats{1.0, 0x1p63}));
}

TEST(Value, ArraysHaveOneType) {
  EXPECT_EQ(parsed("[1, -2]"), Value(Integers{1, -2}));
  EXPECT_EQ(parsed("[1, 2.5]"), Value(Floats{1.0, 2.5}));
  EXPECT_EQ(parsed("[1.0]"), Value(Floats{1.0}));
  EXPECT_EQ(parsed("[true, false]"), Value(Booleans{true, false}));
  EXPECT_EQ(parsed("[\"a\", \"\"]"), Value(Texts{"a", ""}));
  for (const char* mixed :
       {"[1, \"x\"]", "[true, 1]", "[null]", "[[1]]", "[[]]", "[{}]", "[\"a\", null]"}) {
    VKB_EXPECT_ERROR(parsed(mixed), ErrorCode::invalid_argument, "metadata key 'k'");
  }
}

TEST(Value, EmptyArraysAreDropped) {
  EXPECT_TRUE(parse_metadata(R"({"a":[]})").empty());
  EXPECT_EQ(parse_metadata(R"({"a":[],"b":null})"), (Metadata{{"b", Value()}}));
  for (const Value& empty : {Value(Integers{}), Value(Floats{}), Value(Texts{}), Value(Booleans{})})
    EXPECT_TRUE(parse_metadata(to_json({{"a", empty}})).empty());
}

TEST(Value, EveryValueComesBackFromItsJson) {
  const Metadata metadata = {
      {"", std::string("empty key")},
      {"bool", true},
      {"bools", Booleans{false, true, false}},
      {"float", 2.0},
      {"floats", Floats{1.0, -0.0, 1e-07, 5e-324, std::numeric_limits<double>::max(), 0.1, 1e22}},
      {"int", std::int64_t{2}},
      {"ints", Integers{std::numeric_limits<std::int64_t>::min(), 0,
                        std::numeric_limits<std::int64_t>::max()}},
      {"null", Value()},
      {"text", std::string("quote \" backslash \\ tab \t NUL \0 end", 34)},
      {"texts", Texts{"", "ä", "世界", "🎉", "\x01"}},
      {"schlüssel 🎉", std::string("ü")}};
  EXPECT_EQ(parse_metadata(to_json(metadata)), metadata);
  EXPECT_EQ(printed(2.0), "2.0");
  EXPECT_EQ(printed(std::int64_t{2}), "2");
  EXPECT_EQ(printed(Booleans{true}), "[true]");
  EXPECT_EQ(to_json({}), "{}");
  EXPECT_EQ(to_json({{"b", true}, {"a", false}}), R"({"a":false,"b":true})");
}

// What to_json() prints is read by a reader of its own: blanks lead to the other one, which must
// say the same.
TEST(Value, BothReadersAgree) {
  for (const char* json : {"0",
                           "-0",
                           "-1",
                           "01",
                           "-",
                           "+1",
                           "1.",
                           ".5",
                           "1.5",
                           "-1.5e3",
                           "1.e5",
                           "1e5",
                           "1E+5",
                           "1e",
                           "1e-400",
                           "1e999",
                           "00",
                           "0.0",
                           "-0.0",
                           "12-3",
                           "9223372036854775807",
                           "9223372036854775808",
                           "-9223372036854775809",
                           "true",
                           "tru",
                           "truee",
                           "null",
                           "nul",
                           R"("")",
                           R"("a\"b")",
                           R"("\\\b\f\n\r\t\/")",
                           R"("\u00e4")",
                           R"("\x")",
                           "\"a\nb\"",
                           R"("open)",
                           R"("\)",
                           "[]",
                           "[1,2]",
                           "[1,2.5]",
                           "[1,]",
                           "[1",
                           R"(["a","b\n"])",
                           "[true]",
                           R"([1,"a"])",
                           "[[1]]",
                           "{}",
                           "[{}]",
                           "",
                           "\"ä\"",
                           "\"\xFF\"",
                           "\"\x7F\""}) {
    const auto outcome = [](const std::string& text) -> std::string {
      try {
        return to_json(parse_metadata(text));
      } catch (const Error& error) {
        return std::string(error.what()).substr(0, 30);
      }
    };
    const std::string value = json;
    EXPECT_EQ(outcome("{\"k\":" + value + "}"), outcome("{ \"k\" : " + value + " }")) << value;
    EXPECT_EQ(outcome("{\"k\":" + value + ",\"l\":1}"), outcome("{ \"k\":" + value + " ,\"l\":1}"))
        << value;
  }
}

TEST(Value, FloatsComeBackBitForBit) {
  TestRandom random(1);
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t bits = random.next();
    double number;
    static_assert(sizeof number == sizeof bits);
    std::memcpy(&number, &bits, sizeof number);
    if (!std::isfinite(number)) continue;
    const Metadata back = parse_metadata(to_json({{"k", number}}));
    const auto* same = std::get_if<double>(&back.at("k"));
    ASSERT_NE(same, nullptr) << number;
    ASSERT_EQ(std::memcmp(same, &number, sizeof number), 0) << number;
  }
  const Metadata zero = parse_metadata(to_json({{"k", -0.0}}));
  EXPECT_TRUE(std::signbit(std::get<double>(zero.at("k"))));
}

TEST(Value, EscapedTextIsRead) {
  EXPECT_EQ(parsed(R"("\u00fc\ud83c\udf89\u0000")"), Value(std::string("ü🎉\0", 7)));
  VKB_EXPECT_ERROR(parsed(R"("\ud83c")"), ErrorCode::invalid_argument, "expected a JSON object");
}

TEST(Value, NanAndInfinityAreRefused) {
  for (const double number : {std::nan(""), std::numeric_limits<double>::infinity(), -HUGE_VAL}) {
    VKB_EXPECT_ERROR(to_json({{"k", number}}), ErrorCode::invalid_argument,
                     "metadata key 'k': expected a finite number");
    VKB_EXPECT_ERROR(to_json({{"k", Floats{1.0, number}}}), ErrorCode::invalid_argument, "finite");
  }
  for (const char* text : {"NaN", "Infinity", "-Infinity", "1e999", "[1e999]"})
    VKB_EXPECT_ERROR(parsed(text), ErrorCode::invalid_argument, "metadata");
}

TEST(Value, TextThatIsNotUtf8IsRefused) {
  const std::string bad = "a\xFF";
  VKB_EXPECT_ERROR(to_json({{"k", bad}}), ErrorCode::invalid_argument, "not valid UTF-8");
  VKB_EXPECT_ERROR(to_json({{bad, true}}), ErrorCode::invalid_argument, "not valid UTF-8");
  VKB_EXPECT_ERROR(to_json({{"k", Texts{"a", bad}}}), ErrorCode::invalid_argument, "UTF-8");
  VKB_EXPECT_ERROR(parsed("\"\xFF\""), ErrorCode::invalid_argument, "metadata");
  VKB_EXPECT_ERROR(parsed("\"\xED\xA0\x80\""), ErrorCode::invalid_argument, "metadata");
}

TEST(Value, OnlyOneFlatObjectIsMetadata) {
  for (const char* text : {"", " ", "[]", "1", "null", "\"a\"", "{", "{}x", "{\"a\":1,}", "{a:1}",
                           "{'a':1}", "{\"a\":1}{\"b\":2}", "{\"a\":01}"})
    VKB_EXPECT_ERROR(parse_metadata(text), ErrorCode::invalid_argument, "expected a JSON object");
  VKB_EXPECT_ERROR(parsed("{}"), ErrorCode::invalid_argument, "found an object");
  VKB_EXPECT_ERROR(parsed("{\"b\":1}"), ErrorCode::invalid_argument, "found an object");
  EXPECT_TRUE(parse_metadata("  {}\n").empty());
  EXPECT_EQ(parse_metadata(R"({"a":1,"a":2})"), (Metadata{{"a", std::int64_t{2}}}));
}

TEST(Value, DeepNestingIsRefusedWithoutRecursion) {
  constexpr std::size_t kDepth = 100'000;
  VKB_EXPECT_ERROR(parsed(std::string(kDepth, '[') + std::string(kDepth, ']')),
                   ErrorCode::invalid_argument, "metadata key 'k'");
  VKB_EXPECT_ERROR(parsed(std::string(kDepth, '[')), ErrorCode::invalid_argument, "JSON object");
  std::string objects;
  for (std::size_t i = 0; i < kDepth; ++i) objects += "{\"a\":";
  VKB_EXPECT_ERROR(parsed(objects + "1" + std::string(kDepth, '}')), ErrorCode::invalid_argument,
                   "found an object");
}

}  // namespace
}  // namespace vkb

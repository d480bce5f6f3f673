// SPDX-License-Identifier: Apache-2.0
#include "storage/filter.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/test_data.h"

namespace vkb {
namespace {

using Op = Filter::Op;
using Values = std::vector<Value>;

// One leaf from `where` text.
void expect_leaf(const std::string& json, Op op, const std::string& key, const Values& operands) {
  const Filter filter = parse_where(json);
  EXPECT_EQ(filter.op, op) << json;
  EXPECT_EQ(filter.key, key) << json;
  EXPECT_EQ(filter.operands, operands) << json;
  EXPECT_TRUE(filter.children.empty()) << json;
}

TEST(ParseWhere, EveryOperator) {
  const Values one = {std::int64_t{1}};
  expect_leaf(R"({"k": 1})", Op::eq, "k", one);
  for (const auto& [name, op] : {std::pair("$eq", Op::eq),
                                 {"$ne", Op::ne},
                                 {"$gt", Op::gt},
                                 {"$gte", Op::gte},
                                 {"$lt", Op::lt},
                                 {"$lte", Op::lte},
                                 {"$contains", Op::contains},
                                 {"$not_contains", Op::not_contains}})
    expect_leaf(std::string(R"({"k":{")") + name + R"(":1}})", op, "k", one);
  expect_leaf(R"({"k":{"$in":[1]}})", Op::in, "k", one);
  expect_leaf(R"({"k":{"$nin":["a","b"]}})", Op::nin, "k", {std::string("a"), std::string("b")});
}

TEST(ParseWhere, OperandsKeepTheirTypes) {
  expect_leaf(R"({"k":1.0})", Op::eq, "k", {1.0});
  expect_leaf(R"({"k":true})", Op::eq, "k", {true});
  expect_leaf(R"({"k":""})", Op::eq, "k", {std::string()});
  expect_leaf(R"({"k":{"$gt":1e-07}})", Op::gt, "k", {1e-07});
  expect_leaf(R"({"k":9223372036854775807})", Op::eq, "k",
              {std::numeric_limits<std::int64_t>::max()});
  expect_leaf(R"({"k":-9223372036854775808})", Op::eq, "k",
              {std::numeric_limits<std::int64_t>::min()});
  expect_leaf(R"({"k":"a\u0000b"})", Op::eq, "k", {std::string("a\0b", 3)});
  expect_leaf(R"({"sch\u00fc 1": "ü"})", Op::eq, "schü 1", {std::string("ü")});
}

TEST(ParseWhere, OtherKeysAreNotSpecial) {
  for (const char* key : {"", "#id", "#document", "#", "k$", "chroma:x", " "}) {
    expect_leaf(std::string(R"({")") + key + R"(":1})", Op::eq, key, {std::int64_t{1}});
    EXPECT_EQ(parse_where(std::string(R"({")") + key + R"(":1})").field, Filter::Field::metadata);
  }
}

TEST(ParseWhere, ChromasKeysOfDocumentAndUriAreComparedAsAWhole) {
  for (const auto& [key, field] : {std::pair("chroma:document", Filter::Field::document),
                                   {"chroma:uri", Filter::Field::uri}}) {
    for (const char* condition : {R"("x")", R"({"$ne":"x"})", R"({"$in":["x","y"]})"}) {
      const std::string json = "{\"" + std::string(key) + "\":" + condition + "}";
      EXPECT_EQ(parse_where(json).field, field) << json;
    }
    const std::string search = "{\"" + std::string(key) + R"(":{"$contains":"x"}})";
    EXPECT_EQ(parse_where(search).field, Filter::Field::metadata);
  }
}

TEST(ParseSearchFilter, TheIdIsAKey) {
  for (const char* condition :
       {R"("a")", R"({"$eq":"a"})", R"({"$ne":"a"})", R"({"$in":["a"]})", R"({"$nin":["a"]})"}) {
    const std::string json = "{\"#id\":" + std::string(condition) + "}";
    const Filter filter = parse_search_filter(R"({"$or":[{"k":1},)" + json + "]}").children.at(1);
    EXPECT_EQ(filter.field, Filter::Field::id) << json;
    EXPECT_EQ(filter.operands, Values{std::string("a")}) << json;
    EXPECT_EQ(parse_where(json).field, Filter::Field::metadata) << json;
  }
  for (const char* condition :
       {"1", R"({"$in":[1]})", R"({"$gt":1})", R"({"$contains":"a"})", R"({"$regex":"a"})"}) {
    VKB_EXPECT_ERROR(parse_search_filter("{\"#id\":" + std::string(condition) + "}"),
                     ErrorCode::invalid_argument, "Invalid where clause: ");
  }
}

TEST(ParseWhere, TheFirstMemberOfInDecidesTheType) {
  expect_leaf(R"({"k":{"$in":[true,false]}})", Op::in, "k", {true, false});
  const Filter mixed = parse_where(R"({"k":{"$in":[0.5, 2]}})");
  ASSERT_EQ(mixed.operands.size(), 2u);
  for (const char* list :
       {"[1, 0.5]", "[1, \"a\"]", "[\"a\", 1]", "[true, 1]", "[1, true]", "[0.5, true]",
        "[0.5, \"a\"]", "[]", "{}", "1", "null", "[null]", "[[1]]", "[{}]",
        "[18446744073709551615]", "[0.5, 18446744073709551615]"}) {
    for (const char* op : {"$in", "$nin"})
      VKB_EXPECT_ERROR(parse_where(std::string(R"({"k":{")") + op + "\":" + list + "}}"),
                       ErrorCode::invalid_argument, "Invalid where clause");
  }
}

TEST(ParseWhere, TreesKeepTheirShape) {
  const Filter tree = parse_where(
      R"({"$and":[{"a":1},{"$or":[{"b":{"$ne":2}},{"$and":[]},{"$or":[]}]},{"#document":{"$contains":"x"}}]})");
  EXPECT_EQ(tree.op, Op::all_of);
  ASSERT_EQ(tree.children.size(), 3u);
  EXPECT_EQ(tree.children[0].key, "a");
  const Filter& any = tree.children[1];
  EXPECT_EQ(any.op, Op::any_of);
  ASSERT_EQ(any.children.size(), 3u);
  EXPECT_EQ(any.children[0].op, Op::ne);
  EXPECT_EQ(any.children[1].op, Op::all_of);
  EXPECT_EQ(any.children[2].op, Op::any_of);
  EXPECT_EQ(tree.children[2].op, Op::document_contains);
  EXPECT_EQ(tree.children[2].operands, Values{std::string("x")});
}

TEST(ParseWhere, EverythingMalformedIsRefused) {
  for (const char* json : {"",
                           " ",
                           "x",
                           "{",
                           "{}",
                           "[]",
                           "1",
                           "null",
                           "true",
                           "\"a\"",
                           R"({"a":1)",
                           R"({"a":1}x)",
                           R"({"a":1,"b":2})",
                           R"({"a":1,"$and":[]})",
                           R"({"a":{}})",
                           R"({"a":null})",
                           R"({"a":[1]})",
                           R"({"a":[]})",
                           R"({"a":{"$gt":1,"$lt":3}})",
                           R"({"a":{"b":1}})",
                           R"({"a":{"$like":"x"}})",
                           R"({"a":{"$eq":null}})",
                           R"({"a":{"$eq":[1]}})",
                           R"({"a":{"$eq":{"$eq":1}}})",
                           R"({"a":{"$gt":"x"}})",
                           R"({"a":{"$gte":true}})",
                           R"({"a":{"$lt":[1]}})",
                           R"({"a":{"$lte":null}})",
                           R"({"a":{"$gt":{}}})",
                           R"({"a":{"$contains":[1]}})",
                           R"({"a":{"$contains":null}})",
                           R"({"a":{"$not_contains":{}}})",
                           R"({"a":{"$and":[]}})",
                           R"({"a":{"$not":{"$eq":1}}})",
                           R"({"$contains":"x"})",
                           R"({"$not_contains":"x"})",
                           R"({"$regex":"x"})",
                           R"({"$not":{"a":1}})",
                           R"({"$eq":1})",
                           R"({"$and":{}})",
                           R"({"$and":1})",
                           R"({"$and":null})",
                           R"({"$or":"a"})",
                           R"({"$and":[1]})",
                           R"({"$and":[{}]})",
                           R"({"$or":[{"a":1},null]})",
                           R"({"$or":[{"a":1,"b":2}]})",
                           R"({"a":9223372036854775808})",
                           R"({"a":{"$gt":18446744073709551615}})",
                           R"({"a":1e999})",
                           R"({"a":NaN})",
                           R"({"a":'x'})",
                           "{\"a\":\"\xFF\"}",
                           "{\"\xFF\":1}",
                           R"({"a":"\ud800"})",
                           R"({"#document":{"$contains":1}})",
                           R"({"#document":{"$contains":null}})",
                           R"({"#document":{"$contains":"x","$regex":"y"}})",
                           R"({"#document":{}})",
                           R"({"#document":{"$and":[]}})"}) {
    VKB_EXPECT_ERROR(parse_where(json), ErrorCode::invalid_argument, "Invalid where clause: ");
  }
  // In Chroma's words.
  for (const char* json :
       {R"({"#document":"x"})", R"({"#document":{"$eq":"x"}})", R"({"#document":{"$in":["x"]}})"}) {
    VKB_EXPECT_ERROR(parse_where(json), ErrorCode::invalid_argument,
                     "metadata key '#document' with type 'Str' because indexing is disabled");
  }
}

TEST(ParseWhere, ARepeatedKeyCountsOnceWithItsLastValue) {
  expect_leaf(R"({"a":1,"a":2})", Op::eq, "a", {std::int64_t{2}});
  expect_leaf(R"({"a":{"$gt":1,"$gt":2}})", Op::gt, "a", {std::int64_t{2}});
}

TEST(ParseWhereDocument, EveryOperatorAndTheirTrees) {
  for (const auto& [name, op] : {std::pair("$contains", Op::document_contains),
                                 {"$not_contains", Op::document_not_contains},
                                 {"$regex", Op::document_regex},
                                 {"$not_regex", Op::document_not_regex}}) {
    const std::string clause = std::string(R"({")") + name + R"(":"a.b"})";
    for (const Filter& filter :
         {parse_where_document(clause), parse_where("{\"#document\":" + clause + "}")}) {
      EXPECT_EQ(filter.op, op);
      EXPECT_EQ(filter.operands, Values{std::string("a.b")});
    }
  }
  const Filter tree = parse_where_document(
      R"({"$or":[{"$contains":""},{"$and":[{"$not_regex":"x"},{"$contains":"y"}]}]})");
  EXPECT_EQ(tree.op, Op::any_of);
  ASSERT_EQ(tree.children.size(), 2u);
  EXPECT_EQ(tree.children[1].op, Op::all_of);
  EXPECT_TRUE(parse_where_document(R"({"$and":[]})").children.empty());
}

TEST(ParseWhereDocument, EverythingMalformedIsRefused) {
  for (const char* json :
       {"", "{}", "[]", "null", "\"x\"", R"({"a":1})", R"({"$contains":1})",
        R"({"$contains":null})", R"({"$contains":["x"]})", R"({"$contains":{"$eq":"x"}})",
        R"({"$contains":"x","$regex":"y"})", R"({"$eq":"x"})", R"({"$in":["x"]})",
        R"({"$not":{"$contains":"x"}})", R"({"$and":{}})", R"({"$and":[{}]})", R"({"$and":["x"]})",
        R"({"$or":[{"a":1}]})", R"({"#document":{"$contains":"x"}})"}) {
    VKB_EXPECT_ERROR(parse_where_document(json), ErrorCode::invalid_argument,
                     "Invalid where document clause: ");
  }
}

TEST(ParseWhereDocument, InvalidPatternsAreRefused) {
  for (const char* pattern : {"(", "[a", "*", "a{2,1}", "(?=a)", "(?!a)", "(a)\\\\1", "(?-u)a",
                              "(?P<n>", "\\\\", "a{100000}"}) {
    const std::string clause = std::string(R"({"$regex":")") + pattern + "\"}";
    VKB_EXPECT_ERROR(parse_where_document(clause), ErrorCode::invalid_argument,
                     "Regex syntax error: ");
    VKB_EXPECT_ERROR(parse_where("{\"#document\":" + clause + "}"), ErrorCode::invalid_argument,
                     "Regex syntax error: ");
  }
  VKB_EXPECT_ERROR(Filter::document(Op::document_not_regex, "("), ErrorCode::invalid_argument,
                   "Regex syntax error: ");
}

// Each has an answer in Rust's regex crate, which Chroma uses, or none there, and another in RE2.
TEST(ParseWhereDocument, PatternsThatMeanSomethingElseInChromaAreRefused) {
  for (const auto& [pattern, named] :
       std::vector<std::pair<std::string, std::string>>{{"[a-c&&b]", "&&"},
                                                        {"[a-z&&[^b]]", "&&"},
                                                        {"[^a&&b]", "&&"},
                                                        {"[a-c--b]", "--"},
                                                        {"[--a]", "--"},
                                                        {"[+--]", "--"},
                                                        {"[a~~b]", "~~"},
                                                        {"[a[b]]", "["},
                                                        {"[[a]b]", "["},
                                                        {"[^a[b]]", "["},
                                                        {"[[:alpha]]", "["},
                                                        {"[[:]", "["},
                                                        {"[[.a.]]", "["},
                                                        {"[]a[b]]", "["},
                                                        {"[^]a[b]]", "["},
                                                        {"[[:alpha:][b]]", "["},
                                                        {"\\<word\\>", "\\<"},
                                                        {"word\\>", "\\>"},
                                                        {"[\\<]", "\\<"},
                                                        {"a\\C", "\\C"},
                                                        {"\\Qa.c\\E", "\\Q"},
                                                        {"\\b{start}x", "{"},
                                                        {"\\b{end-half}", "{"},
                                                        {"\\0", "\\0"},
                                                        {"\\012", "\\0"},
                                                        {"[\\01]", "\\0"},
                                                        {"\\60", "\\6"},
                                                        {"a{ 2 }", "{"},
                                                        {"a{,2}", "{"},
                                                        {"a{", "{"},
                                                        {"{", "{"},
                                                        {"\\p{L}{", "{"}}) {
    VKB_EXPECT_ERROR(Filter::document(Op::document_regex, pattern), ErrorCode::invalid_argument,
                     "Regex syntax error: '" + named + "' is not supported");
  }
}

TEST(ParseWhereDocument, PatternsThatMeanTheSameInChromaAreTaken) {
  for (const char* pattern : {"a&&b--c~~d",
                              "[[:alpha:]]",
                              "[[:^alpha:]&]",
                              "[a[:digit:]z]",
                              "[]a]",
                              "[^]a]",
                              "[a&b~c-]",
                              "\\[a&&\\]",
                              "[\\[a\\]]",
                              "[a\\&\\&b]",
                              "\\p{Greek}",
                              "\\x{41}",
                              "[\\p{Lu}\\x{41}]",
                              "a{2}",
                              "a{2,}b{2,5}",
                              "\\b{2}",
                              "\\{",
                              "}",
                              "[{]",
                              "\\\\<",
                              "(?P<n>[a-c])\\b",
                              "\\x00"}) {
    EXPECT_NO_THROW(Filter::document(Op::document_regex, pattern)) << pattern;
  }
}

std::string repeated(const std::string& text, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

TEST(ParseWhere, DeepNestingIsRefusedBeforeItBecomesATree) {
  constexpr std::size_t kDepth = 100'000;
  const std::string clauses = repeated("{\"$and\":[", kDepth);
  const std::string ends = repeated("]}", kDepth);
  for (const std::string& json :
       {std::string(kDepth, '['), std::string(kDepth, '[') + std::string(kDepth, ']'),
        std::string(kDepth, '{'), repeated("{\"a\":", kDepth),
        repeated("{\"a\":", kDepth) + "1" + std::string(kDepth, '}'), clauses, clauses + ends,
        "{\"k\":" + std::string(kDepth, '[') + std::string(kDepth, ']') + "}",
        "{\"k\":{\"$in\":" + std::string(kDepth, '[') + std::string(kDepth, ']') + "}}"}) {
    VKB_EXPECT_ERROR(parse_where(json), ErrorCode::invalid_argument, "Invalid where clause");
    VKB_EXPECT_ERROR(parse_where_document(json), ErrorCode::invalid_argument,
                     "Invalid where document clause");
  }
  EXPECT_NO_THROW(parse_where(repeated("{\"$and\":[", 40) + R"({"a":1})" + repeated("]}", 40)));
}

TEST(ParseWhere, HugeTextsAreTakenAndTheirErrorsAreShort) {
  std::string members = "0";
  for (int i = 1; i < 200'000; ++i) members += "," + std::to_string(i);
  EXPECT_EQ(parse_where("{\"k\":{\"$in\":[" + members + "]}}").operands.size(), 200'000u);
  std::string clauses = R"({"a":1})";
  clauses += repeated(R"(,{"a":1})", 50'000);
  EXPECT_EQ(parse_where("{\"$or\":[" + clauses + "]}").children.size(), 50'001u);
  const std::string megabyte(1 << 20, 'x');
  EXPECT_EQ(parse_where("{\"k\":\"" + megabyte + "\"}").operands, Values{megabyte});
  const std::string list = "[\"" + megabyte + "\"]";
  for (const std::string& json :
       {"{\"k\":{\"$gt\":" + list + "}}", "{\"k\":{\"$gt\":\"" + megabyte + "\"}}",
        "{\"k\":" + list + "}", "{\"k\":{\"" + megabyte + "\":1}}", "{\"$" + megabyte + "\":1}",
        "{\"#document\":{\"" + megabyte + "\":1}}", "{\"#document\":{\"$contains\":" + list + "}}",
        megabyte}) {
    const std::optional<Error> error = error_of([&] { parse_where(json); });
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->code(), ErrorCode::invalid_argument);
    EXPECT_LT(std::string(error->what()).size(), 300u);
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/filter_eval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/records.h"
#include "tests/support/filter_oracle.h"
#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

using Op = Filter::Op;
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t k2To53 = std::int64_t{1} << 53;

class FilterEvalTest : public ::testing::Test {
 protected:
  FilterEvalTest() { file_.db().execute("PRAGMA synchronous=OFF"); }
  std::int64_t add(std::optional<Metadata> metadata, std::optional<std::string> document = {}) {
    RecordRow row;
    row.id = std::to_string(++added_);
    row.metadata = std::move(metadata);
    row.document = std::move(document);
    return Records(file_.db(), collection_).insert(row);
  }
  RowSet where(const std::string& json) {
    return evaluate(file_.db(), collection_, parse_where(json));
  }
  RowSet where_document(const std::string& json) {
    return evaluate(file_.db(), collection_, parse_where_document(json));
  }
  RowSet run(const Filter& filter) { return evaluate(file_.db(), collection_, filter); }

  TestDatabase file_;
  std::int64_t collection_ = make_collection(file_.db(), "one");
  int added_ = 0;
};

TEST_F(FilterEvalTest, NumbersCompareExactlyAcrossIntegersAndFloats) {
  std::vector<Value> numbers;
  for (const std::int64_t i :
       {kMin, kMin + 1, -k2To53 - 1, -k2To53, std::int64_t{-1}, std::int64_t{0}, std::int64_t{1},
        k2To53 - 1, k2To53, k2To53 + 1, k2To53 + 2, kMax - 1, kMax})
    numbers.emplace_back(i);
  for (const double d :
       {-0x1p64, -0x1p63, -0x1p53 - 2, -0x1p53, -1.5, -1.0, -0.0, 0.5, 1.0, 1.5, 0x1p53 - 1, 0x1p53,
        0x1p53 + 2, std::nextafter(0x1p63, 0.0), 0x1p63, 0x1p64, 1e300})
    numbers.emplace_back(d);
  std::map<std::int64_t, RecordRow> rows;
  for (const Value& number : numbers) {
    RecordRow row;
    row.metadata = Metadata{{"n", number}};
    rows[add(row.metadata)] = row;
  }
  for (const Value& number : numbers) {
    for (const Op op : {Op::eq, Op::ne, Op::gt, Op::gte, Op::lt, Op::lte}) {
      const Filter filter = Filter::compare(op, "n", number);
      EXPECT_EQ(run(filter), oracle_rows(rows, filter)) << description(filter);
    }
  }
}

TEST_F(FilterEvalTest, AnIntegerAmongFloatsOfInStaysExact) {
  const std::int64_t even = add(Metadata{{"n", k2To53}});
  const std::int64_t odd = add(Metadata{{"n", k2To53 + 1}});
  EXPECT_EQ(where(R"({"n":{"$in":[0.5, 9007199254740993]}})"), RowSet{odd});
  EXPECT_EQ(where(R"({"n":{"$nin":[0.5, 9007199254740993]}})"), RowSet{even});
}

TEST_F(FilterEvalTest, TypesAreApart) {
  const std::int64_t flag = add(Metadata{{"k", true}});
  const std::int64_t one = add(Metadata{{"k", std::int64_t{1}}});
  const std::int64_t real = add(Metadata{{"k", 1.0}});
  const std::int64_t text = add(Metadata{{"k", std::string("1")}});
  const std::int64_t ints = add(Metadata{{"k", std::vector<std::int64_t>{1}}});
  const std::int64_t reals = add(Metadata{{"k", std::vector<double>{1.0}}});
  const std::int64_t flags = add(Metadata{{"k", std::vector<bool>{true}}});
  const std::int64_t texts = add(Metadata{{"k", std::vector<std::string>{"1"}}});
  const std::int64_t none = add(std::nullopt);
  const std::int64_t other = add(Metadata{{"x", std::int64_t{1}}});
  EXPECT_EQ(where(R"({"k":true})"), RowSet{flag});
  EXPECT_EQ(where(R"({"k":1})"), (RowSet{one, real}));
  EXPECT_EQ(where(R"({"k":1.0})"), (RowSet{one, real}));
  EXPECT_EQ(where(R"({"k":"1"})"), RowSet{text});
  EXPECT_EQ(where(R"({"k":{"$gte":0}})"), (RowSet{one, real}));
  EXPECT_EQ(where(R"({"k":{"$ne":1}})"),
            (RowSet{flag, text, ints, reals, flags, texts, none, other}));
  EXPECT_EQ(where(R"({"k":{"$contains":1}})"), RowSet{ints});
  EXPECT_EQ(where(R"({"k":{"$contains":1.0}})"), RowSet{reals});
  EXPECT_EQ(where(R"({"k":{"$contains":true}})"), RowSet{flags});
  EXPECT_EQ(where(R"({"k":{"$contains":"1"}})"), RowSet{texts});
  EXPECT_EQ(where(R"({"k":{"$not_contains":"1"}})"),
            (RowSet{flag, one, real, text, ints, reals, flags, none, other}));
  EXPECT_EQ(where(R"({"$and":[]})").size(), 10u);
  EXPECT_TRUE(where(R"({"$or":[]})").empty());
}

TEST_F(FilterEvalTest, InTakesMoreOperandsThanSqliteHasParameters) {
  std::vector<Value> members;
  for (std::int64_t i = 0; i < 40'000; ++i) members.emplace_back(i * 2);
  const std::int64_t low = add(Metadata{{"n", std::int64_t{0}}});
  const std::int64_t odd = add(Metadata{{"n", std::int64_t{79'997}}});
  const std::int64_t high = add(Metadata{{"n", std::int64_t{79'998}}});
  EXPECT_EQ(run(Filter::one_of(Op::in, "n", members)), (RowSet{low, high}));
  EXPECT_EQ(run(Filter::one_of(Op::nin, "n", std::move(members))), RowSet{odd});
}

TEST_F(FilterEvalTest, ContainsIsASubstringOfBytesWithoutWildcards) {
  const std::int64_t none = add(std::nullopt);
  const std::int64_t empty = add(std::nullopt, "");
  const std::int64_t percent = add(std::nullopt, "100%_\\");
  const std::int64_t plain = add(std::nullopt, "100 Grüße");
  const std::int64_t nul = add(std::nullopt, std::string("x\0Grüße", 9));
  EXPECT_EQ(where_document(R"({"$contains":""})"), (RowSet{empty, percent, plain, nul}));
  EXPECT_EQ(where_document(R"({"$not_contains":""})"), RowSet{none});
  EXPECT_EQ(where_document(R"({"$contains":"%"})"), RowSet{percent});
  EXPECT_EQ(where_document(R"({"$contains":"_"})"), RowSet{percent});
  EXPECT_EQ(where_document(R"({"$contains":"\\"})"), RowSet{percent});
  EXPECT_EQ(where_document(R"({"$contains":"\u0000"})"), RowSet{nul});
  EXPECT_EQ(where_document(R"({"$contains":"x\u0000G"})"), RowSet{nul});
  EXPECT_EQ(where_document(R"({"$contains":"Grüße"})"), (RowSet{plain, nul}));
  EXPECT_TRUE(where_document(R"({"$contains":"grüße"})").empty());
  EXPECT_TRUE(where_document(R"({"$contains":"GRÜ"})").empty());
  EXPECT_EQ(where_document(R"({"$not_contains":"0"})"), (RowSet{none, empty, nul}));
}

TEST_F(FilterEvalTest, RegexReadsUnicodeAndIsUnanchored) {
  const std::int64_t none = add(std::nullopt);
  const std::int64_t greek = add(std::nullopt, "ein Ω hier");
  const std::int64_t lines = add(std::nullopt, "a\nb");
  const std::int64_t nul = add(std::nullopt, std::string("p\0q", 3));
  EXPECT_EQ(where_document(R"({"$regex":"\\p{Greek}"})"), RowSet{greek});
  EXPECT_EQ(where_document(R"({"$regex":"(?i)ω"})"), RowSet{greek});
  EXPECT_TRUE(where_document(R"({"$regex":"ω"})").empty());
  EXPECT_EQ(where_document(R"({"$regex":"n . h"})"), RowSet{greek});
  EXPECT_TRUE(where_document(R"({"$regex":"a.b"})").empty());
  EXPECT_EQ(where_document(R"({"$regex":"(?s)a.b"})"), RowSet{lines});
  EXPECT_TRUE(where_document(R"({"$regex":"a$"})").empty());
  EXPECT_EQ(where_document(R"({"$regex":"(?m)a$"})"), RowSet{lines});
  EXPECT_EQ(where_document(R"({"$regex":"p\u0000q"})"), RowSet{nul});
  EXPECT_EQ(where_document(R"({"$regex":"q$"})"), RowSet{nul});
  EXPECT_EQ(where_document(R"({"$not_regex":"a"})"), (RowSet{none, greek, nul}));
  EXPECT_EQ(where_document(R"({"$regex":""})"), (RowSet{greek, lines, nul}));
}

// A connection remembers the pattern it used last.
TEST_F(FilterEvalTest, SeveralPatternsInOneFilter) {
  const std::int64_t ab = add(std::nullopt, "ab");
  const std::int64_t bc = add(std::nullopt, "bc");
  EXPECT_EQ(where_document(R"({"$and":[{"$regex":"b"},{"$regex":"^a"},{"$not_regex":"c"}]})"),
            RowSet{ab});
  EXPECT_EQ(where_document(R"({"$or":[{"$regex":"^a"},{"$regex":"c$"}]})"), (RowSet{ab, bc}));
  EXPECT_EQ(where_document(R"({"$regex":"^a"})"), RowSet{ab});
}

// A filter put together by hand has not been through the parser.
TEST_F(FilterEvalTest, OperandsThatNoRecordCouldMatchAreRefused) {
  add(Metadata{{"k", std::int64_t{1}}}, "text");
  for (const Op op : {Op::gt, Op::gte, Op::lt, Op::lte}) {
    VKB_EXPECT_ERROR(run(Filter::compare(op, "k", std::string("a"))), ErrorCode::invalid_argument,
                     "'k'");
    VKB_EXPECT_ERROR(run(Filter::compare(op, "k", true)), ErrorCode::invalid_argument, "'k'");
  }
  for (const Op op : {Op::eq, Op::ne, Op::in, Op::nin, Op::contains, Op::not_contains}) {
    VKB_EXPECT_ERROR(run(Filter::compare(op, "k", Value())), ErrorCode::invalid_argument, "'k'");
    VKB_EXPECT_ERROR(run(Filter::compare(op, "k", std::vector<std::int64_t>{1})),
                     ErrorCode::invalid_argument, "'k'");
  }
  Filter empty = Filter::one_of(Op::eq, "k", {});
  VKB_EXPECT_ERROR(run(empty), ErrorCode::invalid_argument, "no operand");
  empty.op = Op::document_contains;
  VKB_EXPECT_ERROR(run(empty), ErrorCode::invalid_argument, "operand");
  Filter pattern = Filter::document(Op::document_contains, "(");
  for (const Op op : {Op::document_regex, Op::document_not_regex}) {
    pattern.op = op;
    VKB_EXPECT_ERROR(run(pattern), ErrorCode::invalid_argument, "Regex");
  }
}

// Few candidates are read one by one, many by a scan: both give the same.
TEST_F(FilterEvalTest, DocumentsOfFewCandidates) {
  std::vector<std::int64_t> rows;
  for (int i = 0; i < 200; ++i) {
    rows.push_back(
        add(Metadata{{"n", std::int64_t{i}}},
            i % 2 ? std::optional<std::string>("odd " + std::to_string(i)) : std::nullopt));
  }
  const std::string few = R"({"$and":[{"n":{"$lt":4}},{"#document":)";
  const std::string many = R"({"$and":[{"n":{"$lt":190}},{"#document":)";
  EXPECT_EQ(where(few + R"({"$contains":"odd"}}]})"), (RowSet{rows[1], rows[3]}));
  EXPECT_EQ(where(few + R"({"$not_contains":"odd"}}]})"), (RowSet{rows[0], rows[2]}));
  EXPECT_EQ(where(few + R"({"$regex":"^odd [0-2]$"}}]})"), RowSet{rows[1]});
  EXPECT_EQ(where(few + R"({"$not_regex":"^odd [0-2]$"}}]})"), (RowSet{rows[0], rows[2], rows[3]}));
  EXPECT_EQ(where(many + R"({"$contains":"odd"}}]})").size(), 95u);
  EXPECT_EQ(where(many + R"({"$not_regex":"odd"}}]})").size(), 95u);
}

}  // namespace
}  // namespace vkb

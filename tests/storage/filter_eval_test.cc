// SPDX-License-Identifier: Apache-2.0
#include "storage/filter_eval.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/records.h"
#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

using Op = Filter::Op;
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t k2To53 = std::int64_t{1} << 53;

// ---- What a filter means, said a second time over plain values.

// -1, 0, 1 for a number against a number, without rounding either.
int compare(const Value& a, const Value& b) {
  const auto* x = std::get_if<std::int64_t>(&a);
  const auto* y = std::get_if<std::int64_t>(&b);
  if (x && y) return (*x > *y) - (*x < *y);
  if (y) return -compare(b, a);
  const double real = std::get<double>(b);
  if (!x) return (std::get<double>(a) > real) - (std::get<double>(a) < real);
  if (real >= 0x1p63) return -1;
  if (real < -0x1p63) return 1;
  const auto whole = static_cast<std::int64_t>(real);  // towards zero
  if (*x != whole) return *x < whole ? -1 : 1;
  const double rest = real - std::trunc(real);
  return (rest < 0) - (rest > 0);
}

bool is_number(const Value& value) { return value.index() == 2 || value.index() == 3; }

bool equals(const Value& value, const Value& operand) {
  if (is_number(value) && is_number(operand)) return compare(value, operand) == 0;
  return value == operand;
}

template <typename T>
bool holds(const Value& value, const Value& operand) {
  const auto* array = std::get_if<std::vector<T>>(&value);
  const auto* element = std::get_if<T>(&operand);
  return array && element && std::find(array->begin(), array->end(), *element) != array->end();
}

// Stands for a regular expression: the patterns below, each with its meaning by hand.
const std::map<std::string, bool (*)(const std::string&)>& patterns() {
  static const std::map<std::string, bool (*)(const std::string&)> table = {
      {"", [](const std::string&) { return true; }},
      {"^a", [](const std::string& text) { return text.starts_with("a"); }},
      {"b$", [](const std::string& text) { return text.ends_with("b"); }},
      {"(?i)ü",
       [](const std::string& text) {
         return text.find("ü") != text.npos || text.find("Ü") != text.npos;
       }},
      {"^.$",
       [](const std::string& text) {
         return (text.size() == 1 && text != "\n") || text == "ü" || text == "Ü";
       }},
      {"\\x00", [](const std::string& text) { return text.find('\0') != text.npos; }},
      {"a.*b", [](const std::string& text) {
         const std::size_t a = text.find('a');
         if (a == text.npos) return false;
         // "." does not match a line feed; the texts below have an "a" in one line only.
         const std::string line = text.substr(a, text.find('\n', a) - a);
         return line.find('b') != line.npos;
       }}};
  return table;
}

bool matches(const RecordRow& record, const Filter& filter);

bool matches_key(const Value* value, const Filter& filter) {
  if (!value) return false;
  const auto any = [&](auto predicate) {
    return std::any_of(filter.operands.begin(), filter.operands.end(), predicate);
  };
  const Value& operand = filter.operands.front();
  switch (filter.op) {
    case Op::eq:
    case Op::in:
      return any([&](const Value& member) { return equals(*value, member); });
    case Op::contains:
      return holds<bool>(*value, operand) || holds<std::int64_t>(*value, operand) ||
             holds<double>(*value, operand) || holds<std::string>(*value, operand);
    default:
      break;
  }
  if (!is_number(*value)) return false;
  const int order = compare(*value, operand);
  return filter.op == Op::gt    ? order > 0
         : filter.op == Op::gte ? order >= 0
         : filter.op == Op::lt  ? order < 0
                                : order <= 0;
}

// eq or in on one of the record's own texts.
bool matches_field(const RecordRow& record, const Filter& filter) {
  const std::optional<std::string> text = filter.field == Filter::Field::id ? record.id
                                          : filter.field == Filter::Field::document
                                              ? record.document
                                              : record.uri;
  return text && std::find(filter.operands.begin(), filter.operands.end(), Value(*text)) !=
                     filter.operands.end();
}

bool matches(const RecordRow& record, const Filter& filter) {
  const auto positive = [&](Op op) {
    Filter copy = filter;
    copy.op = op;
    return matches(record, copy);
  };
  const auto child = [&](const Filter& part) { return matches(record, part); };
  switch (filter.op) {
    case Op::all_of:
      return std::all_of(filter.children.begin(), filter.children.end(), child);
    case Op::any_of:
      return std::any_of(filter.children.begin(), filter.children.end(), child);
    case Op::ne:
      return !positive(Op::eq);
    case Op::nin:
      return !positive(Op::in);
    case Op::not_contains:
      return !positive(Op::contains);
    case Op::document_not_contains:
      return !positive(Op::document_contains);
    case Op::document_not_regex:
      return !positive(Op::document_regex);
    case Op::document_contains:
      return record.document &&
             record.document->find(std::get<std::string>(filter.operands[0])) != std::string::npos;
    case Op::document_regex:
      return record.document &&
             patterns().at(std::get<std::string>(filter.operands[0]))(*record.document);
    default:
      break;
  }
  if (filter.field != Filter::Field::metadata) return matches_field(record, filter);
  if (!record.metadata) return false;
  const auto found = record.metadata->find(filter.key);
  return matches_key(found == record.metadata->end() ? nullptr : &found->second, filter);
}

// ---- Random records and filters from small pools, so that they meet.

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : random_(seed) {}

  bool one_in(std::uint64_t n) { return random_.below(n) == 0; }
  std::uint64_t below(std::uint64_t n) { return random_.below(n); }
  template <typename T>
  const T& of(const std::vector<T>& pool) {
    return pool[random_.below(pool.size())];
  }

  std::string text() {
    const std::string forty(40, 'x');
    // The last is what the index holds for the text before it: the two must not be taken for each
    // other.
    static const std::vector<std::string> pool = {
        "",
        "a",
        "b",
        "ü",
        std::string("a\0b", 3),
        "1",
        forty,
        forty + "x",
        forty + "y",
        "\x01",
        "\x01"
        "a",
        std::string(5000, 'z'),
        std::get<std::string>(posting_values(Value(forty + "x")).front())};
    return of(pool);
  }
  std::int64_t integer() {
    static const std::vector<std::int64_t> pool = {
        0,          1,           2,    -1,       k2To53 - 1, k2To53,  k2To53 + 1,
        k2To53 + 2, -k2To53 - 1, kMax, kMax - 1, kMin,       kMin + 1};
    return of(pool);
  }
  double real() {
    static const std::vector<double> pool = {0.0,
                                             -0.0,
                                             1.0,
                                             1.5,
                                             2.0,
                                             -1.0,
                                             -0.5,
                                             0x1p53,
                                             0x1p53 + 2,
                                             -0x1p53,
                                             0x1p63,
                                             -0x1p63,
                                             std::nextafter(0x1p63, 0.0),
                                             std::nextafter(-0x1p63, -1e300),
                                             1e300,
                                             -1e300,
                                             1e-07,
                                             0.1,
                                             5e-324};
    return of(pool);
  }
  Value scalar() {
    switch (below(4)) {
      case 0:
        return below(2) == 0;
      case 1:
        return integer();
      case 2:
        return real();
      default:
        return text();
    }
  }
  Value value() {
    const std::uint64_t size = below(4);
    switch (below(8)) {
      case 0: {
        std::vector<bool> array;
        for (std::uint64_t i = 0; i < size; ++i) array.push_back(below(2) == 0);
        return array;
      }
      case 1: {
        std::vector<std::int64_t> array;
        for (std::uint64_t i = 0; i < size; ++i) array.push_back(integer());
        return array;
      }
      case 2: {
        std::vector<double> array;
        for (std::uint64_t i = 0; i < size; ++i) array.push_back(real());
        return array;
      }
      case 3: {
        std::vector<std::string> array;
        for (std::uint64_t i = 0; i < size; ++i) array.push_back(text());
        return array;
      }
      default:
        return scalar();
    }
  }
  std::string key() {
    static const std::vector<std::string> pool = {"a", "b", "c", "schlüssel", "#x y"};
    return of(pool);
  }
  std::optional<std::string> document() {
    static const std::vector<std::string> pool = {"",
                                                  "a",
                                                  "ab",
                                                  "xab",
                                                  "a%b",
                                                  "a_b",
                                                  "A\\B",
                                                  "ü",
                                                  "Ü",
                                                  "\n",
                                                  "a\nb",
                                                  "100 %",
                                                  std::string("a\0b", 3),
                                                  std::string("\0", 1)};
    if (one_in(4)) return std::nullopt;
    return of(pool);
  }

  RecordRow record(const std::string& id) {
    RecordRow row;
    row.id = id;
    row.document = document();
    row.uri = document();
    if (one_in(5)) return row;
    row.metadata.emplace();
    for (std::uint64_t i = below(5); i > 0; --i) row.metadata->insert_or_assign(key(), value());
    return row;
  }

  Filter filter(int depth) {
    if (depth > 0 && one_in(2)) {
      std::vector<Filter> children;
      for (std::uint64_t i = below(4); i > 0; --i) children.push_back(filter(depth - 1));
      return Filter::combine(one_in(2) ? Op::all_of : Op::any_of, std::move(children));
    }
    const auto op = static_cast<Op>(2 + below(14));
    const bool compares = op == Op::eq || op == Op::ne || op == Op::in || op == Op::nin;
    if (compares && one_in(2)) return own_text(op);
    switch (op) {
      case Op::gt:
      case Op::gte:
      case Op::lt:
      case Op::lte:
        return Filter::compare(op, key(), one_in(2) ? Value(integer()) : Value(real()));
      case Op::in:
      case Op::nin: {
        std::vector<Value> members;
        for (std::uint64_t i = 1 + below(5); i > 0; --i) members.push_back(scalar());
        return Filter::one_of(op, key(), std::move(members));
      }
      case Op::document_contains:
      case Op::document_not_contains: {
        static const std::vector<std::string> pool = {"",
                                                      "a",
                                                      "%",
                                                      "_",
                                                      "\\",
                                                      "ü",
                                                      "B",
                                                      "a\nb",
                                                      "\n",
                                                      std::string("\0", 1),
                                                      std::string("\0b", 2),
                                                      "nowhere"};
        return Filter::document(op, of(pool));
      }
      case Op::document_regex:
      case Op::document_not_regex: {
        auto pattern = patterns().begin();
        std::advance(pattern, below(patterns().size()));
        return Filter::document(op, pattern->first);
      }
      default:
        return Filter::compare(op, key(), scalar());
    }
  }

  // On the record's id, document or uri.
  Filter own_text(Op op) {
    const bool several = op == Op::in || op == Op::nin;
    std::vector<Value> members;
    for (std::uint64_t i = several ? 1 + below(4) : 1; i > 0; --i) {
      members.push_back(one_in(5)   ? scalar()
                        : one_in(2) ? Value("id" + std::to_string(below(600)))
                                    : Value(document().value_or("nowhere")));
    }
    Filter filter = Filter::one_of(op, key(), std::move(members));
    filter.field = static_cast<Filter::Field>(1 + below(3));
    return filter;
  }

 private:
  TestRandom random_;
};

std::string description(const Filter& filter) {
  std::string out = "op " + std::to_string(static_cast<int>(filter.op)) + " '" + filter.key + "'";
  for (const Value& operand : filter.operands)
    out += " " + (operand.index() ? to_json({{"v", operand}}) : "null");
  for (const Filter& child : filter.children) out += " (" + description(child) + ")";
  return out;
}

// A collection and what it must hold.
struct Model {
  std::int64_t collection;
  std::map<std::int64_t, RecordRow> rows;

  RowSet expected(const Filter& filter) const {
    RowSet out;
    for (const auto& [row_id, row] : rows) {
      if (matches(row, filter)) out.add(row_id);
    }
    return out;
  }
};

void change(Database& db, Model& model, Chance& chance, int step) {
  Records records(db, model.collection);
  const bool bulk = chance.one_in(2);
  const std::uint64_t dice = chance.below(20);
  if (dice < 12 || model.rows.empty()) {
    const RecordRow row = chance.record("id" + std::to_string(step));
    model.rows[records.insert(row, bulk)] = row;
  } else if (dice < 18) {
    auto at = model.rows.begin();
    std::advance(at, chance.below(model.rows.size()));
    if (dice < 16) {
      RecordRow row = chance.record(at->second.id);
      row.row_id = at->first;
      records.replace(row, bulk);
      at->second = row;
    } else {
      records.remove(at->first);
      model.rows.erase(at);
    }
  } else if (dice == 18) {
    merge_postings(db);
  } else {
    rebuild_postings(db, model.collection);
  }
}

TEST(FilterEval, AgreesWithADirectReadingOfRandomFilters) {
  TestDatabase file;
  file.db().execute("PRAGMA synchronous=OFF");
  Model models[] = {{make_collection(file.db(), "one"), {}},
                    {make_collection(file.db(), "two"), {}}};
  Chance chance(2024);
  std::size_t found = 0;
  for (int round = 0; round < 60; ++round) {
    Transaction transaction(file.db(), Transaction::Kind::write);
    for (int step = 0; step < 10; ++step)
      change(file.db(), models[chance.below(2)], chance, round * 10 + step);
    transaction.commit();
    for (int query = 0; query < 60; ++query) {
      const Filter filter = chance.filter(3);
      const Model& model = models[query % 2];
      const RowSet expected = model.expected(filter);
      ASSERT_EQ(evaluate(file.db(), model.collection, filter), expected) << description(filter);
      found += !expected.empty() && expected.size() < model.rows.size();
    }
  }
  EXPECT_GT(found, 1000u);  // the filters were neither all nor nothing
}

// ---- Single rules.

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
  Model model{collection_, {}};
  for (const Value& number : numbers) {
    RecordRow row;
    row.metadata = Metadata{{"n", number}};
    model.rows[add(row.metadata)] = row;
  }
  for (const Value& number : numbers) {
    for (const Op op : {Op::eq, Op::ne, Op::gt, Op::gte, Op::lt, Op::lte}) {
      const Filter filter = Filter::compare(op, "n", number);
      EXPECT_EQ(run(filter), model.expected(filter)) << description(filter);
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

// SPDX-License-Identifier: Apache-2.0
//
// Random filters over random changes: select_rows() against the oracle.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/filter_eval.h"
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

// Random records and filters from small pools, so that they meet.
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
        "\001",
        "\001a",
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
        auto pattern = oracle_patterns().begin();
        std::advance(pattern, below(oracle_patterns().size()));
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

// A collection and what it must hold.
struct Model {
  std::int64_t collection;
  std::map<std::int64_t, RecordRow> rows;
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

TEST(FilterModel, AgreesWithADirectReadingOfRandomFilters) {
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
      const RowSet expected = oracle_rows(model.rows, filter);
      ASSERT_EQ(evaluate(file.db(), model.collection, filter), expected) << description(filter);
      found += !expected.empty() && expected.size() < model.rows.size();
    }
  }
  EXPECT_GT(found, 1000u);  // the filters were neither all nor nothing
}

}  // namespace
}  // namespace vkb

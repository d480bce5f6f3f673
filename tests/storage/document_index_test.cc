// SPDX-License-Identifier: Apache-2.0
#include "storage/document_index.h"

#include <gtest/gtest.h>
#include <re2/re2.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/filter_eval.h"
#include "storage/records.h"
#include "storage/regex_function.h"
#include "storage/utf8.h"
#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

using Rows = std::vector<std::int64_t>;  // as the index gives them

using Op = Filter::Op;
constexpr std::uint64_t kAny = 1'000'000;

class DocumentIndexTest : public ::testing::Test {
 protected:
  DocumentIndexTest() { db().execute("PRAGMA synchronous=OFF"); }
  Database& db() { return file_.db(); }

  std::int64_t add(const std::optional<std::string>& document) {
    RecordRow row;
    row.id = std::to_string(++added_);
    row.document = document;
    const std::int64_t row_id = Records(db(), collection_).insert(row);
    touch_collection(db(), collection_, 1, 0, false);
    documents_[row_id] = document;
    return row_id;
  }
  void replace(std::int64_t row_id, const std::optional<std::string>& document) {
    Records records(db(), collection_);
    RecordRow row = records.read(row_id);
    row.document = document;
    records.replace(row);
    documents_[row_id] = document;
  }
  void remove(std::int64_t row_id) {
    Records(db(), collection_).remove(row_id);
    touch_collection(db(), collection_, -1, 0, false);
    documents_.erase(row_id);
  }
  void index_all() {
    while (index_some_documents(db(), collection_) > 0) {
    }
  }
  std::string finding() {
    return check_document_index(db(), collection_, [] {});
  }

  RowSet run(Op op, const std::string& text) {
    return evaluate(db(), collection_, Filter::document(op, text));
  }
  RowSet expected(const std::string& needle) const {
    RowSet rows;
    // SQLite's instr() goes from character to character: half a one begins nowhere.
    if (!needle.empty() && (needle.front() & 0xC0) == 0x80) return rows;
    for (const auto& [row_id, document] : documents_) {
      if (document && document->find(needle) != std::string::npos) rows.add(row_id);
    }
    return rows;
  }
  RowSet expected_regex(const std::string& pattern) const {
    const RE2 compiled(pattern, RE2::Quiet);
    RowSet rows;
    for (const auto& [row_id, document] : documents_) {
      if (document && RE2::PartialMatch(*document, compiled)) rows.add(row_id);
    }
    return rows;
  }
  RowSet complement(const RowSet& rows) const {
    RowSet out;
    for (const auto& [row_id, document] : documents_) {
      if (!rows.contains(row_id)) out.add(row_id);
    }
    return out;
  }
  // Rows that the index names for a text, whether they match or not; nothing when it cannot tell.
  std::optional<Rows> named(const std::string& text, std::uint64_t most = kAny) {
    const auto found = document_candidates(db(), collection_, {.lists = {{text}}}, most);
    if (!found) return std::nullopt;
    return found->rows;
  }

  TestDatabase file_;
  std::int64_t collection_ = make_collection(file_.db(), "one");
  std::map<std::int64_t, std::optional<std::string>> documents_;
  int added_ = 0;
};

// ---- The text that is indexed.

TEST(IndexedText, ReplacesWhatTheTokenizerCannotTake) {
  EXPECT_EQ(indexed_text("aBZ[@`zÄÖü\u017F"), U"aBZ[@`zÄÖü\u017F");
  EXPECT_EQ(indexed_text(std::string("a\0b", 3)), U"a b");
  EXPECT_EQ(indexed_text("\U0001F600\uFFFE\uFFFF"), U"\U0001F600\uFFFD\uFFFD");
  // Broken UTF-8, byte by byte: what is whole around it is seen.
  EXPECT_EQ(indexed_text("\xC3(a"), U"\uFFFD(a");
  EXPECT_EQ(indexed_text("\xE2\x82"
                         "A\x80"
                         "b\xF0"),
            U"\uFFFD\uFFFD"
            U"A\uFFFD"
            U"b\uFFFD");
  EXPECT_EQ(indexed_text(""), U"");
}

// texts_required_by() takes ASCII letters for the same in either case: so must what the index is
// asked for, for every character that RE2 takes for one of them.
TEST(IndexedText, InEitherCaseIsEachCharacterThatRe2TakesForALetter) {
  const RE2 letter("(?i)[a-z]");
  int found = 0;
  for (char32_t code = 1; code < 0x20000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    const std::string text = to_utf8({&code, 1});
    if (!RE2::FullMatch(text, letter)) continue;
    ++found;
    for (char32_t small = 'a'; small <= 'z'; ++small) {
      const bool same = RE2::FullMatch(text, "(?i)" + to_utf8({&small, 1}));
      EXPECT_EQ(in_either_case(small).find(code) != std::u32string::npos, same) << text;
    }
  }
  EXPECT_EQ(found, 54);
  EXPECT_EQ(in_either_case('S'), in_either_case('s'));
  EXPECT_EQ(in_either_case(U'Ä'), U"Ä");
  EXPECT_EQ(in_either_case('['), U"[");
}

// ---- What a pattern needs.

using Lists = std::vector<std::vector<std::string>>;

TEST(TextsRequiredBy, FindsWhatEveryMatchHolds) {
  EXPECT_EQ(texts_required_by("error"), Lists{{"error"}});
  EXPECT_EQ(texts_required_by("^Error: .*$"), Lists{{"error: "}});
  EXPECT_EQ(texts_required_by("(?i)ERR\\.OR"), Lists{{"err.or"}});
  EXPECT_EQ(texts_required_by("\\bvariant \\d+ of"), (Lists{{" of", "variant "}}));
  EXPECT_EQ(texts_required_by("foo|barely"), (Lists{{"foo"}, {"barely"}}));
  EXPECT_EQ(texts_required_by("数据库"), Lists{{"数据库"}});
  EXPECT_EQ(texts_required_by("(?i)straße"), Lists{{"stra"}});
  EXPECT_EQ(texts_required_by("(?:abc){2,}"), Lists{{"abc"}});
}

TEST(TextsRequiredBy, KnowsWhenNothingIsNeeded) {
  for (const char* pattern : {"", "ab", ".*", "a|b", "(error)?", "(error)*", "error|", "[a-z]{9}",
                              "\\p{Greek}", "ÜÖÄ", "error|ÜÖÄ", "(", "^$", "(?i)ñandú|ab"}) {
    EXPECT_EQ(texts_required_by(pattern), Lists{}) << pattern;
  }
}

// ---- Candidates.

TEST_F(DocumentIndexTest, NamesFewRowsForASelectiveText) {
  for (int i = 0; i < 300; ++i) add("document number " + std::to_string(i));
  EXPECT_EQ(named("number 299"), std::nullopt);  // no index yet
  EXPECT_FALSE(has_document_index(db(), collection_));
  index_all();
  EXPECT_TRUE(has_document_index(db(), collection_));
  EXPECT_EQ(named("number 299"), Rows{300});
  EXPECT_EQ(named("NUMBER 299"), Rows{});
  EXPECT_EQ(named("nowhere"), Rows{});
  EXPECT_EQ(named("number")->size(), 300u);
  EXPECT_EQ(named("number", 299), std::nullopt);
  EXPECT_EQ(named("no"), std::nullopt);
  EXPECT_EQ(named("\xC3umber"), std::nullopt);
  EXPECT_EQ(document_candidates(db(), collection_, {}, kAny), std::nullopt);
  EXPECT_EQ(document_candidates(db(), collection_, {{{"number 7"}, {"no"}}}, kAny), std::nullopt);
  const RequiredTexts lists{.lists = {{"number 77"}, {"number", " 299"}, {"zzz"}}};
  const auto either = document_candidates(db(), collection_, lists, kAny);
  ASSERT_TRUE(either);
  EXPECT_EQ(either->rows, (Rows{78, 300}));
  EXPECT_EQ(either->indexed_through, 300);
}

TEST_F(DocumentIndexTest, KeepsCaseAndFindsEitherWhenAsked) {
  const std::vector<std::string> documents = {"a task", "A TASK", "A Ta\u017F\u212A", "tusk"};
  for (const std::string& document : documents) add(document);
  index_all();
  EXPECT_EQ(named("ask"), Rows{1});
  EXPECT_EQ(named("ASK"), Rows{2});
  const RequiredTexts either{.lists = {{"task"}}, .in_any_case = true};
  EXPECT_EQ(document_candidates(db(), collection_, either, kAny)->rows, (Rows{1, 2, 3}));
}

TEST_F(DocumentIndexTest, WritesLeaveTheIndexAloneUntilItCatchesUp) {
  const std::int64_t kept = add("kept as it is");
  const std::int64_t changed = add("before the change");
  const std::int64_t removed = add("gone after a while");
  const std::int64_t silent = add(std::nullopt);
  index_all();
  replace(changed, "first version");
  replace(changed, "second version");
  replace(kept, "kept as it is");
  replace(silent, "speaks now");
  remove(removed);
  const std::int64_t later = add("added later");
  EXPECT_EQ(named("kept as"), (Rows{kept, changed, removed, silent}));
  EXPECT_EQ(count_unindexed(db(), collection_, kAny), 4u);
  EXPECT_EQ(count_unindexed(db(), collection_, 2), 2u);
  EXPECT_EQ(finding(), "");
  EXPECT_EQ(index_some_documents(db(), collection_), 4u);
  EXPECT_EQ(index_some_documents(db(), collection_), 0u);
  EXPECT_EQ(finding(), "");
  EXPECT_EQ(named("version"), Rows{changed});
  EXPECT_EQ(named("first version"), Rows{});
  EXPECT_EQ(named("before"), Rows{});
  EXPECT_EQ(named("gone"), Rows{});
  EXPECT_EQ(named("speaks"), Rows{silent});
  EXPECT_EQ(named("later"), Rows{later});
  EXPECT_EQ(integer_of(db(), "SELECT count(*) FROM document_pending"), 0);
}

TEST_F(DocumentIndexTest, NothingIsNotedForACollectionWithoutIndex) {
  const std::int64_t row = add("before");
  replace(row, "after");
  remove(row);
  EXPECT_EQ(integer_of(db(), "SELECT count(*) FROM document_pending"), 0);
}

TEST_F(DocumentIndexTest, CollectionsHaveIndexesOfTheirOwn) {
  const std::int64_t two = make_collection(db(), "two");
  add("shared words");
  RecordRow row;
  row.id = "other";
  row.document = "shared words";
  Records(db(), two).insert(row);
  index_all();
  EXPECT_EQ(document_candidates(db(), two, {.lists = {{"shared"}}}, kAny), std::nullopt);
  while (index_some_documents(db(), two) > 0) {
  }
  EXPECT_EQ(named("shared"), Rows{1});
  EXPECT_EQ(document_candidates(db(), two, {.lists = {{"shared"}}}, kAny)->rows, Rows{2});
  delete_collection(db(), collection_);
  EXPECT_EQ(integer_of(db(),
                       "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'document\\_tri%'"
                       " ESCAPE '\\' AND type='table'"),
            4);  // the other one's: the FTS5 table and its three parts
  EXPECT_EQ(document_candidates(db(), two, {.lists = {{"shared"}}}, kAny)->rows, Rows{2});
  EXPECT_EQ(check_document_index(db(), two, [] {}), "");
}

TEST_F(DocumentIndexTest, ABatchIsBoundedInRowsAndBytes) {
  for (int i = 0; i < 1300; ++i) add("short");
  EXPECT_EQ(index_some_documents(db(), collection_), 1000u);
  EXPECT_EQ(document_candidates(db(), collection_, {.lists = {{"short"}}}, kAny)->indexed_through,
            1000);
  EXPECT_EQ(index_some_documents(db(), collection_), 300u);
  for (int i = 0; i < 5; ++i) add(std::string(300'000, 'x'));
  EXPECT_EQ(index_some_documents(db(), collection_), 2u);
  for (int i = 1; i <= 1300; ++i) replace(i, "shorter");
  EXPECT_EQ(index_some_documents(db(), collection_), 1000u);
  index_all();
  EXPECT_EQ(finding(), "");
}

TEST_F(DocumentIndexTest, MergesItsPartsWithoutLosingAnything) {
  for (int part = 0; part < 6; ++part) {
    for (int i = 0; i < 50; ++i) add("part " + std::to_string(part) + " row " + std::to_string(i));
    index_all();
  }
  for (int i = 1; i <= 100; ++i) remove(i);
  index_all();
  int merges = 0;
  while (merge_document_index(db(), collection_)) ASSERT_LT(++merges, 100);
  EXPECT_GT(merges, 0);
  EXPECT_EQ(finding(), "");
  EXPECT_EQ(named("part 3 row 7"), Rows{158});
  EXPECT_EQ(named("part 0"), Rows{});
  EXPECT_FALSE(merge_document_index(db(), make_collection(db(), "none")));
}

// R9. As a store that is compacted after each write, for years.
TEST_F(DocumentIndexTest, OutlivesAnyNumberOfMerges) {
  for (int i = 0; i < 300; ++i) add("row " + std::to_string(i));
  int renewals = 0;
  for (int round = 0; round < 2500; ++round) {
    SCOPED_TRACE(round);
    replace(1 + round % 300, "row again " + std::to_string(round));
    renewals += drop_worn_document_index(db(), collection_);
    index_all();
    while (merge_document_index(db(), collection_)) {
    }
  }
  EXPECT_GT(renewals, 1);
  EXPECT_LT(renewals, 20);
  EXPECT_EQ(finding(), "");
  EXPECT_EQ(named("row again 2401"), Rows{2});
}

TEST_F(DocumentIndexTest, ARolledBackBatchLeavesNoTrace) {
  add("first row");
  {
    const Transaction transaction(db(), Transaction::Kind::write);
    index_some_documents(db(), collection_);
  }
  EXPECT_FALSE(has_document_index(db(), collection_));
  index_all();
  add("second row");
  {
    const Transaction transaction(db(), Transaction::Kind::write);
    index_some_documents(db(), collection_);
  }
  EXPECT_EQ(document_candidates(db(), collection_, {.lists = {{"row"}}}, kAny)->rows, Rows{1});
  EXPECT_EQ(run(Op::document_contains, "row"), (RowSet{1, 2}));
  index_all();
  EXPECT_EQ(finding(), "");
}

// Another connection reads the state of its own transaction (R7).
TEST_F(DocumentIndexTest, R7_AReaderKeepsItsState) {
  const std::int64_t row = add("old words");
  index_all();
  Database reader(file_.path(), Database::Mode::reader);
  {
    const Transaction transaction(reader, Transaction::Kind::read);
    const auto ask = [&](const std::string& text) {
      return evaluate(reader, collection_, Filter::document(Op::document_contains, text));
    };
    EXPECT_EQ(ask("old words"), RowSet{row});
    replace(row, "new words");
    EXPECT_EQ(ask("old words"), RowSet{row});
    index_all();
    EXPECT_EQ(ask("old words"), RowSet{row});
    EXPECT_EQ(ask("new words"), RowSet{});
    drop_document_index(db(), collection_);
    EXPECT_EQ(ask("old words"), RowSet{row});
    EXPECT_EQ(check_document_index(reader, collection_, [] {}), "");
  }
  EXPECT_EQ(evaluate(reader, collection_, Filter::document(Op::document_contains, "new words")),
            RowSet{row});
}

// ---- The same answers with and without it.

// Documents and texts from few parts, so that they meet: case pairs, NUL, quotes, what FTS5 has for
// operators, characters of one to four bytes, and those that the tokenizer reads as others.
std::string random_text(TestRandom& random, std::uint64_t parts) {
  static const std::vector<std::string> pool = {
      "a",      "A",       "b",      "B",      "ab",       "AB ",    "straße",    "STRASSE",   "ß",
      "ü",      "Ü",       "ſ",      "K",      "k",        "kelvin", "Σ",         "σ",         "ς",
      "\"",     "'",       "*",      "^",      " AND ",    " OR ",   " NOT ",     "NEAR(a)",   "-",
      ":",      "(",       ")",      "{x}",    "+",        "\\",     "%",         "_",         "\n",
      "数据库", "数",      "데이터", "😀",      "👩\u200D💻", "\uFFFD", "\uFFFE",    "\uFFFF",    "İ",
      "ı",      "e\u0301", "é",      "\u0001", "  ",       "xyz",    "variant 1", "variant 12"};
  std::string text;
  for (std::uint64_t i = 0; i < parts; ++i) {
    const std::uint64_t choice = random.below(pool.size() + 3);
    text += choice < pool.size() ? pool[choice] : std::string(1, '\0');
  }
  return text;
}

// A text that some document is likely to hold: a piece of one, cut at any byte.
std::string random_needle(TestRandom& random,
                          const std::map<std::int64_t, std::optional<std::string>>& documents) {
  if (documents.empty() || random.below(4) == 0) return random_text(random, 1 + random.below(4));
  auto at = documents.begin();
  std::advance(at, random.below(documents.size()));
  const std::string text = at->second.value_or("");
  const std::size_t from = random.below(text.size() + 1);
  return text.substr(from, 1 + random.below(random.below(6) == 0 ? 400 : 15));
}

TEST_F(DocumentIndexTest, AgreesWithADirectReadingInEveryState) {
  TestRandom random(41);
  std::size_t indexed = 0;
  std::size_t hits = 0;
  for (int round = 0; round < 120; ++round) {
    Transaction transaction(db(), Transaction::Kind::write);
    for (std::uint64_t i = 3 + random.below(10); i > 0; --i) {
      const std::uint64_t dice = random.below(10);
      std::optional<std::string> document;
      if (random.below(8) > 0) document = random_text(random, random.below(i == 3 ? 300 : 12));
      auto at = documents_.begin();
      if (!documents_.empty()) std::advance(at, random.below(documents_.size()));
      if (dice < 6 || documents_.empty()) {
        add(document);
      } else if (dice < 9) {
        replace(at->first, document);
      } else {
        remove(at->first);
      }
    }
    const std::uint64_t dice = random.below(12);
    if (dice < 5) index_some_documents(db(), collection_);
    if (dice == 5) merge_document_index(db(), collection_);
    if (dice == 6) drop_document_index(db(), collection_);
    transaction.commit();
    for (int query = 0; query < 40; ++query) {
      const std::string needle = random_needle(random, documents_);
      const RowSet rows = expected(needle);
      ASSERT_EQ(run(Op::document_contains, needle), rows) << "'" << needle << "'";
      ASSERT_EQ(run(Op::document_not_contains, needle), complement(rows)) << "'" << needle << "'";
      indexed += named(needle, documents_.size() / 10).has_value();
      hits += !rows.empty();
    }
    ASSERT_EQ(finding(), "");
  }
  EXPECT_GT(indexed, 500u);  // the index was really asked
  EXPECT_GT(hits, 1000u);
}

std::string random_pattern(TestRandom& random, int depth) {
  static const std::vector<std::string> atoms = {
      "variant", "STRASSE", "straße", "kelvin", "ab",    "xyz",       "数据库", "데이터",  "Σ",
      "\\d",     "[a-c]",   "[^x]",   ".",      "\\w+",  "\\x{212A}", "(?i)ſ",  "\\b",     "^",
      "$",       "\\.",     "\\*",    "[aA]b",  "[sS]",  "\\x00",     "é",      "(?i:AB)", "NEAR",
      "ÜÜÜ",     "[Kk]elv", "\\pL",   "(?s:.)", " AND ", "\"",        "1",      "e",       "\\n"};
  if (depth == 0) return atoms[random.below(atoms.size())];
  switch (random.below(7)) {
    case 0:
      return "(?:" + random_pattern(random, depth - 1) + "|" + random_pattern(random, depth - 1) +
             ")";
    case 1:
      return "(?:" + random_pattern(random, depth - 1) + ")*";
    case 2:
      return "(?:" + random_pattern(random, depth - 1) + ")?";
    case 3:
      return "(?i:" + random_pattern(random, depth - 1) + ")";
    case 4:
      return "(?:" + random_pattern(random, depth - 1) + "){1,2}";
    default:
      return random_pattern(random, depth - 1) + random_pattern(random, depth - 1);
  }
}

TEST_F(DocumentIndexTest, RegularExpressionsLoseNoMatch) {
  TestRandom random(43);
  for (int i = 0; i < 400; ++i) add(random_text(random, 1 + random.below(9)));
  index_all();
  std::size_t indexed = 0;
  std::size_t hits = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string pattern = random_pattern(random, static_cast<int>(1 + random.below(4)));
    if (random.below(6) == 0) pattern = "(?i)" + pattern;
    if (random.below(6) == 0) pattern = RE2::QuoteMeta(random_needle(random, documents_));
    if (!RE2(pattern, RE2::Quiet).ok()) continue;
    const RowSet rows = expected_regex(pattern);
    // Directly: also where so many rows match that the evaluator would scan.
    const auto found = document_candidates(
        db(), collection_, {.lists = texts_required_by(pattern), .in_any_case = true}, kAny);
    if (found) {
      RowSet missing = rows;
      missing -= RowSet(found->rows);
      ASSERT_TRUE(missing.empty()) << pattern;
      ++indexed;
    }
    ASSERT_EQ(run(Op::document_regex, pattern), rows) << pattern;
    ASSERT_EQ(run(Op::document_not_regex, pattern), complement(rows)) << pattern;
    hits += !rows.empty();
  }
  EXPECT_GT(indexed, 400u);
  EXPECT_GT(hits, 500u);
}

// Beside other conditions: few, some and many candidates, of which the index sees a part only.
TEST_F(DocumentIndexTest, AgreesBesideMetadata) {
  for (std::int64_t i = 1; i <= 1500; ++i) {
    RecordRow row;
    row.id = std::to_string(i);
    row.document = "text " + std::to_string(i % 300) + (i % 7 == 0 ? " seventh" : "");
    row.metadata = Metadata{{"n", i}};
    Records(db(), collection_).insert(row);
    if (i == 1000) index_all();
  }
  touch_collection(db(), collection_, 1500, 0, false);
  for (const std::int64_t bound : {0, 20, 140, 160, 1100, 1500}) {
    for (const bool negated : {false, true}) {
      for (const std::string text : {"text 77", "seventh", "text", "x", "zzz"}) {
        const auto holds = [&](std::int64_t i) {
          const std::string document =
              "text " + std::to_string(i % 300) + (i % 7 == 0 ? " seventh" : "");
          return (document.find(text) != std::string::npos) != negated;
        };
        RowSet rows;
        for (std::int64_t i = 1; i <= bound; ++i) {
          if (holds(i)) rows.add(i);
        }
        const Filter filter = Filter::combine(
            Op::all_of,
            {Filter::document(negated ? Op::document_not_contains : Op::document_contains, text),
             Filter::compare(Op::lte, "n", bound)});
        EXPECT_EQ(evaluate(db(), collection_, filter), rows) << text << " " << bound;
        const Filter rest = Filter::combine(
            Op::all_of,
            {Filter::document(Op::document_contains, text), Filter::compare(Op::ne, "n", bound)});
        RowSet others = run(Op::document_contains, text);
        others.remove(bound);
        EXPECT_EQ(evaluate(db(), collection_, rest), others) << text << " " << bound;
      }
    }
  }
}

// ---- Damage.

TEST_F(DocumentIndexTest, R9_DamageIsFoundAndRebuiltFromTheDocuments) {
  for (int i = 0; i < 500; ++i) add("document number " + std::to_string(i));
  const std::string table = "document_trigram_" + std::to_string(collection_);
  const std::vector<std::string> damages = {
      "INSERT INTO " + table + "(rowid, document) VALUES(3, 'surplus')",
      "INSERT INTO " + table + "(" + table + ", rowid, document) VALUES('delete', 3, 'number 2')",
      "DELETE FROM " + table + "_data WHERE id>10",
      "DELETE FROM " + table + "_data WHERE id=10",
      "UPDATE " + table + "_data SET block=zeroblob(length(block)) WHERE id>10",
      "UPDATE " + table + "_data SET block=zeroblob(4) WHERE id=10",
      "UPDATE " + table + "_data SET block=substr(block, 1, length(block)/2) WHERE id>10",
      "DELETE FROM " + table + "_idx",
      "DELETE FROM " + table + "_config",
      "UPDATE " + table + "_config SET v=99",
      "UPDATE document_index SET indexed_through=indexed_through+1",
      "UPDATE document_index SET indexed_through=indexed_through-1",
      "INSERT INTO document_pending(row_id, collection_id) VALUES(1, 1)",
      "INSERT INTO document_pending(row_id, collection_id) VALUES(1000000, 1)"};
  for (const std::string& damage : damages) {
    SCOPED_TRACE(damage);
    drop_document_index(db(), collection_);
    index_all();
    ASSERT_EQ(finding(), "");
    add("one more");  // not in it yet
    db().execute(damage);
    file_.reopen();
    db().execute("PRAGMA synchronous=OFF");
    EXPECT_NE(finding(), "");
    const std::optional<Error> error = error_of([&] { run(Op::document_contains, "number 17"); });
    if (error) {
      EXPECT_NE(std::string(error->what()).find(table), std::string::npos) << error->what();
    }
    drop_document_index(db(), collection_);
    index_all();
    EXPECT_EQ(finding(), "");
    EXPECT_EQ(run(Op::document_contains, "number 17"), expected("number 17"));
  }
}

}  // namespace
}  // namespace vkb

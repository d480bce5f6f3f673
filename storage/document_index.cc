// SPDX-License-Identifier: Apache-2.0
#include "storage/document_index.h"

#include <algorithm>

#include "storage/error.h"
#include "storage/schema.h"
#include "storage/utf8.h"

namespace vkb {
namespace {

constexpr char32_t kNoCharacter = 0xFFFD;
// Of one transaction of index_some_documents(). FTS5 takes in some 8 MB of English text a second.
constexpr std::uint64_t kBatchRows = 1000;
constexpr std::size_t kBatchBytes = std::size_t{1} << 19;
// Each trigram of a query costs a walk along its list of rows, and each candidate that it does not
// rule out some two microseconds; with so many a long text is selective. 60 selective words in
// 545,177 documents, milliseconds a query by trigrams of a word, all or each third: median 3.3 2.9,
// the sixth slowest 10 39.
constexpr std::size_t kMostTerms = 16;
constexpr std::size_t kLeastTerms = 3;
// Pages that one transaction of merge_document_index() writes.
constexpr int kMergePages = 500;
// Of the head of an index, which has two bytes and more for each level of parts. Each merge of all
// of them puts its result on a level of its own, and makes a level or two; those below are empty
// and stay. SQLite 3.40 takes more than 2,000 for damage; later ones stop at 64.
constexpr int kMostHeadBytes = 1000;
// Parts of one level that FTS5 begins to merge into one; at 16 it merges them at one go, however
// long a writer then waits. 150,000 documents of 370 bytes by parts 4 (FTS5's own) 8 16: indexed in
// 5.9 5.4 4.8 s of processor time, and in 8 13 23 parts, each of which a query looks into.
constexpr int kPartsMerged = 8;
constexpr std::uint64_t kTickRows = 1000;

std::string table_name(std::int64_t collection_id) {
  return "document_trigram_" + std::to_string(collection_id);
}
// The trigrams that are in it: for check_document_index().
std::string term_table_name(std::int64_t collection_id) {
  return "document_term_" + std::to_string(collection_id);
}

char32_t indexed(char32_t code) {
  if (code == 0) return ' ';                                      // FTS5's tokenizer stops at NUL
  return code == 0xFFFE || code == 0xFFFF ? kNoCharacter : code;  // as FTS5 reads them
}

// Trigrams of one text that a query asks for, evenly spaced when it has more than `most`.
std::vector<std::u32string> query_terms(std::string_view text, std::size_t most) {
  if (!is_utf8(text)) return {};  // its characters would be other ones in a document
  const std::u32string codes = indexed_text(text);
  if (codes.size() < 3) return {};
  const std::size_t trigrams = codes.size() - 2;
  const std::size_t count = std::min(most, trigrams);
  std::vector<std::u32string> terms;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = i == 0 ? 0 : i * (trigrams - 1) / (count - 1);  // both ends among them
    std::u32string term = codes.substr(at, 3);
    if (std::find(terms.begin(), terms.end(), term) == terms.end()) {
      terms.push_back(std::move(term));
    }
  }
  return terms;
}

// A trigram as FTS5's query language takes it.
std::string quoted(std::string_view term) {
  std::string out = "\"";
  for (const char c : term) {
    out += c;
    if (c == '"') out += c;
  }
  return out + '"';
}

std::string quoted_in_either_case(const std::u32string& term) {
  std::string any;
  for (const char32_t first : in_either_case(term[0])) {
    for (const char32_t second : in_either_case(term[1])) {
      for (const char32_t third : in_either_case(term[2])) {
        if (!any.empty()) any += " OR ";
        any += quoted(to_utf8(std::u32string{first, second, third}));
      }
    }
  }
  return '(' + any + ')';
}

// FTS5's match expression; "" when the index cannot answer.
std::string match_expression(const RequiredTexts& required) {
  std::string expression;
  for (const std::vector<std::string>& texts : required.lists) {
    const std::size_t most = std::max(
        kLeastTerms, kMostTerms / (required.lists.size() * std::max<std::size_t>(texts.size(), 1)));
    std::string all;
    for (const std::string& text : texts) {
      for (const std::u32string& term : query_terms(text, most)) {
        if (!all.empty()) all += " AND ";
        all += required.in_any_case ? quoted_in_either_case(term) : quoted(to_utf8(term));
      }
    }
    if (all.empty()) return "";
    if (!expression.empty()) expression += " OR ";
    expression += '(' + all + ')';
  }
  return expression;
}

// Before schema 3 the index held documents in lower case: migrate() drops it.
std::optional<std::int64_t> watermark(Database& db, std::int64_t collection_id) {
  if (schema_version(db) < 3) return std::nullopt;
  Statement found(db, "SELECT indexed_through FROM document_index WHERE collection_id=?");
  found.bind(collection_id);
  if (!found.step()) return std::nullopt;
  return found.integer(0);
}

std::int64_t make_document_index(Database& db, std::int64_t collection_id) {
  drop_document_index(db, collection_id);
  const std::string table = table_name(collection_id);
  // Without a copy of the documents, positions and sizes: nothing here needs them, and they would
  // take four times the room.
  db.execute("CREATE VIRTUAL TABLE " + table +
             " USING fts5(document, content='', detail=none, columnsize=0,"
             " tokenize='trigram case_sensitive 1');"
             "CREATE VIRTUAL TABLE " +
             term_table_name(collection_id) + " USING fts5vocab(" + table + ", row);" +
             "INSERT INTO " + table + "(" + table + ", rank) VALUES('automerge', " +
             std::to_string(kPartsMerged) + ")");
  Statement(db, "INSERT INTO document_index(collection_id, indexed_through) VALUES(?,0)")
      .bind(collection_id)
      .run();
  return 0;
}

// What goes into the FTS5 table, and out of it.
class IndexWriter {
 public:
  IndexWriter(Database& db, std::int64_t collection_id)
      : insert_(db, "INSERT INTO " + table_name(collection_id) + "(rowid, document) VALUES(?,?)"),
        // The way to delete from a table without contents: with the text that was inserted.
        remove_(db, "INSERT INTO " + table_name(collection_id) + "(" + table_name(collection_id) +
                        ", rowid, document) VALUES('delete',?,?)") {}

  void insert(std::int64_t row_id, std::string_view document) { run(insert_, row_id, document); }
  void remove(std::int64_t row_id, std::string_view document) { run(remove_, row_id, document); }
  // Whether the transaction has become long enough.
  bool is_full() const { return rows_ >= kBatchRows || bytes_ >= kBatchBytes; }
  void count_row() { ++rows_; }
  std::uint64_t rows() const { return rows_; }

 private:
  void run(Statement& statement, std::int64_t row_id, std::string_view document) {
    bytes_ += document.size();
    statement.bind(row_id, to_utf8(indexed_text(document))).run();
  }

  Statement insert_;
  Statement remove_;
  std::uint64_t rows_ = 0;
  std::size_t bytes_ = 0;
};

void index_pending(Database& db, std::int64_t collection_id, IndexWriter& writer) {
  Statement done(db, "DELETE FROM document_pending WHERE row_id=?");
  std::vector<std::int64_t> rows;
  {
    Statement pending(
        db, "SELECT row_id FROM document_pending WHERE collection_id=? ORDER BY row_id LIMIT ?");
    pending.bind(collection_id, kBatchRows);
    while (pending.step()) rows.push_back(pending.integer(0));
  }
  Statement texts(db,
                  "SELECT old.document, new.document FROM document_pending old"
                  " LEFT JOIN record new USING(row_id) WHERE old.row_id=?");
  for (const std::int64_t row_id : rows) {
    if (writer.is_full()) return;
    texts.bind(row_id);
    if (texts.step()) {
      if (!texts.is_null(0)) writer.remove(row_id, texts.text(0));
      if (!texts.is_null(1)) writer.insert(row_id, texts.text(1));
    }
    texts.rewind();
    done.bind(row_id).run();
    writer.count_row();
  }
}

void index_new(Database& db, std::int64_t collection_id, std::int64_t after, IndexWriter& writer) {
  std::int64_t last = after;
  {
    Statement rows(db,
                   "SELECT row_id, document FROM record INDEXED BY record_by_collection"
                   " WHERE collection_id=? AND row_id>? ORDER BY row_id");
    rows.bind(collection_id, after);
    while (!writer.is_full() && rows.step()) {
      last = rows.integer(0);
      if (!rows.is_null(1)) writer.insert(last, rows.text(1));
      writer.count_row();
    }
  }
  if (last == after) return;
  Statement(db, "UPDATE document_index SET indexed_through=? WHERE collection_id=?")
      .bind(last, collection_id)
      .run();
}

// A sum over (row, trigram) that does not depend on their order: equal for equal sets, and for
// different ones by an accident of 1 in 2^64.
class EntrySum {
 public:
  void add(std::int64_t row_id, std::uint64_t trigram) {
    sum_ += mixed(mixed(static_cast<std::uint64_t>(row_id)) ^ trigram);
    ++count_;
  }
  std::uint64_t count() const { return count_; }
  bool operator==(const EntrySum&) const = default;

 private:
  // The end of MurmurHash3: each bit of the result depends on each bit of `x`.
  static std::uint64_t mixed(std::uint64_t x) {
    x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
    x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
    return x ^ (x >> 33);
  }

  std::uint64_t sum_ = 0;
  std::uint64_t count_ = 0;
};

std::uint64_t trigram_at(std::u32string_view codes, std::size_t at) {
  return (std::uint64_t{codes[at]} << 42) | (std::uint64_t{codes[at + 1]} << 21) | codes[at + 2];
}

EntrySum expected_entries(Database& db, std::int64_t collection_id, std::int64_t through,
                          const std::function<void()>& tick) {
  Statement rows(db,
                 "SELECT row_id, document FROM record WHERE collection_id=?1 AND row_id<=?2"
                 " AND row_id NOT IN (SELECT row_id FROM document_pending WHERE collection_id=?1)"
                 " UNION ALL SELECT row_id, document FROM document_pending WHERE collection_id=?1");
  rows.bind(collection_id, through);
  EntrySum sum;
  std::uint64_t visited = 0;
  std::vector<std::uint64_t> trigrams;
  while (rows.step()) {
    if (++visited % kTickRows == 0) tick();
    const std::u32string codes = indexed_text(rows.text(1));
    trigrams.clear();
    for (std::size_t at = 0; at + 3 <= codes.size(); ++at)
      trigrams.push_back(trigram_at(codes, at));
    std::sort(trigrams.begin(), trigrams.end());
    trigrams.erase(std::unique(trigrams.begin(), trigrams.end()), trigrams.end());
    for (const std::uint64_t trigram : trigrams) sum.add(rows.integer(0), trigram);
  }
  return sum;
}

EntrySum actual_entries(Database& db, std::int64_t collection_id,
                        const std::function<void()>& tick) {
  const std::string table = table_name(collection_id);
  Statement terms(db, "SELECT term FROM " + term_table_name(collection_id));
  Statement rows(db, "SELECT rowid FROM " + table + " WHERE " + table + " MATCH ?");
  EntrySum sum;
  while (terms.step()) {
    tick();
    const std::u32string codes = code_points(terms.text(0));
    const std::uint64_t trigram = codes.size() == 3 ? trigram_at(codes, 0) : 0;
    rows.bind(quoted(terms.text(0)));
    while (rows.step()) sum.add(rows.integer(0), trigram);
    rows.rewind();
  }
  return sum;
}

}  // namespace

std::u32string indexed_text(std::string_view text) {
  std::u32string codes = code_points(text);
  std::transform(codes.begin(), codes.end(), codes.begin(), indexed);
  return codes;
}

std::u32string in_either_case(char32_t code) {
  const bool is_upper = code >= 'A' && code <= 'Z';
  const char32_t small = is_upper ? code + ('a' - 'A') : code;
  if (small < 'a' || small > 'z') return {code};
  std::u32string both = {small, small - ('a' - 'A')};
  if (small == 's') both += char32_t{0x17F};   // long s
  if (small == 'k') both += char32_t{0x212A};  // Kelvin sign
  return both;
}

std::optional<DocumentCandidates> document_candidates(Database& db, std::int64_t collection_id,
                                                      const RequiredTexts& required,
                                                      std::uint64_t most) {
  const std::optional<std::int64_t> through = watermark(db, collection_id);
  if (!through) return std::nullopt;
  const std::string expression = match_expression(required);
  if (expression.empty()) return std::nullopt;
  DocumentCandidates found{.rows = {}, .indexed_through = *through};
  const auto take = [&](Statement& rows) {
    while (rows.step()) found.rows.push_back(rows.integer(0));
    return found.rows.size() <= most;
  };
  const std::string table = table_name(collection_id);
  Statement matches(db, "SELECT rowid FROM " + table + " WHERE " + table + " MATCH ? LIMIT ?");
  matches.bind(expression, most + 1);
  if (!take(matches)) return std::nullopt;
  Statement pending(db, "SELECT row_id FROM document_pending WHERE collection_id=? LIMIT ?");
  pending.bind(collection_id, most + 1);
  if (!take(pending)) return std::nullopt;
  std::sort(found.rows.begin(), found.rows.end());
  found.rows.erase(std::unique(found.rows.begin(), found.rows.end()), found.rows.end());
  return found;
}

void before_document_change(Database& db, std::int64_t collection_id, std::int64_t row_id,
                            const std::optional<std::string>& next) {
  // OR IGNORE: the oldest document is the one in the index.
  Statement(db,
            "INSERT OR IGNORE INTO document_pending(row_id, collection_id, document)"
            " SELECT row_id, collection_id, document FROM record"
            " WHERE row_id=?1 AND document IS NOT ?2 AND row_id<="
            "(SELECT indexed_through FROM document_index WHERE collection_id=?3)")
      .bind(row_id, next, collection_id)
      .run();
}

std::uint64_t count_unindexed(Database& db, std::int64_t collection_id, std::uint64_t most) {
  Statement rows(db,
                 "SELECT (SELECT count(*) FROM (SELECT 1 FROM document_pending"
                 " WHERE collection_id=?1 LIMIT ?3)) + (SELECT count(*) FROM (SELECT 1 FROM record"
                 " WHERE collection_id=?1 AND row_id>?2 LIMIT ?3))");
  rows.bind(collection_id, watermark(db, collection_id).value_or(0), most);
  return rows.step() ? std::min(most, static_cast<std::uint64_t>(rows.integer(0))) : 0;
}

bool has_document_index(Database& db, std::int64_t collection_id) {
  return watermark(db, collection_id).has_value();
}

std::uint64_t index_some_documents(Database& db, std::int64_t collection_id) {
  std::optional<std::int64_t> through = watermark(db, collection_id);
  if (!through) through = make_document_index(db, collection_id);
  IndexWriter writer(db, collection_id);
  index_pending(db, collection_id, writer);  // first: FTS5 likes ascending row ids
  index_new(db, collection_id, *through, writer);
  return writer.rows();
}

bool merge_document_index(Database& db, std::int64_t collection_id) {
  if (!watermark(db, collection_id)) return false;
  const std::string table = table_name(collection_id);
  Statement parts(db, "SELECT count(DISTINCT segid) FROM " + table + "_idx");
  if (!parts.step() || parts.integer(0) < 2) return false;
  // A negative number: of all parts, not only where many are of one size.
  Statement(db, "INSERT INTO " + table + "(" + table + ", rank) VALUES('merge',?)")
      .bind(-kMergePages)
      .run();
  return true;
}

bool drop_worn_document_index(Database& db, std::int64_t collection_id) {
  if (!watermark(db, collection_id)) return false;
  {
    Statement head(db, "SELECT length(block) FROM " + table_name(collection_id) + "_data" +
                           " WHERE id=10");  // the structure record, in FTS5's file format
    if (!head.step() || head.integer(0) <= kMostHeadBytes) return false;
  }
  drop_document_index(db, collection_id);
  return true;
}

void drop_document_index(Database& db, std::int64_t collection_id) {
  const std::string table = table_name(collection_id);
  const std::string drop =
      "DROP TABLE IF EXISTS " + term_table_name(collection_id) + "; DROP TABLE IF EXISTS " + table;
  try {
    db.execute(drop);
  } catch (const Error&) {
    // FTS5 wants to read the head of what it drops: a damaged one is replaced by an empty one's.
    db.execute("REPLACE INTO " + table + "_config VALUES('version', 4);" + "REPLACE INTO " + table +
               "_data VALUES(10, x'00000000000000')");
    db.execute(drop);
  }
  Statement(db, "DELETE FROM document_pending WHERE collection_id=?").bind(collection_id).run();
  Statement(db, "DELETE FROM document_index WHERE collection_id=?").bind(collection_id).run();
}

void drop_document_indexes(Database& db) {
  std::vector<std::int64_t> collections;
  {
    Statement indexed(db, "SELECT collection_id FROM document_index");
    while (indexed.step()) collections.push_back(indexed.integer(0));
  }
  for (const std::int64_t collection_id : collections) drop_document_index(db, collection_id);
}

std::string check_document_index(Database& db, std::int64_t collection_id,
                                 const std::function<void()>& tick) {
  const std::optional<std::int64_t> through = watermark(db, collection_id);
  if (!through) return "";
  Statement ahead(db, "SELECT 1 FROM document_pending WHERE collection_id=? AND row_id>?");
  ahead.bind(collection_id, *through);
  if (ahead.step()) return "a row is pending that was never in it";
  const EntrySum expected = expected_entries(db, collection_id, *through, tick);
  try {
    const EntrySum actual = actual_entries(db, collection_id, tick);
    if (actual.count() != expected.count()) {
      return "has " + std::to_string(actual.count()) + " entries, expected " +
             std::to_string(expected.count());
    }
    return actual == expected ? "" : "has other entries than its documents";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The document index: which documents of a collection hold which three characters in a row
// (trigrams). It is a cache of record.document (R9) that only finds candidates: a superset of the
// matches among the rows it knows, to be verified on the documents. It is allowed to lag: rows
// above a watermark are not in it, and rows whose document changed since are listed as pending. So
// writes pay next to nothing, and index_some_documents() catches up behind them.
//
// Free functions over a connection; the caller holds the transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/sqlite.h"

namespace vkb {

// What a document must hold to match: every text of at least one of the lists. No list: unknown.
struct RequiredTexts {
  std::vector<std::vector<std::string>> lists;
  bool in_any_case = false;  // with ASCII letters in either case, texts being in lower case
};

struct DocumentCandidates {
  std::vector<std::int64_t> rows;    // ascending; may hold removed rows
  std::int64_t indexed_through = 0;  // rows with greater ids may match, too
};

// Nothing when the index cannot help: there is none, no list yields a trigram, or more than `most`
// rows are candidates. Texts are compared by bytes. Throws corruption for a damaged index.
std::optional<DocumentCandidates> document_candidates(Database& db, std::int64_t collection_id,
                                                      const RequiredTexts& required,
                                                      std::uint64_t most);

// To be called before a record of the collection gets `next` as its document, or is removed.
void before_document_change(Database& db, std::int64_t collection_id, std::int64_t row_id,
                            const std::optional<std::string>& next);

// Rows that the index has to take in, counted up to `most`.
std::uint64_t count_unindexed(Database& db, std::int64_t collection_id, std::uint64_t most);
// Takes rows in, first those that changed, then new ones in order: so many that a writer waiting
// for this transaction waits some 0.1 s. Makes the index when there is none. Returns how many rows
// it took, 0 when none were left.
std::uint64_t index_some_documents(Database& db, std::int64_t collection_id);
// Merges some of the index's parts into one, which drops what removed documents left behind.
// Returns false when there was nothing to merge.
bool merge_document_index(Database& db, std::int64_t collection_id);
// Merging adds to what the index keeps of its parts, up to what FTS5 can read: drops it before.
// Returns whether it did, and all has to be indexed anew.
bool drop_worn_document_index(Database& db, std::int64_t collection_id);
bool has_document_index(Database& db, std::int64_t collection_id);
void drop_document_index(Database& db, std::int64_t collection_id);
void drop_document_indexes(Database& db);  // of all collections

// Compares every entry of the index with the documents; returns what is wrong, "" when nothing is.
// Calls `tick` now and then.
std::string check_document_index(Database& db, std::int64_t collection_id,
                                 const std::function<void()>& tick);

// Exposed for tests: the code points that the index holds for a text. NUL becomes a space, and what
// is not UTF-8 or not a character U+FFFD.
std::u32string indexed_text(std::string_view text);
// The same: all characters that are `code` in either case, for ASCII letters; else `code` alone.
std::u32string in_either_case(char32_t code);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The metadata index: which rows have which value of a key (docs/adr/0007-posting-blocks.md). A
// cache of record.metadata (R9). An entry is in exactly one place: in a block (and not in
// posting_removed), in posting, or in posting_pending. merge_postings() brings all into blocks.
//
// Free functions over a connection; the caller holds the transaction. A store of schema 1, which
// has no blocks, can be read. Damaged blocks throw corruption.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "storage/posting_value.h"
#include "storage/row_set.h"
#include "storage/sqlite.h"

namespace vkb {

struct PostingEntry {
  std::int64_t key_id;
  PostingValue value;
};

// The entries of a row that has none; none may be given twice. bulk: into posting_pending, which is
// cheaper, when a merge follows.
void insert_postings(Database& db, std::int64_t row_id, std::span<const PostingEntry> entries,
                     bool bulk);
// Replaces the row's entries `before` by `after`.
void change_postings(Database& db, std::int64_t row_id, std::vector<PostingEntry> before,
                     std::vector<PostingEntry> after, bool bulk);

enum class Comparison { equal, less, less_or_equal, greater, greater_or_equal };

// Rows with an entry of the key that compares so with `bound`: integers and floats exactly with
// each other. Others than `equal` are for keys of which a row has one value.
RowSet find_postings(Database& db, std::int64_t key_id, Comparison comparison,
                     const PostingValue& bound);
// Rows with an entry that equals one of `values`, found in one walk over both. More than one value
// is for keys of which a row has one value. NaN equals nothing.
RowSet find_postings(Database& db, std::int64_t key_id, std::vector<PostingValue> values);

// Entries that are in no block, and removals, of all collections; counted up to `most` of each.
// Without those pending.
std::uint64_t count_unmerged_postings(Database& db, std::uint64_t most);
// Brings everything into blocks, rewriting those that change. In a write transaction.
void merge_postings(Database& db);
// The same without those pending, and only until some `most_blocks` are written.
void merge_some_postings(Database& db, std::uint64_t most_blocks);

// Takes all entries of the collection out of the index.
void drop_postings(Database& db, std::int64_t collection_id);

// A set of entries, told from others by a sum over their hashes.
struct PostingDigest {
  std::uint64_t count = 0;
  std::uint64_t sum = 0;

  void add(std::int64_t key_id, const PostingValue& value, std::int64_t row_id);
  void remove(std::int64_t key_id, const PostingValue& value, std::int64_t row_id);
  bool operator==(const PostingDigest&) const = default;
};

// Reads the whole index of the collection. Throws corruption for blocks that cannot be read or do
// not agree with themselves or their neighbours. Calls `tick` now and then.
PostingDigest digest_postings(Database& db, std::int64_t collection_id,
                              const std::function<void()>& tick);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/posting_index.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <tuple>

#include "storage/error.h"
#include "storage/posting_block.h"
#include "storage/schema.h"

namespace vkb {
namespace {

bool has_blocks(Database& db) { return schema_version(db) >= 2; }

bool precedes(const PostingEntry& a, const PostingEntry& b) {
  return std::tie(a.key_id, a.value) < std::tie(b.key_id, b.value);
}

const char* sql_of(Comparison comparison) {
  switch (comparison) {
    case Comparison::less:
      return "<";
    case Comparison::less_or_equal:
      return "<=";
    case Comparison::greater:
      return ">";
    case Comparison::greater_or_equal:
      return ">=";
    case Comparison::equal:
      break;
  }
  return "=";
}

bool holds(Comparison comparison, int order) {
  switch (comparison) {
    case Comparison::less:
      return order < 0;
    case Comparison::less_or_equal:
      return order <= 0;
    case Comparison::greater:
      return order > 0;
    case Comparison::greater_or_equal:
      return order >= 0;
    case Comparison::equal:
      break;
  }
  return order == 0;
}

bool is_less(const PostingValue& a, const PostingValue& b) { return compare(a, b) < 0; }

// Adds the rows of those values that are among `wanted`; both ascend.
void pick(std::span<const std::byte> entries, std::span<const PostingValue> wanted,
          std::vector<std::int64_t>& rows) {
  for (EntryReader reader(entries); !wanted.empty() && reader.next();) {
    while (!wanted.empty() && is_less(wanted.front(), reader.value())) wanted = wanted.subspan(1);
    if (wanted.empty() || is_less(reader.value(), wanted.front())) continue;
    rows.insert(rows.end(), reader.rows().begin(), reader.rows().end());
  }
}

// values: ascending. A block is read once, whatever number of them it may hold.
RowSet find_in_blocks(Database& db, std::int64_t key_id, std::span<const PostingValue> values) {
  Statement blocks(db,
                   "SELECT block_id, last_value, entries,"
                   " CASE WHEN entries IS NULL AND first_value=last_value THEN rows END"
                   " FROM posting_block WHERE key_id=? AND first_value<=?"
                   " ORDER BY first_value DESC LIMIT 1");
  RowSet rows;
  std::vector<std::int64_t> few;
  while (!values.empty()) {
    std::size_t done = 1;
    blocks.bind(key_id, values.front());
    if (blocks.step()) {
      try {
        const PostingValue last = blocks.scalar(1);
        const auto held = values.first(static_cast<std::size_t>(
            std::upper_bound(values.begin(), values.end(), last, is_less) - values.begin()));
        if (!held.empty() && !blocks.is_null(3)) rows |= RowSet::parse(blocks.blob(3));
        if (!held.empty() && !blocks.is_null(2)) pick(blocks.blob(2), held, few);
        done = std::max(done, held.size());
      } catch (const Error& error) {
        block_is_damaged(db, blocks.integer(0), error.what());
      }
    }
    values = values.subspan(done);
    blocks.rewind();
  }
  std::sort(few.begin(), few.end());
  rows.add(few);
  return rows;
}

// The same in a table of single entries.
RowSet find_in(Database& db, const char* table, std::int64_t key_id,
               std::span<const PostingValue> values) {
  Statement found(db, std::string("SELECT row_id, value FROM ") + table +
                          " WHERE key_id=? AND value>=? AND value<=?");
  found.bind(key_id, values.front(), values.back());
  std::vector<std::int64_t> rows;
  while (found.step()) {
    if (std::binary_search(values.begin(), values.end(), found.scalar(1), is_less)) {
      rows.push_back(found.integer(0));
    }
  }
  std::sort(rows.begin(), rows.end());
  return RowSet(rows);
}

// One lookup of a range in the blocks of a key.
class BlockSearch {
 public:
  BlockSearch(Database& db, std::int64_t key_id, Comparison comparison, const PostingValue& bound)
      : db_(db), key_id_(key_id), comparison_(comparison), bound_(bound) {}

  RowSet run() {
    if (comparison_ == Comparison::less || comparison_ == Comparison::less_or_equal) {
      read("first_value<=?2");
    } else {
      read("first_value<=?2 ORDER BY first_value DESC LIMIT 1");
      read("first_value>?2");
    }
    std::sort(few_.begin(), few_.end());
    rows_.add(few_);
    return std::move(rows_);
  }

 private:
  // A block of which everything matches gives its set of rows, the one at the edge is cut.
  void read(const std::string& which) {
    const std::string op = sql_of(comparison_);
    const std::string whole = "(first_value" + op + "?2 AND last_value" + op + "?2)";
    Statement blocks(db_, "SELECT block_id, CASE WHEN " + whole +
                              " THEN rows END, CASE WHEN rows IS NULL OR NOT " + whole +
                              " THEN entries END FROM posting_block WHERE key_id=?1 AND " + which);
    blocks.bind(key_id_, bound_);
    while (blocks.step()) {
      try {
        if (!blocks.is_null(1)) {
          rows_ |= RowSet::parse(blocks.blob(1));
        } else if (!blocks.is_null(2)) {
          cut(blocks.blob(2));
        }
      } catch (const Error& error) {
        block_is_damaged(db_, blocks.integer(0), error.what());
      }
    }
  }

  void cut(std::span<const std::byte> entries) {
    for (EntryReader reader(entries); reader.next();) {
      const int order = compare(reader.value(), bound_);
      if (holds(comparison_, order)) {
        few_.insert(few_.end(), reader.rows().begin(), reader.rows().end());
      }
      if (order >= 0 && !holds(comparison_, 1)) break;
    }
  }

  Database& db_;
  const std::int64_t key_id_;
  const Comparison comparison_;
  const PostingValue& bound_;
  RowSet rows_;
  std::vector<std::int64_t> few_;
};

RowSet find_in(Database& db, const char* table, std::int64_t key_id, Comparison comparison,
               const PostingValue& bound) {
  Statement found(db, std::string("SELECT row_id FROM ") + table + " WHERE key_id=? AND value" +
                          sql_of(comparison) + "?");
  found.bind(key_id, bound);
  std::vector<std::int64_t> rows;
  while (found.step()) rows.push_back(found.integer(0));
  std::sort(rows.begin(), rows.end());
  return RowSet(rows);
}

}  // namespace

void insert_postings(Database& db, std::int64_t row_id, std::span<const PostingEntry> entries,
                     bool bulk) {
  if (entries.empty()) return;
  Statement insert(
      db, bulk ? "INSERT OR IGNORE INTO posting_pending(row_id, key_id, value) VALUES(?,?,?)"
               : "INSERT OR IGNORE INTO posting(row_id, key_id, value) VALUES(?,?,?)");
  for (const PostingEntry& entry : entries) insert.bind(row_id, entry.key_id, entry.value).run();
}

void change_postings(Database& db, std::int64_t row_id, std::vector<PostingEntry> before,
                     std::vector<PostingEntry> after, bool bulk) {
  std::sort(before.begin(), before.end(), precedes);
  std::sort(after.begin(), after.end(), precedes);
  std::vector<PostingEntry> gone;
  std::set_difference(before.begin(), before.end(), after.begin(), after.end(),
                      std::back_inserter(gone), precedes);
  std::vector<PostingEntry> added;
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(added), precedes);
  // Whether the entry was in one of the tables; it is no more.
  const auto taken_from = [&](const char* table, const PostingEntry& entry) {
    Statement(db, std::string("DELETE FROM ") + table + " WHERE row_id=? AND key_id=? AND value=?")
        .bind(row_id, entry.key_id, entry.value)
        .run();
    return db.changes() > 0;
  };
  for (const PostingEntry& entry : gone) {
    if (taken_from("posting", entry) || taken_from("posting_pending", entry)) continue;
    Statement(db, "INSERT OR IGNORE INTO posting_removed(row_id, key_id, value) VALUES(?,?,?)")
        .bind(row_id, entry.key_id, entry.value)
        .run();
  }
  std::erase_if(added, [&](const PostingEntry& entry) {
    return taken_from("posting_removed", entry);  // it is in a block still
  });
  insert_postings(db, row_id, added, bulk);
}

RowSet find_postings(Database& db, std::int64_t key_id, Comparison comparison,
                     const PostingValue& bound) {
  if (comparison == Comparison::equal) return find_postings(db, key_id, {bound});
  RowSet rows;
  if (has_blocks(db)) {
    rows = BlockSearch(db, key_id, comparison, bound).run();
    rows -= find_in(db, "posting_removed", key_id, comparison, bound);
  }
  // Last: a row whose value was replaced by another that matches, too.
  rows |= find_in(db, "posting", key_id, comparison, bound);
  rows |= find_in(db, "posting_pending", key_id, comparison, bound);
  return rows;
}

RowSet find_postings(Database& db, std::int64_t key_id, std::vector<PostingValue> values) {
  std::erase_if(values, [](const PostingValue& value) {
    const auto* real = std::get_if<double>(&value);
    return real && std::isnan(*real);
  });
  std::sort(values.begin(), values.end(), is_less);
  RowSet rows;
  if (values.empty()) return rows;
  if (has_blocks(db)) {
    rows = find_in_blocks(db, key_id, values);
    rows -= find_in(db, "posting_removed", key_id, values);
  }
  rows |= find_in(db, "posting", key_id, values);
  rows |= find_in(db, "posting_pending", key_id, values);
  return rows;
}

std::uint64_t count_unmerged_postings(Database& db, std::uint64_t most) {
  Statement count(
      db, std::string("SELECT (SELECT count(*) FROM (SELECT 1 FROM posting LIMIT ?1))") +
              (has_blocks(db) ? "+(SELECT count(*) FROM (SELECT 1 FROM posting_removed LIMIT ?1))"
                              : ""));
  count.bind(most);
  return count.step() ? static_cast<std::uint64_t>(count.integer(0)) : 0;
}

void drop_postings(Database& db, std::int64_t collection_id) {
  for (const char* table : {"posting_block", "posting", "posting_removed", "posting_pending"}) {
    Statement(db, std::string("DELETE FROM ") + table +
                      " WHERE key_id IN (SELECT key_id FROM metadata_key WHERE collection_id=?)")
        .bind(collection_id)
        .run();
  }
}

namespace {

std::uint64_t hash_of(std::int64_t key_id, const PostingValue& value, std::int64_t row_id) {
  // Equal values have equal bytes: zero has two signs.
  const auto hashed = [](const void* bytes, std::size_t size, std::uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, size, seed);
  };
  const std::int64_t numbers[] = {key_id, row_id, static_cast<std::int64_t>(value.index())};
  const std::uint64_t seed = hashed(numbers, sizeof(numbers), 0);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return hashed(integer, sizeof(*integer), seed);
  }
  if (const auto* real = std::get_if<double>(&value)) {
    const double unsigned_zero = *real == 0 ? 0.0 : *real;
    return hashed(&unsigned_zero, sizeof(unsigned_zero), seed);
  }
  const auto& text = std::get<std::string>(value);
  return hashed(text.data(), text.size(), seed);
}

// Checks one block, which follows `before` in its key, and adds its entries.
void digest_block(Statement& block, std::int64_t key_id, const std::optional<PostingValue>& before,
                  PostingDigest& digest) {
  const PostingValue first = block.scalar(1);
  const PostingValue last = block.scalar(2);
  const auto wrong = [](const char* what) { throw Error(ErrorCode::corruption, what); };
  if (before && compare(*before, first) >= 0) wrong("overlaps the block before it");
  std::optional<std::span<const std::byte>> entries;
  if (!block.is_null(5)) entries = block.blob(5);
  const std::vector<PostingGroup> groups = groups_of(first, block.blob(4), entries);
  if (groups.empty() || compare(groups.front().value, first) != 0 ||
      compare(groups.back().value, last) != 0) {
    wrong("holds other values than it says");
  }
  const std::uint64_t count_before = digest.count;
  std::vector<std::int64_t> all;
  for (const PostingGroup& group : groups) {
    const std::vector<std::int64_t> rows = entries ? group.few : group.many.values();
    for (const std::int64_t row : rows) digest.add(key_id, group.value, row);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  if (digest.count - count_before != static_cast<std::uint64_t>(block.integer(3))) {
    wrong("holds another number of entries than it says");
  }
  std::sort(all.begin(), all.end());
  if (block.is_null(4) ? !std::holds_alternative<std::string>(first)
                       : RowSet::parse(block.blob(4)) != RowSet(all)) {
    wrong("its set of rows is not that of its entries");
  }
}

void digest_key(Database& db, std::int64_t key_id, PostingDigest& digest,
                const std::function<void()>& tick) {
  Statement blocks(db,
                   "SELECT block_id, first_value, last_value, entry_count, rows, entries"
                   " FROM posting_block WHERE key_id=? ORDER BY first_value");
  blocks.bind(key_id);
  std::optional<PostingValue> before;
  while (blocks.step()) {
    try {
      digest_block(blocks, key_id, before, digest);
    } catch (const Error& error) {
      block_is_damaged(db, blocks.integer(0), error.what());
    }
    before = blocks.scalar(2);
    tick();
  }
}

}  // namespace

void PostingDigest::add(std::int64_t key_id, const PostingValue& value, std::int64_t row_id) {
  ++count;
  sum += hash_of(key_id, value, row_id);
}

void PostingDigest::remove(std::int64_t key_id, const PostingValue& value, std::int64_t row_id) {
  --count;
  sum -= hash_of(key_id, value, row_id);
}

PostingDigest digest_postings(Database& db, std::int64_t collection_id,
                              const std::function<void()>& tick) {
  PostingDigest digest;
  if (has_blocks(db)) {
    Statement keys(db, "SELECT key_id FROM metadata_key WHERE collection_id=?");
    keys.bind(collection_id);
    while (keys.step()) digest_key(db, keys.integer(0), digest, tick);
  }
  for (const std::string table : {"posting", "posting_pending", "posting_removed"}) {
    if (table == "posting_removed" && !has_blocks(db)) continue;
    Statement loose(db, "SELECT key_id, value, row_id FROM " + table +
                            " JOIN metadata_key USING(key_id) WHERE collection_id=?");
    loose.bind(collection_id);
    while (loose.step()) {
      if (table == "posting_removed") {
        digest.remove(loose.integer(0), loose.scalar(1), loose.integer(2));
      } else {
        digest.add(loose.integer(0), loose.scalar(1), loose.integer(2));
      }
    }
  }
  return digest;
}

}  // namespace vkb

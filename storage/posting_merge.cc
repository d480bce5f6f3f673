// SPDX-License-Identifier: Apache-2.0
//
// Bringing loose entries and removals into the blocks of the metadata index, in one pass in the
// order of keys and values, with memory for a block or two and the rows of one value.
#include <algorithm>
#include <optional>

#include "storage/error.h"
#include "storage/posting_block.h"
#include "storage/posting_index.h"

namespace vkb {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

// The loose entries and removals, in the order of blocks.
class Changes {
 public:
  Changes(Database& db, bool with_pending)
      : rows_(db, std::string("SELECT key_id, value, row_id, 1 FROM posting UNION ALL") +
                      (with_pending ? " SELECT key_id, value, row_id, 1 FROM posting_pending"
                                      " UNION ALL"
                                    : "") +
                      " SELECT key_id, value, row_id, 0 FROM posting_removed ORDER BY 1, 2, 3") {
    next();
  }

  bool more() const { return more_; }
  std::int64_t key_id() const { return key_id_; }
  const PostingValue& value() const { return value_; }
  void apply_to(PostingGroup& group) const { adds_ ? group.add(row_id_) : group.remove(row_id_); }
  void next() {
    more_ = rows_.step();
    if (!more_) return;
    key_id_ = rows_.integer(0);
    value_ = rows_.scalar(1);
    row_id_ = rows_.integer(2);
    adds_ = rows_.integer(3) != 0;
  }

 private:
  Statement rows_;
  bool more_ = false;
  std::int64_t key_id_ = 0;
  PostingValue value_;
  std::int64_t row_id_ = 0;
  bool adds_ = false;
};

class PostingMerge {
 public:
  PostingMerge(Database& db, bool with_pending, std::uint64_t most_blocks)
      : db_(db), with_pending_(with_pending), left_(most_blocks), changes_(db, with_pending) {}

  void run() {
    while (changes_.more() && (left_ > 0 || changes_.key_id() == unfinished_key_)) merge_range();
  }

  // What run() has merged is in blocks now.
  void forget_merged() {
    if (!changes_.more()) {
      db_.execute("DELETE FROM posting; DELETE FROM posting_removed;");
      if (with_pending_) db_.execute("DELETE FROM posting_pending");
      return;
    }
    for (const std::string table : {"posting", "posting_removed"}) {
      Statement(db_, "DELETE FROM " + table + " WHERE (key_id, value)<(?,?)")
          .bind(changes_.key_id(), changes_.value())
          .run();
    }
  }

 private:
  // The blocks beside a change: the one to put it into, and where the one after that begins.
  struct Place {
    std::vector<PostingGroup> groups;
    std::optional<PostingValue> limit;
  };

  // Merges the next change, and all that belong into the same block.
  void merge_range() {
    const std::int64_t key = changes_.key_id();
    Place place = take_place();
    // A row whose value was replaced has a removal and an addition. One without the other would
    // make ranges wrong (find_postings), so a key with removals is merged to its end.
    const bool divisible = !has_removals(key);
    unfinished_key_ = divisible ? 0 : key;
    BlockWriter blocks(db_, key);
    const auto has_change = [&] {
      return changes_.more() && changes_.key_id() == key &&
             (!place.limit || compare(changes_.value(), *place.limit) < 0) &&
             (!divisible || blocks.written() < left_);
    };
    auto old = place.groups.begin();
    for (bool change = has_change(); change || old != place.groups.end(); change = has_change()) {
      PostingGroup group;
      if (old != place.groups.end() && (!change || compare(old->value, changes_.value()) <= 0)) {
        group = std::move(*old++);
      } else {
        group.value = changes_.value();
      }
      while (change && changes_.more() && changes_.key_id() == key &&
             compare(changes_.value(), group.value) == 0) {
        changes_.apply_to(group);
        changes_.next();
      }
      blocks.add(std::move(group));
    }
    blocks.finish();
    left_ -= std::min(left_, std::max<std::uint64_t>(blocks.written(), 1));
  }

  // Takes the block out of the table: the one whose range the change is in, or which can be
  // extended to it.
  Place take_place() {
    Place place;
    Statement below(db_,
                    "SELECT block_id, last_value>=?2 OR entries IS NOT NULL FROM posting_block"
                    " WHERE key_id=?1 AND first_value<=?2 ORDER BY first_value DESC LIMIT 1");
    below.bind(changes_.key_id(), changes_.value());
    Statement above(db_,
                    "SELECT block_id, entries IS NOT NULL, first_value FROM posting_block"
                    " WHERE key_id=?1 AND first_value>?2 ORDER BY first_value LIMIT 2");
    above.bind(changes_.key_id(), changes_.value());
    const bool has_above = above.step();
    std::optional<std::int64_t> chosen;
    if (below.step() && below.integer(1) != 0) {
      chosen = below.integer(0);
      if (has_above) place.limit = above.scalar(2);
    } else if (has_above && above.integer(1) != 0) {
      chosen = above.integer(0);
      if (above.step()) place.limit = above.scalar(2);
    } else if (has_above) {
      place.limit = above.scalar(2);
    }
    if (chosen) place.groups = take_block(*chosen);
    return place;
  }

  std::vector<PostingGroup> take_block(std::int64_t block_id) {
    std::vector<PostingGroup> groups;
    {
      Statement block(db_, "SELECT first_value, rows, entries FROM posting_block WHERE block_id=?");
      block.bind(block_id).step();
      try {
        std::optional<std::span<const std::byte>> entries;
        if (!block.is_null(2)) entries = block.blob(2);
        groups = groups_of(block.scalar(0), block.blob(1), entries);
      } catch (const Error& error) {
        block_is_damaged(db_, block_id, error.what());
      }
    }
    Statement(db_, "DELETE FROM posting_block WHERE block_id=?").bind(block_id).run();
    return groups;
  }

  bool has_removals(std::int64_t key_id) {
    Statement removals(db_, "SELECT 1 FROM posting_removed WHERE key_id=? LIMIT 1");
    removals.bind(key_id);
    return removals.step();
  }

  Database& db_;
  const bool with_pending_;
  std::uint64_t left_;               // blocks that may still be written
  std::int64_t unfinished_key_ = 0;  // must be merged to its end
  Changes changes_;
};

void merge(Database& db, bool with_pending, std::uint64_t most_blocks) {
  PostingMerge merge(db, with_pending, most_blocks);
  merge.run();
  merge.forget_merged();
}

}  // namespace

void merge_postings(Database& db) { merge(db, true, kNoLimit); }

void merge_some_postings(Database& db, std::uint64_t most_blocks) { merge(db, false, most_blocks); }

}  // namespace vkb

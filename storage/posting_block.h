// SPDX-License-Identifier: Apache-2.0
//
// The blocks of the metadata index: rows of posting_block, each with all entries of a range of
// values of one key. How they are read, cut out of the bytes, and written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "storage/posting_value.h"
#include "storage/row_set.h"
#include "storage/sqlite.h"

namespace vkb {

// A value with so many rows has a block of its own, whose rows are all it says.
inline constexpr std::size_t kOwnBlockRows = 256;
// Other blocks hold several values, up to so many entries. One that grows beyond is split in the
// middle, so that values which come in no order leave blocks that are half full or better.
inline constexpr std::size_t kBlockEntries = 2048;

// A value and the rows that have it; a row is in one of the two or in both.
struct PostingGroup {
  PostingValue value;
  std::vector<std::int64_t> few;  // ascending
  RowSet many;

  void add(std::int64_t row);
  void remove(std::int64_t row);
  bool empty() const { return few.empty() && many.empty(); }
};

// Goes through the `entries` of a block. Throws corruption for bytes that nobody wrote (R8); values
// ascend, as do the rows of each.
class EntryReader {
 public:
  explicit EntryReader(std::span<const std::byte> entries) : left_(entries) {}
  bool next();
  const PostingValue& value() const { return value_; }
  const std::vector<std::int64_t>& rows() const { return rows_; }

 private:
  PostingValue read_value(std::uint64_t type);
  void read_rows(std::uint64_t count);

  std::span<const std::byte> left_;
  PostingValue value_;
  std::vector<std::int64_t> rows_;
  bool begun_ = false;
};

// Throws corruption that names the block.
[[noreturn]] void block_is_damaged(const Database& db, std::int64_t block_id,
                                   const std::string& what);

// The groups of one block, from its columns. A group is in `many` when it is the only one.
std::vector<PostingGroup> groups_of(const PostingValue& first, std::span<const std::byte> rows,
                                    std::optional<std::span<const std::byte>> entries);

// Writes groups, given in the order of their values, as blocks of a key.
class BlockWriter {
 public:
  BlockWriter(Database& db, std::int64_t key_id) : db_(db), key_id_(key_id) {}

  void add(PostingGroup group);
  void finish();  // to be called at the end
  std::uint64_t written() const { return written_; }

 private:
  void write_mixed(std::size_t most);
  void write_own(const PostingGroup& group);

  Database& db_;
  std::int64_t key_id_;
  std::vector<PostingGroup> waiting_;  // few rows each
  std::size_t waiting_entries_ = 0;
  std::uint64_t written_ = 0;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/posting_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "storage/error.h"

namespace vkb {
namespace {

// Rows of a group that wait to be put into its bitmap.
constexpr std::size_t kMostFew = 4096;

// An entry group is: varint(4 * rows + type), the value, and the rows as varints: the first, then
// each less the one before.
enum Type : std::uint64_t { kInteger = 0, kReal = 1, kText = 2 };

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorCode::corruption, std::string("entries: ") + what);
}

void put_varint(std::vector<std::byte>& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

std::uint64_t take_varint(std::span<const std::byte>& left) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < left.size() && i < 10; ++i) {
    const auto byte = std::to_integer<std::uint64_t>(left[i]);
    value |= (byte & 0x7F) << (7 * i);
    if (byte >= 0x80) continue;
    left = left.subspan(i + 1);
    return value;
  }
  fail("a number is cut short");
}

std::span<const std::byte> take(std::span<const std::byte>& left, std::uint64_t count) {
  if (count > left.size()) fail("cut short");
  const auto taken = left.first(static_cast<std::size_t>(count));
  left = left.subspan(taken.size());
  return taken;
}

// Small numbers of either sign become small.
std::uint64_t zigzag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
std::int64_t from_zigzag(std::uint64_t value) {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

void put_group(std::vector<std::byte>& out, const PostingGroup& group) {
  put_varint(out, group.few.size() * 4 + group.value.index());
  if (const auto* integer = std::get_if<std::int64_t>(&group.value)) {
    put_varint(out, zigzag(*integer));
  } else if (const auto* real = std::get_if<double>(&group.value)) {
    const std::size_t begin = out.size();
    out.resize(begin + sizeof(*real));
    std::memcpy(&out[begin], real, sizeof(*real));
  } else {
    const auto& text = std::get<std::string>(group.value);
    put_varint(out, text.size());
    const auto bytes = std::as_bytes(std::span(text));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  std::int64_t before = 0;
  for (const std::int64_t row : group.few) {
    put_varint(out, static_cast<std::uint64_t>(row - before));
    before = row;
  }
}

}  // namespace

void PostingGroup::add(std::int64_t row) {
  if (few.empty() || few.back() < row) {
    few.push_back(row);
  } else if (const auto at = std::lower_bound(few.begin(), few.end(), row); *at != row) {
    few.insert(at, row);
  }
  if (few.size() < kMostFew) return;
  many.add(few);
  few.clear();
}

void PostingGroup::remove(std::int64_t row) {
  const auto at = std::lower_bound(few.begin(), few.end(), row);
  if (at != few.end() && *at == row) few.erase(at);
  many.remove(row);
}

bool EntryReader::next() {
  if (left_.empty()) return false;
  const std::uint64_t head = take_varint(left_);
  PostingValue value = read_value(head & 3);
  if (begun_ && compare(value_, value) >= 0) fail("values out of order");
  value_ = std::move(value);
  begun_ = true;
  read_rows(head >> 2);
  return true;
}

PostingValue EntryReader::read_value(std::uint64_t type) {
  if (type == kInteger) return from_zigzag(take_varint(left_));
  if (type == kReal) {
    double real;
    std::memcpy(&real, take(left_, sizeof(real)).data(), sizeof(real));
    if (std::isnan(real)) fail("a value that is not a number");
    return real;
  }
  if (type != kText) fail("a value of no type");
  const auto bytes = take(left_, take_varint(left_));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void EntryReader::read_rows(std::uint64_t count) {
  rows_.clear();
  if (count == 0 || count > left_.size()) fail("a value with a wrong number of rows");
  std::uint64_t row = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t step = take_varint(left_);
    if ((i > 0 && step == 0) || step > static_cast<std::uint64_t>(INT64_MAX) - row) {
      fail("rows out of order");
    }
    row += step;
    rows_.push_back(static_cast<std::int64_t>(row));
  }
}

void block_is_damaged(const Database& db, std::int64_t block_id, const std::string& what) {
  throw Error(ErrorCode::corruption, db.path() + ": metadata index, block " +
                                         std::to_string(block_id) + ": " + what +
                                         "; run `vkb repair`");
}

std::vector<PostingGroup> groups_of(const PostingValue& first, std::span<const std::byte> rows,
                                    std::optional<std::span<const std::byte>> entries) {
  std::vector<PostingGroup> groups;
  if (!entries) {
    groups.push_back({first, {}, RowSet::parse(rows)});
    return groups;
  }
  for (EntryReader reader(*entries); reader.next();) {
    groups.push_back({reader.value(), reader.rows(), {}});
  }
  return groups;
}

void BlockWriter::add(PostingGroup group) {
  if (group.many.size() >= kOwnBlockRows / 2) {  // it had a block of its own: not back and forth
    group.many.add(group.few);
    group.few.clear();
  } else if (!group.many.empty()) {
    group.many.add(group.few);
    group.few = group.many.values();
    group.many = RowSet();
  }
  if (group.empty()) return;
  if (!group.many.empty() || group.few.size() >= kOwnBlockRows) {
    write_mixed(waiting_entries_);
    group.many.add(group.few);
    return write_own(group);
  }
  waiting_entries_ += group.few.size();
  waiting_.push_back(std::move(group));
  if (waiting_entries_ > kBlockEntries) write_mixed(kBlockEntries / 2);
}

void BlockWriter::finish() { write_mixed(waiting_entries_); }

// The first waiting groups, until they have so many entries.
void BlockWriter::write_mixed(std::size_t most) {
  std::vector<std::byte> entries;
  std::vector<std::int64_t> rows;
  std::size_t groups = 0;
  for (; groups < waiting_.size() && rows.size() < most; ++groups) {
    put_group(entries, waiting_[groups]);
    rows.insert(rows.end(), waiting_[groups].few.begin(), waiting_[groups].few.end());
  }
  if (groups == 0) return;
  Statement insert(db_,
                   "INSERT INTO posting_block(key_id, first_value, last_value, entry_count, rows,"
                   " entries) VALUES(?,?,?,?,?,?)");
  insert.bind(key_id_, waiting_.front().value, waiting_[groups - 1].value, rows.size());
  if (std::holds_alternative<std::string>(waiting_.front().value)) {
    insert.bind(nullptr);  // nobody asks for a range of texts
  } else {
    std::sort(rows.begin(), rows.end());
    insert.bind(RowSet(rows).serialized());
  }
  insert.bind(entries).run();
  waiting_entries_ -= rows.size();
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(groups));
  ++written_;
}

void BlockWriter::write_own(const PostingGroup& group) {
  Statement(db_,
            "INSERT INTO posting_block(key_id, first_value, last_value, entry_count, rows, entries)"
            " VALUES(?,?,?,?,?,NULL)")
      .bind(key_id_, group.value, group.value, group.many.size(), group.many.serialized())
      .run();
  ++written_;
}

}  // namespace vkb

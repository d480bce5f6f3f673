// SPDX-License-Identifier: Apache-2.0
#include "storage/row_set.h"

#include <roaring/roaring.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "storage/error.h"

namespace vkb {
namespace {

struct Free {
  void operator()(roaring_bitmap_t* bitmap) const noexcept { roaring_bitmap_free(bitmap); }
};
using Bitmap32 = std::unique_ptr<roaring_bitmap_t, Free>;

Bitmap32 owned(roaring_bitmap_t* bitmap) {
  if (!bitmap) throw std::bad_alloc();
  return Bitmap32(bitmap);
}

std::uint32_t high_of(std::int64_t row) {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(row) >> 32);
}
std::uint32_t low_of(std::int64_t row) { return static_cast<std::uint32_t>(row); }

[[noreturn]] void fail(const char* what) {
  throw Error(ErrorCode::corruption, std::string("set of rows: ") + what);
}

// Takes numbers off the front of bytes. The format is little-endian, as is every machine that the
// library's own code for it runs on.
class Bytes {
 public:
  explicit Bytes(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> take(std::size_t count) {
    if (bytes_.size() < count) fail("cut short");
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
};

// What the library takes on trust: the content of one container of `count` values.
void check_runs(Bytes& bytes, std::uint32_t count) {
  const auto runs = bytes.number<std::uint16_t>();
  std::int64_t end = -1;
  std::uint32_t values = 0;
  for (std::uint16_t i = 0; i < runs; ++i) {
    const auto start = bytes.number<std::uint16_t>();
    const auto more = bytes.number<std::uint16_t>();
    if (start <= end) fail("runs out of order");
    end = std::int64_t{start} + more;
    values += more + 1U;
  }
  if (end > 0xFFFF || values != count) fail("runs of another size");
}

void check_array(Bytes& bytes, std::uint32_t count) {
  const auto values = bytes.take(sizeof(std::uint16_t) * count);
  std::int32_t before = -1;
  bool ascending = true;
  for (std::size_t i = 0; i < values.size(); i += sizeof(std::uint16_t)) {
    std::uint16_t value;
    std::memcpy(&value, &values[i], sizeof(value));
    ascending &= value > before;
    before = value;
  }
  if (!ascending) fail("values out of order");
}

void check_bits(Bytes& bytes, std::uint32_t count) {
  std::uint32_t set = 0;
  for (int word = 0; word < 1024; ++word) {
    set += static_cast<std::uint32_t>(std::popcount(bytes.number<std::uint64_t>()));
  }
  if (set != count) fail("bits of another number");
}

// Reads over one bitmap of 32-bit values: https://github.com/RoaringBitmap/RoaringFormatSpec
void check_bitmap(Bytes& bytes) {
  constexpr std::uint32_t kWithRuns = 12347;
  constexpr std::uint32_t kWithoutRuns = 12346;
  constexpr std::uint32_t kFewestWithOffsets = 4;
  constexpr std::uint32_t kLargestArray = 4096;
  const auto cookie = bytes.number<std::uint32_t>();
  const bool with_runs = (cookie & 0xFFFF) == kWithRuns;
  if (!with_runs && cookie != kWithoutRuns) fail("not a bitmap");
  const std::uint32_t size = with_runs ? (cookie >> 16) + 1 : bytes.number<std::uint32_t>();
  if (size > 0x10000) fail("too many containers");
  const auto is_run = bytes.take(with_runs ? (size + 7) / 8 : 0);
  Bytes heads(bytes.take(std::size_t{4} * size));
  if (!with_runs || size >= kFewestWithOffsets) bytes.take(std::size_t{4} * size);
  std::int32_t before = -1;
  for (std::uint32_t i = 0; i < size; ++i) {
    const auto key = heads.number<std::uint16_t>();
    const std::uint32_t count = heads.number<std::uint16_t>() + 1U;
    if (key <= before) fail("containers out of order");
    before = key;
    if (with_runs && (std::to_integer<unsigned>(is_run[i / 8]) >> (i % 8) & 1) != 0) {
      check_runs(bytes, count);
    } else if (count <= kLargestArray) {
      check_array(bytes, count);
    } else {
      check_bits(bytes, count);
    }
  }
}

}  // namespace

// The ids by their upper 32 bits, ascending. No part is empty.
struct RowSet::Parts {
  struct Part {
    std::uint32_t high;
    Bitmap32 rows;
  };
  std::vector<Part> list;

  auto find(std::uint32_t high) {
    return std::lower_bound(
        list.begin(), list.end(), high,
        [](const Part& part, std::uint32_t wanted) { return part.high < wanted; });
  }
  roaring_bitmap_t* at(std::uint32_t high) {
    if (!list.empty() && list.back().high == high) return list.back().rows.get();
    const auto found = find(high);
    return found != list.end() && found->high == high ? found->rows.get() : nullptr;
  }
  roaring_bitmap_t* make(std::uint32_t high) {
    if (roaring_bitmap_t* known = at(high)) return known;
    return list.insert(find(high), {high, owned(roaring_bitmap_create())})->rows.get();
  }
  void drop_empty() {
    std::erase_if(list, [](const Part& part) { return roaring_bitmap_is_empty(part.rows.get()); });
  }
};

RowSet::RowSet() : parts_(std::make_unique<Parts>()) {}
RowSet::RowSet(std::initializer_list<std::int64_t> rows) : RowSet() {
  add(std::span(rows.begin(), rows.size()));
}
RowSet::RowSet(std::span<const std::int64_t> rows) : RowSet() { add(rows); }
RowSet::RowSet(const RowSet& other) : RowSet() { *this |= other; }
RowSet::RowSet(RowSet&& other) noexcept = default;
RowSet& RowSet::operator=(RowSet other) noexcept {
  parts_ = std::move(other.parts_);
  return *this;
}
RowSet::~RowSet() = default;

void RowSet::add(std::int64_t row) { roaring_bitmap_add(parts_->make(high_of(row)), low_of(row)); }

void RowSet::add(std::span<const std::int64_t> rows) {
  std::vector<std::uint32_t> lows;
  for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const std::uint32_t high = high_of(rows[begin]);
    lows.clear();
    for (end = begin; end < rows.size() && high_of(rows[end]) == high; ++end) {
      lows.push_back(low_of(rows[end]));
    }
    roaring_bitmap_add_many(parts_->make(high), lows.size(), lows.data());
  }
}

void RowSet::remove(std::int64_t row) {
  const auto found = parts_->find(high_of(row));
  if (found == parts_->list.end() || found->high != high_of(row)) return;
  roaring_bitmap_remove(found->rows.get(), low_of(row));
  if (roaring_bitmap_is_empty(found->rows.get())) parts_->list.erase(found);
}

RowSet& RowSet::operator|=(const RowSet& other) {
  if (this == &other) return *this;
  for (const Parts::Part& part : other.parts_->list) {
    if (roaring_bitmap_t* own = parts_->at(part.high)) {
      roaring_bitmap_or_inplace(own, part.rows.get());
    } else {
      parts_->list.insert(parts_->find(part.high),
                          {part.high, owned(roaring_bitmap_copy(part.rows.get()))});
    }
  }
  return *this;
}

RowSet& RowSet::operator&=(const RowSet& other) {
  if (this == &other) return *this;
  for (Parts::Part& part : parts_->list) {
    if (const roaring_bitmap_t* theirs = other.parts_->at(part.high)) {
      roaring_bitmap_and_inplace(part.rows.get(), theirs);
    } else {
      part.rows = owned(roaring_bitmap_create());
    }
  }
  parts_->drop_empty();
  return *this;
}

RowSet& RowSet::operator-=(const RowSet& other) {
  if (this == &other) return *this = RowSet();
  for (Parts::Part& part : parts_->list) {
    const roaring_bitmap_t* theirs = other.parts_->at(part.high);
    if (theirs) roaring_bitmap_andnot_inplace(part.rows.get(), theirs);
  }
  parts_->drop_empty();
  return *this;
}

bool RowSet::empty() const noexcept { return parts_->list.empty(); }

std::uint64_t RowSet::size() const noexcept {
  std::uint64_t sum = 0;
  for (const Parts::Part& part : parts_->list) {
    sum += roaring_bitmap_get_cardinality(part.rows.get());
  }
  return sum;
}

bool RowSet::contains(std::int64_t row) const noexcept {
  const roaring_bitmap_t* part = parts_->at(high_of(row));
  return part && roaring_bitmap_contains(part, low_of(row));
}

bool RowSet::operator==(const RowSet& other) const noexcept {
  return std::equal(parts_->list.begin(), parts_->list.end(), other.parts_->list.begin(),
                    other.parts_->list.end(), [](const Parts::Part& a, const Parts::Part& b) {
                      return a.high == b.high && roaring_bitmap_equals(a.rows.get(), b.rows.get());
                    });
}

std::vector<std::int64_t> RowSet::values(std::uint64_t offset, std::uint64_t limit) const {
  std::vector<std::int64_t> out;
  const std::uint64_t total = size();
  if (limit == 0 || offset >= total) return out;
  out.reserve(std::min(limit, total - offset));
  visit([&](std::span<const std::int64_t> rows) {
    const std::uint64_t skipped = std::min<std::uint64_t>(offset, rows.size());
    offset -= skipped;
    const std::uint64_t taken = std::min(limit - out.size(), rows.size() - skipped);
    const auto from = rows.begin() + static_cast<std::ptrdiff_t>(skipped);
    out.insert(out.end(), from, from + static_cast<std::ptrdiff_t>(taken));
    return out.size() < limit;
  });
  return out;
}

void RowSet::visit(const std::function<bool(std::span<const std::int64_t>)>& batch) const {
  constexpr std::uint32_t kBatch = 2048;
  std::vector<std::uint32_t> lows(std::min<std::uint64_t>(size(), kBatch));
  std::vector<std::int64_t> rows(lows.size());
  for (const Parts::Part& part : parts_->list) {
    const auto high = static_cast<std::int64_t>(std::uint64_t{part.high} << 32);
    roaring_uint32_iterator_t at;
    roaring_init_iterator(part.rows.get(), &at);
    const auto room = static_cast<std::uint32_t>(lows.size());
    while (const std::uint32_t count = roaring_read_uint32_iterator(&at, lows.data(), room)) {
      std::transform(lows.begin(), lows.begin() + count, rows.begin(),
                     [&](std::uint32_t low) { return high | low; });
      if (!batch(std::span(rows).first(count))) return;
    }
  }
}

std::vector<std::byte> RowSet::serialized() const {
  const std::uint64_t parts = parts_->list.size();
  std::vector<std::byte> out(sizeof(parts));
  std::memcpy(out.data(), &parts, sizeof(parts));
  for (const Parts::Part& part : parts_->list) {
    const Bitmap32 packed = owned(roaring_bitmap_copy(part.rows.get()));
    roaring_bitmap_run_optimize(packed.get());
    const std::size_t begin = out.size();
    out.resize(begin + sizeof(part.high) + roaring_bitmap_portable_size_in_bytes(packed.get()));
    std::memcpy(out.data() + begin, &part.high, sizeof(part.high));
    roaring_bitmap_portable_serialize(
        packed.get(), reinterpret_cast<char*>(out.data() + begin + sizeof(part.high)));
  }
  return out;
}

RowSet RowSet::parse(std::span<const std::byte> bytes) {
  Bytes left(bytes);
  RowSet out;
  const auto parts = left.number<std::uint64_t>();
  for (std::uint64_t i = 0; i < parts; ++i) {
    const auto high = left.number<std::uint32_t>();
    if (i > 0 && high <= out.parts_->list.back().high) fail("parts out of order");
    const auto bitmap = bytes.last(left.left());
    check_bitmap(left);
    out.parts_->list.push_back(
        {high, owned(roaring_bitmap_portable_deserialize_safe(
                   reinterpret_cast<const char*>(bitmap.data()), bitmap.size() - left.left()))});
    if (roaring_bitmap_is_empty(out.parts_->list.back().rows.get())) fail("an empty part");
  }
  if (left.left() > 0) fail("bytes behind its end");
  return out;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <span>
#include <vector>

namespace vkb {

// A set of row ids, compressed: a roaring bitmap. Unions, intersections and differences cost by the
// 65,536 ids, not by the id. Thread safety: as a vector's.
class RowSet {
 public:
  RowSet();
  RowSet(std::initializer_list<std::int64_t> rows);
  explicit RowSet(std::span<const std::int64_t> rows);
  RowSet(const RowSet& other);
  RowSet(RowSet&& other) noexcept;
  RowSet& operator=(RowSet other) noexcept;
  ~RowSet();

  void add(std::int64_t row);
  void add(std::span<const std::int64_t> rows);  // fastest when ascending
  void remove(std::int64_t row);
  RowSet& operator|=(const RowSet& other);
  RowSet& operator&=(const RowSet& other);
  RowSet& operator-=(const RowSet& other);

  bool empty() const noexcept;
  std::uint64_t size() const noexcept;
  bool contains(std::int64_t row) const noexcept;
  bool operator==(const RowSet& other) const noexcept;

  // The rows, ascending, without the first `offset`, at most `limit`.
  std::vector<std::int64_t> values(
      std::uint64_t offset = 0,
      std::uint64_t limit = std::numeric_limits<std::uint64_t>::max()) const;
  // The same in batches, which need no memory for all of them; until `batch` returns false.
  void visit(const std::function<bool(std::span<const std::int64_t>)>& batch) const;

  // Roaring's portable format for 64 bits, and back. parse() throws corruption for bytes that are
  // not such a bitmap in every detail, so that none of the operations above can go astray (R8).
  std::vector<std::byte> serialized() const;
  static RowSet parse(std::span<const std::byte> bytes);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;  // never null, but in what was moved from
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// What check() and repair() share: how Problem::object names things, and which rows of a segment
// are damaged.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/search.h"
#include "storage/catalog.h"
#include "storage/manifest.h"
#include "storage/segment.h"

namespace vkb {

inline constexpr std::string_view kSegmentPrefix = "segment ";
inline constexpr const char* kDatabaseObject = "vkb.sqlite3";
inline std::string segment_name(const SegmentRow& row) {
  return std::string(kSegmentPrefix) + row.file;
}

inline constexpr std::string_view kCollectionPrefix = "collection ";
inline std::string collection_name(const CollectionRow& row) {
  return std::string(kCollectionPrefix) + row.name;
}

inline std::string document_index_name(const CollectionRow& row) {
  return "document index of collection " + row.name;
}

// The row ids of a segment, from row_ids, or, where that is damaged, from what is sound of the
// sorted ones.
class RowIds {
 public:
  explicit RowIds(const Segment& segment) : segment_(segment) {}
  // Throws corruption when neither says it.
  std::uint64_t of(std::uint32_t slot);
  // Whether the slot that was asked for last has a damaged one.
  bool was_damaged() const noexcept { return was_damaged_; }

 private:
  const Segment& segment_;
  std::vector<std::uint64_t> by_slot_;
  bool was_damaged_ = false;
};

// Live rows that cannot stay in their segment. With their slots, which the segment may be too
// damaged to find again.
struct DamagedRows {
  struct Row {
    std::int64_t row_id;
    std::uint32_t slot;
  };
  std::vector<Row> lost;      // their vectors are damaged
  std::vector<Row> nameless;  // their vectors are sound, which rows they are of is not
};

// Reads the pages of all row ids and vectors, of a segment that has checksums for them. dead: may
// be null. Throws corruption when row ids are damaged, and what they could be found by as well.
DamagedRows find_damaged_rows(const Segment& segment, const Bitmap* dead);

}  // namespace vkb

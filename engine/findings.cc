// SPDX-License-Identifier: Apache-2.0
#include "engine/findings.h"

#include <filesystem>

#include "storage/error.h"

namespace vkb {
namespace {

// Whether a segment's pages let `read` read.
template <typename Read>
bool is_readable(const Read& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
    return false;
  }
}

// No row has it: SQLite's ids are signed.
constexpr std::uint64_t kUnknown = UINT64_MAX;

}  // namespace

std::uint64_t RowIds::of(std::uint32_t slot) {
  std::uint64_t row_id = 0;
  was_damaged_ = !is_readable([&] { row_id = segment_.row_id(slot); });
  if (!was_damaged_) return row_id;
  if (by_slot_.empty()) {
    by_slot_.assign(segment_.row_count(), kUnknown);
    for (std::uint32_t rank = 0; rank < segment_.row_count(); ++rank) {
      is_readable([&] {
        const std::uint32_t of = segment_.sorted_slot(rank);
        if (of < by_slot_.size()) by_slot_[of] = segment_.sorted_row_id(rank);
      });
    }
  }
  if (by_slot_[slot] != kUnknown) return by_slot_[slot];
  throw Error(ErrorCode::corruption,
              "segment " + std::filesystem::path(segment_.path()).filename().string() +
                  ": neither row_ids nor sorted_row_ids and sorted_slots say which row slot " +
                  std::to_string(slot) + " is of; restore a backup");
}

DamagedRows find_damaged_rows(const Segment& segment, const Bitmap* dead) {
  // The pages of sections that are sound as a whole are, whatever page_checksums says.
  for (const SectionEntry& section : segment.sections()) {
    is_readable([&] { segment.verify(section); });
  }
  DamagedRows damaged;
  RowIds rows(segment);
  for (std::uint32_t slot = 0; slot < segment.row_count(); ++slot) {
    if (dead != nullptr && dead->test(slot)) continue;
    const auto row_id = static_cast<std::int64_t>(rows.of(slot));
    const bool has_vector = is_readable([&] { segment.vector(slot); });
    if (has_vector && !rows.was_damaged()) continue;
    (has_vector ? damaged.nameless : damaged.lost).push_back({row_id, slot});
  }
  return damaged;
}

}  // namespace vkb

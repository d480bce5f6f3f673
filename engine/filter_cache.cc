// SPDX-License-Identifier: Apache-2.0
#include "engine/filter_cache.h"

#include <algorithm>
#include <span>

#include "engine/tuning.h"
#include "storage/error.h"

namespace vkb {
namespace {

// The first position from `at` on whose id is not below `wanted`.
std::size_t find_from(std::span<const std::uint64_t> ids, std::size_t at, std::uint64_t wanted) {
  if (at == ids.size() || ids[at] >= wanted) return at;
  // Ids that were given out together follow each other without gaps, mostly.
  const std::uint64_t guess = at + (wanted - ids[at]);
  if (guess < ids.size() && ids[guess] == wanted) return guess;
  // Galloping: short steps when many rows are accepted, long ones when few are.
  std::size_t step = 1;
  std::size_t from = at;
  while (ids.size() - at > step && ids[at + step] < wanted) {
    from = at + step;
    step *= 2;
  }
  const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(from);
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(std::min(at + step + 1, ids.size()));
  return static_cast<std::size_t>(std::lower_bound(begin, end, wanted) - ids.begin());
}

CompiledFilter::Slots slots_of(const Segment& segment, const Selection& accepted) {
  CompiledFilter::Slots slots{.accepted = Bitmap(segment.row_count(), accepted.complement)};
  const std::span<const std::uint64_t> ids = segment.sorted_row_ids();
  const std::span<const std::uint32_t> slot_of = segment.sorted_slots();
  std::size_t at = 0;  // ids before it are smaller than the rows to come
  accepted.rows.visit([&](std::span<const std::int64_t> rows) {
    for (const std::int64_t row_id : rows) {
      at = find_from(ids, at, static_cast<std::uint64_t>(row_id));
      if (at == ids.size()) return false;
      if (ids[at] != static_cast<std::uint64_t>(row_id)) continue;
      const std::uint32_t slot = slot_of[at];
      if (slot >= segment.row_count()) {
        throw Error(ErrorCode::corruption, "segment " + segment.path() + ": sorted_slots holds " +
                                               std::to_string(slot) + ", it has " +
                                               std::to_string(segment.row_count()) + " rows");
      }
      accepted.complement ? slots.accepted.reset(slot) : slots.accepted.set(slot);
      ++slots.count;
    }
    return true;
  });
  if (accepted.complement) slots.count = segment.row_count() - slots.count;
  return slots;
}

// About how much memory the filter takes.
std::size_t byte_size(const Filter& filter) {
  std::size_t bytes = sizeof(filter) + filter.key.size();
  for (const Value& operand : filter.operands) {
    const auto* text = std::get_if<std::string>(&operand);
    bytes += sizeof(operand) + (text ? text->size() : 0);
  }
  for (const Filter& child : filter.children) bytes += byte_size(child);
  return bytes;
}

}  // namespace

CompiledFilter compile_filter(Selection rows, const Snapshot& snapshot) {
  CompiledFilter compiled{.rows = std::move(rows), .segments = {}};
  for (const SegmentView& view : snapshot.segments) {
    compiled.segments.push_back(slots_of(*view.segment, compiled.rows));
  }
  return compiled;
}

std::shared_ptr<const CompiledFilter> FilterCache::find(const Filter& filter,
                                                        const Version& version) {
  const std::scoped_lock lock(mutex_);
  if (version != version_) return nullptr;
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.filter == filter; });
  if (found == entries_.end()) return nullptr;
  std::rotate(found, found + 1, entries_.end());
  return entries_.back().compiled;
}

void FilterCache::put(const Filter& filter, const Version& version,
                      std::shared_ptr<const CompiledFilter> compiled, std::size_t most) {
  if (byte_size(filter) > kLargestCachedFilter) return;
  const std::scoped_lock lock(mutex_);
  if (version != version_) {
    // A transaction that began earlier has an older version, and not much use of its filters.
    entries_.clear();
    version_ = version;
  }
  while (entries_.size() >= most) entries_.erase(entries_.begin());
  entries_.push_back({filter, std::move(compiled)});
}

}  // namespace vkb

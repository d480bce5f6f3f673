// SPDX-License-Identifier: Apache-2.0
#include "engine/search.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "engine/ranking.h"

namespace vkb {
namespace {

// The selected ones among the rows begin .. begin + 63, as bits; begin is a multiple of 64.
std::uint64_t selected_bits(std::uint32_t begin, std::uint32_t row_count,
                            const RowSelection& selection) noexcept {
  std::uint64_t bits = ~std::uint64_t{0};
  if (row_count - begin < 64) bits >>= 64 - (row_count - begin);
  if (selection.accepted != nullptr) bits &= selection.accepted->word(begin / 64);
  if (selection.dead != nullptr) bits &= ~selection.dead->word(begin / 64);
  return bits;
}

// Has the selected ones among the next kScanAhead rows read.
void ask_selected(std::uint32_t begin, const Segment& segment, const RowSelection& selection,
                  SectionKind kind, const ReadAhead& reads) {
  std::vector<std::uint32_t> slots;
  const std::uint32_t end = begin + std::min(kScanAhead, segment.row_count() - begin);
  for (; begin < end; begin += 64) {
    std::uint64_t bits = selected_bits(begin, segment.row_count(), selection);
    for (; bits != 0; bits &= bits - 1) {
      slots.push_back(begin + static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
  }
  reads.ask(kind, slots);
}

// use(slots) for all selected rows, some at a time and in order. kind: the section it will read.
template <typename Use>
void for_each_selected(const Segment& segment, const RowSelection& selection, SectionKind kind,
                       const ReadAhead& reads, const Use& use) {
  std::array<std::uint32_t, kFlatBatch + 64> batch;
  std::size_t size = 0;
  for (std::uint32_t begin = 0; begin < segment.row_count(); begin += 64) {
    if (begin % kScanAhead == 0 && reads.is_cold()) {
      ask_selected(begin, segment, selection, kind, reads);
    }
    std::uint64_t bits = selected_bits(begin, segment.row_count(), selection);
    for (; bits != 0; bits &= bits - 1) {
      batch[size++] = begin + static_cast<std::uint32_t>(std::countr_zero(bits));
    }
    if (size < kFlatBatch) continue;
    use(std::span<const std::uint32_t>(batch.data(), size));
    size = 0;
  }
  use(std::span<const std::uint32_t>(batch.data(), size));
}

// Replaces `slots` with the `count` nearest of the selected rows.
template <typename Distances>
void take_nearest(const Segment& segment, const Distances& distances, const RowSelection& selection,
                  std::size_t count, const ReadAhead& reads, std::vector<std::uint32_t>& slots) {
  Smallest<Candidate> nearest(std::min<std::size_t>(count, segment.row_count()));
  for_each_selected(segment, selection, distances.section(), reads,
                    [&](std::span<const std::uint32_t> batch) {
                      for (const std::uint32_t slot : batch) distances.fetch(slot);
                      distances.each(batch, [&](std::uint32_t slot, float distance) {
                        if (nearest.admits(distance)) nearest.offer({distance, slot});
                      });
                    });
  slots.clear();
  for (const Candidate& candidate : nearest.take_sorted()) slots.push_back(candidate.slot);
}

}  // namespace

std::size_t Bitmap::count() const noexcept {
  std::size_t count = 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    const std::size_t bits = std::min<std::size_t>(64, size_ - 64 * i);
    count += static_cast<std::size_t>(std::popcount(words_[i] << (64 - bits)));
  }
  return count;
}

PreparedQuery::PreparedQuery(std::span<const float> vector, Space space)
    : space_(space),
      vector_(vector.begin(), vector.end()),
      norm_(norm_of(vector)),
      code_(code_bytes(kInt4BlockCodes * int4_blocks(vector.size()))) {
  encode_int8(vector_, norm_, space_, code_.data());
}

std::vector<Neighbour> search_flat(const Segment& segment, const PreparedQuery& query,
                                   std::uint32_t k, bool exact, const RowSelection& selection,
                                   SearchCounts* counts) {
  assert(query.dim() == segment.dim());
  if (k == 0 || segment.row_count() == 0) return {};
  SearchCounts unasked;
  SearchCounts& met = counts != nullptr ? *counts : unasked;
  const RowDistances distances(segment, query, met);
  const ReadAhead reads(segment, ReadAhead::Part::ranking);
  if (exact || !has_codes(segment) || segment.dim() < kCodesMinDim) {
    Smallest<Neighbour> nearest(std::min(k, segment.row_count()));
    for_each_selected(segment, selection, SectionKind::vectors, reads,
                      [&](std::span<const std::uint32_t> slots) {
                        distances.exact(slots, [&](std::uint32_t slot, float distance) {
                          if (!nearest.admits(distance)) return;
                          nearest.offer({distance, segment.row_id(slot)});
                        });
                      });
    return nearest.take_sorted();
  }
  Scratch& scratch = thread_scratch();
  const std::size_t most = kFlatRerankFactor * k + kFlatRerankExtra;
  if (segment.has_bit_codes()) {
    take_nearest(segment, RowEstimates(segment, query, scratch.bits, met), selection,
                 kFlatBitFactor * k + kFlatBitExtra, reads, scratch.slots);
    narrow(distances, scratch, most, reads);
  } else {
    take_nearest(segment, distances, selection, most, reads, scratch.slots);
  }
  return rerank(segment, distances, scratch, k, reads);
}

}  // namespace vkb

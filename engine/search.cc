// SPDX-License-Identifier: Apache-2.0
#include "engine/search.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "engine/bit_codes.h"
#include "engine/candidates.h"
#include "engine/codes.h"
#include "engine/tuning.h"
#include "storage/error.h"
#include "storage/read_ahead.h"

namespace vkb {
namespace {

constexpr std::size_t kCacheLine = 64;

void prefetch(const void* address, std::size_t bytes) noexcept {
  const auto* begin = static_cast<const std::byte*>(address);
  for (std::size_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(begin + at);
}

// Makes a strict weak order of distances possible: nothing compares with NaN.
float ordered(float distance) noexcept {
  return std::isnan(distance) ? std::numeric_limits<float>::infinity() : distance;
}

// use(slot) for each slot in turn, and fetch(slot) for the one that is `distance` turns ahead, so
// that its memory is on the way.
template <typename Fetch, typename Use>
void ahead(std::span<const std::uint32_t> slots, std::size_t distance, const Fetch& fetch,
           const Use& use) {
  for (std::size_t i = 0; i < std::min(distance, slots.size()); ++i) fetch(slots[i]);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (i + distance < slots.size()) fetch(slots[i + distance]);
    use(slots[i]);
  }
}

// The distances of a query to rows of one segment, by int8 codes and by f32 vectors.
class RowDistances {
 public:
  static constexpr SectionKind kSection = SectionKind::codes_int8;
  RowDistances(const Segment& segment, const PreparedQuery& query, SearchCounts& counts) noexcept
      : segment_(segment), query_(query), kernels_(kernels()), counts_(counts) {}

  float at(std::uint32_t slot) const noexcept {
    return code_distance(query_.space(), query_.code(), segment_.code(slot), segment_.dim(),
                         kernels_);
  }
  float exact(std::uint32_t slot) const noexcept {
    return ordered(exact_distance(query_.space(), query_.vector(), query_.norm(),
                                  segment_.vector(slot), segment_.norm(slot), segment_.dim(),
                                  kernels_));
  }

  // A row is a dozen cache lines: each() asks for them, not too many at once.
  void fetch(std::uint32_t /*slot*/) const noexcept {}
  // use(slot, distance) for each slot in turn.
  template <typename Use>
  void each(std::span<const std::uint32_t> slots, const Use& use) const {
    const std::size_t bytes = code_bytes(segment_.dim());
    counts_.ranked += slots.size();
    ahead(
        slots, kCodePrefetchAhead,
        [&](std::uint32_t slot) { prefetch(segment_.code(slot), bytes); },
        [&](std::uint32_t slot) { use(slot, at(slot)); });
  }
  template <typename Use>
  void exact(std::span<const std::uint32_t> slots, const Use& use) const {
    const std::size_t bytes = segment_.dim() * sizeof(float);
    counts_.compared += slots.size();
    ahead(
        slots, kVectorPrefetchAhead,
        [&](std::uint32_t slot) { prefetch(segment_.vector(slot), bytes); },
        [&](std::uint32_t slot) { use(slot, exact(slot)); });
  }

 private:
  const Segment& segment_;
  const PreparedQuery& query_;
  const Kernels& kernels_;
  SearchCounts& counts_;
};

// The same by one-bit codes: estimates that order rows as distances would, more or less.
class RowEstimates {
 public:
  static constexpr SectionKind kSection = SectionKind::codes_1bit;
  RowEstimates(const Segment& segment, const PreparedQuery& query, BitQuery& bits,
               SearchCounts& counts) noexcept
      : segment_(segment), bits_(bits), kernels_(kernels()), counts_(counts) {
    bits_.prepare({segment.bit_directions(), segment.bit_centre(), segment.dim()}, query.code());
  }
  void fetch(std::uint32_t slot) const noexcept { __builtin_prefetch(segment_.bit_code(slot)); }
  // For rows that were fetched some time ago.
  template <typename Use>
  void each(std::span<const std::uint32_t> slots, const Use& use) const {
    std::array<float, BitQuery::kMostEstimates> estimates;
    counts_.estimated += slots.size();
    while (!slots.empty()) {
      const auto some = slots.first(std::min(slots.size(), estimates.size()));
      bits_.estimate(segment_.bit_code(0), some, estimates.data(), kernels_);
      for (std::size_t i = 0; i < some.size(); ++i) use(some[i], estimates[i]);
      slots = slots.subspan(some.size());
    }
  }

 private:
  const Segment& segment_;
  BitQuery& bits_;
  const Kernels& kernels_;
  SearchCounts& counts_;
};

// What a thread keeps between walks, so that a walk allocates nothing but its answer.
struct Scratch {
  VisitedMarks visited;
  CandidatePool pool;
  std::vector<Candidate> frontier;
  std::vector<std::uint32_t> slots;
  std::vector<std::uint32_t> next_slots;
  std::vector<std::uint32_t> bridges;
  std::vector<std::uint32_t> coming;
  std::vector<Neighbour> neighbours;
  BitQuery bits;
};

Scratch& thread_scratch() {
  thread_local Scratch scratch;
  return scratch;
}

[[noreturn]] void bad_graph(const Segment& segment, const std::string& where, std::uint32_t value,
                            const std::string& expected) {
  throw Error(ErrorCode::corruption, "segment " + segment.path() + ": " + where + " holds " +
                                         std::to_string(value) + ", expected " + expected +
                                         "; `vkb repair` rebuilds the graph");
}

// R8.
std::uint32_t checked_upper_slot(const Segment& segment, std::uint32_t position) {
  const std::uint32_t slot = segment.upper_slots()[position];
  if (slot < segment.row_count()) return slot;
  bad_graph(segment, "upper_slots at position " + std::to_string(position), slot,
            "a slot below " + std::to_string(segment.row_count()));
}

// Puts the neighbours of an upper node into scratch: their positions into next_slots, their slots
// into slots.
template <typename Distances>
void gather_upper(const Segment& segment, const Distances& distances, std::uint32_t level,
                  std::uint32_t position, Scratch& scratch) {
  const SegmentHeader& header = segment.header();
  const std::uint32_t* links = segment.upper_links(level, position);
  scratch.slots.clear();
  scratch.next_slots.clear();
  for (std::uint32_t i = 0; i < header.m && links[i] != kNoNeighbour; ++i) {
    if (links[i] >= header.level_count[level]) {  // R8
      bad_graph(segment,
                "upper_links of level " + std::to_string(level) + ", position " +
                    std::to_string(position) + " (slot " +
                    std::to_string(segment.upper_slots()[position]) + ")",
                links[i], "a position below " + std::to_string(header.level_count[level]));
    }
    scratch.next_slots.push_back(links[i]);
    scratch.slots.push_back(checked_upper_slot(segment, links[i]));
    distances.fetch(scratch.slots.back());
  }
}

// Greedy descent through the upper levels; returns the slot where the walk at level 0 begins.
template <typename Distances>
std::uint32_t descend(const Segment& segment, const Distances& distances, Scratch& scratch,
                      const ReadAhead& reads) {
  const SegmentHeader& header = segment.header();
  if (header.max_level == 0) return 0;  // slots are in breadth-first order from the entry point
  std::uint32_t position = 0;
  std::uint32_t nearest = checked_upper_slot(segment, position);
  float best = std::numeric_limits<float>::infinity();
  const auto compare = [&] {
    bool nearer = false;
    std::size_t i = 0;
    distances.each(scratch.slots, [&](std::uint32_t slot, float distance) {
      const std::uint32_t at = scratch.next_slots[i++];
      if (!(distance < best)) return;
      best = distance;
      position = at;
      nearest = slot;
      nearer = true;
    });
    return nearer;
  };
  scratch.slots.assign(1, nearest);
  scratch.next_slots.assign(1, position);
  compare();
  for (std::uint32_t level = header.max_level; level > 0; --level) {
    do {
      gather_upper(segment, distances, level, position, scratch);
      reads.ask(Distances::kSection, scratch.slots);
    } while (compare());
  }
  return nearest;
}

// use(neighbour) for each neighbour of `slot` at level 0.
template <typename Use>
void each_neighbour(const Segment& segment, std::uint32_t slot, const Use& use) {
  const std::span links(segment.links0(slot), segment.links0_width());
  for (const std::uint32_t neighbour : links) {
    if (neighbour == kNoNeighbour) break;
    if (neighbour >= segment.row_count()) {  // R8
      bad_graph(segment, "links0 of slot " + std::to_string(slot), neighbour,
                "a slot below " + std::to_string(segment.row_count()));
    }
    use(neighbour);
  }
}

void prefetch_links(const Segment& segment, std::uint32_t slot) noexcept {
  prefetch(segment.links0(slot), segment.links0_width() * sizeof(std::uint32_t));
}

// Appends the neighbours of a row that were not met before to `unvisited`, marked and fetched.
template <typename Distances>
struct GatherAll {
  const Segment& segment;
  const Distances& distances;
  VisitedMarks& visited;

  void operator()(std::uint32_t slot, std::vector<std::uint32_t>& unvisited) const {
    each_neighbour(segment, slot, [&](std::uint32_t neighbour) {
      if (!visited.first_visit(neighbour)) return;
      distances.fetch(neighbour);
      unvisited.push_back(neighbour);
    });
  }
};

// The same for selected rows only; neighbours that are not selected are bridges to theirs, until as
// many rows as a list may hold were found (ACORN-1, Patel et al. 2024).
template <typename Distances>
struct GatherSelected {
  const Segment& segment;
  const Distances& distances;
  VisitedMarks& visited;
  std::vector<std::uint32_t>& bridges;
  const RowSelection& selection;

  void operator()(std::uint32_t slot, std::vector<std::uint32_t>& unvisited) const {
    bridges.clear();
    take_neighbours(slot, unvisited, [&](std::uint32_t other) {
      if (!visited.first_visit(other)) return;
      if (bridges.size() < kBridgesAhead) prefetch_links(segment, other);
      bridges.push_back(other);
    });
    for (std::size_t i = 0; i < bridges.size(); ++i) {
      if (unvisited.size() >= segment.links0_width()) {
        for (; i < bridges.size(); ++i) visited.forget(bridges[i]);  // not crossed: for the next
        return;
      }
      if (i + kBridgesAhead < bridges.size()) prefetch_links(segment, bridges[i + kBridgesAhead]);
      take_neighbours(bridges[i], unvisited, [](std::uint32_t) {});
    }
  }

 private:
  template <typename Other>
  void take_neighbours(std::uint32_t slot, std::vector<std::uint32_t>& unvisited,
                       const Other& other) const {
    each_neighbour(segment, slot, [&](std::uint32_t neighbour) {
      if (!selection.takes(neighbour)) return other(neighbour);
      if (!visited.first_visit(neighbour)) return;
      distances.fetch(neighbour);
      unvisited.push_back(neighbour);
    });
  }
};

// Offers the rows in scratch.slots to scratch.pool, and the rows found by expanding its nearest
// until all of them are (Malkov & Yashunin 2018, alg. 2). gather(slot, rows) appends the rows to
// compare.
template <typename Distances, typename Gather>
void expand(const Segment& segment, const Distances& distances, Scratch& scratch,
            const ReadAhead& reads, const Gather& gather) {
  CandidatePool& pool = scratch.pool;
  // A step gathers the neighbours of one row, and compares those of the row before, so that memory
  // has a step's time to answer.
  while (true) {
    scratch.next_slots.clear();
    if (const std::optional<std::uint32_t> slot = pool.next()) {
      pool.take();
      gather(*slot, scratch.next_slots);
      if (reads.is_cold()) {
        reads.ask(Distances::kSection, scratch.next_slots);
        pool.coming_slots(kListsAhead, scratch.coming);
        reads.ask(SectionKind::links0, scratch.coming);
      }
      if (const auto next = pool.next()) prefetch_links(segment, *next);
    } else if (scratch.slots.empty()) {
      return;
    }
    distances.each(scratch.slots, [&](std::uint32_t neighbour, float distance) {
      if (pool.offer({distance, neighbour})) prefetch_links(segment, neighbour);
    });
    scratch.slots.swap(scratch.next_slots);
  }
}

// Puts the rows into scratch.slots where a walk over selected rows begins: those near `entry`, and
// some from all over the segment, as what is selected may lie elsewhere.
template <typename Distances>
void start_among_selected(const Segment& segment, std::uint32_t entry,
                          const GatherSelected<Distances>& gather, Scratch& scratch) {
  scratch.slots.clear();
  gather(entry, scratch.slots);
  const std::uint32_t step = segment.row_count() / kSelectedStarts + 1;
  for (std::uint32_t slot = 0; slot < segment.row_count();) {
    const std::uint32_t next = std::min(slot - slot % step + step, segment.row_count());
    while (slot < next && !gather.selection.takes(slot)) ++slot;
    if (slot < next && scratch.visited.first_visit(slot)) {
      gather.distances.fetch(slot);
      scratch.slots.push_back(slot);
    }
    slot = next;
  }
}

// Fills scratch.pool with the `width` nearest selected rows that a walk finds.
template <typename Distances>
void walk(const Segment& segment, const Distances& distances, Scratch& scratch, std::size_t width,
          const RowSelection& selection) {
  const ReadAhead reads(segment, ReadAhead::Part::walk);
  const std::uint32_t entry = descend(segment, distances, scratch, reads);
  scratch.visited.begin(segment.row_count());
  scratch.pool.reset(width);
  if (selection.dead == nullptr && selection.accepted == nullptr) {
    scratch.visited.first_visit(entry);
    scratch.slots.assign(1, entry);
    expand(segment, distances, scratch, reads,
           GatherAll<Distances>{segment, distances, scratch.visited});
  } else {
    const GatherSelected<Distances> gather{segment, distances, scratch.visited, scratch.bridges,
                                           selection};
    start_among_selected(segment, entry, gather, scratch);
    expand(segment, distances, scratch, reads, gather);
  }
}

// Leaves in scratch.slots the `count` nearest of them, by int8 codes.
void narrow(const RowDistances& distances, Scratch& scratch, std::size_t count,
            const ReadAhead& reads) {
  reads.ask(SectionKind::codes_int8, scratch.slots);
  std::vector<Candidate>& ranked = scratch.frontier;
  ranked.clear();
  distances.each(scratch.slots, [&](std::uint32_t slot, float distance) {
    ranked.push_back({distance, slot});
  });
  count = std::min(count, ranked.size());
  std::nth_element(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(count),
                   ranked.end());
  scratch.slots.clear();
  for (std::size_t i = 0; i < count; ++i) scratch.slots.push_back(ranked[i].slot);
}

// The k nearest of `slots`, by f32.
std::vector<Neighbour> rerank(const Segment& segment, const RowDistances& distances,
                              std::span<const std::uint32_t> slots, std::size_t k,
                              std::vector<Neighbour>& work, const ReadAhead& reads) {
  for (const SectionKind kind : {SectionKind::vectors, SectionKind::norms, SectionKind::row_ids}) {
    reads.ask(kind, slots);
  }
  work.clear();
  distances.exact(slots, [&](std::uint32_t slot, float distance) {
    work.push_back({distance, segment.row_id(slot)});
  });
  const auto end = work.begin() + static_cast<std::ptrdiff_t>(std::min(k, work.size()));
  std::partial_sort(work.begin(), end, work.end());
  return {work.begin(), end};
}

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
  for_each_selected(segment, selection, Distances::kSection, reads,
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
      code_(code_bytes(vector.size())) {
  encode_int8(vector_, norm_, space_, code_.data());
}

std::vector<Neighbour> search_graph(const Segment& segment, const PreparedQuery& query,
                                    std::uint32_t k, std::uint32_t ef,
                                    const RowSelection& selection, SearchCounts* counts) {
  assert(segment.has_graph() && segment.has_codes() && query.dim() == segment.dim());
  if (k == 0 || segment.row_count() == 0) return {};
  SearchCounts unasked;
  SearchCounts& met = counts != nullptr ? *counts : unasked;
  const RowDistances distances(segment, query, met);
  Scratch& scratch = thread_scratch();
  const std::size_t width = std::min(std::max(ef, k), segment.row_count());
  const std::size_t most = segment.dim() < kCodesMinDim ? width : graph_rerank(k);
  if (segment.has_bit_codes()) {
    const std::size_t wider =
        std::min<std::size_t>(width + width / kBitWalkExtra, segment.row_count());
    walk(segment, RowEstimates(segment, query, scratch.bits, met), scratch, wider, selection);
    scratch.pool.nearest_slots(wider, scratch.slots);
  } else {
    walk(segment, distances, scratch, width, selection);
    scratch.pool.nearest_slots(most, scratch.slots);
  }
  const ReadAhead reads(segment, ReadAhead::Part::ranking);
  if (segment.has_bit_codes()) narrow(distances, scratch, most, reads);
  return rerank(segment, distances, scratch.slots, k, scratch.neighbours, reads);
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
  if (exact || !segment.has_codes() || segment.dim() < kCodesMinDim) {
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
  return rerank(segment, distances, scratch.slots, k, scratch.neighbours, reads);
}

}  // namespace vkb

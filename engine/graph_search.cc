// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cassert>
#include <limits>
#include <optional>
#include <string>

#include "engine/ranking.h"
#include "engine/search.h"
#include "storage/error.h"

namespace vkb {
namespace {

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
  if (header.max_level == 0) return 0;  // slot 0 is the entry point
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
      reads.ask(distances.section(), scratch.slots);
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
    const std::size_t size = unvisited.size();
    unvisited.resize(size + segment.links0_width());
    std::uint32_t* end = unvisited.data() + size;
    each_neighbour(segment, slot, [&](std::uint32_t neighbour) {
      distances.fetch(neighbour);  // at hand if it was visited
      *end = neighbour;
      end += visited.first_visit(neighbour) ? 1 : 0;
    });
    unvisited.resize(static_cast<std::size_t>(end - unvisited.data()));
  }
};

// The same for selected rows only; neighbours that are not selected are bridges to theirs, until as
// many rows as two lists may hold were found (ACORN-1, Patel et al. 2024).
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
      if (unvisited.size() >= kBridgedLists * segment.links0_width()) {
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
        reads.ask(distances.section(), scratch.next_slots);
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

}  // namespace

std::vector<Neighbour> search_graph(const Segment& segment, const PreparedQuery& query,
                                    std::uint32_t k, std::uint32_t ef,
                                    const RowSelection& selection, SearchCounts* counts) {
  assert(segment.has_graph() && has_codes(segment) && query.dim() == segment.dim());
  if (k == 0 || segment.row_count() == 0) return {};
  SearchCounts unasked;
  SearchCounts& met = counts != nullptr ? *counts : unasked;
  const RowDistances distances(segment, query, met);
  Scratch& scratch = thread_scratch();
  const std::size_t width = std::min(std::max(ef, k), segment.row_count());
  const std::size_t most = std::min(distances.rerank(k), width);
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
  return rerank(segment, distances, scratch, k, reads);
}

}  // namespace vkb

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
  const std::uint32_t slot = segment.upper_slot(position);
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
                    std::to_string(segment.upper_slot(position)) + ")",
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
  prefetch(segment.raw_links0(slot), segment.links0_width() * sizeof(std::uint32_t));
}

// Which rows a walk compares: gather(slot, rows) appends the neighbours of a row that were not met
// before, marked and fetched; start(entry) puts those into scratch.slots that it begins with.
template <typename Distances>
struct GatherAll {
  const Segment& segment;
  const Distances& distances;
  Scratch& scratch;
  const RowSelection& selection;

  void start(std::uint32_t entry) const {
    scratch.visited.first_visit(entry);
    scratch.slots.assign(1, entry);
  }
  void operator()(std::uint32_t slot, std::vector<std::uint32_t>& unvisited) const {
    const std::size_t size = unvisited.size();
    unvisited.resize(size + segment.links0_width());
    std::uint32_t* end = unvisited.data() + size;
    each_neighbour(segment, slot, [&](std::uint32_t neighbour) {
      distances.fetch(neighbour);  // at hand if it was visited
      *end = neighbour;
      end += scratch.visited.first_visit(neighbour) ? 1 : 0;
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
  Scratch& scratch;
  const RowSelection& selection;

  // Those near `entry`, and some from all over the segment, as what is selected may lie elsewhere.
  void start(std::uint32_t entry) const {
    scratch.slots.clear();
    (*this)(entry, scratch.slots);
    const std::uint32_t step = segment.row_count() / kSelectedStarts + 1;
    for (std::uint32_t slot = 0; slot < segment.row_count();) {
      const std::uint32_t next = std::min(slot - slot % step + step, segment.row_count());
      while (slot < next && !selection.takes(slot)) ++slot;
      if (slot < next && scratch.visited.first_visit(slot)) {
        distances.fetch(slot);
        scratch.slots.push_back(slot);
      }
      slot = next;
    }
  }
  void operator()(std::uint32_t slot, std::vector<std::uint32_t>& unvisited) const {
    VisitedMarks& visited = scratch.visited;
    std::vector<std::uint32_t>& bridges = scratch.bridges;
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
      if (!scratch.visited.first_visit(neighbour)) return;
      distances.fetch(neighbour);
      unvisited.push_back(neighbour);
    });
  }
};

// A walk that offers rows to scratch.pool, and the rows found by expanding its nearest until all of
// them are (Malkov & Yashunin 2018, alg. 2). It leaves the `width` nearest that it finds there.
template <typename Distances, typename Gather>
class Walk {
 public:
  Walk(const Segment& segment, const Distances& distances, Scratch& scratch, const ReadAhead& reads,
       std::size_t width, const RowSelection& selection)
      : segment_(segment),
        distances_(distances),
        scratch_(scratch),
        reads_(reads),
        gather_{segment, distances, scratch, selection} {
    const std::uint32_t entry = descend(segment, distances, scratch, reads);
    scratch.visited.begin(segment.row_count());
    scratch.pool.reset(width);
    gather_.start(entry);
  }

  // Gathers the neighbours of one row, and compares those of the row before, so that memory has a
  // step's time to answer. False at the end.
  bool step() {
    CandidatePool& pool = scratch_.pool;
    scratch_.next_slots.clear();
    if (const std::optional<std::uint32_t> slot = pool.next()) {
      pool.take();
      gather_(*slot, scratch_.next_slots);
      if (reads_.is_cold()) {
        reads_.ask(distances_.section(), scratch_.next_slots);
        pool.coming_slots(kListsAhead, scratch_.coming);
        reads_.ask(SectionKind::links0, scratch_.coming);
      }
      if (const auto next = pool.next()) prefetch_links(segment_, *next);
    } else if (scratch_.slots.empty()) {
      return false;
    }
    distances_.each(scratch_.slots, [&](std::uint32_t neighbour, float distance) {
      if (pool.offer({distance, neighbour})) prefetch_links(segment_, neighbour);
    });
    scratch_.slots.swap(scratch_.next_slots);
    return true;
  }

 private:
  const Segment& segment_;
  const Distances& distances_;
  Scratch& scratch_;
  const ReadAhead& reads_;
  const Gather gather_;
};

// One walk for each of `distances`, in turns, in thread_scratch(0), (1) and so on.
template <typename Gather, typename Distances>
void walk_in_turns(const Segment& segment, const std::vector<Distances>& distances,
                   std::size_t width, const RowSelection& selection) {
  const ReadAhead reads(segment, ReadAhead::Part::walk);
  std::vector<Walk<Distances, Gather>> walks;
  walks.reserve(distances.size());
  for (std::size_t i = 0; i < distances.size(); ++i) {
    walks.emplace_back(segment, distances[i], thread_scratch(i), reads, width, selection);
  }
  for (bool going = true; going;) {
    going = false;
    for (auto& walk : walks) going |= walk.step();
  }
}

template <typename Distances>
void walk(const Segment& segment, const std::vector<Distances>& distances, std::size_t width,
          const RowSelection& selection) {
  if (selection.dead == nullptr && selection.accepted == nullptr) {
    walk_in_turns<GatherAll<Distances>>(segment, distances, width, selection);
  } else {
    walk_in_turns<GatherSelected<Distances>>(segment, distances, width, selection);
  }
}

}  // namespace

std::vector<std::vector<Neighbour>> search_graph(const Segment& segment,
                                                 std::span<const PreparedQuery> queries,
                                                 std::uint32_t k, std::uint32_t ef,
                                                 const RowSelection& selection,
                                                 SearchCounts* counts) {
  assert(segment.has_graph() && has_codes(segment) && queries.size() <= kWalksAtOnce);
  std::vector<std::vector<Neighbour>> answers(queries.size());
  if (queries.empty() || k == 0 || segment.row_count() == 0) return answers;
  SearchCounts unasked;
  SearchCounts& met = counts != nullptr ? *counts : unasked;
  std::vector<RowDistances> distances;
  distances.reserve(queries.size());
  for (const PreparedQuery& query : queries) {
    assert(query.dim() == segment.dim());
    distances.emplace_back(segment, query, met);
  }
  const std::size_t width = std::min(std::max(ef, k), segment.row_count());
  const std::size_t most = std::min(distances.front().rerank(k), width);
  const std::size_t wider =
      std::min<std::size_t>(width + width / kBitWalkExtra, segment.row_count());
  if (segment.has_bit_codes()) {
    std::vector<RowEstimates> estimates;
    estimates.reserve(queries.size());
    for (std::size_t i = 0; i < queries.size(); ++i) {
      estimates.emplace_back(segment, queries[i], thread_scratch(i).bits, met);
    }
    walk(segment, estimates, wider, selection);
  } else {
    walk(segment, distances, width, selection);
  }
  const ReadAhead reads(segment, ReadAhead::Part::ranking);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    Scratch& scratch = thread_scratch(i);
    if (segment.has_bit_codes()) {
      scratch.pool.nearest_slots(wider, scratch.slots);
      narrow(distances[i], scratch, most, reads);
    } else {
      scratch.pool.nearest_slots(most, scratch.slots);
    }
    answers[i] = rerank(segment, distances[i], scratch, k, reads);
  }
  return answers;
}

std::vector<Neighbour> search_graph(const Segment& segment, const PreparedQuery& query,
                                    std::uint32_t k, std::uint32_t ef,
                                    const RowSelection& selection, SearchCounts* counts) {
  return std::move(search_graph(segment, std::span(&query, 1), k, ef, selection, counts).front());
}

}  // namespace vkb

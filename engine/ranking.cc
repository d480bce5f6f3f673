// SPDX-License-Identifier: Apache-2.0
#include "engine/ranking.h"

namespace vkb {

Scratch& thread_scratch(std::size_t number) {
  thread_local std::array<Scratch, kWalksAtOnce> scratches;
  return scratches[number];
}

void narrow(const RowDistances& distances, Scratch& scratch, std::size_t count,
            const ReadAhead& reads) {
  reads.ask(distances.section(), scratch.slots);
  std::vector<Candidate>& ranked = scratch.ranked;
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

std::vector<Neighbour> rerank(const Segment& segment, const RowDistances& distances,
                              Scratch& scratch, std::size_t k, const ReadAhead& reads) {
  for (const SectionKind kind : {SectionKind::vectors, SectionKind::norms, SectionKind::row_ids}) {
    reads.ask(kind, scratch.slots);
  }
  std::vector<Neighbour>& work = scratch.neighbours;
  work.clear();
  scratch.vector.resize(segment.seldom_floats());
  distances.exact_of_few(scratch.slots, scratch.vector, [&](std::uint32_t slot, float distance) {
    work.push_back({distance, segment.row_id(slot)});
  });
  const auto end = work.begin() + static_cast<std::ptrdiff_t>(std::min(k, work.size()));
  std::partial_sort(work.begin(), end, work.end());
  return {work.begin(), end};
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/search.h"
#include "storage/segment.h"

namespace vkb {

struct GraphFindings {
  std::vector<std::string> problems;  // all repairable: a graph is a cache (R9)
  std::uint64_t asked = 0;            // live rows, of a sample, that were asked for by their own
  std::uint64_t found = 0;            // vectors, and those that were found
};

// What is wrong with the graph of a segment, beyond what checksums tell: lists that lead nowhere,
// name a node twice, or go on behind their end; nodes that are twice on the upper levels; live rows
// that no walk from the entry point reaches; links that do not lead to near rows. Finds nothing in
// a graph as HnswBuilder makes it, of whatever vectors. Sound nevertheless, and not looked at:
// - Links without a way back. A full list is chosen anew, and forgets whom it does not keep: 20 %
//   of the links of 545,177 embeddings, 1 to 85 % in others.
// - Rows that are not reached where no list around them has room, see HnswBuilder.
// - Rows that a walk does not find. What it finds depends on m, ef_construction, ef and the
//   vectors: all of a sample with usual ones, 5 % with the least m. So it is counted, not judged.
//   The walks are the collection's own: ef as it has it, and `dead` rows passed over.
// segment.has_graph() must hold, and its checksums should: else throws corruption. Calls `tick` now
// and then. O(links).
GraphFindings check_graph(const Segment& segment, const Bitmap& dead, std::uint32_t ef,
                          const std::function<void()>& tick);

}  // namespace vkb

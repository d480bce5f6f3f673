// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "engine/build_rows.h"
#include "engine/hnsw_builder.h"
#include "engine/link_lists.h"

namespace vkb {

// Both: nodes 0 .. count-1 have been added, at least one; `entry` is the entry point. Alone.

// Gives nodes that `entry` does not reach at level 0 a place in a list nearby, where there is room.
void connect_unreached(LinkLists& lists, const BuildRows& rows, std::uint32_t entry,
                       std::uint32_t count);

// The graph, numbered anew: see Graph.
Graph export_graph(const LinkLists& lists, std::uint32_t entry, std::uint32_t count);

}  // namespace vkb

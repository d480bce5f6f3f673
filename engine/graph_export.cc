// SPDX-License-Identifier: Apache-2.0
#include "engine/graph_export.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <queue>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/tuning.h"

namespace vkb {
namespace {

// The nearest reached node with room in its list, among the neighbours of `node` and theirs.
std::optional<std::uint32_t> host_for(const LinkLists& lists, const BuildRows& rows,
                                      std::uint32_t node, const std::vector<bool>& reached) {
  std::optional<std::uint32_t> nearest;
  float nearest_distance = 0;
  const auto consider = [&](std::uint32_t host) {
    if (!reached[host] || lists.list(host, 0).back() != kNoNeighbour) return;
    const float distance = rows.distance(node, host);
    if (nearest.has_value() && distance >= nearest_distance) return;
    nearest = host;
    nearest_distance = distance;
  };
  for (const std::uint32_t neighbour : lists.neighbours(node, 0)) {
    consider(neighbour);
    std::ranges::for_each(lists.neighbours(neighbour, 0), consider);
  }
  return nearest;
}

// Nodes by slot, the entry point first: in groups of nodes that link to each other, so that what a
// walk reads together shares pages and cache lines. A group grows by the node to which most of its
// links lead, and the next one begins with the node that would have come next.
class NodeOrder {
 public:
  NodeOrder(const LinkLists& lists, std::uint32_t count)
      : lists_(lists), links_to_(count, 0), placed_(count, false) {
    nodes_.reserve(count);
  }

  std::vector<std::uint32_t> from(std::uint32_t entry) && {
    std::uint32_t after = 0;
    for (std::optional<std::uint32_t> next = entry; next.has_value();) {
      for (const std::uint32_t node : linked_to_) links_to_[node] = 0;
      linked_to_.clear();
      candidates_ = {};
      for (std::size_t size = 0; size < kGraphGroup && next.has_value(); ++size) {
        place(*next);
        next = most_linked();
      }
      if (next.has_value()) continue;
      while (after < placed_.size() && placed_[after]) ++after;
      if (after < placed_.size()) next = after;
    }
    return std::move(nodes_);
  }

 private:
  void place(std::uint32_t node) {
    placed_[node] = true;
    nodes_.push_back(node);
    for (const std::uint32_t neighbour : lists_.neighbours(node, 0)) {
      if (placed_[neighbour]) continue;
      if (links_to_[neighbour]++ == 0) linked_to_.push_back(neighbour);
      candidates_.emplace(links_to_[neighbour], ~neighbour);
    }
  }
  // The lowest ordinal of several. Takes entries out that newer ones have replaced.
  std::optional<std::uint32_t> most_linked() {
    while (!candidates_.empty()) {
      const auto [links, complement] = candidates_.top();
      candidates_.pop();
      const std::uint32_t node = ~complement;
      if (!placed_[node] && links == links_to_[node]) return node;
    }
    return std::nullopt;
  }

  const LinkLists& lists_;
  std::vector<std::uint32_t> nodes_;
  std::vector<std::uint32_t> links_to_;   // from the group
  std::vector<std::uint32_t> linked_to_;  // nodes with such links
  std::vector<bool> placed_;
  std::priority_queue<std::pair<std::uint32_t, std::uint32_t>> candidates_;  // links, ~node
};

void export_links0(const LinkLists& lists, Graph& graph) {
  std::vector<std::uint32_t> slot_of(graph.order.size());
  for (std::uint32_t slot = 0; slot < slot_of.size(); ++slot) slot_of[graph.order[slot]] = slot;
  const std::size_t width = lists.width(0);
  graph.links0.assign(graph.order.size() * width, kNoNeighbour);
  for (std::size_t slot = 0; slot < graph.order.size(); ++slot) {
    std::ranges::transform(lists.neighbours(graph.order[slot], 0),
                           graph.links0.begin() + static_cast<std::ptrdiff_t>(slot * width),
                           [&](std::uint32_t node) { return slot_of[node]; });
  }
}

void export_upper_levels(const LinkLists& lists, Graph& graph) {
  const auto level_at = [&](std::uint32_t slot) { return lists.level(graph.order[slot]); };
  for (std::uint32_t slot = 0; slot < graph.order.size(); ++slot) {
    if (level_at(slot) > 0) graph.upper_slots.push_back(slot);
  }
  // The entry point has the highest level and slot 0, so a stable sort puts it first.
  std::ranges::stable_sort(graph.upper_slots, std::ranges::greater{}, level_at);
  std::unordered_map<std::uint32_t, std::uint32_t> position_of;  // ordinal -> position
  for (std::uint32_t position = 0; position < graph.upper_slots.size(); ++position) {
    position_of.emplace(graph.order[graph.upper_slots[position]], position);
  }
  for (std::uint32_t level = 1; level <= graph.max_level; ++level) {
    for (const std::uint32_t slot : graph.upper_slots) {
      if (level_at(slot) < level) break;
      ++graph.level_count[level];
      const std::size_t begin = graph.upper_links.size();
      graph.upper_links.resize(begin + lists.width(level), kNoNeighbour);
      std::ranges::transform(lists.neighbours(graph.order[slot], level),
                             graph.upper_links.begin() + static_cast<std::ptrdiff_t>(begin),
                             [&](std::uint32_t node) { return position_of.at(node); });
    }
  }
}

}  // namespace

// A full list is pruned without asking whether a neighbour keeps another way in: of 545,177
// embeddings some 3,000 are left that no list names, each knowing only nodes whose lists are full.
void connect_unreached(LinkLists& lists, const BuildRows& rows, std::uint32_t entry,
                       std::uint32_t count) {
  std::vector<bool> reached(count, false);
  std::vector<std::uint32_t> queue;
  const auto reach_from = [&](std::uint32_t start) {
    reached[start] = true;
    queue.assign(1, start);
    while (!queue.empty()) {
      const std::uint32_t node = queue.back();
      queue.pop_back();
      for (const std::uint32_t neighbour : lists.neighbours(node, 0)) {
        if (reached[neighbour]) continue;
        reached[neighbour] = true;
        queue.push_back(neighbour);
      }
    }
  };
  reach_from(entry);
  for (bool progress = true; progress;) {  // one more round for nodes that only unreached ones know
    progress = false;
    for (std::uint32_t node = 0; node < count; ++node) {
      if (reached[node]) continue;
      const auto host = host_for(lists, rows, node, reached);
      if (!host.has_value()) continue;
      lists.write(*host, 0, lists.neighbours(*host, 0).size(), std::array{node});
      reach_from(node);
      progress = true;
    }
  }
}

Graph export_graph(const LinkLists& lists, std::uint32_t entry, std::uint32_t count) {
  Graph graph;
  graph.m = lists.m();
  graph.max_level = lists.level(entry);
  graph.level_count[0] = count;
  graph.order = NodeOrder(lists, count).from(entry);
  export_links0(lists, graph);
  export_upper_levels(lists, graph);
  return graph;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/hnsw_builder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>

// What hnswlib includes, so that the namespace below holds hnswlib alone.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <deque>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <list>
#include <queue>
#include <random>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

// hnswlib's own SIMD is for distances we do not use, and its prefetching reads past its lists.
#define NO_MANUAL_VECTORIZATION
// Unnamed, so that a program that has an hnswlib of its own, maybe another version, links well.
namespace {
#include <hnswlib/hnswlib.h>

// Levels are drawn in HnswBuilder::Impl::add and passed to addPoint, which takes those above 0 and
// calls this for the others. hnswlib's own generator is shared by all threads without a lock.
template <>
int hnswlib::HierarchicalNSW<float>::getRandomLevel(double /*reverse_size*/) {
  return 0;
}
}  // namespace

#include "engine/codes.h"

namespace vkb {
namespace {

// hnswlib's view of coded rows.
class CodeSpace final : public hnswlib::SpaceInterface<float> {
 public:
  CodeSpace(Space space, std::uint32_t dim) : parameters_{space, dim, kernels()} {}
  // A multiple of four: hnswlib puts the next node's u32 links right behind.
  std::size_t get_data_size() override { return (code_bytes(parameters_.dim) + 3) / 4 * 4; }
  hnswlib::DISTFUNC<float> get_dist_func() override { return &distance; }
  void* get_dist_func_param() override { return &parameters_; }
  std::uint32_t dim() const noexcept { return parameters_.dim; }

 private:
  struct Parameters {
    Space space;
    std::uint32_t dim;
    const Kernels& kernels;
  };
  static float distance(const void* a, const void* b, const void* opaque) {
    const auto& parameters = *static_cast<const Parameters*>(opaque);
    return code_distance(parameters.space, static_cast<const std::byte*>(a),
                         static_cast<const std::byte*>(b), parameters.dim, parameters.kernels);
  }
  Parameters parameters_;
};

// The top level of a node: floor(-ln(U) / ln(m)), U uniform in (0, 1] (Malkov & Yashunin 2018, alg.
// 1), a function of the ordinal, so that a graph's levels do not depend on threads. Levels that the
// segment format has no room for are cut; at the default m one node in 16^16 would have such.
int level_of(std::uint32_t ordinal, std::uint32_t m) {
  std::uint64_t bits = (std::uint64_t{ordinal} + 1) * 0x9E3779B97F4A7C15;  // splitmix64
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
  bits ^= bits >> 31;
  const double uniform = (static_cast<double>(bits >> 11) + 1.0) * 0x1.0p-53;
  const double level = -std::log(uniform) / std::log(static_cast<double>(m));
  return static_cast<int>(std::min(level, double{kMaxLevels - 1}));
}

// Runs `work`, turning hnswlib's exceptions into ours.
template <typename Work>
auto guarded(const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::io_error,
                "graph builder: not enough memory; use fewer or smaller records "
                "at once, or a machine with more");
  } catch (const std::runtime_error& error) {
    throw Error(ErrorCode::io_error, std::string("graph builder: hnswlib: ") + error.what());
  }
}

}  // namespace

class HnswBuilder::Impl {
 public:
  using Index = hnswlib::HierarchicalNSW<float>;

  Impl(Space space, std::uint32_t dim, std::uint32_t m, std::uint32_t ef_construction,
       std::uint64_t capacity)
      : m_(m), ef_construction_(ef_construction), space_(space, dim) {
    make_index(capacity);
  }

  void make_index(std::uint64_t capacity) {
    check_capacity(capacity);
    index_ = guarded([&] {
      return std::make_unique<Index>(&space_, static_cast<std::size_t>(capacity), std::size_t{m_},
                                     std::size_t{ef_construction_});
    });
  }

  static void check_capacity(std::uint64_t capacity) {
    if (capacity <= kMaxRows) return;
    throw Error(ErrorCode::invalid_argument, "graph builder: a graph holds at most " +
                                                 std::to_string(kMaxRows) + " nodes, not " +
                                                 std::to_string(capacity));
  }

  void add(std::uint32_t ordinal, const std::byte* code) {
    if (ordinal >= index_->max_elements_) {
      throw Error(ErrorCode::invalid_argument, "graph builder: ordinal " + std::to_string(ordinal) +
                                                   " is beyond the capacity " +
                                                   std::to_string(index_->max_elements_));
    }
    const int level = level_of(ordinal, m_);
    {
      // hnswlib reads the entry point without its lock, so a node that becomes the entry point
      // (about one in each doubling or more) is added while nobody else adds.
      const std::shared_lock<std::shared_mutex> many(entry_point_mutex_);
      if (level <= index_->maxlevel_) {
        insert(ordinal, code, level);
        return;
      }
    }
    const std::unique_lock<std::shared_mutex> alone(entry_point_mutex_);
    insert(ordinal, code, level);
  }

  Graph finish();

  std::uint32_t m_;
  std::uint32_t ef_construction_;
  CodeSpace space_;
  std::unique_ptr<Index> index_;

 private:
  void insert(std::uint32_t ordinal, const std::byte* code, int level) {
    std::vector<std::byte> data(space_.get_data_size());
    std::copy_n(code, code_bytes(space_.dim()), data.begin());
    guarded([&] { return index_->addPoint(data.data(), hnswlib::labeltype{ordinal}, level); });
  }

  std::uint32_t label(std::uint32_t node) const {
    return static_cast<std::uint32_t>(index_->getExternalLabel(node));
  }
  std::span<const std::uint32_t> neighbours(std::uint32_t node, std::uint32_t level) const {
    auto* list = level == 0 ? index_->get_linklist0(node)
                            : index_->get_linklist(node, static_cast<int>(level));
    return {list + 1, index_->getListCount(list)};
  }
  std::optional<std::uint32_t> host_for(std::uint32_t node, const std::vector<bool>& reached) const;
  void connect_unreached();
  std::vector<std::uint32_t> breadth_first_nodes() const;
  void export_links0(const std::vector<std::uint32_t>& nodes, Graph& graph) const;
  void export_upper_levels(const std::vector<std::uint32_t>& nodes, Graph& graph) const;

  std::shared_mutex entry_point_mutex_;
};

// The nearest reached node with room in its list, among the neighbours of `node` and theirs.
std::optional<std::uint32_t> HnswBuilder::Impl::host_for(std::uint32_t node,
                                                         const std::vector<bool>& reached) const {
  std::optional<std::uint32_t> nearest;
  float nearest_distance = 0;
  const auto consider = [&](std::uint32_t host) {
    if (!reached[host] || neighbours(host, 0).size() >= index_->maxM0_) return;
    const float distance =
        index_->fstdistfunc_(index_->getDataByInternalId(node), index_->getDataByInternalId(host),
                             index_->dist_func_param_);
    if (nearest.has_value() && distance >= nearest_distance) return;
    nearest = host;
    nearest_distance = distance;
  };
  for (const std::uint32_t neighbour : neighbours(node, 0)) {
    consider(neighbour);
    std::ranges::for_each(neighbours(neighbour, 0), consider);
  }
  return nearest;
}

// hnswlib prunes a full list without asking whether a neighbour keeps another way in: of 545,177
// embeddings it left 3,081 that no list names, each knowing only nodes whose lists are full. Gives
// such a node a place in a list nearby, where a search that comes close will find it.
void HnswBuilder::Impl::connect_unreached() {
  const auto count = static_cast<std::uint32_t>(index_->cur_element_count);
  std::vector<bool> reached(count, false);
  std::vector<std::uint32_t> queue;
  const auto reach_from = [&](std::uint32_t start) {
    reached[start] = true;
    queue.assign(1, start);
    while (!queue.empty()) {
      const std::uint32_t node = queue.back();
      queue.pop_back();
      for (const std::uint32_t neighbour : neighbours(node, 0)) {
        if (reached[neighbour]) continue;
        reached[neighbour] = true;
        queue.push_back(neighbour);
      }
    }
  };
  reach_from(index_->enterpoint_node_);
  for (bool progress = true; progress;) {  // one more round for nodes that only unreached ones know
    progress = false;
    for (std::uint32_t node = 0; node < count; ++node) {
      if (reached[node]) continue;
      const auto host = host_for(node, reached);
      if (!host.has_value()) continue;
      auto* list = index_->get_linklist0(*host);
      const auto size = index_->getListCount(list);
      list[1 + size] = node;
      index_->setListCount(list, static_cast<unsigned short>(size + 1));
      reach_from(node);
      progress = true;
    }
  }
}

// hnswlib's node numbers by slot: breadth-first at level 0 from the entry point, then the nodes
// that this does not reach, in the order of their ordinals.
std::vector<std::uint32_t> HnswBuilder::Impl::breadth_first_nodes() const {
  const auto count = static_cast<std::uint32_t>(index_->cur_element_count);
  std::vector<std::uint32_t> nodes;
  if (count == 0) return nodes;
  nodes.reserve(count);
  std::vector<bool> seen(count, false);
  nodes.push_back(index_->enterpoint_node_);
  seen[index_->enterpoint_node_] = true;
  for (std::size_t next = 0; next < nodes.size(); ++next) {  // `nodes` is its own queue
    for (const std::uint32_t neighbour : neighbours(nodes[next], 0)) {
      if (seen[neighbour]) continue;
      seen[neighbour] = true;
      nodes.push_back(neighbour);
    }
  }
  const auto reached = static_cast<std::ptrdiff_t>(nodes.size());
  for (std::uint32_t node = 0; node < count; ++node) {
    if (!seen[node]) nodes.push_back(node);
  }
  std::sort(nodes.begin() + reached, nodes.end(),
            [this](std::uint32_t a, std::uint32_t b) { return label(a) < label(b); });
  return nodes;
}

void HnswBuilder::Impl::export_links0(const std::vector<std::uint32_t>& nodes, Graph& graph) const {
  std::vector<std::uint32_t> slot_of(nodes.size());
  for (std::uint32_t slot = 0; slot < nodes.size(); ++slot) slot_of[nodes[slot]] = slot;
  const std::size_t width = 2 * std::size_t{m_};
  graph.links0.assign(nodes.size() * width, kNoNeighbour);
  for (std::size_t slot = 0; slot < nodes.size(); ++slot) {
    std::ranges::transform(neighbours(nodes[slot], 0),
                           graph.links0.begin() + static_cast<std::ptrdiff_t>(slot * width),
                           [&](std::uint32_t node) { return slot_of[node]; });
  }
}

void HnswBuilder::Impl::export_upper_levels(const std::vector<std::uint32_t>& nodes,
                                            Graph& graph) const {
  const auto level_at = [&](std::uint32_t slot) { return index_->element_levels_[nodes[slot]]; };
  for (std::uint32_t slot = 0; slot < nodes.size(); ++slot) {
    if (level_at(slot) > 0) graph.upper_slots.push_back(slot);
  }
  // The entry point has the highest level and slot 0, so a stable sort puts it first.
  std::ranges::stable_sort(graph.upper_slots, std::ranges::greater{}, level_at);
  std::unordered_map<std::uint32_t, std::uint32_t> position_of;  // hnswlib's number -> position
  for (std::uint32_t position = 0; position < graph.upper_slots.size(); ++position) {
    position_of.emplace(nodes[graph.upper_slots[position]], position);
  }
  for (std::uint32_t level = 1; level <= graph.max_level; ++level) {
    for (const std::uint32_t slot : graph.upper_slots) {
      if (level_at(slot) < static_cast<int>(level)) break;
      ++graph.level_count[level];
      const std::size_t begin = graph.upper_links.size();
      graph.upper_links.resize(begin + m_, kNoNeighbour);
      std::ranges::transform(neighbours(nodes[slot], level),
                             graph.upper_links.begin() + static_cast<std::ptrdiff_t>(begin),
                             [&](std::uint32_t node) { return position_of.at(node); });
    }
  }
}

Graph HnswBuilder::Impl::finish() {
  Graph graph;
  graph.m = m_;
  if (index_->cur_element_count > 0) connect_unreached();
  std::vector<std::uint32_t> nodes = breadth_first_nodes();
  graph.level_count[0] = static_cast<std::uint32_t>(nodes.size());
  if (!nodes.empty()) {
    graph.max_level = static_cast<std::uint32_t>(index_->maxlevel_);
    export_links0(nodes, graph);
    export_upper_levels(nodes, graph);
  }
  graph.order = std::move(nodes);
  for (std::uint32_t& node : graph.order) {
    node = label(node);
    if (node < graph.order.size()) continue;
    throw Error(ErrorCode::invalid_argument,
                "graph builder: " + std::to_string(graph.order.size()) +
                    " nodes were added, among them ordinal " + std::to_string(node));
  }
  index_.reset();  // before an empty one is made: its memory is most of what the process has
  make_index(0);
  return graph;
}

HnswBuilder::HnswBuilder(Space space, std::uint32_t dim, std::uint32_t m,
                         std::uint32_t ef_construction, std::uint64_t capacity)
    : impl_(std::make_unique<Impl>(space, dim, m, ef_construction, capacity)) {}

HnswBuilder::~HnswBuilder() = default;

std::uint64_t HnswBuilder::capacity() const noexcept { return impl_->index_->max_elements_; }

std::uint64_t HnswBuilder::size() const noexcept { return impl_->index_->cur_element_count; }

void HnswBuilder::reserve(std::uint64_t capacity) {
  if (capacity <= this->capacity()) return;
  Impl::check_capacity(capacity);
  guarded([&] { impl_->index_->resizeIndex(static_cast<std::size_t>(capacity)); });
}

void HnswBuilder::add(std::uint32_t ordinal, const std::byte* code) { impl_->add(ordinal, code); }

const std::byte* HnswBuilder::code(std::uint32_t ordinal) const {
  const auto found = impl_->index_->label_lookup_.find(ordinal);
  if (found == impl_->index_->label_lookup_.end()) {
    throw Error(ErrorCode::invalid_argument,
                "graph builder: ordinal " + std::to_string(ordinal) + " was not added");
  }
  return reinterpret_cast<const std::byte*>(impl_->index_->getDataByInternalId(found->second));
}

Graph HnswBuilder::finish() { return impl_->finish(); }

}  // namespace vkb

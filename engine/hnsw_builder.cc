// SPDX-License-Identifier: Apache-2.0
#include "engine/hnsw_builder.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/bit_codes.h"
#include "engine/build_rows.h"
#include "engine/candidates.h"
#include "engine/graph_export.h"
#include "engine/link_lists.h"
#include "engine/tuning.h"
#include "storage/error.h"

namespace vkb {
namespace {

// Runs `work`, turning the exception for missing memory into ours.
template <typename Work>
auto guarded(const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::io_error,
                "graph builder: not enough memory; use fewer or smaller records "
                "at once, or a machine with more");
  }
}

// Nearest first; of equal ones the oldest: of a vector's copies the one that others link to.
bool nearer(const Candidate& a, const Candidate& b) noexcept {
  return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
}

// What an insertion works with.
struct Scratch {
  VisitedMarks visited;
  CandidatePool pool;
  std::vector<std::uint32_t> slots;
  std::vector<std::uint32_t> next_slots;
  std::vector<Candidate> ranked;
  std::vector<std::uint32_t> kept;
  std::array<std::vector<std::uint32_t>, kMaxLevels> chosen;  // by level
  BitQuery bits;
};

}  // namespace

class HnswBuilder::Impl {
 public:
  Impl(Space space, std::uint32_t dim, std::uint32_t m, std::uint32_t ef_construction)
      : ef_construction_(std::max(ef_construction, m)),
        fit_at_(has_bit_codes(dim) ? kBuildBitRows : kMaxRows + 1),
        rows_(space, dim),
        lists_(m) {}

  std::uint64_t capacity() const noexcept { return lists_.capacity(); }
  std::uint64_t size() const noexcept { return size_; }
  void reserve(std::uint64_t capacity);
  void add(std::uint32_t ordinal, const std::byte* code);
  Graph finish();

 private:
  std::unique_ptr<Scratch> take_scratch();
  void insert(std::uint32_t ordinal, const std::byte* code, Scratch& scratch);
  template <typename Distances>
  void link(std::uint32_t ordinal, const Distances& distances, Scratch& scratch);
  template <typename Distances>
  std::uint32_t descend(std::uint32_t level, const Distances& distances, Scratch& scratch) const;
  template <typename Distances>
  void walk(std::uint32_t start, std::uint32_t level, const Distances& distances,
            Scratch& scratch) const;
  void rank(std::uint32_t node, Scratch& scratch) const;
  void choose(std::uint32_t node, std::size_t most, Scratch& scratch) const;
  void link_back(std::uint32_t from, std::uint32_t to, std::uint32_t level, Scratch& scratch);
  void fit_bits();
  std::vector<std::uint32_t> added() const;

  const std::uint32_t ef_construction_;
  const std::uint64_t fit_at_;  // the size at which one-bit codes are made
  std::atomic<std::uint64_t> size_{0};

  // Shared by insertions; alone for what all of them read: the entry point and the bits.
  std::shared_mutex shape_mutex_;
  std::uint32_t entry_ = kNoNeighbour;  // the first node of the highest level
  BuildRows rows_;
  LinkLists lists_;

  // Whoever takes shape_mutex_ holds this meanwhile, so that one who wants it alone gets it.
  std::mutex door_mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

void HnswBuilder::Impl::reserve(std::uint64_t capacity) {
  if (capacity > kMaxRows) {
    throw Error(ErrorCode::invalid_argument, "graph builder: a graph holds at most " +
                                                 std::to_string(kMaxRows) + " nodes, not " +
                                                 std::to_string(capacity));
  }
  guarded([&] {
    rows_.grow(capacity);
    lists_.grow(capacity);
  });
}

void HnswBuilder::Impl::add(std::uint32_t ordinal, const std::byte* code) {
  if (ordinal >= capacity()) {
    throw Error(ErrorCode::invalid_argument, "graph builder: ordinal " + std::to_string(ordinal) +
                                                 " is beyond the capacity " +
                                                 std::to_string(capacity()));
  }
  assert(!lists_.has(ordinal));
  guarded([&] {
    std::unique_ptr<Scratch> scratch;
    {
      std::unique_lock<std::mutex> door(door_mutex_);
      scratch = take_scratch();
      std::shared_lock<std::shared_mutex> many(shape_mutex_);
      if (entry_ != kNoNeighbour && lists_.level(ordinal) <= lists_.level(entry_)) {
        door.unlock();
        insert(ordinal, code, *scratch);
      } else {  // about once in each doubling, or less often
        many.unlock();
        const std::unique_lock<std::shared_mutex> alone(shape_mutex_);
        insert(ordinal, code, *scratch);
        entry_ = ordinal;
      }
    }
    {
      const std::lock_guard<std::mutex> door(door_mutex_);
      idle_.push_back(std::move(scratch));
    }
    if (++size_ == fit_at_) fit_bits();
  });
}

std::unique_ptr<Scratch> HnswBuilder::Impl::take_scratch() {
  if (idle_.empty()) return std::make_unique<Scratch>();
  std::unique_ptr<Scratch> scratch = std::move(idle_.back());
  idle_.pop_back();
  return scratch;
}

void HnswBuilder::Impl::insert(std::uint32_t ordinal, const std::byte* code, Scratch& scratch) {
  rows_.put(ordinal, code, scratch.bits);
  lists_.add(ordinal);
  if (entry_ == kNoNeighbour) return;
  if (rows_.has_bits()) {
    link(ordinal, BitDistances(rows_, scratch.bits), scratch);
  } else {
    link(ordinal, CodeDistances(rows_, ordinal), scratch);
  }
}

// Malkov & Yashunin 2018, alg. 1. All of the node's lists are chosen before others learn of it: who
// comes through it at one level finds it complete at those below.
template <typename Distances>
void HnswBuilder::Impl::link(std::uint32_t ordinal, const Distances& distances, Scratch& scratch) {
  const std::uint32_t top = std::min(lists_.level(ordinal), lists_.level(entry_));
  std::uint32_t nearest = descend(top, distances, scratch);
  for (std::uint32_t level = top + 1; level-- > 0;) {
    walk(nearest, level, distances, scratch);
    if (rows_.has_bits()) {
      scratch.pool.nearest_slots(scratch.pool.size(), scratch.slots);
      rank(ordinal, scratch);
    } else {  // they are in order by int8 codes
      scratch.pool.nearest(scratch.ranked);
      std::ranges::sort(scratch.ranked, nearer);
    }
    nearest = scratch.ranked.front().slot;
    choose(ordinal, lists_.m(), scratch);
    scratch.chosen[level] = scratch.kept;
    lists_.write(ordinal, level, 0, scratch.kept);
  }
  for (std::uint32_t level = 0; level <= top; ++level) {
    for (const std::uint32_t neighbour : scratch.chosen[level]) {
      link_back(neighbour, ordinal, level, scratch);
    }
  }
}

// The node that greedy steps from the entry point end at, down to the level above `level`.
template <typename Distances>
std::uint32_t HnswBuilder::Impl::descend(std::uint32_t level, const Distances& distances,
                                         Scratch& scratch) const {
  std::uint32_t nearest = entry_;
  float nearest_distance = std::numeric_limits<float>::infinity();
  const auto compare = [&] {
    bool nearer = false;
    distances.each(scratch.slots, [&](std::uint32_t node, float distance) {
      if (!(distance < nearest_distance)) return;
      nearest = node;
      nearest_distance = distance;
      nearer = true;
    });
    return nearer;
  };
  scratch.slots.assign(1, entry_);
  compare();
  for (std::uint32_t at = lists_.level(entry_); at > level; --at) {
    do {
      scratch.slots.clear();
      lists_.for_each(nearest, at, [&](std::uint32_t node) {
        distances.fetch(node);
        scratch.slots.push_back(node);
      });
    } while (compare());
  }
  return nearest;
}

// Leaves in scratch.pool the nearest nodes that a walk at one level finds (alg. 2). A step gathers
// the neighbours of one node, and compares those of the node before, so that memory has a step's
// time to answer.
template <typename Distances>
void HnswBuilder::Impl::walk(std::uint32_t start, std::uint32_t level, const Distances& distances,
                             Scratch& scratch) const {
  CandidatePool& pool = scratch.pool;
  pool.reset(rows_.has_bits() ? ef_construction_ + ef_construction_ / kBuildWalkExtra
                              : ef_construction_);
  scratch.visited.begin(capacity());
  scratch.visited.first_visit(start);
  scratch.slots.assign(1, start);
  while (true) {
    scratch.next_slots.clear();
    if (const std::optional<std::uint32_t> node = pool.next()) {
      pool.take();
      lists_.for_each(*node, level, [&](std::uint32_t neighbour) {
        if (!scratch.visited.first_visit(neighbour)) return;
        distances.fetch(neighbour);
        scratch.next_slots.push_back(neighbour);
      });
      if (const auto next = pool.next()) lists_.prefetch(*next, level);
    } else if (scratch.slots.empty()) {
      return;
    }
    distances.each(scratch.slots, [&](std::uint32_t neighbour, float distance) {
      if (pool.offer({distance, neighbour})) lists_.prefetch(neighbour, level);
    });
    scratch.slots.swap(scratch.next_slots);
  }
}

// Leaves in scratch.ranked the nodes of scratch.slots, nearest to `node` first, by int8 codes.
void HnswBuilder::Impl::rank(std::uint32_t node, Scratch& scratch) const {
  scratch.ranked.clear();
  CodeDistances(rows_, node).each(scratch.slots, [&](std::uint32_t other, float distance) {
    scratch.ranked.push_back({distance, other});
  });
  std::ranges::sort(scratch.ranked, nearer);
}

// Leaves in scratch.kept at most `most` of scratch.ranked: from the nearest on, those that are
// nearer to the node than to each one kept (alg. 4, neither extending nor keeping what is pruned).
// Fewer than `most` stay as they are, as in hnswlib. Of the node's own copies only the oldest and
// the newest are considered: thousands of equal vectors are then a chain that hangs on one of them,
// whose list has room for the way out, and not a crowd of nodes that know each other alone.
void HnswBuilder::Impl::choose(std::uint32_t node, std::size_t most, Scratch& scratch) const {
  std::vector<std::uint32_t>& kept = scratch.kept;
  kept.clear();
  const float own = rows_.distance(node, node);
  const auto oldest = std::ranges::lower_bound(scratch.ranked, own, {}, &Candidate::distance);
  const auto end = std::ranges::upper_bound(scratch.ranked, own, {}, &Candidate::distance);
  if (end - oldest > 2) scratch.ranked.erase(oldest + 1, end - 1);
  const bool all = scratch.ranked.size() < most;
  for (const Candidate& candidate : scratch.ranked) {
    if (kept.size() == most) break;
    const bool is_hidden = !all && std::ranges::any_of(kept, [&](std::uint32_t other) {
      return rows_.distance(candidate.slot, other) < candidate.distance;
    });
    if (!is_hidden) kept.push_back(candidate.slot);
  }
}

// Puts `to` into the list of `from`, choosing anew from a list that is full.
void HnswBuilder::Impl::link_back(std::uint32_t from, std::uint32_t to, std::uint32_t level,
                                  Scratch& scratch) {
  const LinkLists::Lock lock(lists_, from);
  const std::span<const std::uint32_t> list = lists_.list(from, level);
  const std::size_t size = lists_.neighbours(from, level).size();
  if (size < list.size()) {
    lists_.write(from, level, size, std::array{to});
    return;
  }
  scratch.slots.assign(list.begin(), list.end());
  scratch.slots.push_back(to);
  rank(from, scratch);
  choose(from, list.size(), scratch);
  lists_.write(from, level, 0, scratch.kept);
}

std::vector<std::uint32_t> HnswBuilder::Impl::added() const {
  std::vector<std::uint32_t> nodes;
  for (std::uint32_t node = 0; node < capacity(); ++node) {
    if (lists_.has(node)) nodes.push_back(node);
  }
  return nodes;
}

// From here on, walks are steered by one-bit codes.
void HnswBuilder::Impl::fit_bits() {
  auto projection = rows_.fit(added());
  const std::lock_guard<std::mutex> door(door_mutex_);
  const std::unique_lock<std::shared_mutex> alone(shape_mutex_);
  rows_.use_bits(std::move(projection), added());
}

Graph HnswBuilder::Impl::finish() {
  const auto count = static_cast<std::uint32_t>(size_.load());
  for (std::uint32_t node = count; node < capacity(); ++node) {
    if (!lists_.has(node)) continue;
    throw Error(ErrorCode::invalid_argument, "graph builder: " + std::to_string(count) +
                                                 " nodes were added, among them ordinal " +
                                                 std::to_string(node));
  }
  Graph graph;
  graph.m = lists_.m();
  if (count > 0) {
    connect_unreached(lists_, rows_, entry_, count);
    rows_.clear();  // before the graph is made: most of the memory that there is
    idle_.clear();
    graph = export_graph(lists_, entry_, count);
  }
  return graph;
}

HnswBuilder::HnswBuilder(Space space, std::uint32_t dim, std::uint32_t m,
                         std::uint32_t ef_construction, std::uint64_t capacity)
    : space_(space), dim_(dim), m_(m), ef_construction_(ef_construction) {
  reset();
  reserve(capacity);
}

HnswBuilder::~HnswBuilder() = default;

void HnswBuilder::reset() { impl_ = std::make_unique<Impl>(space_, dim_, m_, ef_construction_); }

std::uint64_t HnswBuilder::capacity() const noexcept { return impl_->capacity(); }

std::uint64_t HnswBuilder::size() const noexcept { return impl_->size(); }

void HnswBuilder::reserve(std::uint64_t capacity) { impl_->reserve(capacity); }

void HnswBuilder::add(std::uint32_t ordinal, const std::byte* code) { impl_->add(ordinal, code); }

Graph HnswBuilder::finish() {
  Graph graph = guarded([&] { return impl_->finish(); });
  reset();
  return graph;
}

}  // namespace vkb

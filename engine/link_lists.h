// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/page_array.h"
#include "engine/prefetch.h"
#include "storage/segment_format.h"

namespace vkb {

// The neighbour lists of a graph that is being built, by ordinal: 2m places at level 0, m at each
// level above, unused ones kNoNeighbour at the end. Levels are a function of the ordinal. Thread
// safety: a node's lists are changed by write() under its Lock, and read by for_each() by anybody
// meanwhile, who may miss a neighbour or meet one twice, and sees all that the writer did before.
// grow(), and list() without the lock, need to be alone.
class LinkLists {
 public:
  explicit LinkLists(std::uint32_t m) noexcept : m_(m) {}

  // Makes room for ordinals below `capacity`. Alone. Throws std::bad_alloc.
  void grow(std::uint64_t capacity);
  std::uint64_t capacity() const noexcept { return capacity_; }
  std::uint32_t m() const noexcept { return m_; }
  std::uint32_t width(std::uint32_t level) const noexcept { return level == 0 ? 2 * m_ : m_; }

  // Empties the lists of a node that nobody knows yet, and lets it be locked.
  void add(std::uint32_t node) noexcept;
  bool has(std::uint32_t node) const noexcept;
  // The highest level of a node below capacity(), added or not; less than kMaxLevels.
  std::uint32_t level(std::uint32_t node) const noexcept { return levels_[node]; }
  // The whole list, width(level) places. level <= level(node).
  std::span<const std::uint32_t> list(std::uint32_t node, std::uint32_t level) const noexcept {
    return places(node, level);
  }
  // The part of list() that is in use.
  std::span<const std::uint32_t> neighbours(std::uint32_t node,
                                            std::uint32_t level) const noexcept {
    const auto whole = list(node, level);
    return whole.first(
        static_cast<std::size_t>(std::ranges::find(whole, kNoNeighbour) - whole.begin()));
  }
  void prefetch(std::uint32_t node, std::uint32_t level) const noexcept {
    const auto whole = list(node, level);
    vkb::prefetch(whole.data(), whole.size_bytes());
  }
  template <typename Use>
  void for_each(std::uint32_t node, std::uint32_t level, const Use& use) const {
    for (std::uint32_t& place : places(node, level)) {
      const std::uint32_t neighbour = std::atomic_ref(place).load(std::memory_order_acquire);
      if (neighbour == kNoNeighbour) return;
      use(neighbour);
    }
  }
  // Makes `nodes` the list from place `first` on; what is left of it becomes unused.
  void write(std::uint32_t node, std::uint32_t level, std::size_t first,
             std::span<const std::uint32_t> nodes) noexcept;

  // Held while the lists of an added node are changed. Nobody holds two.
  class Lock {
   public:
    Lock(LinkLists& lists, std::uint32_t node) noexcept;
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    std::uint8_t& state_;
  };

 private:
  // As list(), to change, or to read as an atomic.
  std::span<std::uint32_t> places(std::uint32_t node, std::uint32_t level) const noexcept {
    return level == 0 ? links0_.at(std::size_t{node} * 2 * m_, 2 * m_)
                      : upper_links_.at((upper_begin_[node] + level - 1) * m_, m_);
  }

  std::uint32_t m_;
  std::uint64_t capacity_ = 0;
  std::uint64_t upper_lists_ = 0;
  PageArray<std::uint32_t> links0_;
  PageArray<std::uint8_t> levels_;
  PageArray<std::uint8_t> states_;        // absent, free, locked
  PageArray<std::uint64_t> upper_begin_;  // the node's list at level 1, counted in lists
  PageArray<std::uint32_t> upper_links_;
};

}  // namespace vkb

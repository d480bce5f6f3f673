// SPDX-License-Identifier: Apache-2.0
#include "engine/link_lists.h"

#include <cmath>
#include <thread>

namespace vkb {
namespace {

constexpr std::uint8_t kAbsent = 0;  // as fresh pages are
constexpr std::uint8_t kFree = 1;
constexpr std::uint8_t kLocked = 2;

// The top level of a node: floor(-ln(U) / ln(m)), U uniform in (0, 1] (Malkov & Yashunin 2018, alg.
// 1), a function of the ordinal, so that a graph's levels do not depend on threads. Levels that the
// segment format has no room for are cut; at the default m one node in 16^16 would have such.
std::uint8_t level_of(std::uint64_t ordinal, std::uint32_t m) {
  std::uint64_t bits = (ordinal + 1) * 0x9E3779B97F4A7C15;  // splitmix64
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
  bits ^= bits >> 31;
  const double uniform = (static_cast<double>(bits >> 11) + 1.0) * 0x1.0p-53;
  const double level = -std::log(uniform) / std::log(static_cast<double>(m));
  return static_cast<std::uint8_t>(std::min(level, double{kMaxLevels - 1}));
}

}  // namespace

void LinkLists::grow(std::uint64_t capacity) {
  if (capacity <= capacity_) return;
  links0_.grow(capacity * 2 * m_);
  levels_.grow(capacity);
  states_.grow(capacity);
  upper_begin_.grow(capacity);
  std::uint64_t upper_lists = upper_lists_;
  for (std::uint64_t node = capacity_; node < capacity; ++node) {
    levels_[node] = level_of(node, m_);
    upper_begin_[node] = upper_lists;
    upper_lists += levels_[node];
  }
  upper_links_.grow(upper_lists * m_);
  upper_lists_ = upper_lists;
  capacity_ = capacity;
}

void LinkLists::add(std::uint32_t node) noexcept {
  for (std::uint32_t level = 0; level <= this->level(node); ++level) write(node, level, 0, {});
  std::atomic_ref(states_[node]).store(kFree, std::memory_order_release);
}

bool LinkLists::has(std::uint32_t node) const noexcept {
  return std::atomic_ref(states_[node]).load(std::memory_order_acquire) != kAbsent;
}

void LinkLists::write(std::uint32_t node, std::uint32_t level, std::size_t first,
                      std::span<const std::uint32_t> nodes) noexcept {
  const auto rest = places(node, level).subspan(first);
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const std::uint32_t value = i < nodes.size() ? nodes[i] : kNoNeighbour;
    std::atomic_ref(rest[i]).store(value, std::memory_order_release);
  }
}

LinkLists::Lock::Lock(LinkLists& lists, std::uint32_t node) noexcept : state_(lists.states_[node]) {
  std::atomic_ref state(state_);
  while (state.exchange(kLocked, std::memory_order_acquire) == kLocked) std::this_thread::yield();
}

LinkLists::Lock::~Lock() { std::atomic_ref(state_).store(kFree, std::memory_order_release); }

}  // namespace vkb

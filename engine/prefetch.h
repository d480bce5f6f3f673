// SPDX-License-Identifier: Apache-2.0
//
// Asking for memory before it is needed.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vkb {

inline void prefetch(const void* address, std::size_t bytes) noexcept {
  constexpr std::size_t kCacheLine = 64;
  const auto* begin = static_cast<const std::byte*>(address);
  for (std::size_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(begin + at);
}

// use(slot, distance) for each slot in turn, kBatch of them at a time: compare(slots, out) gives
// their distances, and fetch(slot) is called a batch before.
template <std::size_t kBatch, typename Fetch, typename Compare, typename Use>
void in_batches(std::span<const std::uint32_t> slots, const Fetch& fetch, const Compare& compare,
                const Use& use) {
  const auto batch = [&](std::size_t begin) {
    begin = std::min(begin, slots.size());
    return slots.subspan(begin, std::min(kBatch, slots.size() - begin));
  };
  std::ranges::for_each(batch(0), fetch);
  for (std::size_t begin = 0; begin < slots.size(); begin += kBatch) {
    std::ranges::for_each(batch(begin + kBatch), fetch);
    std::array<float, kBatch> found;
    compare(batch(begin), found.data());
    for (std::size_t i = 0; i < batch(begin).size(); ++i) use(slots[begin + i], found[i]);
  }
}

// use(slot) for each slot in turn, and fetch(slot) for the one that is `distance` turns ahead, so
// that its memory is on the way.
template <typename Fetch, typename Use>
void ahead(std::span<const std::uint32_t> slots, std::size_t distance, const Fetch& fetch,
           const Use& use) {
  for (std::size_t i = 0; i < std::min(distance, slots.size()); ++i) fetch(slots[i]);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (i + distance < slots.size()) fetch(slots[i + distance]);
    use(slots[i]);
  }
}

}  // namespace vkb

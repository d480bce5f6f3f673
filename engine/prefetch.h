// SPDX-License-Identifier: Apache-2.0
//
// Asking for memory before it is needed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vkb {

inline void prefetch(const void* address, std::size_t bytes) noexcept {
  constexpr std::size_t kCacheLine = 64;
  const auto* begin = static_cast<const std::byte*>(address);
  for (std::size_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(begin + at);
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

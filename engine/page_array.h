// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace vkb {

// An array of plain values that grows without being copied: pages of the operating system, zero at
// first, taken when they are touched, large ones where the system has them, and given back at once
// when the array is cleared. Thread safety: one thread at a time; the values are the caller's.
class Pages {
 public:
  Pages() noexcept = default;
  ~Pages() { clear(); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  // Keeps what there is; the address may change. Never shrinks. Throws std::bad_alloc.
  void grow(std::size_t bytes);
  void clear() noexcept;
  std::byte* data() const noexcept { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

template <typename T>
class PageArray {
 public:
  void grow(std::size_t count) { pages_.grow(count * sizeof(T)); }
  void clear() noexcept { pages_.clear(); }
  T& operator[](std::size_t i) const noexcept { return data()[i]; }
  std::span<T> at(std::size_t first, std::size_t count) const noexcept {
    return {data() + first, count};
  }

 private:
  T* data() const noexcept { return reinterpret_cast<T*>(pages_.data()); }
  Pages pages_;
};

}  // namespace vkb

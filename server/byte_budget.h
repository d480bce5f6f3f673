// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace vkb {

// A number of bytes that all bodies together may take. Thread safety: all methods.
class ByteBudget {
 public:
  explicit ByteBudget(std::uint64_t limit) : limit_(limit) {}
  // Returns false, taking nothing, when `bytes` more would be too many.
  bool take(std::uint64_t bytes) noexcept {
    if (used_.fetch_add(bytes) + bytes <= limit_) return true;
    used_.fetch_sub(bytes);
    return false;
  }
  void give_back(std::uint64_t bytes) noexcept { used_.fetch_sub(bytes); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
};

// Bytes taken from the budget, given back at the end. Thread safety: none.
class Lease {
 public:
  explicit Lease(ByteBudget& budget) : budget_(budget) {}
  ~Lease() { budget_.give_back(bytes_); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  bool add(std::uint64_t bytes) noexcept {
    if (!budget_.take(bytes)) return false;
    bytes_ += bytes;
    return true;
  }

 private:
  ByteBudget& budget_;
  std::uint64_t bytes_ = 0;
};

}  // namespace vkb

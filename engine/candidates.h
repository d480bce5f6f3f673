// SPDX-License-Identifier: Apache-2.0
//
// The small containers of graph and flat search.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace vkb {

// A row and its distance, by codes or exact.
struct Candidate {
  float distance;
  std::uint32_t slot;
  friend bool operator<(const Candidate& a, const Candidate& b) noexcept {
    return a.distance != b.distance ? a.distance < b.distance : a.slot < b.slot;
  }
};

// Which rows a walk has met: a bit a row, few enough to stay in the nearest caches. A new walk
// clears the words that the last one touched. Whether a row was met no one can predict, so nothing
// here branches on it.
class VisitedMarks {
 public:
  void begin(std::size_t row_count) {
    for (std::size_t i = 0; i < met_count_; ++i) words_[met_[i] / 64] = 0;
    met_count_ = 0;
    if (words_.size() * 64 < row_count) words_.resize((row_count + 63) / 64, 0);
  }
  bool first_visit(std::uint32_t slot) {
    if (met_count_ == met_.size()) met_.resize(2 * met_.size() + 1024);
    std::uint64_t& word = words_[slot / 64];
    const std::uint64_t before = word;
    const bool first = ((before >> (slot % 64)) & 1) == 0;
    word = before | (std::uint64_t{1} << (slot % 64));
    met_[met_count_] = slot;
    met_count_ += first ? 1 : 0;
    return first;
  }
  // Takes the mark back.
  void forget(std::uint32_t slot) noexcept {
    words_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
  }

 private:
  std::vector<std::uint64_t> words_;
  std::vector<std::uint32_t> met_;  // the first met_count_: rows that were marked
  std::size_t met_count_ = 0;
};

// The nearest `capacity` candidates offered, in ascending order, and which of them were taken out
// for expansion. Most candidates are refused by one comparison; the others are put into an array of
// numbers that sort as they do, found by a search without branches and made room for by memmove.
// The last bit of a distance is not kept: it marks what was taken.
class CandidatePool {
 public:
  void reset(std::size_t capacity) {
    if (keys_.size() < capacity) keys_.resize(capacity);
    capacity_ = capacity;
    size_ = 0;
    next_ = 0;
  }
  bool full() const noexcept { return size_ == capacity_; }
  bool admits(float distance) const noexcept {
    return !full() || key_of({distance, 0}) < (keys_[size_ - 1] & kDistance);
  }
  // Whether the candidate is the nearest not taken now.
  bool offer(Candidate candidate) {
    if (!admits(candidate.distance)) return false;
    if (full()) --size_;
    const std::uint64_t key = key_of(candidate);
    const std::size_t index = lower_bound(key);
    std::uint64_t* at = keys_.data() + index;
    std::memmove(at + 1, at, (size_ - index) * sizeof(key));
    *at = key;
    ++size_;
    const bool is_next = index <= next_;
    next_ = std::min(next_, index);
    return is_next;
  }
  // The nearest candidate not taken yet; take() marks it.
  std::optional<std::uint32_t> next() noexcept {
    while (next_ < size_ && (keys_[next_] & kTaken) != 0) ++next_;
    if (next_ == size_) return std::nullopt;
    return slot_of(keys_[next_]);
  }
  void take() noexcept { keys_[next_] |= kTaken; }
  // Replaces `slots` with the first `count` that next() would give if no nearer ones came.
  void coming_slots(std::size_t count, std::vector<std::uint32_t>& slots) const {
    slots.clear();
    for (std::size_t i = next_; i < size_ && slots.size() < count; ++i) {
      if ((keys_[i] & kTaken) == 0) slots.push_back(slot_of(keys_[i]));
    }
  }
  std::size_t size() const noexcept { return size_; }
  // Replaces `candidates` with all, nearest first, distances as they are kept.
  void nearest(std::vector<Candidate>& candidates) const {
    candidates.clear();
    for (std::size_t i = 0; i < size_; ++i) {
      candidates.push_back({distance_of(keys_[i]), slot_of(keys_[i])});
    }
  }
  void nearest_slots(std::size_t count, std::vector<std::uint32_t>& slots) const {
    slots.clear();
    for (std::size_t i = 0; i < std::min(count, size_); ++i) slots.push_back(slot_of(keys_[i]));
  }

 private:
  static constexpr std::uint64_t kTaken = std::uint64_t{1} << 32;
  static constexpr std::uint64_t kDistance = ~(2 * kTaken - 1);  // the bits that are kept of it

  // Distance above, slot below. The bits of a float sort as it does once those of negative ones are
  // turned round.
  static std::uint64_t key_of(Candidate candidate) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(candidate.distance);
    const std::uint32_t sign = bits >> 31;
    const std::uint32_t ordered = bits ^ ((0U - sign) | 0x80000000U);
    return (std::uint64_t{ordered & ~1U} << 32) | candidate.slot;
  }
  static float distance_of(std::uint64_t key) noexcept {
    const auto ordered = static_cast<std::uint32_t>((key & kDistance) >> 32);
    return std::bit_cast<float>(ordered >> 31 != 0 ? ordered ^ 0x80000000U : ~ordered);
  }
  static std::uint32_t slot_of(std::uint64_t key) noexcept {
    return static_cast<std::uint32_t>(key);
  }
  std::size_t lower_bound(std::uint64_t key) const noexcept {
    const std::uint64_t* first = keys_.data();
    for (std::size_t left = size_; left > 0;) {
      const std::size_t half = (left + 1) / 2;
      first += (first[half - 1] & ~kTaken) < key ? half : 0;
      left -= half;
    }
    return static_cast<std::size_t>(first - keys_.data());
  }

  std::vector<std::uint64_t> keys_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::size_t next_ = 0;  // no candidate before it is left to take
};

// The smallest `capacity` values offered; T has a `distance` and an order that begins with it.
template <typename T>
class Smallest {
 public:
  explicit Smallest(std::size_t capacity) : capacity_(capacity) { heap_.reserve(capacity); }
  // Whether a value at this distance could still get in.
  bool admits(float distance) const noexcept {
    return heap_.size() < capacity_ || distance <= heap_.front().distance;
  }
  void offer(const T& value) {
    if (heap_.size() == capacity_) {
      if (!(value < heap_.front())) return;
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = value;
    } else {
      heap_.push_back(value);
    }
    std::push_heap(heap_.begin(), heap_.end());
  }
  std::vector<T> take_sorted() {
    std::sort_heap(heap_.begin(), heap_.end());
    return std::move(heap_);
  }

 private:
  std::vector<T> heap_;
  std::size_t capacity_;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The small containers of graph and flat search.
#pragma once

#include <algorithm>
#include <cstdint>
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

// Which rows a walk has met. A mark is the number of the walk that set it, so that starting a walk
// clears nothing but once in 255.
class VisitedMarks {
 public:
  void begin(std::size_t row_count) {
    if (marks_.size() < row_count) marks_.resize(row_count, 0);
    if (++epoch_ != 0) return;
    std::ranges::fill(marks_, std::uint8_t{0});
    epoch_ = 1;
  }
  bool first_visit(std::uint32_t slot) noexcept {
    if (marks_[slot] == epoch_) return false;
    marks_[slot] = epoch_;
    return true;
  }

 private:
  std::vector<std::uint8_t> marks_;
  std::uint8_t epoch_ = 0;
};

// The nearest `capacity` candidates offered, in ascending order, and which of them were taken out
// for expansion. An array kept sorted: most candidates are refused by one comparison, and the rest
// go in near the end.
class CandidatePool {
 public:
  void reset(std::size_t capacity) {
    items_.clear();
    items_.reserve(capacity);
    capacity_ = capacity;
    next_ = 0;
  }
  bool full() const noexcept { return items_.size() == capacity_; }
  bool admits(float distance) const noexcept {
    return !full() || distance < items_.back().candidate.distance;
  }
  float worst() const noexcept { return items_.back().candidate.distance; }
  void offer(Candidate candidate) {
    if (!admits(candidate.distance)) return;
    const auto at =
        std::upper_bound(items_.begin(), items_.end(), candidate,
                         [](const Candidate& a, const Item& b) { return a < b.candidate; });
    const auto index = static_cast<std::size_t>(at - items_.begin());
    if (full()) items_.pop_back();
    items_.insert(items_.begin() + static_cast<std::ptrdiff_t>(index), {candidate, false});
    next_ = std::min(next_, index);
  }
  // The nearest candidate not taken yet; take() marks it.
  std::optional<std::uint32_t> next() noexcept {
    while (next_ < items_.size() && items_[next_].taken) ++next_;
    if (next_ == items_.size()) return std::nullopt;
    return items_[next_].candidate.slot;
  }
  void take() noexcept { items_[next_].taken = true; }
  void nearest_slots(std::size_t count, std::vector<std::uint32_t>& slots) const {
    slots.clear();
    for (std::size_t i = 0; i < std::min(count, items_.size()); ++i) {
      slots.push_back(items_[i].candidate.slot);
    }
  }

 private:
  struct Item {
    Candidate candidate;
    bool taken;
  };
  std::vector<Item> items_;
  std::size_t capacity_ = 0;
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

// SPDX-License-Identifier: Apache-2.0
//
// Search inside one segment, by its graph or by comparing with every row, and over rows in memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kernels.h"
#include "engine/vkb.h"
#include "storage/segment.h"

namespace vkb {

// A set of slots of one segment.
class Bitmap {
 public:
  Bitmap() = default;
  explicit Bitmap(std::size_t size, bool value = false)
      : size_(size), words_((size + 63) / 64, value ? ~std::uint64_t{0} : 0) {}
  bool test(std::size_t i) const noexcept { return (words_[i / 64] >> (i % 64)) & 1; }
  void set(std::size_t i) noexcept { words_[i / 64] |= std::uint64_t{1} << (i % 64); }
  void reset(std::size_t i) noexcept { words_[i / 64] &= ~(std::uint64_t{1} << (i % 64)); }
  std::size_t size() const noexcept { return size_; }
  // Bits 64 * i .. 64 * i + 63; those at or beyond size() are undefined.
  std::uint64_t word(std::size_t i) const noexcept { return words_[i]; }
  std::size_t count() const noexcept;  // bits set among the first size(); O(size)

 private:
  std::size_t size_ = 0;
  std::vector<std::uint64_t> words_;
};

struct Neighbour {
  float distance;
  std::uint64_t row_id;
  friend bool operator==(const Neighbour&, const Neighbour&) = default;
  friend bool operator<(const Neighbour& a, const Neighbour& b) noexcept {
    return a.distance != b.distance ? a.distance < b.distance : a.row_id < b.row_id;
  }
};

// A query vector, made ready once for all segments.
class PreparedQuery {
 public:
  PreparedQuery(std::span<const float> vector, Space space);
  Space space() const noexcept { return space_; }
  std::size_t dim() const noexcept { return vector_.size(); }
  const float* vector() const noexcept { return vector_.data(); }
  float norm() const noexcept { return norm_; }
  // Its int8 code, and zeros up to a multiple of 128 components.
  const std::byte* code() const noexcept { return code_.data(); }

 private:
  Space space_;
  std::vector<float> vector_;
  float norm_;
  std::vector<std::byte> code_;
};

// Which rows of a segment may be answered: all but `dead`, and among `accepted` when given. Either
// may be null; else its size is the segment's row_count.
struct RowSelection {
  const Bitmap* dead = nullptr;
  const Bitmap* accepted = nullptr;
  bool takes(std::uint32_t slot) const noexcept {
    return (dead == nullptr || !dead->test(slot)) && (accepted == nullptr || accepted->test(slot));
  }
};

// How many rows a search met, by what it had of each to compare with its query.
struct SearchCounts {
  std::uint64_t estimated = 0;  // one-bit codes
  std::uint64_t ranked = 0;     // four-bit or int8 codes
  std::uint64_t compared = 0;   // vectors
};

// Whether a segment can be searched by codes: those that tell near rows apart.
inline bool has_codes(const Segment& segment) noexcept {
  return segment.has_int8_codes() || segment.has_int4_codes();
}

// Both searches: `query` has the segment's dim and space. Equal distances are ordered by row_id,
// NaN (only from a query that has it) counts as infinitely far. Thread safety: any number of
// threads; each keeps a little memory of its own, a bit a row of the largest segment it walked.
// `counts` is added to, when given.

// The k nearest selected rows by walking the graph (Malkov & Yashunin 2018, alg. 2 and 5) over
// codes with a beam of max(ef, k), the best re-ranked with f32. Ascending, exact distances. Rows
// that are not selected are only bridges to their neighbours (ACORN-1, Patel et al. 2024), which
// loses rows when fewer than one in kExactShare are selected. Throws corruption when a link leads
// outside (R8). segment.has_graph() and has_codes(segment) must hold.
std::vector<Neighbour> search_graph(const Segment& segment, const PreparedQuery& query,
                                    std::uint32_t k, std::uint32_t ef,
                                    const RowSelection& selection, SearchCounts* counts = nullptr);
// The same for several queries, at most kWalksAtOnce, whose walks take turns.
std::vector<std::vector<Neighbour>> search_graph(const Segment& segment,
                                                 std::span<const PreparedQuery> queries,
                                                 std::uint32_t k, std::uint32_t ef,
                                                 const RowSelection& selection,
                                                 SearchCounts* counts = nullptr);

// The k nearest selected rows by comparing with each; ascending, exact. When the segment has codes
// and `exact` is false, codes choose the candidates and f32 orders them.
std::vector<Neighbour> search_flat(const Segment& segment, const PreparedQuery& query,
                                   std::uint32_t k, bool exact, const RowSelection& selection,
                                   SearchCounts* counts = nullptr);

}  // namespace vkb

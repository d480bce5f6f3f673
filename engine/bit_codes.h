// SPDX-License-Identifier: Apache-2.0
//
// One-bit codes: a cache line for each row, which steers a walk over the graph where an int8 code
// would take thirteen. A row is the signs of kBitCodeBits projections of its vector around a
// centre, with two factors that make of them an unbiased estimate of the distance to a query
// (RaBitQ, Gao & Long 2024). The projection keeps the principal components, in which nearly all
// differences of embeddings lie, and turns them at random, so that each bit carries as much as any
// other. Whom a walk finds is ranked anew by finer codes (engine/codes.h) and f32 vectors, so the
// estimates decide where a walk goes, and nothing that a caller sees.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/kernels.h"
#include "engine/vkb.h"
#include "storage/segment_format.h"
#include "storage/segment_writer.h"

namespace vkb {

// Whether rows of `dim` components get one-bit codes at all.
constexpr bool has_bit_codes(std::size_t dim) noexcept { return dim >= 128 && dim <= 1024; }

// Made once for a segment.
struct BitProjection {
  std::vector<std::byte> directions;  // [kBitCodeBits] int8 code rows of engine/codes.h, padded
  std::vector<float> centre;          // [kBitCodeBits]: the mean of the sample, projected
};

// Fits a projection to `count` rows, at least one, of which a sample is read. row(i): dim
// components, which are made unit vectors first under cosine. Takes about a second. Deterministic.
BitProjection fit_bit_projection(Space space, std::size_t dim, std::size_t count,
                                 const std::function<const float*(std::size_t)>& row);

// Projects int8 codes, as all that is compared with each other must be: rows and queries.
class BitProjector {
 public:
  // directions, centre: as in BitProjection, which must outlive this.
  BitProjector(std::span<const std::byte> directions, std::span<const float> centre,
               std::size_t dim) noexcept
      : directions_(directions), centre_(centre), dim_(dim) {}

  // out: kBitCodeBits components around the centre. code: an int8 code row.
  void project(const std::byte* code, float* out) const noexcept;
  // Writes kBitCodeBytes bytes: the one-bit code of the row with this int8 code.
  void encode(Space space, const std::byte* code, std::byte* out) const noexcept;
  // The same from what project() gave.
  void encode(Space space, std::span<const float, kBitCodeBits> projected,
              std::byte* out) const noexcept;

 private:
  std::span<const std::byte> directions_;
  std::span<const float> centre_;
  std::size_t dim_;
};

// The one-bit codes of a segment that is being written, kept until their section's turn: 64 bytes a
// row. Thread safety: set() from several threads, for different rows; else one at a time.
class BitCodeRows {
 public:
  // Fits the projection, see fit_bit_projection().
  BitCodeRows(Space space, std::size_t dim, std::size_t count,
              const std::function<const float*(std::size_t)>& row);
  BitCodeRows(const BitCodeRows&) = delete;
  BitCodeRows& operator=(const BitCodeRows&) = delete;

  // code: the int8 code of a row, slot < count.
  void set(std::size_t slot, const std::byte* code);
  // Writes the three sections.
  void write(SegmentWriter& writer) const;

 private:
  Space space_;
  BitProjection projection_;
  BitProjector projector_;  // refers to projection_
  std::vector<std::byte> codes_;
};

// A query's side of the estimates: its projection in four bits a component, kept as planes, so that
// a row costs four ANDs and population counts of a cache line.
class BitQuery {
 public:
  void prepare(const BitProjector& projector, const std::byte* code) noexcept;
  // The same from what project() gave.
  void prepare(std::span<const float, kBitCodeBits> projected) noexcept;
  // out[i] for row numbers[i] of `rows`, kBitCodeBytes each: values that order the rows of a
  // segment as their distances would, up to the error of the estimate; they differ from distances
  // by a constant. Never NaN. At most kMostEstimates at a time.
  static constexpr std::size_t kMostEstimates = 64;
  void estimate(const std::byte* rows, std::span<const std::uint32_t> numbers, float* out,
                const Kernels& kernels) const noexcept;
  // use(number, estimate) for any number of rows in turn.
  template <typename Use>
  void each(const std::byte* rows, std::span<const std::uint32_t> numbers, const Kernels& kernels,
            const Use& use) const {
    std::array<float, kMostEstimates> estimates;
    while (!numbers.empty()) {
      const auto some = numbers.first(std::min(numbers.size(), estimates.size()));
      estimate(rows, some, estimates.data(), kernels);
      for (std::size_t i = 0; i < some.size(); ++i) use(some[i], estimates[i]);
      numbers = numbers.subspan(some.size());
    }
  }

 private:
  alignas(kBitCodeBytes) std::array<std::byte, 4 * kBitCodeBytes> planes_{};
  float step_ = 0;  // what a unit of the four bits stands for
  float sum_ = 0;   // of the components, as kept
};

}  // namespace vkb

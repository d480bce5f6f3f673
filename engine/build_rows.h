// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "engine/bit_codes.h"
#include "engine/codes.h"
#include "engine/kernels.h"
#include "engine/page_array.h"
#include "engine/prefetch.h"
#include "engine/tuning.h"

namespace vkb {

// The codes of the rows of a graph that is being built, by ordinal: int8 codes, and one-bit codes
// from the time that fit() was called. Thread safety: rows are written by one thread each, and read
// once they were; grow(), clear() and use_bits() alone.
class BuildRows {
 public:
  BuildRows(Space space, std::uint32_t dim) noexcept
      : space_(space), dim_(dim), stride_(row_stride(code_bytes(dim))) {}

  void grow(std::uint64_t capacity);  // throws std::bad_alloc
  void clear() noexcept;

  // Once there are bits, also makes `query` ready for the row.
  void put(std::uint32_t row, const std::byte* code, BitQuery& query) noexcept;
  const std::byte* code(std::uint32_t row) const noexcept { return &codes_[row * stride_]; }
  float distance(std::uint32_t a, std::uint32_t b) const noexcept {
    return code_distance(space_, code(a), code(b), dim_, kernels_);
  }
  // The same from one row to at most kRankBatch others.
  void distances(std::uint32_t row, std::span<const std::uint32_t> others,
                 float* out) const noexcept {
    std::array<const std::byte*, kRankBatch> codes;
    std::ranges::transform(others, codes.begin(), [&](std::uint32_t i) { return code(i); });
    code_distances(space_, code(row), {codes.data(), others.size()}, dim_, kernels_, out);
  }

  bool has_bits() const noexcept { return projection_ != nullptr; }
  // A projection fitted to some of `rows`, at least one. Takes a while.
  std::unique_ptr<const BitProjection> fit(std::span<const std::uint32_t> rows) const;
  // Gives all `rows` one-bit codes by `projection`.
  void use_bits(std::unique_ptr<const BitProjection> projection,
                std::span<const std::uint32_t> rows);
  const std::byte* bit_code(std::uint32_t row) const noexcept {
    return &bits_[row * kBitCodeBytes];
  }
  const Kernels& kernels() const noexcept { return kernels_; }
  std::size_t code_size() const noexcept { return code_bytes(dim_); }

 private:
  BitProjector projector() const noexcept {
    return {projection_->directions, projection_->centre, dim_};
  }

  Space space_;
  std::uint32_t dim_;
  std::size_t stride_;
  std::uint64_t capacity_ = 0;
  const Kernels& kernels_ = vkb::kernels();
  PageArray<std::byte> codes_;
  std::unique_ptr<const BitProjection> projection_;
  PageArray<std::byte> bits_;
};

// The distances of one row to others, by int8 codes.
class CodeDistances {
 public:
  CodeDistances(const BuildRows& rows, std::uint32_t row) noexcept : rows_(rows), row_(row) {}
  // A row is a dozen cache lines: each() asks for them, not too many at once.
  void fetch(std::uint32_t /*other*/) const noexcept {}
  // use(other, distance) for each in turn.
  template <typename Use>
  void each(std::span<const std::uint32_t> others, const Use& use) const {
    in_batches<kRankBatch>(
        others, [&](std::uint32_t other) { prefetch(rows_.code(other), rows_.code_size()); },
        [&](std::span<const std::uint32_t> batch, float* out) {
          rows_.distances(row_, batch, out);
        },
        use);
  }

 private:
  const BuildRows& rows_;
  std::uint32_t row_;
};

// The same by one-bit codes, of the row that put() made `query` ready for: estimates that order
// rows as distances would, more or less.
class BitDistances {
 public:
  BitDistances(const BuildRows& rows, const BitQuery& query) noexcept
      : rows_(rows), query_(query) {}
  void fetch(std::uint32_t other) const noexcept { __builtin_prefetch(rows_.bit_code(other)); }
  // For rows that were fetched some time ago.
  template <typename Use>
  void each(std::span<const std::uint32_t> others, const Use& use) const {
    query_.each(rows_.bit_code(0), others, rows_.kernels(), use);
  }

 private:
  const BuildRows& rows_;
  const BitQuery& query_;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/build_rows.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace vkb {

void BuildRows::grow(std::uint64_t capacity) {
  codes_.grow(capacity * stride_);
  if (has_bits()) bits_.grow(capacity * kBitCodeBytes);
  capacity_ = std::max(capacity_, capacity);
}

void BuildRows::clear() noexcept {
  codes_.clear();
  bits_.clear();
  projection_.reset();
  capacity_ = 0;
}

void BuildRows::put(std::uint32_t row, const std::byte* code, BitQuery& query) noexcept {
  std::memcpy(&codes_[row * stride_], code, code_bytes(dim_));
  if (!has_bits()) return;
  std::array<float, kBitCodeBits> projected;
  projector().project(code, projected.data());
  projector().encode(space_, projected, &bits_[row * kBitCodeBytes]);
  query.prepare(projected);
}

std::unique_ptr<const BitProjection> BuildRows::fit(std::span<const std::uint32_t> rows) const {
  std::vector<float> vector(dim_);
  const auto decoded = [&](std::size_t i) {
    decode_int8(code(rows[i]), vector);
    return vector.data();
  };
  return std::make_unique<const BitProjection>(
      fit_bit_projection(space_, dim_, rows.size(), decoded));
}

void BuildRows::use_bits(std::unique_ptr<const BitProjection> projection,
                         std::span<const std::uint32_t> rows) {
  bits_.grow(capacity_ * kBitCodeBytes);
  projection_ = std::move(projection);
  for (const std::uint32_t row : rows) {
    projector().encode(space_, code(row), &bits_[row * kBitCodeBytes]);
  }
}

}  // namespace vkb

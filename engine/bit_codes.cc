// SPDX-License-Identifier: Apache-2.0
#include "engine/bit_codes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/codes.h"

namespace vkb {
namespace {

constexpr std::size_t kHeaderBytes = kBitCodeBytes - kBitCodeBits / 8;

// The upper half of a float's bits, rounded to nearest: eight significant bits are more than an
// estimate has.
std::uint16_t to_half(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(std::clamp(x, -3e38F, 3e38F));
  return static_cast<std::uint16_t>((bits + 0x8000) >> 16);
}

float from_half(std::uint32_t half) noexcept { return std::bit_cast<float>(half << 16); }

}  // namespace

void BitProjector::project(const std::byte* code, float* out) const noexcept {
  const std::size_t stride = row_stride(code_bytes(dim_));
  for (std::size_t i = 0; i < kBitCodeBits; ++i) {
    out[i] = code_dot(code, directions_.data() + i * stride, dim_, kernels()) - centre_[i];
  }
}

void BitProjector::encode(Space space, const std::byte* code, std::byte* out) const noexcept {
  std::array<float, kBitCodeBits> projected;
  project(code, projected.data());
  double squared = 0;
  double absolute = 0;
  double with_centre = 0;
  std::fill_n(out, kBitCodeBytes, std::byte{0});
  for (std::size_t i = 0; i < kBitCodeBits; ++i) {
    const double x = projected[i];
    squared += x * x;
    absolute += std::abs(x);
    with_centre += (x + double{centre_[i]}) * double{centre_[i]};
    if (x >= 0) out[kHeaderBytes + i / 8] |= std::byte{1} << (i % 8);
  }
  const double factor = absolute > 0 ? squared / absolute : 0;
  const bool is_l2 = space == Space::l2;
  const std::array<std::uint16_t, 2> header = {
      to_half(static_cast<float>(is_l2 ? 2 * factor : factor)),
      to_half(static_cast<float>(is_l2 ? squared : -with_centre))};
  static_assert(sizeof(header) == kHeaderBytes);
  std::memcpy(out, header.data(), sizeof(header));
}

void write_bit_codes(SegmentWriter& writer, Space space, std::size_t dim, std::size_t count,
                     const std::function<const float*(std::size_t)>& row) {
  const BitProjection projection = fit_bit_projection(space, dim, count, row);
  writer.begin(SectionKind::bit_directions);
  writer.append(projection.directions);
  writer.end();
  writer.begin(SectionKind::bit_centre);
  writer.append_values(std::span(projection.centre));
  writer.end();
  writer.begin(SectionKind::codes_1bit);
  const BitProjector projector(projection.directions, projection.centre, dim);
  std::vector<std::byte> code(code_bytes(dim));
  std::array<std::byte, kBitCodeBytes> bits;
  for (std::size_t slot = 0; slot < count; ++slot) {
    const std::span<const float> vector(row(slot), dim);
    encode_int8(vector, norm_of(vector), space, code.data());
    projector.encode(space, code.data(), bits.data());
    writer.append(bits);
  }
  writer.end();
}

void BitQuery::prepare(const BitProjector& projector, const std::byte* code) noexcept {
  std::array<float, kBitCodeBits> projected;
  projector.project(code, projected.data());
  float largest = 0;
  for (const float x : projected) largest = std::max(largest, std::abs(x));
  step_ = largest / 7.5F;
  const float to_level = largest > 0 ? 1.0F / step_ : 0.0F;
  planes_.fill(std::byte{0});
  int total = 0;
  for (std::size_t i = 0; i < kBitCodeBits; ++i) {
    // Two's complement of four bits: -8 .. 7.
    const int level =
        std::clamp(static_cast<int>(std::floor(projected[i] * to_level + 0.5F)), -8, 7);
    total += level;
    for (std::size_t plane = 0; plane < 4; ++plane) {
      if ((static_cast<unsigned>(level) >> plane) & 1) {
        planes_[plane * kBitCodeBytes + kHeaderBytes + i / 8] |= std::byte{1} << (i % 8);
      }
    }
  }
  sum_ = step_ * static_cast<float>(total);
}

float BitQuery::estimate(const std::byte* row, const Kernels& kernels) const noexcept {
  std::uint32_t header;
  std::memcpy(&header, row, sizeof(header));
  const auto dot = static_cast<float>(kernels.dot_bits(row, planes_.data()));
  // Twice the sum over the bits that are set, less the sum over all: each sign times a component.
  const float value =
      from_half(header >> 16) - from_half(header & 0xFFFF) * (2.0F * step_ * dot - sum_);
  return std::isnan(value) ? std::numeric_limits<float>::infinity() : value;
}

}  // namespace vkb

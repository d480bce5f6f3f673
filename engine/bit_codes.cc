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
std::uint16_t to_half(double x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::clamp(x, -3e38, 3e38)));
  return static_cast<std::uint16_t>((bits + 0x8000) >> 16);
}

// x + 1/2 rounded down, within the range of four bits in two's complement. The comparisons are
// written so that NaN, which a damaged projection gives, passes neither.
int to_level(float x) noexcept {
  return static_cast<int>((x >= -8.0F ? (x <= 7.0F ? x : 7.0F) : -8.0F) + 8.5F) - 8;
}

float from_half(std::uint32_t half) noexcept { return std::bit_cast<float>(half << 16); }

}  // namespace

void BitProjector::project(const std::byte* code, float* out) const noexcept {
  const std::size_t stride = row_stride(code_bytes(dim_));
  std::array<const std::byte*, kBitCodeBits> directions;
  for (std::size_t i = 0; i < kBitCodeBits; ++i) directions[i] = directions_.data() + i * stride;
  code_dots(code, directions, dim_, kernels(), out);
  for (std::size_t i = 0; i < kBitCodeBits; ++i) out[i] -= centre_[i];
}

void BitProjector::encode(Space space, const std::byte* code, std::byte* out) const noexcept {
  std::array<float, kBitCodeBits> projected;
  project(code, projected.data());
  encode(space, projected, out);
}

void BitProjector::encode(Space space, std::span<const float, kBitCodeBits> projected,
                          std::byte* out) const noexcept {
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
  const std::array<std::uint16_t, 2> header = {to_half(is_l2 ? 2 * factor : factor),
                                               to_half(is_l2 ? squared : -with_centre)};
  static_assert(sizeof(header) == kHeaderBytes);
  std::memcpy(out, header.data(), sizeof(header));
}

BitCodeRows::BitCodeRows(Space space, std::size_t dim, std::size_t count,
                         const std::function<const float*(std::size_t)>& row)
    : space_(space),
      projection_(fit_bit_projection(space, dim, count, row)),
      projector_(projection_.directions, projection_.centre, dim) {
  codes_.resize(count * kBitCodeBytes);
}

void BitCodeRows::set(std::size_t slot, const std::byte* code) {
  projector_.encode(space_, code, codes_.data() + slot * kBitCodeBytes);
}

void BitCodeRows::write(SegmentWriter& writer) const {
  writer.begin(SectionKind::bit_directions);
  writer.append(projection_.directions);
  writer.end();
  writer.begin(SectionKind::bit_centre);
  writer.append_values(std::span(projection_.centre));
  writer.end();
  writer.begin(SectionKind::codes_1bit);
  writer.append(codes_);
  writer.end();
}

void BitQuery::prepare(const BitProjector& projector, const std::byte* code) noexcept {
  std::array<float, kBitCodeBits> projected;
  projector.project(code, projected.data());
  prepare(projected);
}

void BitQuery::prepare(std::span<const float, kBitCodeBits> projected) noexcept {
  float largest = 0;
  for (const float x : projected) largest = std::max(largest, std::abs(x));
  step_ = largest / 7.5F;
  const float levels = largest > 0 ? 1.0F / step_ : 0.0F;  // in one unit
  planes_.fill(std::byte{0});
  int total = 0;
  for (std::size_t i = 0; i < kBitCodeBits; ++i) {
    const int level = to_level(projected[i] * levels);
    total += level;
    for (std::size_t plane = 0; plane < 4; ++plane) {
      const std::byte bit{static_cast<unsigned char>((static_cast<unsigned>(level) >> plane) & 1)};
      planes_[plane * kBitCodeBytes + kHeaderBytes + i / 8] |= bit << (i % 8);
    }
  }
  sum_ = step_ * static_cast<float>(total);
}

void BitQuery::estimate(const std::byte* rows, std::span<const std::uint32_t> numbers, float* out,
                        const Kernels& kernels) const noexcept {
  std::array<std::int32_t, kMostEstimates> dots;
  kernels.dot_bits(rows, numbers.data(), numbers.size(), planes_.data(), dots.data());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::uint32_t header;
    std::memcpy(&header, rows + std::size_t{numbers[i]} * kBitCodeBytes, sizeof(header));
    // Twice the sum over the bits that are set, less the sum over all: each sign times a component.
    const float product = 2.0F * step_ * static_cast<float>(dots[i]) - sum_;
    const float value = from_half(header >> 16) - from_half(header & 0xFFFF) * product;
    out[i] = std::isnan(value) ? std::numeric_limits<float>::infinity() : value;
  }
}

}  // namespace vkb

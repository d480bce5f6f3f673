// SPDX-License-Identifier: Apache-2.0
//
// Kernels for AArch64, whose baseline has NEON: no flags, no question at run time.
#include <arm_neon.h>

#include "engine/kernels.h"
#include "engine/kernels_xsimd.h"

namespace vkb {
namespace {

using Arch = xsimd::neon64;

struct Products {
  static int32x4_t zero() noexcept { return vdupq_n_s32(0); }
  // Each product fits into 16 bits; they are summed in pairs.
  static int32x4_t add(int32x4_t sums, const std::int8_t* a, const std::int8_t* b) noexcept {
    const int8x16_t x = vld1q_s8(a);
    const int8x16_t y = vld1q_s8(b);
    sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
    return vpadalq_s16(sums, vmull_high_s8(x, y));
  }
  static std::int32_t total(int32x4_t a, int32x4_t b) noexcept {
    return vaddvq_s32(vaddq_s32(a, b));
  }
};

void dot_i4(const std::int8_t* query, std::int32_t query_sum, const std::byte* const* rows,
            std::size_t count, std::size_t blocks, std::int32_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const auto* const row = reinterpret_cast<const std::uint8_t*>(rows[i]);
    int32x4_t sums = vdupq_n_s32(0);
    for (std::size_t j = 0; j < 64 * blocks; j += 16) {
      const uint8x16_t codes = vld1q_u8(row + j);
      const int8x16_t low_codes = vreinterpretq_s8_u8(vandq_u8(codes, vdupq_n_u8(0x0F)));
      const int8x16_t high_codes = vreinterpretq_s8_u8(vshrq_n_u8(codes, 4));
      // Components that the lower halves of these bytes have; 64 on, those of the upper ones.
      const std::int8_t* const at = query + 2 * (j / 64 * 64) + j % 64;
      const int8x16_t low = vld1q_s8(at);
      const int8x16_t high = vld1q_s8(at + 64);
      // Four products of at most 15 * 127 fit into 16 bits.
      int16x8_t products = vmull_s8(vget_low_s8(low_codes), vget_low_s8(low));
      products = vmlal_high_s8(products, low_codes, low);
      products = vmlal_s8(products, vget_low_s8(high_codes), vget_low_s8(high));
      products = vmlal_high_s8(products, high_codes, high);
      sums = vpadalq_s16(sums, products);
    }
    out[i] = vaddvq_s32(sums) - 8 * query_sum;
  }
}

std::int32_t dot_bits_of(const uint8x16x4_t& row, const std::uint8_t* planes) noexcept {
  // At most 32 in each byte.
  const auto count = [&](std::size_t plane) {
    const uint8x16x4_t mask = vld1q_u8_x4(planes + 64 * plane);
    const auto ones = [&](int part) { return vcntq_u8(vandq_u8(row.val[part], mask.val[part])); };
    return vaddq_u8(vaddq_u8(ones(0), ones(1)), vaddq_u8(ones(2), ones(3)));
  };
  // At most 7 * 32: still a byte.
  const uint8x16_t positive =
      vaddq_u8(count(0), vaddq_u8(vshlq_n_u8(count(1), 1), vshlq_n_u8(count(2), 2)));
  return std::int32_t{vaddlvq_u8(positive)} - 8 * std::int32_t{vaddlvq_u8(count(3))};
}

void dot_bits(const std::byte* rows, const std::uint32_t* numbers, std::size_t count,
              const std::byte* planes, std::int32_t* out) noexcept {
  const auto* row_bytes = reinterpret_cast<const std::uint8_t*>(rows);
  const auto* plane_bytes = reinterpret_cast<const std::uint8_t*>(planes);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = dot_bits_of(vld1q_u8_x4(row_bytes + 64 * std::size_t{numbers[i]}), plane_bytes);
  }
}

}  // namespace

constinit const Kernels kNeonKernels = {
    "neon",  dot_f32_xsimd<Arch>, squared_l2_f32_xsimd<Arch>, dot_i8_by_16<Products>, dot_i4,
    dot_bits};

}  // namespace vkb

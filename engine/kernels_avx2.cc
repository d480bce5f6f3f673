// SPDX-License-Identifier: Apache-2.0
//
// Kernels for AVX2 with FMA. Compiled with flags of its own: include nothing here whose inline
// functions other files might use.
#include <immintrin.h>

#include "engine/kernels.h"
#include "engine/kernels_xsimd.h"

namespace vkb {
namespace {

using Arch = xsimd::fma3<xsimd::avx2>;

// 16 products, summed in pairs: |a * b| <= 127 * 127, so a pair fits easily in 32 bits.
__m256i multiply_add(__m256i sums, const std::int8_t* a, const std::int8_t* b) noexcept {
  const __m256i wide_a = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
  const __m256i wide_b = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(wide_a, wide_b));
}

std::int32_t total(__m256i sums) noexcept {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  half = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 1));
  return _mm_cvtsi128_si32(half);
}

std::int32_t dot_i8(const std::int8_t* a, const std::int8_t* b, std::int32_t /*sum_b*/,
                    std::size_t n) noexcept {
  __m256i sum0 = _mm256_setzero_si256();
  __m256i sum1 = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    sum0 = multiply_add(sum0, a + i, b + i);
    sum1 = multiply_add(sum1, a + i + 16, b + i + 16);
  }
  if (i + 16 <= n) {
    sum0 = multiply_add(sum0, a + i, b + i);
    i += 16;
  }
  std::int32_t sum = total(_mm256_add_epi32(sum0, sum1));
  for (; i < n; ++i) sum += std::int32_t{a[i]} * std::int32_t{b[i]};
  return sum;
}

}  // namespace

constinit const Kernels kAvx2Kernels = {"avx2", dot_f32_xsimd<Arch>, squared_l2_f32_xsimd<Arch>,
                                        dot_i8};

}  // namespace vkb

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

std::int32_t sum_of_lanes(__m256i sums) noexcept {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  half = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 1));
  return _mm_cvtsi128_si32(half);
}

struct Products {
  static __m256i zero() noexcept { return _mm256_setzero_si256(); }
  // Summed in pairs: |a * b| <= 127 * 127, so a pair fits easily in 32 bits.
  static __m256i add(__m256i sums, const std::int8_t* a, const std::int8_t* b) noexcept {
    const auto wide = [](const std::int8_t* at) {
      return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
    };
    return _mm256_add_epi32(sums, _mm256_madd_epi16(wide(a), wide(b)));
  }
  static std::int32_t total(__m256i a, __m256i b) noexcept {
    return sum_of_lanes(_mm256_add_epi32(a, b));
  }
};

void dot_i4(const std::int8_t* query, std::int32_t query_sum, const std::byte* const* rows,
            std::size_t count, std::size_t blocks, std::int32_t* out) noexcept {
  const __m256i low_half = _mm256_set1_epi8(0x0F);
  const __m256i ones = _mm256_set1_epi16(1);
  const auto load = [](const void* at) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(at));
  };
  for (std::size_t i = 0; i < count; ++i) {
    __m256i sums = _mm256_setzero_si256();
    for (std::size_t j = 0; j < 64 * blocks; j += 32) {
      const __m256i codes = load(rows[i] + j);
      // Components that the lower halves of these bytes have; 64 on, those of the upper ones.
      const std::int8_t* const low = query + 2 * (j / 64 * 64) + j % 64;
      const __m256i high_codes = _mm256_and_si256(_mm256_srli_epi16(codes, 4), low_half);
      // Four products of at most 15 * 127 fit into 16 bits.
      const __m256i products =
          _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(codes, low_half), load(low)),
                           _mm256_maddubs_epi16(high_codes, load(low + 64)));
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(products, ones));
    }
    out[i] = sum_of_lanes(sums) - 8 * query_sum;
  }
}

// Bits set in each byte, by a table of what half a byte has (Mula, Kurz & Lemire 2018).
__m256i count_bits(__m256i bytes) noexcept {
  const __m256i table =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low_half = _mm256_set1_epi8(0x0F);
  const __m256i low = _mm256_and_si256(bytes, low_half);
  const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low_half);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

std::int32_t dot_bits_of(const std::byte* row, const std::byte* planes) noexcept {
  const auto load = [](const std::byte* at) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
  };
  const __m256i first = load(row);
  const __m256i second = load(row + 32);
  // At most 16 a byte: eight times that still fits.
  const auto count = [&](std::size_t plane) {
    return _mm256_add_epi8(count_bits(_mm256_and_si256(first, load(planes + 64 * plane))),
                           count_bits(_mm256_and_si256(second, load(planes + 64 * plane + 32))));
  };
  const __m256i two = count(1);
  __m256i four = count(2);
  __m256i eight = count(3);
  four = _mm256_add_epi8(four, four);
  eight = _mm256_add_epi8(eight, eight);
  const __m256i zero = _mm256_setzero_si256();
  const __m256i positive =
      _mm256_add_epi64(_mm256_sad_epu8(_mm256_add_epi8(count(0), _mm256_add_epi8(two, two)), zero),
                       _mm256_sad_epu8(_mm256_add_epi8(four, four), zero));
  const __m256i negative = _mm256_sad_epu8(_mm256_add_epi8(eight, eight), zero);
  return sum_of_lanes(positive) - 2 * sum_of_lanes(negative);
}

void dot_bits(const std::byte* rows, const std::uint32_t* numbers, std::size_t count,
              const std::byte* planes, std::int32_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = dot_bits_of(rows + 64 * std::size_t{numbers[i]}, planes);
  }
}

}  // namespace

constinit const Kernels kAvx2Kernels = {
    "avx2",  dot_f32_xsimd<Arch>, squared_l2_f32_xsimd<Arch>, dot_i8_by_16<Products>, dot_i4,
    dot_bits};

}  // namespace vkb

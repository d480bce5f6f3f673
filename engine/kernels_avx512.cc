// SPDX-License-Identifier: Apache-2.0
//
// Kernels for AVX-512 with VNNI and VPOPCNTDQ (Intel since Ice Lake, AMD since Zen 4). Compiled
// with flags of its own: include nothing here whose inline functions other files might use.
#include <immintrin.h>

#include "engine/kernels.h"
#include "engine/kernels_xsimd.h"

namespace vkb {
namespace {

using Arch = xsimd::avx512bw;

// The sums of the lanes of four registers.
__m128i totals(__m512i a, __m512i b, __m512i c, __m512i d) noexcept {
  const auto half = [](__m512i x) {
    return _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
  };
  const __m256i quarters =
      _mm256_hadd_epi32(_mm256_hadd_epi32(half(a), half(b)), _mm256_hadd_epi32(half(c), half(d)));
  return _mm_add_epi32(_mm256_castsi256_si128(quarters), _mm256_extracti128_si256(quarters, 1));
}

// out[i]: the sum of the lanes that add(row i) leaves, less `excess`. add(rows, sums) takes as many
// rows as it has sums. Four at a time, so that their memory is waited for together and adding up
// the lanes, which is the longest part for a single row, is shared. Unsigned, because a code from
// a damaged file may give an excess of any size: then the result is wrong but defined.
template <typename Row, typename Add>
void in_fours(const Row* rows, std::size_t count, std::uint32_t excess, std::int32_t* out,
              const Add& add) noexcept {
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    __m512i sums[4];
    add(rows + i, sums);
    const __m128i dots = totals(sums[0], sums[1], sums[2], sums[3]);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                     _mm_sub_epi32(dots, _mm_set1_epi32(static_cast<std::int32_t>(excess))));
  }
  for (; i < count; ++i) {
    __m512i sums[1];
    add(rows + i, sums);
    const auto sum = static_cast<std::uint32_t>(_mm512_reduce_add_epi32(sums[0]));
    out[i] = static_cast<std::int32_t>(sum - excess);
  }
}

// dpbusd multiplies unsigned by signed bytes. x xor 0x80 is x + 128 as an unsigned byte, so a sum
// comes out too large by 128 * query_sum. Bytes that a mask leaves out are not read, and are 0 in
// the query, so they add nothing.
template <std::size_t kRows>
void multiply_add(const std::int8_t* query, const std::int8_t* const* rows, std::size_t n,
                  __m512i (&sums)[kRows]) noexcept {
  const __m512i sign = _mm512_set1_epi8(-128);
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  std::size_t j = 0;
  for (; j + 64 <= n; j += 64) {
    const __m512i components = _mm512_loadu_si512(query + j);
    for (std::size_t i = 0; i < kRows; ++i) {
      const __m512i bytes = _mm512_xor_si512(_mm512_loadu_si512(rows[i] + j), sign);
      sums[i] = _mm512_dpbusd_epi32(sums[i], bytes, components);
    }
  }
  if (j == n) return;
  const __mmask64 mask = (std::uint64_t{1} << (n - j)) - 1;
  const __m512i components = _mm512_maskz_loadu_epi8(mask, query + j);
  for (std::size_t i = 0; i < kRows; ++i) {
    const __m512i bytes = _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, rows[i] + j), sign);
    sums[i] = _mm512_dpbusd_epi32(sums[i], bytes, components);
  }
}

void dot_i8(const std::int8_t* query, std::int32_t query_sum, const std::int8_t* const* rows,
            std::size_t count, std::size_t n, std::int32_t* out) noexcept {
  in_fours(rows, count, 128U * static_cast<std::uint32_t>(query_sum), out,
           [=](const std::int8_t* const* some, auto& sums) { multiply_add(query, some, n, sums); });
}

template <std::size_t kRows>
void multiply_add_int4(const std::int8_t* query, const std::byte* const* rows, std::size_t blocks,
                       __m512i (&sums)[kRows]) noexcept {
  const __m512i low_half = _mm512_set1_epi8(0x0F);
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (std::size_t block = 0; block < blocks; ++block) {
    const __m512i low = _mm512_loadu_si512(query + 128 * block);
    const __m512i high = _mm512_loadu_si512(query + 128 * block + 64);
    for (std::size_t i = 0; i < kRows; ++i) {
      const __m512i codes = _mm512_loadu_si512(rows[i] + 64 * block);
      sums[i] = _mm512_dpbusd_epi32(sums[i], _mm512_and_si512(codes, low_half), low);
      const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(codes, 4), low_half);
      sums[i] = _mm512_dpbusd_epi32(sums[i], upper, high);
    }
  }
}

void dot_i4(const std::int8_t* query, std::int32_t query_sum, const std::byte* const* rows,
            std::size_t count, std::size_t blocks, std::int32_t* out) noexcept {
  in_fours(rows, count, 8U * static_cast<std::uint32_t>(query_sum), out,
           [=](const std::byte* const* some, auto& sums) {
             multiply_add_int4(query, some, blocks, sums);
           });
}

// Four rows at a time: a dot product fits into 16 bits, so the sums of four share the lanes of one
// register, and adding up the lanes, which is the longest part for a single row, is done once.
void dot_bits(const std::byte* rows, const std::uint32_t* numbers, std::size_t count,
              const std::byte* planes, std::int32_t* out) noexcept {
  const __m512i plane0 = _mm512_loadu_si512(planes);
  const __m512i plane1 = _mm512_loadu_si512(planes + 64);
  const __m512i plane2 = _mm512_loadu_si512(planes + 128);
  const __m512i plane3 = _mm512_loadu_si512(planes + 192);
  const auto row = [&](std::size_t i) {
    const __m512i bits = _mm512_loadu_si512(rows + 64 * std::size_t{numbers[i]});
    const auto ones = [&](__m512i plane) {
      return _mm512_popcnt_epi64(_mm512_and_si512(bits, plane));
    };
    const __m512i low = _mm512_add_epi64(ones(plane0), _mm512_slli_epi64(ones(plane1), 1));
    const __m512i high = _mm512_sub_epi64(ones(plane2), _mm512_slli_epi64(ones(plane3), 1));
    return _mm512_add_epi64(low, _mm512_slli_epi64(high, 2));
  };
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const __m512i two = _mm512_add_epi64(row(i), _mm512_slli_epi64(row(i + 1), 16));
    const __m512i more = _mm512_add_epi64(row(i + 2), _mm512_slli_epi64(row(i + 3), 16));
    long long sums = _mm512_reduce_add_epi64(_mm512_add_epi64(two, _mm512_slli_epi64(more, 32)));
    // A negative part has borrowed one from the part above it.
    for (std::size_t j = 0; j < 4; ++j) {
      const auto part = static_cast<std::int16_t>(sums);
      out[i + j] = part;
      sums = (sums - part) >> 16;
    }
  }
  for (; i < count; ++i) out[i] = static_cast<std::int32_t>(_mm512_reduce_add_epi64(row(i)));
}

}  // namespace

constinit const Kernels kAvx512Kernels = {
    "avx512", dot_f32_xsimd<Arch>, squared_l2_f32_xsimd<Arch>, dot_i8, dot_i4, dot_bits};

}  // namespace vkb

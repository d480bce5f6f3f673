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

// dpbusd multiplies unsigned by signed bytes. a xor 0x80 is a + 128 as an unsigned byte, so the sum
// comes out too large by 128 * sum(b), which dot_i8 takes off at the end.
__m512i multiply_add(__m512i sums, __m512i a, __m512i b) noexcept {
  return _mm512_dpbusd_epi32(sums, _mm512_xor_si512(a, _mm512_set1_epi8(-128)), b);
}

std::int32_t dot_i8(const std::int8_t* a, const std::int8_t* b, std::int32_t sum_b,
                    std::size_t n) noexcept {
  __m512i sum0 = _mm512_setzero_si512();
  __m512i sum1 = _mm512_setzero_si512();
  std::size_t i = 0;
  for (; i + 128 <= n; i += 128) {
    sum0 = multiply_add(sum0, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    sum1 = multiply_add(sum1, _mm512_loadu_si512(a + i + 64), _mm512_loadu_si512(b + i + 64));
  }
  if (i + 64 <= n) {
    sum0 = multiply_add(sum0, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    i += 64;
  }
  if (i < n) {
    // Bytes that the mask leaves out are not read, and are 0 in b, so they add nothing.
    const __mmask64 mask = (std::uint64_t{1} << (n - i)) - 1;
    sum1 = multiply_add(sum1, _mm512_maskz_loadu_epi8(mask, a + i),
                        _mm512_maskz_loadu_epi8(mask, b + i));
  }
  // Unsigned, because sum_b may come from a damaged file: then the result is wrong but defined.
  const auto sum =
      static_cast<std::uint32_t>(_mm512_reduce_add_epi32(_mm512_add_epi32(sum0, sum1)));
  return static_cast<std::int32_t>(sum - 128U * static_cast<std::uint32_t>(sum_b));
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

constinit const Kernels kAvx512Kernels = {"avx512", dot_f32_xsimd<Arch>, squared_l2_f32_xsimd<Arch>,
                                          dot_i8, dot_bits};

}  // namespace vkb

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

std::int32_t dot_bits(const std::byte* row, const std::byte* planes) noexcept {
  const __m512i bits = _mm512_loadu_si512(row);
  const auto count = [&](std::size_t plane) {
    return _mm512_popcnt_epi64(_mm512_and_si512(bits, _mm512_loadu_si512(planes + 64 * plane)));
  };
  const __m512i low = _mm512_add_epi64(count(0), _mm512_slli_epi64(count(1), 1));
  const __m512i high = _mm512_sub_epi64(count(2), _mm512_slli_epi64(count(3), 1));
  const __m512i sums = _mm512_add_epi64(low, _mm512_slli_epi64(high, 2));
  return static_cast<std::int32_t>(_mm512_reduce_add_epi64(sums));
}

}  // namespace

constinit const Kernels kAvx512Kernels = {"avx512", dot_f32_xsimd<Arch>, squared_l2_f32_xsimd<Arch>,
                                          dot_i8, dot_bits};

}  // namespace vkb

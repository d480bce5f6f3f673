// SPDX-License-Identifier: Apache-2.0
//
// The kernels that several vector instruction sets share: f32 by xsimd, and int8 for those that
// multiply 16 bytes at a time, for which xsimd has nothing. Included only by files compiled with
// the flags of one set, and instantiated there for that set's Arch or Products, so that each
// instantiation exists in one object file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <xsimd/xsimd.hpp>

namespace vkb {

// Calls step(accumulator, i) for each whole batch at i, with four accumulators in turn: a fused
// multiply-add takes four cycles and two can start in each. Returns the sum of all lanes and sets
// `i` to the first component not taken.
template <typename Batch, typename Step>
inline float accumulate_batches(std::size_t n, std::size_t& i, const Step& step) noexcept {
  constexpr std::size_t kWidth = Batch::size;
  Batch sum0(0.0F);
  Batch sum1(0.0F);
  Batch sum2(0.0F);
  Batch sum3(0.0F);
  for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
    sum0 = step(sum0, i);
    sum1 = step(sum1, i + kWidth);
    sum2 = step(sum2, i + 2 * kWidth);
    sum3 = step(sum3, i + 3 * kWidth);
  }
  for (; i + kWidth <= n; i += kWidth) sum0 = step(sum0, i);
  return xsimd::hadd((sum0 + sum1) + (sum2 + sum3));
}

template <typename Arch>
float dot_f32_xsimd(const float* a, const float* b, std::size_t n) noexcept {
  using Batch = xsimd::batch<float, Arch>;
  std::size_t i = 0;
  float sum = accumulate_batches<Batch>(n, i, [a, b](const Batch& sums, std::size_t at) {
    return xsimd::fma(Batch::load_unaligned(a + at), Batch::load_unaligned(b + at), sums);
  });
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename Arch>
float squared_l2_f32_xsimd(const float* a, const float* b, std::size_t n) noexcept {
  using Batch = xsimd::batch<float, Arch>;
  std::size_t i = 0;
  float sum = accumulate_batches<Batch>(n, i, [a, b](const Batch& sums, std::size_t at) {
    const Batch difference = Batch::load_unaligned(a + at) - Batch::load_unaligned(b + at);
    return xsimd::fma(difference, difference, sums);
  });
  for (; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// Kernels::dot_i8. Products has a register of Sums; zero(); add(sums, a, b), the sums and 16
// products; and total(sums), of all lanes of two such.
template <typename Products>
void dot_i8_by_16(const std::int8_t* query, std::int32_t /*query_sum*/,
                  const std::int8_t* const* rows, std::size_t count, std::size_t n,
                  std::int32_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const std::int8_t* const row = rows[i];
    auto sums0 = Products::zero();
    auto sums1 = Products::zero();
    std::size_t j = 0;
    for (; j + 32 <= n; j += 32) {
      sums0 = Products::add(sums0, row + j, query + j);
      sums1 = Products::add(sums1, row + j + 16, query + j + 16);
    }
    if (j + 16 <= n) {
      sums0 = Products::add(sums0, row + j, query + j);
      j += 16;
    }
    std::int32_t sum = Products::total(sums0, sums1);
    for (; j < n; ++j) sum += std::int32_t{row[j]} * std::int32_t{query[j]};
    out[i] = sum;
  }
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The kernels for any CPU, and the reference for the others. Eight partial sums, so that the
// additions do not wait for each other and the compiler may use whatever vectors the baseline has.
#include <bit>
#include <cstring>

#include "engine/kernels.h"

namespace vkb {
namespace {

constexpr std::size_t kLanes = 8;

float total(const float (&sums)[kLanes]) noexcept {
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

float dot_f32(const float* a, const float* b, std::size_t n) noexcept {
  float sums[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (std::size_t j = 0; i < n; ++i, ++j) sums[j] += a[i] * b[i];
  return total(sums);
}

float squared_l2_f32(const float* a, const float* b, std::size_t n) noexcept {
  float sums[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) {
      const float difference = a[i + j] - b[i + j];
      sums[j] += difference * difference;
    }
  }
  for (std::size_t j = 0; i < n; ++i, ++j) {
    const float difference = a[i] - b[i];
    sums[j] += difference * difference;
  }
  return total(sums);
}

void dot_i8(const std::int8_t* query, std::int32_t /*query_sum*/, const std::int8_t* const* rows,
            std::size_t count, std::size_t n, std::int32_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const std::int8_t* const row = rows[i];
    std::int32_t sum = 0;
    for (std::size_t j = 0; j < n; ++j) sum += std::int32_t{row[j]} * std::int32_t{query[j]};
    out[i] = sum;
  }
}

void dot_i4(const std::int8_t* query, std::int32_t query_sum, const std::byte* const* rows,
            std::size_t count, std::size_t blocks, std::int32_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    std::int32_t sum = 0;
    for (std::size_t block = 0; block < blocks; ++block) {
      const std::byte* const codes = rows[i] + 64 * block;
      const std::int8_t* const low = query + 128 * block;
      const std::int8_t* const high = low + 64;
      for (std::size_t j = 0; j < 64; ++j) {
        const int byte = std::to_integer<int>(codes[j]);
        sum += (byte & 15) * low[j] + (byte >> 4) * high[j];
      }
    }
    out[i] = sum - 8 * query_sum;
  }
}

std::int32_t dot_bits_of(const std::byte* row, const std::byte* planes) noexcept {
  std::int32_t sum = 0;
  for (std::size_t plane = 0; plane < 4; ++plane) {
    std::int32_t count = 0;
    for (std::size_t word = 0; word < 8; ++word) {
      std::uint64_t bits = 0;
      std::uint64_t mask = 0;
      std::memcpy(&bits, row + 8 * word, sizeof(bits));
      std::memcpy(&mask, planes + 64 * plane + 8 * word, sizeof(mask));
      count += std::popcount(bits & mask);
    }
    sum += plane == 3 ? -8 * count : count << plane;
  }
  return sum;
}

void dot_bits(const std::byte* rows, const std::uint32_t* numbers, std::size_t count,
              const std::byte* planes, std::int32_t* out) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = dot_bits_of(rows + 64 * std::size_t{numbers[i]}, planes);
  }
}

}  // namespace

constinit const Kernels kPlainKernels = {"plain", dot_f32, squared_l2_f32,
                                         dot_i8,  dot_i4,  dot_bits};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The distance kernels: the only code that touches every component of a vector. One set per
// instruction set, each in a file compiled with its own flags; the best that this CPU runs is
// chosen once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace vkb {

// All functions take n components of any alignment, n >= 0, are pure, and never read past n.
struct Kernels {
  std::string_view name;  // "avx512", "avx2", "neon", "plain"
  float (*dot_f32)(const float* a, const float* b, std::size_t n) noexcept;  // sum of a[i] * b[i]
  float (*squared_l2_f32)(const float* a, const float* b, std::size_t n) noexcept;
  // out[i]: the sum of rows[i][j] * query[j], exact, for `count` rows. query_sum: the sum of
  // query[j], which the VNNI form needs (it multiplies unsigned by signed); the others ignore it.
  // Components are -127 .. 127 and n <= 16384, so nothing overflows.
  void (*dot_i8)(const std::int8_t* query, std::int32_t query_sum, const std::int8_t* const* rows,
                 std::size_t count, std::size_t n, std::int32_t* out) noexcept;
  // out[i]: the sum of rows[i]'s codes times query[j], exact, for `count` rows of codes_int4, each
  // of `blocks` blocks (storage/segment_format.h) of 128 codes. query: 128 * blocks components of
  // -127 .. 127 whose sum is query_sum; those that the rows do not have are zero.
  void (*dot_i4)(const std::int8_t* query, std::int32_t query_sum, const std::byte* const* rows,
                 std::size_t count, std::size_t blocks, std::int32_t* out) noexcept;
  // The dot products of the bits of `count` rows, row i the 64 bytes at rows + 64 * numbers[i],
  // with numbers of four bits in two's complement, given as planes [4][64], lowest first:
  // popcount(row & plane 0) + 2 * popcount(row & plane 1) + 4 * popcount(row & plane 2) - 8 *
  // popcount(row & plane 3). Exact.
  void (*dot_bits)(const std::byte* rows, const std::uint32_t* numbers, std::size_t count,
                   const std::byte* planes, std::int32_t* out) noexcept;
};

// The best set for this CPU, or the one VKB_KERNELS names ("plain", "avx2", "avx512", "neon") when
// it runs here.
const Kernels& kernels() noexcept;
// Every set that this CPU can run, plain first.
std::span<const Kernels* const> available_kernels() noexcept;
// The rule behind kernels(): the set called `name`, or the last of `sets` when none is.
const Kernels& choose_kernels(std::span<const Kernels* const> sets, std::string_view name) noexcept;

// The sets themselves, a file each. Calling one that the CPU lacks ends the program: use the
// functions above. AVX exists on x86-64 only, NEON on AArch64.
extern const Kernels kPlainKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kNeonKernels;

}  // namespace vkb

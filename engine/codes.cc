// SPDX-License-Identifier: Apache-2.0
#include "engine/codes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace vkb {
namespace {

constexpr float kMaxFloat = std::numeric_limits<float>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kCodeBatch = 32;  // rows that the kernel gets at a time
// Between these a product of two lengths, and the dot product it divides, keep full f32 precision.
constexpr double kSafeScaleMin = 1e-24;
constexpr double kSafeScaleMax = 1e36;

double length_of(const float* vector, std::size_t dim) noexcept {
  double sums[4] = {};
  std::size_t i = 0;
  for (; i + 4 <= dim; i += 4) {
    for (std::size_t j = 0; j < 4; ++j) {
      const double x = vector[i + j];
      sums[j] += x * x;
    }
  }
  for (; i < dim; ++i) sums[0] += double{vector[i]} * double{vector[i]};
  return std::sqrt((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

float to_float(double x) noexcept {
  if (x > double{kMaxFloat}) return kInfinity;
  if (x < -double{kMaxFloat}) return -kInfinity;
  return static_cast<float>(x);
}

float distance_in_double(Space space, const float* a, const float* b, std::size_t dim) noexcept {
  double dot = 0;
  double squared_l2 = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    const double difference = double{a[i]} - double{b[i]};
    dot += double{a[i]} * double{b[i]};
    squared_l2 += difference * difference;
  }
  switch (space) {
    case Space::cosine:
      return to_float(1.0 -
                      dot / ((length_of(a, dim) + kNormFloor) * (length_of(b, dim) + kNormFloor)));
    case Space::l2:
      return to_float(squared_l2);
    case Space::ip:
      return to_float(1.0 - dot);
  }
  return kInfinity;
}

// Nearest integer, halves away from zero; unlike std::lrint a form that compilers vectorize. The
// comparisons are written so that NaN passes neither.
std::int8_t rounded(double x) noexcept {
  const double limited = x >= -127.0 ? (x <= 127.0 ? x : 127.0) : -127.0;
  return static_cast<std::int8_t>(static_cast<int>(limited + std::copysign(0.5, limited)));
}

Int8CodeHeader header_of(const std::byte* code) noexcept {
  Int8CodeHeader header;
  std::memcpy(&header, code, sizeof(header));
  return header;
}

const std::int8_t* components_of(const std::byte* code) noexcept {
  return reinterpret_cast<const std::int8_t*>(code + sizeof(Int8CodeHeader));
}

float distance_of(Space space, float dot, float squared_norm_a, float squared_norm_b) noexcept {
  const float distance =
      space == Space::l2 ? squared_norm_a + squared_norm_b - 2.0F * dot : 1.0F - dot;
  return std::isnan(distance) ? kInfinity : distance;  // only from components near the f32 limit
}

}  // namespace

float norm_of(std::span<const float> vector) noexcept {
  return static_cast<float>(std::min(length_of(vector.data(), vector.size()), double{kMaxFloat}));
}

void encode_int8(std::span<const float> vector, float norm, Space space, std::byte* out) noexcept {
  float largest = 0;
  for (const float x : vector) largest = std::max(largest, std::abs(x));
  // norm_of() stops at the largest float; the true length, then needed, is beyond it.
  const double length = norm < kMaxFloat ? norm : length_of(vector.data(), vector.size());
  const double unit = space != Space::cosine ? 1.0 : length > 0 ? 1.0 / length : 0.0;

  Int8CodeHeader header{};
  header.scale = static_cast<float>(double{largest} / 127.0 * unit);
  header.squared_norm = to_float(length * unit * (length * unit));
  auto* components = reinterpret_cast<std::int8_t*>(out + sizeof(header));
  const double to_code = largest > 0 ? 127.0 / double{largest} : 0.0;
  for (std::size_t i = 0; i < vector.size(); ++i) {
    components[i] = rounded(double{vector[i]} * to_code);
    header.sum += components[i];
  }
  std::memcpy(out, &header, sizeof(header));
}

void decode_int8(const std::byte* code, std::span<float> out) noexcept {
  const float scale = header_of(code).scale;
  const std::int8_t* const components = components_of(code);
  std::transform(components, components + out.size(), out.begin(),
                 [&](std::int8_t x) { return scale * static_cast<float>(x); });
}

void code_dots(const std::byte* query, std::span<const std::byte* const> rows, std::size_t dim,
               const Kernels& kernels, float* out) noexcept {
  const Int8CodeHeader header = header_of(query);
  std::array<const std::int8_t*, kCodeBatch> components;
  std::array<std::int32_t, kCodeBatch> dots;
  while (!rows.empty()) {
    const auto some = rows.first(std::min(rows.size(), kCodeBatch));
    std::transform(some.begin(), some.end(), components.begin(), components_of);
    kernels.dot_i8(components_of(query), header.sum, components.data(), some.size(), dim,
                   dots.data());
    for (std::size_t i = 0; i < some.size(); ++i) {
      *out++ = header.scale * header_of(some[i]).scale * static_cast<float>(dots[i]);
    }
    rows = rows.subspan(some.size());
  }
}

void code_distances(Space space, const std::byte* query, std::span<const std::byte* const> rows,
                    std::size_t dim, const Kernels& kernels, float* out) noexcept {
  code_dots(query, rows, dim, kernels, out);
  const float squared_norm = header_of(query).squared_norm;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    out[i] = distance_of(space, out[i], squared_norm, header_of(rows[i]).squared_norm);
  }
}

float code_distance(Space space, const std::byte* a, const std::byte* b, std::size_t dim,
                    const Kernels& kernels) noexcept {
  float distance = 0;
  code_distances(space, a, {&b, 1}, dim, kernels, &distance);
  return distance;
}

void encode_int4(const std::byte* code, std::size_t dim, std::byte* out) noexcept {
  const Int8CodeHeader header = header_of(code);
  const std::int8_t* const components = components_of(code);
  std::fill_n(out, int4_code_bytes(dim), std::byte{0});
  std::int32_t squared = 0;     // of the int8 code
  std::int32_t with_short = 0;  // its dot product with the four-bit code
  for (std::size_t i = 0; i < dim; ++i) {
    const int x = components[i];
    const int level = (x * 7 + (x >= 0 ? 63 : -63)) / 127;
    squared += x * x;
    with_short += x * level;
    const std::size_t at = i % kInt4BlockCodes;
    std::byte& byte = out[i / kInt4BlockCodes * kInt4BlockBytes + at % kInt4BlockBytes];
    byte |= static_cast<std::byte>(level + 8) << (at < kInt4BlockBytes ? 0 : 4);
  }
  Int4CodeFactors factors{};
  factors.squared_norm = header.squared_norm;
  if (with_short > 0) {
    factors.factor = header.scale * (static_cast<float>(squared) / static_cast<float>(with_short));
  }
  std::memcpy(out + int4_blocks(dim) * kInt4BlockBytes, &factors, sizeof(factors));
}

void int4_distances(Space space, const std::byte* query, std::span<const std::byte* const> rows,
                    std::size_t dim, const Kernels& kernels, float* out) noexcept {
  const Int8CodeHeader header = header_of(query);
  const std::size_t blocks = int4_blocks(dim);
  std::array<std::int32_t, kCodeBatch> dots;
  while (!rows.empty()) {
    const auto some = rows.first(std::min(rows.size(), kCodeBatch));
    kernels.dot_i4(components_of(query), header.sum, some.data(), some.size(), blocks, dots.data());
    for (std::size_t i = 0; i < some.size(); ++i) {
      Int4CodeFactors factors;
      std::memcpy(&factors, some[i] + blocks * kInt4BlockBytes, sizeof(factors));
      const float dot = header.scale * factors.factor * static_cast<float>(dots[i]);
      *out++ = distance_of(space, dot, header.squared_norm, factors.squared_norm);
    }
    rows = rows.subspan(some.size());
  }
}

float exact_distance(Space space, const float* a, float a_norm, const float* b, float b_norm,
                     std::size_t dim, const Kernels& kernels) noexcept {
  float distance = 0;
  switch (space) {
    case Space::cosine: {
      const double scale = (double{a_norm} + kNormFloor) * (double{b_norm} + kNormFloor);
      // norm_of() stops at the largest float: there it is not the length.
      const bool are_lengths = std::max(a_norm, b_norm) < kMaxFloat;
      if (!(are_lengths && scale > kSafeScaleMin && scale < kSafeScaleMax)) {
        return distance_in_double(space, a, b, dim);
      }
      distance = static_cast<float>(1.0 - double{kernels.dot_f32(a, b, dim)} / scale);
      break;
    }
    case Space::l2:
      distance = kernels.squared_l2_f32(a, b, dim);
      break;
    case Space::ip:
      distance = 1.0F - kernels.dot_f32(a, b, dim);
      break;
  }
  return std::isfinite(distance) ? distance : distance_in_double(space, a, b, dim);
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_vector.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace vkb {
namespace {

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const int exponent = half >> 10 & 31;
  const std::uint32_t fraction = half & 1023u;
  if (exponent == 0) {
    const float small = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -small : small;
  }
  const std::uint32_t bits =
      exponent == 31 ? 0x7F800000u | fraction << 13
                     : static_cast<std::uint32_t>(exponent + 112) << 23 | fraction << 13;
  return std::bit_cast<float>(sign | bits);
}

std::vector<float> decode_vector(const std::string& bytes, VectorType type) {
  std::vector<float> vector(bytes.size() / byte_size(type));
  if (type == VectorType::float32) {
    std::memcpy(vector.data(), bytes.data(), bytes.size());
    return vector;
  }
  for (std::size_t i = 0; i < vector.size(); ++i) {
    const char* const at = bytes.data() + i * byte_size(type);
    if (type == VectorType::float64) {
      double wide = 0;
      std::memcpy(&wide, at, sizeof wide);
      vector[i] = static_cast<float>(wide);
    } else {
      std::uint16_t narrow = 0;
      std::memcpy(&narrow, at, sizeof narrow);
      vector[i] = type == VectorType::float16
                      ? half_to_float(narrow)
                      : std::bit_cast<float>(static_cast<std::uint32_t>(narrow) << 16);
    }
  }
  return vector;
}

}  // namespace

std::optional<Rejection> check_finite(const std::vector<float>& vector) {
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (std::isfinite(vector[i])) continue;
    const std::string what = std::isnan(vector[i]) ? "NaN" : "infinity";
    return Rejection{"not_finite", "The vector holds a component that is not a finite number.",
                     what + " at component " + std::to_string(i)};
  }
  return std::nullopt;
}

std::variant<std::vector<float>, Rejection> take_vector(const std::string* bytes,
                                                        const RedisMapping& mapping) {
  if (bytes == nullptr) {
    return Rejection{"missing_vector", "There is no field \"" + mapping.vector_field + "\".",
                     "no vector"};
  }
  const std::size_t element = byte_size(mapping.type);
  const std::size_t expected = mapping.dim * element;
  const std::string sizes = "expected " + std::to_string(expected) + " bytes (" +
                            std::to_string(mapping.dim) + ' ' +
                            std::string(to_string(mapping.type)) + ')';
  if (bytes->size() % element != 0 && mapping.type == VectorType::float32) {
    return Rejection{"vector_bytes_not_multiple_of_4",
                     "The vector's bytes are no whole number of float32: " + sizes + '.',
                     std::to_string(bytes->size()) + " bytes"};
  }
  if (bytes->size() != expected) {
    std::string found = std::to_string(bytes->size()) + " bytes, ";
    if (mapping.type == VectorType::float32 && bytes->size() == mapping.dim * sizeof(double)) {
      found += std::to_string(mapping.dim) + " float64?";
    } else {
      found += std::to_string(bytes->size() / element) + " components";
    }
    return Rejection{"wrong_dimension", "The vector has another dimension: " + sizes + '.', found};
  }
  std::vector<float> vector = decode_vector(*bytes, mapping.type);
  if (auto rejection = check_finite(vector)) return std::move(*rejection);
  return vector;
}

std::optional<std::vector<float>> vector_of(const std::string& bytes, const RedisMapping& mapping) {
  auto vector = take_vector(&bytes, mapping);
  if (auto* components = std::get_if<std::vector<float>>(&vector)) return std::move(*components);
  return std::nullopt;
}

}  // namespace vkb

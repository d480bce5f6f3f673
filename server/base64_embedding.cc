// SPDX-License-Identifier: Apache-2.0
#include "server/base64_embedding.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "server/api_error.h"

namespace vkb {
namespace {

constexpr std::array<std::int8_t, 256> kBase64 = [] {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}();

[[noreturn]] void refuse(const std::string& problem) {
  throw ApiError(400, "Invalid base64 string: " + problem);
}

[[noreturn]] void refuse_symbol(const char* what, std::string_view text, std::size_t offset) {
  refuse(std::string(what) + " " + std::to_string(static_cast<unsigned char>(text[offset])) +
         ", offset " + std::to_string(offset) + ".");
}

// The bits of up to four symbols, which must be some; the missing ones are zero.
std::uint32_t bits_of(std::string_view text, std::size_t from, std::size_t count) {
  std::uint32_t bits = 0;
  for (std::size_t i = from; i < from + count; ++i) {
    const int value = kBase64[static_cast<unsigned char>(text[i])];
    if (value < 0) refuse_symbol("Invalid symbol", text, i);
    bits = bits << 6 | static_cast<std::uint32_t>(value);
  }
  return bits << 6 * (4 - count);
}

std::vector<std::byte> decode_base64(std::string_view text) {
  const std::size_t symbols = text.find_last_not_of('=') + 1;  // 0 when there is none
  const std::size_t padding = text.size() - symbols;
  const std::size_t rest = symbols % 4;
  std::vector<std::byte> out;
  out.reserve(symbols / 4 * 3 + 3);
  const auto add = [&out](std::uint32_t bits, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
      out.push_back(static_cast<std::byte>(bits >> (16 - 8 * i) & 0xFF));
    }
  };
  for (std::size_t i = 0; i + 4 <= symbols; i += 4) add(bits_of(text, i, 4), 3);
  const std::uint32_t last = bits_of(text, symbols - rest, rest);
  if (padding > 0 && (rest < 2 || padding > 2)) refuse_symbol("Invalid symbol", text, symbols);
  if (rest == 1) refuse("Invalid input length: " + std::to_string(text.size()));
  if (text.size() % 4 != 0) refuse("Invalid padding");
  if (rest == 0) return out;
  const std::size_t bytes = rest - 1;
  if ((last & (0xFFFFFFU >> 8 * bytes)) != 0) {
    refuse_symbol("Invalid last symbol", text, symbols - 1);
  }
  add(last, bytes);
  return out;
}

}  // namespace

std::vector<float> decode_embedding(std::string_view base64) {
  static_assert(std::endian::native == std::endian::little, "floats are copied as they are");
  const std::vector<std::byte> bytes = decode_base64(base64);
  if (bytes.size() % sizeof(float) != 0) {
    throw ApiError(400, "Invalid byte length: " + std::to_string(bytes.size()) +
                            " bytes cannot be converted to f32 values (must be divisible by 4)");
  }
  std::vector<float> vector(bytes.size() / sizeof(float));
  if (!bytes.empty()) std::memcpy(vector.data(), bytes.data(), bytes.size());
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (!std::isfinite(vector[i])) {
      throw ApiError(400, "Non-finite float value at embedding index " + std::to_string(i) + ": " +
                              (std::isnan(vector[i]) ? "NaN"
                               : vector[i] > 0       ? "inf"
                                                     : "-inf"));
    }
  }
  return vector;
}

}  // namespace vkb

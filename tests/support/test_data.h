// SPDX-License-Identifier: Apache-2.0
//
// Small deterministic data, whole files in memory, and what an Error says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "storage/error.h"

namespace vkb {

// VKB_SEED=N, for `make torture`: other random numbers than the usual ones.
inline std::uint64_t other_seed(std::uint64_t usual) {
  const char* asked = std::getenv("VKB_SEED");
  return asked == nullptr ? usual : usual + 1000 * static_cast<std::uint64_t>(std::atoll(asked));
}

// SplitMix64 (Steele, Lea & Flood 2014): the same numbers with every standard library.
class TestRandom {
 public:
  explicit TestRandom(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }
  // In [-1, 1).
  float real() noexcept {
    return static_cast<float>(next() >> 40) / static_cast<float>(1 << 23) - 1.0F;
  }

 private:
  std::uint64_t state_;
};

// f32[rows][dim], each value in [-1, 1).
inline std::vector<float> random_vectors(std::size_t rows, std::size_t dim,
                                         std::uint64_t seed = 1) {
  TestRandom random(seed);
  std::vector<float> values(rows * dim);
  for (float& value : values) value = random.real();
  return values;
}

inline std::string read_whole_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(ErrorCode::not_found, "cannot read " + path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_whole_file(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) throw Error(ErrorCode::io_error, "cannot write " + path);
}

// The Error that `action` throws, or nothing when it throws none. Other exceptions pass through.
inline std::optional<Error> error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

}  // namespace vkb

// Expects an Error with this code whose message contains `text`.
#define VKB_EXPECT_ERROR(action, error_code, text)                                                \
  do {                                                                                            \
    const std::optional<::vkb::Error> vkb_error = ::vkb::error_of([&] { (void)(action); });       \
    ASSERT_TRUE(vkb_error.has_value()) << "no error from " #action;                               \
    EXPECT_EQ(::vkb::to_string(vkb_error->code()), ::vkb::to_string(error_code))                  \
        << vkb_error->what();                                                                     \
    EXPECT_NE(std::string(vkb_error->what()).find(text), std::string::npos) << vkb_error->what(); \
  } while (false)

// SPDX-License-Identifier: Apache-2.0
#include "engine/codes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace vkb {
namespace {

constexpr Space kSpaces[] = {Space::cosine, Space::l2, Space::ip};

std::vector<float> random_vector(std::size_t dim, std::uint64_t seed, float scale = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> vector(dim);
  for (float& x : vector) x = scale * normal(random);
  return vector;
}

struct Code {
  Code(const std::vector<float>& vector, Space space) : bytes(code_bytes(vector.size())) {
    encode_int8(vector, norm_of(vector), space, bytes.data());
    std::memcpy(&header, bytes.data(), sizeof(header));
  }
  int operator[](std::size_t i) const { return static_cast<std::int8_t>(bytes[16 + i]); }
  std::vector<std::byte> bytes;
  Int8CodeHeader header;
};

// Chroma's formulas in double.
double reference(Space space, const std::vector<float>& a, const std::vector<float>& b) {
  double dot = 0;
  double squared_l2 = 0;
  double squared_a = 0;
  double squared_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    dot += double{a[i]} * double{b[i]};
    squared_a += double{a[i]} * double{a[i]};
    squared_b += double{b[i]} * double{b[i]};
    squared_l2 += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
  }
  switch (space) {
    case Space::cosine:
      return 1 - dot / ((std::sqrt(squared_a) + 1e-30) * (std::sqrt(squared_b) + 1e-30));
    case Space::l2:
      return squared_l2;
    case Space::ip:
      return 1 - dot;
  }
  return 0;
}

float exact(Space space, const std::vector<float>& a, const std::vector<float>& b,
            const Kernels& set = kernels()) {
  return exact_distance(space, a.data(), norm_of(a), b.data(), norm_of(b), a.size(), set);
}

float coded(Space space, const Code& a, const Code& b, const Kernels& set = kernels()) {
  return code_distance(space, a.bytes.data(), b.bytes.data(), a.bytes.size() - 16, set);
}

TEST(NormTest, IsTheEuclideanLength) {
  EXPECT_EQ(norm_of({}), 0.0F);
  EXPECT_FLOAT_EQ(norm_of(std::vector<float>{3, 4}), 5.0F);
  EXPECT_FLOAT_EQ(norm_of(std::vector<float>(7, 2)), 2 * std::sqrt(7.0F));
  EXPECT_FLOAT_EQ(norm_of(std::vector<float>{1e-30F}), 1e-30F);
  EXPECT_EQ(norm_of(std::vector<float>(9, 3e38F)), std::numeric_limits<float>::max());
}

TEST(EncodeTest, OneScaleARowAndTheSumOfItsCodes) {
  const Code code({-2, 1, 0.5F, 0, 2}, Space::l2);
  EXPECT_FLOAT_EQ(code.header.scale, 2.0F / 127);
  EXPECT_FLOAT_EQ(code.header.squared_norm, 9.25F);
  EXPECT_EQ(code.header.reserved, 0U);
  const int expected[] = {-127, 64, 32, 0, 127};  // 63.5 and 31.75, halves away from zero
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(code[i], expected[i]);
  EXPECT_EQ(code.header.sum, 64 + 32);
}

TEST(EncodeTest, CosineCodesTheUnitVector) {
  const auto vector = random_vector(100, 1, 40);
  const Code code(vector, Space::cosine);
  EXPECT_NEAR(code.header.squared_norm, 1.0F, 1e-6);
  for (std::size_t i = 0; i < vector.size(); ++i) {
    EXPECT_NEAR(static_cast<float>(code[i]) * code.header.scale, vector[i] / norm_of(vector),
                0.501F * code.header.scale);
  }
}

TEST(EncodeTest, ZeroVectorHasScaleZero) {
  for (const Space space : kSpaces) {
    const Code zero({0, 0, 0}, space);
    EXPECT_EQ(zero.header.scale, 0.0F);
    EXPECT_EQ(zero.header.squared_norm, 0.0F);
    EXPECT_EQ(zero.header.sum, 0);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(zero[i], 0);
  }
  EXPECT_EQ(coded(Space::cosine, Code({0, 0}, Space::cosine), Code({1, 2}, Space::cosine)), 1.0F);
}

TEST(EncodeTest, TakesTheWholeRangeOfFloats) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Space space : kSpaces) {
    for (const float x : {1e-45F, 1e-20F, 1e20F, std::numeric_limits<float>::max()}) {
      const Code code({x, -x, 0}, space);
      EXPECT_EQ(code[0], 127);
      EXPECT_EQ(code[1], -127);
      EXPECT_EQ(code[2], 0);
      EXPECT_FALSE(std::isnan(coded(space, code, code)));
    }
    // Callers refuse these; still nothing may break.
    for (const float x : {nan, infinity, -infinity}) {
      const Code code({x, 1}, space);
      EXPECT_FALSE(std::isnan(coded(space, code, code)));
    }
  }
}

TEST(CodeDistanceTest, IsWithinTheRoundingOfTheCodes) {
  for (const Space space : kSpaces) {
    for (const std::size_t dim : {1, 2, 15, 64, 100, 768}) {
      for (std::uint64_t seed = 0; seed < 20; ++seed) {
        auto a = random_vector(dim, 2 * seed);
        auto b = random_vector(dim, 2 * seed + 1);
        const Code code_a(a, space);
        const Code code_b(b, space);
        const double expected = reference(space, a, b);
        // |a.b - a'.b'| <= |a - a'|.|b| + |a'|.|b - b'|, each component off by half a scale.
        double error = 0;
        const double unit_b = space == Space::cosine ? double{norm_of(b)} : 1;
        for (std::size_t i = 0; i < dim; ++i) {
          error += 0.501 * code_a.header.scale * std::abs(b[i]) / unit_b +
                   0.501 * code_b.header.scale * std::abs(code_a.header.scale * float(code_a[i]));
        }
        if (space == Space::l2) error *= 2;
        for (const Kernels* set : available_kernels()) {
          EXPECT_NEAR(coded(space, code_a, code_b, *set), expected,
                      error + 1e-5 * static_cast<double>(dim));
        }
      }
    }
  }
}

// Where code i of a row of four-bit codes is, by the layout of the format.
int int4_level(const std::vector<std::byte>& code, std::size_t i) {
  const int byte = std::to_integer<int>(code[i / 128 * 64 + i % 64]);
  return (i % 128 < 64 ? byte & 15 : byte >> 4) - 8;
}

TEST(Int4Test, KeepsTheSevenLevelsEitherSideAndTheLength) {
  std::vector<float> vector(400);
  for (std::size_t i = 0; i < vector.size(); ++i) vector[i] = static_cast<float>(i % 15) - 7.0F;
  const Code int8(vector, Space::l2);
  std::vector<std::byte> code(int4_code_bytes(vector.size()));
  encode_int4(int8.bytes.data(), vector.size(), code.data());
  for (std::size_t i = 0; i < vector.size(); ++i) {
    EXPECT_EQ(int4_level(code, i), static_cast<int>(i % 15) - 7) << i;
  }
  // The last block is filled up with zeros.
  for (std::size_t i = 400; i < 512; ++i) EXPECT_EQ(int4_level(code, i), -8) << i;
  Int4CodeFactors factors;
  std::memcpy(&factors, code.data() + 256, sizeof(factors));
  EXPECT_NEAR(factors.factor, 1.0, 0.01);
  EXPECT_EQ(factors.squared_norm, int8.header.squared_norm);
}

TEST(Int4Test, EstimatesAreUnbiasedAndTheirErrorIsThatOfTheRounding) {
  for (const Space space : kSpaces) {
    for (const std::size_t dim : {384UL, 768UL, 1000UL}) {
      double sum = 0;
      double squares = 0;
      constexpr std::size_t kPairs = 200;
      for (std::size_t pair = 0; pair < kPairs; ++pair) {
        const auto a = random_vector(dim, 2 * pair + 1);
        const auto b = random_vector(dim, 2 * pair + 2);
        std::vector<std::byte> query = Code(a, space).bytes;
        query.resize(code_bytes(kInt4BlockCodes * int4_blocks(dim)));
        std::vector<std::byte> row(int4_code_bytes(dim));
        encode_int4(Code(b, space).bytes.data(), dim, row.data());
        const std::byte* const rows = row.data();
        float found = 0;
        int4_distances(space, query.data(), {&rows, 1}, dim, kernels(), &found);
        // In units of the product of the lengths.
        const double unit = space == Space::cosine ? 1 : norm_of(a) * norm_of(b);
        const double error = (found - reference(space, a, b)) / unit;
        sum += error;
        squares += error * error;
      }
      // Steps of a seventh of the largest component, some three deviations of it: an error of an
      // eighth of a deviation a component, 0.13 / sqrt(dim) of a dot product; twice that in l2.
      const double expected = (space == Space::l2 ? 2 : 1) * 0.13 / std::sqrt(double(dim));
      EXPECT_LT(std::sqrt(squares / kPairs), 1.5 * expected) << dim;
      EXPECT_GT(std::sqrt(squares / kPairs), 0.5 * expected) << dim;
      EXPECT_LT(std::abs(sum / kPairs), 4 * expected / std::sqrt(double(kPairs))) << dim;
    }
  }
}

TEST(Int4Test, OddRowsGiveNumbers) {
  constexpr std::size_t kDim = 384;
  std::vector<float> one_hot(kDim, 0.0F);
  one_hot[100] = 3;
  const std::vector<std::vector<float>> oddities = {
      std::vector<float>(kDim, 0.0F), std::vector<float>(kDim, std::numeric_limits<float>::max()),
      std::vector<float>(kDim, 1e-44F), one_hot};
  for (const Space space : kSpaces) {
    for (const auto& vector : oddities) {
      std::vector<std::byte> query = Code(one_hot, space).bytes;
      std::vector<std::byte> row(int4_code_bytes(kDim));
      encode_int4(Code(vector, space).bytes.data(), kDim, row.data());
      const std::byte* const rows = row.data();
      float found = 0;
      int4_distances(space, query.data(), {&rows, 1}, kDim, kernels(), &found);
      EXPECT_FALSE(std::isnan(found)) << static_cast<int>(space) << ' ' << vector.front();
      if (vector == one_hot) {  // nothing is lost of it
        EXPECT_NEAR(found, reference(space, one_hot, one_hot), 1e-3) << static_cast<int>(space);
      }
    }
  }
}

// The tolerance is the one of Chroma's own tests.
TEST(ExactDistanceTest, AgreesWithDoubleInEverySpace) {
  for (const Kernels* set : available_kernels()) {
    for (const Space space : kSpaces) {
      for (const std::size_t dim : {1, 2, 3, 9, 10, 100, 384, 768, 1536, 4096, 16384}) {
        const double atol = 1e-6 * std::pow(10, std::floor(std::log10(static_cast<double>(dim))));
        for (std::uint64_t seed = 0; seed < 10; ++seed) {
          const float scale = 1 / std::sqrt(static_cast<float>(dim));
          const auto a = random_vector(dim, 2 * seed, scale);
          const auto b = random_vector(dim, 2 * seed + 1, scale);
          EXPECT_NEAR(exact(space, a, b, *set), reference(space, a, b), atol)
              << set->name << ' ' << dim;
          EXPECT_NEAR(exact(space, a, a, *set), reference(space, a, a), atol);
        }
      }
    }
  }
}

TEST(ExactDistanceTest, KnownValues) {
  EXPECT_FLOAT_EQ(exact(Space::cosine, {2, 0}, {0, 5}), 1);
  EXPECT_FLOAT_EQ(exact(Space::cosine, {2, 0}, {-5, 0}), 2);
  EXPECT_NEAR(exact(Space::cosine, {2, 1}, {4, 2}), 0, 1e-6);
  EXPECT_FLOAT_EQ(exact(Space::l2, {1, 2}, {4, 6}), 25);
  EXPECT_FLOAT_EQ(exact(Space::ip, {1, 2}, {4, 6}), -15);
}

TEST(ExactDistanceTest, ZeroVectorHasCosineDistanceOneToEverything) {
  EXPECT_EQ(exact(Space::cosine, {0, 0}, {3, 4}), 1.0F);
  EXPECT_EQ(exact(Space::cosine, {3, 4}, {0, 0}), 1.0F);
  EXPECT_EQ(exact(Space::cosine, {0, 0}, {0, 0}), 1.0F);
}

TEST(ExactDistanceTest, FiniteVectorsNeverGiveNaN) {
  const float values[] = {0.0F, 1e-45F, 1e-25F, 1e-15F, 1.0F, 1e15F, 1e25F, 3e38F};
  for (const Space space : kSpaces) {
    for (const float x : values) {
      for (const float y : values) {
        EXPECT_FALSE(std::isnan(exact(space, {x, -x, x}, {y, y, -x}))) << x << ' ' << y;
      }
    }
  }
  // The angle does not depend on the lengths.
  EXPECT_NEAR(exact(Space::cosine, {1e-20F, 0}, {1e-20F, 1e-20F}), 1 - std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(exact(Space::cosine, {3e38F, 0}, {3e38F, 3e38F}), 1 - std::sqrt(0.5), 1e-6);
  // Nor where one of them is no float, and their product is one.
  const std::vector<float> longer(64, 3e38F);
  for (const float small : {1e-20F, 1e-8F, 1e-3F, 1.0F}) {
    std::vector<float> shorter(64, small);
    EXPECT_NEAR(exact(Space::cosine, longer, shorter), 0, 1e-6) << small;
    EXPECT_NEAR(exact(Space::cosine, shorter, longer), 0, 1e-6) << small;
    std::fill_n(shorter.begin(), 32, 0.0F);
    EXPECT_NEAR(exact(Space::cosine, shorter, longer), 1 - std::sqrt(0.5), 1e-6) << small;
  }
}

}  // namespace
}  // namespace vkb

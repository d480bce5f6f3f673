// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_exact.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace vkb {
namespace {

double plain_distance(Space space, const float* a, const float* b, std::size_t dim) {
  double dot = 0, aa = 0, bb = 0, squared = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    const double x = a[i], y = b[i];
    dot += x * y;
    aa += x * x;
    bb += y * y;
    squared += (x - y) * (x - y);
  }
  if (space == Space::l2) return squared;
  if (space == Space::ip) return 1 - dot;
  return aa > 0 && bb > 0 ? 1 - dot / std::sqrt(aa * bb) : 1;
}

std::vector<float> random_floats(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (float& value : out) value = normal(random);
  return out;
}

TEST(RedisExactTest, DistancesAreThoseOfThePlainFormulas) {
  for (const Space space : {Space::cosine, Space::l2, Space::ip}) {
    for (const std::uint32_t dim : {1u, 3u, 16u, 33u}) {
      for (const std::size_t queries : {1u, 16u, 19u}) {
        const std::vector<float> q = random_floats(queries * dim, 1);
        std::vector<float> v = random_floats(7 * dim, 2);
        std::fill(v.begin(), v.begin() + dim, 0.0F);  // a zero vector
        const std::vector<float> distances = block_distances(space, dim, q, v);
        ASSERT_EQ(distances.size(), 7 * queries);
        for (std::size_t row = 0; row < 7; ++row) {
          for (std::size_t i = 0; i < queries; ++i) {
            EXPECT_NEAR(distances[row * queries + i],
                        plain_distance(space, &q[i * dim], &v[row * dim], dim), 1e-4);
          }
        }
      }
    }
  }
}

TEST(RedisExactTest, FindsTheNearestOfAll) {
  constexpr std::size_t kDim = 8;
  constexpr std::size_t kCount = 5000;  // more than two blocks
  const std::vector<float> vectors = random_floats(kCount * kDim, 5);
  const std::vector<std::vector<float>> queries = {random_floats(kDim, 6), random_floats(kDim, 7)};
  ExactNeighbours exact(Space::l2, kDim, queries, 10);
  for (std::size_t i = 0; i < kCount; ++i) {
    const std::span<const float> vector(&vectors[i * kDim], kDim);
    exact.add("doc:" + std::to_string(i), vector);
    if (i % 100 == 0) exact.add("doc:" + std::to_string(i), vector);
  }
  const auto found = exact.finish();
  ASSERT_EQ(found.size(), 2u);
  for (std::size_t query = 0; query < 2; ++query) {
    std::set<std::pair<double, std::string>> expected;
    for (std::size_t i = 0; i < kCount; ++i) {
      expected.emplace(plain_distance(Space::l2, queries[query].data(), &vectors[i * kDim], kDim),
                       "doc:" + std::to_string(i));
    }
    ASSERT_EQ(found[query].size(), 10u);
    auto next = expected.begin();
    for (const RedisNeighbour& neighbour : found[query]) EXPECT_EQ(neighbour.key, (next++)->second);
  }
}

TEST(RedisExactTest, OfNothingIsNothing) {
  const std::vector<std::vector<float>> queries = {{1, 2}};
  EXPECT_TRUE(ExactNeighbours(Space::l2, 2, queries, 10).finish().at(0).empty());
}

}  // namespace
}  // namespace vkb

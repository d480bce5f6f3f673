// SPDX-License-Identifier: Apache-2.0
//
// Exact nearest neighbours among the vectors a Redis holds, in one pass over it. The yardstick for
// an import whose source has no index to ask.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/vkb.h"
#include "importers/redis_client.h"
#include "importers/redis_schema.h"

namespace vkb {

struct RedisNeighbour {
  std::string key;
  float distance = 0;
};

// Distances of one block of vectors to all queries, [vectors][queries]. queries and vectors are
// row-major, dim floats a row. For testing; exact_neighbours() uses it.
std::vector<float> block_distances(Space space, std::uint32_t dim, std::span<const float> queries,
                                   std::span<const float> vectors);

// For each query (dim floats) the k nearest among the plan's keys that `accepted` admits, nearest
// first. Memory does not grow with the number of keys. progress: as Collection's, done in keys of
// `total`; when it returns false the answer is empty.
std::vector<std::vector<RedisNeighbour>> exact_neighbours(
    RedisClient& client, const RedisPlan& plan, std::span<const std::vector<float>> queries,
    std::size_t k, const std::function<bool(const std::string&)>& accepted, std::uint64_t total,
    const ProgressFunction& progress);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The same questions to the collection and to its source.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/vkb.h"
#include "importers/redis_exact.h"
#include "importers/redis_verify.h"

namespace vkb {

// A vector to ask with: as floats, and as the bytes RediSearch takes.
struct OverlapQuery {
  std::vector<float> vector;
  std::string blob;
};

using Neighbours = std::vector<RedisNeighbour>;

// How many answers are asked for and compared.
inline constexpr std::size_t kOverlapTop = 10;

// The collection's answer to each query, as a search with no further options gives it.
std::vector<Neighbours> ask_collection(const Collection& collection,
                                       const std::vector<OverlapQuery>& queries);

// What RediSearch is asked for.
struct IndexTask {
  const std::vector<OverlapQuery>& queries;
  const std::vector<Neighbours>& ours;
  // Whether a key is one of the collection's; other keys in its answers are left out.
  std::function<bool(const std::string&)> accepted;
  std::uint64_t accepted_count = 0;
  std::uint64_t poisoned_count = 0;  // keys whose vectors have no distance from others
};

// Nothing when there is no complete index, when it cannot answer exactly (no rights, an old
// version), and when stopped.
std::optional<AnswerOverlap> compare_with_index(RedisClient& client, const RedisPlan& plan,
                                                const IndexTask& task,
                                                const ProgressFunction& progress);

// Both by query.
AnswerOverlap compare_with_exact(const std::vector<Neighbours>& ours,
                                 const std::vector<Neighbours>& exact);

}  // namespace vkb

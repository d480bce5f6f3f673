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

// What is compared with the source's answers.
struct OverlapTask {
  const Collection& collection;
  const std::vector<OverlapQuery>& queries;
  // Whether a key is one of the collection's; other keys in the source's answers are left out.
  std::function<bool(const std::string&)> accepted;
  std::uint64_t accepted_count = 0;
  std::uint64_t poisoned_count = 0;  // keys whose vectors have no distance from others
};

// Nothing when stopped.
std::optional<AnswerOverlap> compare_answers(RedisClient& client, const RedisPlan& plan,
                                             const OverlapTask& task,
                                             const ProgressFunction& progress);

}  // namespace vkb

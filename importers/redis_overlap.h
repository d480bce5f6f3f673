// SPDX-License-Identifier: Apache-2.0
//
// The same questions to the collection and to its source.
#pragma once

#include <functional>
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

// Fills the overlap figures of `out`. accepted: whether a key is one of the collection's; other
// keys in the source's answers are left out. Returns false when stopped.
bool compare_answers(RedisClient& client, const RedisPlan& plan, const Collection& collection,
                     const std::vector<OverlapQuery>& queries,
                     const std::function<bool(const std::string&)>& accepted,
                     const ProgressFunction& progress, Verification& out);

}  // namespace vkb

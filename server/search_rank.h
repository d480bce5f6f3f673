// SPDX-License-Identifier: Apache-2.0
//
// The ranking of a search: an expression over nearest-neighbour searches. Throws ApiError 400 for a
// search that makes no sense.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_map>

#include "engine/vkb.h"

namespace vkb {

// Scores by id, and the score of all records that are not named, if they have one.
struct Scores {
  std::unordered_map<std::string, float> named;
  std::optional<float> others;
};

// What `expression` gives the records that match `filter`.
Scores rank_records(const Collection& collection, const std::optional<Filter>& filter,
                    const nlohmann::json& expression);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// All that a store answers, as JSON: what a golden store is kept with, and held against.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/vkb.h"

namespace vkb {

struct GoldenAnswers {
  nlohmann::json contents;  // by "tenant/database/collection": whatever is done to the segments
  nlohmann::json layout;    // the same: which records are in segments, which in the log
};

// `databases`: pairs of tenant and name. Queries are the same for the same dimension.
GoldenAnswers answers_of(const Store& store,
                         const std::vector<std::pair<std::string, std::string>>& databases);

// "" when they are the same, but for the last digits of distances; else where they differ first.
std::string difference(const nlohmann::json& expected, const nlohmann::json& found);

}  // namespace vkb

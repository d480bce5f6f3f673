// SPDX-License-Identifier: Apache-2.0
//
// Choosing an index and reading what it says; internal to the importer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "importers/redis_schema.h"

namespace vkb {

// "a, b", escaped; "none" for an empty list.
std::string quoted_list(const std::vector<std::string>& names);
// One line about an index, for messages.
std::string describe(const IndexInfo& index);
// The name of a hash field, or the path in a JSON document: "$.meta.emb[*]" -> "meta.emb".
std::string field_of(const IndexAttribute& attribute, bool json);
std::string strip_json_path(std::string path);

// The one index that is meant, none when there is none at all. Throws not_found for an unknown
// name, invalid_argument when there are several.
std::optional<IndexInfo> choose_index(RedisClient& client, const RedisSelection& selection,
                                      std::vector<std::string>& notes);
// Copies what plan.index says about its vector into the plan; the layout is told from the records.
void apply_index(RedisPlan& plan, const RedisSelection& selection);

}  // namespace vkb

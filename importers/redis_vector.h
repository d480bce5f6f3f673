// SPDX-License-Identifier: Apache-2.0
//
// The vectors in hash fields; internal to the importer.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "importers/redis_record.h"

namespace vkb {

// The vector in the bytes of a field (nullptr: there is no field), or why it is none.
std::variant<std::vector<float>, Rejection> take_vector(const std::string* bytes,
                                                        const RedisMapping& mapping);
// Names the first component that is NaN or infinite.
std::optional<Rejection> check_finite(const std::vector<float>& vector);

}  // namespace vkb

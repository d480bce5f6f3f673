// SPDX-License-Identifier: Apache-2.0
//
// What records and collections hold, read from a request's body: vectors and metadata. Throws
// ApiError as server/json_body.h does.
#pragma once

#include "engine/vkb.h"
#include "server/json_body.h"

namespace vkb {

// An array of numbers.
std::vector<float> read_numbers(JsonValue& value, const JsonPath& path);
// An array of numbers, or base64 of floats.
std::vector<float> read_embedding(JsonValue& value, const JsonPath& path);

// An object of scalars and arrays of them. `index`: which record it belongs to.
Metadata read_metadata(JsonValue& value, const JsonPath& path, bool null_allowed,
                       std::size_t index = 0);

}  // namespace vkb

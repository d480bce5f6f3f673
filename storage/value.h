// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace vkb {

// A metadata value. Integers and floats are distinct in storage and compare numerically in filters.
// monostate ("null") only means something in update and upsert: it removes the key.
using Value =
    std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<bool>,
                 std::vector<std::int64_t>, std::vector<double>, std::vector<std::string>>;

using Metadata = std::map<std::string, Value, std::less<>>;

// JSON text of a metadata object, keys sorted, and back. A float keeps its point (2.0 stays 2.0),
// an integer above int64 becomes a float, an empty array is dropped. Throws invalid_argument for
// NaN and infinity, nested objects, mixed arrays and text that is not UTF-8; `parse_metadata` also
// for text that is not a JSON object.
std::string to_json(const Metadata& metadata);
Metadata parse_metadata(std::string_view json);

}  // namespace vkb

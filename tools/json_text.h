// SPDX-License-Identifier: Apache-2.0
//
// JSON as the program writes it: appended piece by piece, so that large answers are never held
// twice, and with floats in the shortest form that reads back to the same bits.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/vkb.h"
#include "tools/terminal.h"

namespace vkb {

// Appends a quoted string; bytes that are not UTF-8 become U+FFFD.
void append_json(std::string& out, std::string_view text);
// Appends a number, null when it is not finite.
void append_json(std::string& out, float value);
void append_json(std::string& out, double value);
void append_json(std::string& out, std::span<const float> values);

std::string json_string(std::string_view text);
// A number with three decimals, for times.
std::string json_fixed(double value);

// Reads one vector, [1, 2.5], or several, [[1, 2.5], [0, 1]]; each number is rounded once, to the
// nearest float. Throws Error{invalid_argument} for other JSON, empty vectors and numbers that no
// float can hold.
std::vector<std::vector<float>> parse_vectors(std::string_view json);

// Writes the columns of Chroma's GetResult (nested = false, one group) or QueryResult (nested, one
// group a query): "ids":…,"embeddings":…,"documents":…,"uris":…,"metadatas":… with null for columns
// not included, without the braces around.
void write_columns(Output& out, const std::vector<std::vector<const Record*>>& groups, bool nested,
                   const Include& include);

// Writes ,"include":["documents",…].
void write_include(Output& out, const Include& include, bool distances);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// JSON as vkb writes it: appended piece by piece, so that large answers are never held
// twice, and with floats in the shortest form that reads back to the same bits.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/vkb.h"

namespace vkb {

// Brackets that may be open at once: what Chroma's server takes.
inline constexpr int kMaxJsonDepth = 127;

// Throws ApiError 400 for a text with more levels.
void check_depth(std::string_view json);
[[noreturn]] void refuse_depth();

// Throws ApiError 422 for a body of the wrong shape; `path` is the place, "" for the whole body.
[[noreturn]] void refuse_shape(const std::string& path, const std::string& problem);

// Appends a quoted string; bytes that are not UTF-8 become U+FFFD.
void append_json(std::string& out, std::string_view text);
// Appends a number that reads back as a float (2.0, not 2); null when it is not finite.
void append_json(std::string& out, float value);
void append_json(std::string& out, double value);
void append_json(std::string& out, std::span<const float> values);
// Appends the value, null when there is none.
void append_json_or_null(std::string& out, const std::optional<std::string>& text);
void append_json_or_null(std::string& out, const std::optional<std::vector<float>>& values);
void append_json_or_null(std::string& out, const std::optional<Metadata>& metadata);

std::string json_string(std::string_view text);
// A number with three decimals, for times.
std::string json_fixed(double value);

// Reads one vector, [1, 2.5], or several, [[1, 2.5], [0, 1]]; each number is rounded once, to the
// nearest float. Throws Error{invalid_argument} for other JSON, empty vectors and numbers that no
// float can hold.
std::vector<std::vector<float>> parse_vectors(std::string_view json);

using WriteText = std::function<void(std::string_view text)>;

// Writes the columns of Chroma's GetResult (nested = false, one group) or QueryResult (nested, one
// group a query): "ids":…,"embeddings":…,"documents":…,"uris":…,"metadatas":… with null for columns
// not included, without the braces around.
void write_columns(const WriteText& write, const std::vector<std::vector<const Record*>>& groups,
                   bool nested, const Include& include);

// Writes ,"distances":[[…],…].
void write_distances(const WriteText& write, const std::vector<std::vector<Hit>>& answers);
// Adds what one of Chroma's include names stands for; false for another name.
bool add_to_include(std::string_view name, Include& include, bool& distances);
// Writes ,"include":["documents",…].
void write_include(const WriteText& write, const Include& include, bool distances);

}  // namespace vkb

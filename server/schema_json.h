// SPDX-License-Identifier: Apache-2.0
//
// The JSON of a collection's schema: what it looks like when nobody asked for anything, and one
// that a request gives. What is wrong throws ApiError: 422 for the shape, 400 for a value.
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace vkb {

using Json = nlohmann::json;

inline constexpr std::string_view kEmbeddingKey = "#embedding";
inline constexpr std::string_view kDocumentKey = "#document";

[[noreturn]] void refuse_argument(const std::string& message);

// Checks of a part of a request; `path` is its place there.
void expect_object(const Json& json, const std::string& path);
void expect_known(const Json& object, const std::string& path,
                  std::initializer_list<std::string_view> names);
// Numbers of the vector index, "space" and nothing else, which may each be null.
void expect_index_values(const Json& object, const std::string& path);
void expect_embedding_function(const Json& json, const std::string& path);
Json parse_object(const std::string& text, const std::string& path);

Json default_hnsw();
Json default_schema();
// The vector index of a schema, and the one it would give other keys.
Json& embedding_config(Json& schema);
Json& default_vector_config(Json& schema);

// A schema in a request, laid over the default one.
Json merged_schema(const std::string& text);

}  // namespace vkb

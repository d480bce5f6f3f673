// SPDX-License-Identifier: Apache-2.0
//
// A collection's schema as Chroma has it: which index serves which metadata key, and the parameters
// of the vector index. Its JSON is what a collection keeps in CollectionOptions::extra; the older
// "configuration" is a view of it. Free functions over JSON texts; all throw ApiError (422 for a
// wrong shape, 400 for a wrong value).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "engine/vkb.h"

namespace vkb {

// The schema of a new collection, with the graph parameters the engine is to use: those asked for,
// as near as the engine takes them.
struct NewSchema {
  std::string json;
  Space space = Space::l2;
  std::uint32_t m = 16;
  std::uint32_t ef_construction = 100;
  std::uint32_t ef_search = 100;
};
// From the parts of a create request: JSON objects, and metadata with Chroma's old "hnsw:" keys.
NewSchema make_schema(const std::optional<std::string>& configuration_json,
                      const std::optional<std::string>& schema_json,
                      const std::optional<Metadata>& metadata);

// The schema of a collection that was not made through Chroma's API.
std::string schema_of(const CollectionOptions& options);

// What the API shows of a stored schema: "configuration_json", and the schema with the metadata
// keys that records brought.
std::string shown_configuration(const std::string& schema_json);
std::string shown_schema(const std::string& schema_json,
                         std::span<const std::pair<std::string, std::string_view>> metadata_keys);

// The schema after a modify request with this configuration, and the beam width it asks for.
struct ChangedSchema {
  std::string json;
  std::optional<std::uint32_t> ef_search{};
};
ChangedSchema change_schema(const std::string& schema_json, const std::string& configuration_json);

// Refuses a filter that needs an index which the schema disables.
void check_indexes(const std::string& schema_json, const Filter& filter);

}  // namespace vkb

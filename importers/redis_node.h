// SPDX-License-Identifier: Apache-2.0
//
// Reading the JSON in Redis' fields; internal to the importer.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace vkb {

// Deeper JSON than any knowledge base writes is taken as text: printing it again recurses.
bool too_deep(std::string_view json);

// The object in `text`; null when it is something else, or not JSON at all, or text is null.
nlohmann::json parse_object(const std::string* text);

// The same for LlamaIndex's _node_content, with only the members that a record is made of: "id_",
// "metadata", "text" and "text_resource".
nlohmann::json parse_node(const std::string* text);

}  // namespace vkb

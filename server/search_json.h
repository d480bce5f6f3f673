// SPDX-License-Identifier: Apache-2.0
//
// The parts of a search request's JSON. What makes no sense throws ApiError 400; `what` names the
// part there.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace vkb {

[[noreturn]] void refuse_search(const std::string& message);

// As text, and the beginning of it, for a message.
std::string text_of(const nlohmann::json& json);
std::string shown(const nlohmann::json& json);
// The member of that name; nullptr when it is absent or null.
const nlohmann::json* find_member(const nlohmann::json& object, const char* name);
// A number from 0 to 4294967295.
std::uint32_t whole_number(const nlohmann::json& json, const char* what);
std::vector<std::string> texts(const nlohmann::json& json, const char* what);

}  // namespace vkb

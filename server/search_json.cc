// SPDX-License-Identifier: Apache-2.0
#include "server/search_json.h"

#include "server/api_error.h"

namespace vkb {

using Json = nlohmann::json;

void refuse_search(const std::string& message) {
  throw ApiError(400, "Invalid search: " + message);
}

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shown(const Json& json) { return text_of(json).substr(0, 80); }

const Json* find_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::uint32_t whole_number(const Json& json, const char* what) {
  if (!json.is_number_unsigned() || json.get<std::uint64_t>() > UINT32_MAX) {
    refuse_search(std::string(what) + ": expected a whole number from 0 to 4294967295, found " +
                  shown(json));
  }
  return json.get<std::uint32_t>();
}

std::vector<std::string> texts(const Json& json, const char* what) {
  if (!json.is_array()) refuse_search(std::string(what) + ": expected an array of texts");
  std::vector<std::string> out;
  for (const Json& text : json) {
    if (!text.is_string()) {
      refuse_search(std::string(what) + ": expected a text, found " + shown(text));
    }
    out.push_back(text.get<std::string>());
  }
  return out;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "engine/vkb.h"

namespace vkb {

// Throws ApiError for a body that is not a search request; what the searches say is looked at
// later.
void check_search_request(const std::string& request_json);

// Chroma's search: filter, rank by an expression over nearest-neighbour searches, group, page,
// select. Request and answer are the JSON of its endpoint. Dense vectors only. Throws ApiError,
// vkb::Error.
std::string search_collection(const Collection& collection, const std::string& request_json);

}  // namespace vkb

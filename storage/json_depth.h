// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace vkb {

// How many brackets of a JSON text are open at once, at most; those in strings do not count. Asked
// before a text from users becomes a tree, whose readers call themselves for each level.
int json_depth(std::string_view json) noexcept;

}  // namespace vkb

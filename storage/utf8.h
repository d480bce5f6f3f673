// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace vkb {

// True for well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing
// above U+10FFFF.
bool is_utf8(std::string_view text) noexcept;

// The code points of a text; U+FFFD for each byte that is not part of a well-formed one.
std::u32string code_points(std::string_view text);
std::string to_utf8(std::u32string_view codes);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace vkb {

// What to do about an errno of the operating system, as the end of a message: "; free disk space
// and try again". Empty when the error itself says all there is.
std::string_view advice_for(int error) noexcept;

}  // namespace vkb

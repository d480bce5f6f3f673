// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>

#include "server/api_error.h"

namespace vkb {

// "404 the message" of what `work` throws, as the API words it; "" when it throws nothing.
template <typename Work>
std::string refusal(Work work) {
  try {
    work();
    return "";
  } catch (const std::exception& exception) {
    const ApiError error = to_api_error(exception);
    return std::to_string(error.status()) + " " + error.what();
  }
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

namespace vkb {

// n little-endian IEEE 754 floats from base64 (RFC 4648: padded, unused bits zero). Throws ApiError
// 400.
std::vector<float> decode_embedding(std::string_view base64);

}  // namespace vkb

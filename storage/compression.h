// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vkb {

// A Zstandard frame (RFC 8878) of `text`, with its size and a checksum in it.
std::vector<std::byte> compress(std::string_view text);
// Throws corruption, with `object` as the message's beginning, for anything else than such a frame.
std::string decompress(std::span<const std::byte> frame, std::string_view object);

}  // namespace vkb

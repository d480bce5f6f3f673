// SPDX-License-Identifier: Apache-2.0
//
// Byte strings whose content is not ours: keys, field values, texts. All functions are pure.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace vkb {

// Where `bytes` stops being UTF-8 (RFC 3629: no surrogates, no overlong forms), if it does.
std::optional<std::size_t> first_invalid_utf8(std::string_view bytes) noexcept;
inline bool valid_utf8(std::string_view bytes) noexcept { return !first_invalid_utf8(bytes); }

std::string base64_encode(std::string_view bytes);
// Throws Error{corruption} for text that is not padded base64.
std::string base64_decode(std::string_view text);

// One line of printable UTF-8 for any bytes, and back: \\ \t \n \r and \xNN for control bytes and
// what is not UTF-8. Throws Error{corruption} for an unfinished escape.
std::string escape_bytes(std::string_view bytes);
std::string unescape_bytes(std::string_view text);

// A prefix as a pattern of SCAN MATCH that stands for itself, with "*" at the end.
std::string glob_for_prefix(std::string_view prefix);

// XXH3-128, used to recognise keys and records; not a signature.
struct Hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const Hash128&) const = default;
  std::string hex() const;  // 32 lower-case digits
};
Hash128 hash_bytes(std::string_view bytes) noexcept;
std::optional<Hash128> parse_hash(std::string_view hex) noexcept;

// "1,234", and "1 record" or "1,234 records": for messages people read.
std::string grouped(std::uint64_t number);
std::string count_of(std::uint64_t number, std::string_view singular);

}  // namespace vkb

template <>
struct std::hash<vkb::Hash128> {
  std::size_t operator()(const vkb::Hash128& key) const noexcept { return key.low; }
};

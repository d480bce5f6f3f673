// SPDX-License-Identifier: Apache-2.0
#include "importers/bytes.h"

#include <xxhash.h>

#include <array>
#include <charconv>

#include "engine/vkb.h"

namespace vkb {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kHex = "0123456789abcdef";

// Length of the UTF-8 sequence that starts at `at`, 0 when there is none.
std::size_t sequence_length(std::string_view bytes, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || at + length > bytes.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xF0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xED && byte(1) > 0x9F;
  const bool too_large = lead == 0xF4 && byte(1) > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::optional<std::size_t> first_invalid_utf8(std::string_view bytes) noexcept {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t length = sequence_length(bytes, at);
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

std::string base64_encode(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t left = bytes.size() - at;
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < left ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += i <= left ? kBase64[group >> (18 - 6 * i) & 63] : '=';
    }
  }
  return out;
}

std::string base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) throw Error(ErrorCode::corruption, "base64 text of a broken length");
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t at = 0; at < text.size(); at += 4) {
    std::uint32_t group = 0;
    std::size_t padding = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const char c = text[at + i];
      const bool may_pad = at + 4 == text.size() && i >= 2;
      const std::size_t digit = c == '=' && may_pad ? 0 : kBase64.find(c);
      if (digit == std::string_view::npos || (padding > 0 && c != '=')) {
        throw Error(ErrorCode::corruption, "base64 text with a character that is none of it");
      }
      padding += c == '=' ? 1 : 0;
      group = group << 6 | static_cast<std::uint32_t>(digit);
    }
    for (std::size_t i = 0; i + padding < 3; ++i) {
      out += static_cast<char>(group >> (16 - 8 * i) & 0xFF);
    }
  }
  return out;
}

std::string escape_bytes(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = sequence_length(bytes, at);
    const auto c = static_cast<unsigned char>(bytes[at]);
    if (length > 1) {
      out.append(bytes.substr(at, length));
      at += length;
      continue;
    }
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c < 0x20 || c == 0x7F || length == 0) {
      out += "\\x";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += static_cast<char>(c);
    }
    ++at;
  }
  return out;
}

std::string unescape_bytes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      out += text[at];
      continue;
    }
    const char kind = at + 1 < text.size() ? text[at + 1] : '\0';
    ++at;
    if (kind == '\\') {
      out += '\\';
    } else if (kind == 't') {
      out += '\t';
    } else if (kind == 'n') {
      out += '\n';
    } else if (kind == 'r') {
      out += '\r';
    } else if (kind == 'x' && at + 2 < text.size() && hex_digit(text[at + 1]) >= 0 &&
               hex_digit(text[at + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[at + 1]) * 16 + hex_digit(text[at + 2]));
      at += 2;
    } else {
      throw Error(ErrorCode::corruption,
                  "escaped text \"" + std::string(text) + "\": a backslash that begins no escape");
    }
  }
  return out;
}

std::string glob_for_prefix(std::string_view prefix) {
  std::string out;
  for (const char c : prefix) {
    if (std::string_view("*?[]^-\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out + '*';
}

std::string Hash128::hex() const {
  std::string out(32, '0');
  for (std::size_t i = 0; i < 16; ++i) {
    out[i] = kHex[high >> (60 - 4 * i) & 15];
    out[16 + i] = kHex[low >> (60 - 4 * i) & 15];
  }
  return out;
}

Hash128 hash_bytes(std::string_view bytes) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

std::optional<Hash128> parse_hash(std::string_view hex) noexcept {
  if (hex.size() != 32) return std::nullopt;
  Hash128 hash;
  for (std::size_t i = 0; i < 32; ++i) {
    const int digit = hex_digit(hex[i]);
    if (digit < 0) return std::nullopt;
    std::uint64_t& half = i < 16 ? hash.high : hash.low;
    half = half << 4 | static_cast<std::uint64_t>(digit);
  }
  return hash;
}

std::string grouped(std::uint64_t number) {
  std::string out = std::to_string(number);
  for (std::size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, 1, ',');
  return out;
}

std::string count_of(std::uint64_t number, std::string_view singular) {
  return grouped(number) + ' ' + std::string(singular) + (number == 1 ? "" : "s");
}

}  // namespace vkb

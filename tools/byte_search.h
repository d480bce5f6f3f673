// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vkb {

// Finds a text in bytes that go by, as a whole or in parts: SQLite cuts what is long at the ends of
// pages. A text of more than kPieceBytes bytes is looked for in pieces of so many, one after the
// other, so that whatever is left of it in twice as many bytes in a row is found. By the rolling
// hash of Karp & Rabin (1987): one pass, whatever the number of pieces. Thread safety: one thread
// at a time.
class ByteSearch {
 public:
  static constexpr std::size_t kPieceBytes = 64;

  // Throws invalid_argument for an empty text.
  explicit ByteSearch(std::string text);

  // Gets where a piece was found: its offset among all bytes since start().
  using Found = std::function<void(std::uint64_t offset)>;
  // Begins anew: what follows is another file.
  void start();
  void look_at(std::string_view bytes, const Found& found);

 private:
  bool is_piece(std::uint64_t hash) const;

  std::string text_;
  std::size_t width_;
  std::uint64_t leading_factor_ = 1;                           // of the byte that leaves the window
  std::vector<std::pair<std::uint64_t, std::size_t>> pieces_;  // hash, where in text_; ascending
  std::vector<bool> hashes_;  // whether a piece has a hash with these lowest bits

  std::string window_;      // the last width_ bytes, as a ring
  std::size_t oldest_ = 0;  // where it begins
  std::uint64_t hash_ = 0;
  std::uint64_t seen_ = 0;
};

}  // namespace vkb

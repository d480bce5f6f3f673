// SPDX-License-Identifier: Apache-2.0
#include "tools/byte_search.h"

#include <algorithm>

#include "storage/error.h"

namespace vkb {
namespace {

constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15;  // odd, and its bits without a pattern
constexpr std::uint64_t kHashBits = std::uint64_t{1} << 16;

std::uint64_t value_of(char byte) noexcept { return static_cast<unsigned char>(byte) + 1U; }

// Its low bits depend on low bits only: taken from the upper ones.
std::uint64_t bucket(std::uint64_t hash) noexcept { return (hash >> 40) % kHashBits; }

}  // namespace

ByteSearch::ByteSearch(std::string text)
    : text_(std::move(text)), width_(std::min(text_.size(), kPieceBytes)), hashes_(kHashBits) {
  if (text_.empty()) throw Error(ErrorCode::invalid_argument, "there is no text to look for");
  for (std::size_t i = 1; i < width_; ++i) leading_factor_ *= kFactor;
  for (std::size_t at = 0; at < text_.size(); at += width_) {
    const std::size_t first = std::min(at, text_.size() - width_);  // the last one overlaps
    std::uint64_t hash = 0;
    for (std::size_t i = 0; i < width_; ++i) hash = hash * kFactor + value_of(text_[first + i]);
    pieces_.emplace_back(hash, first);
    hashes_[bucket(hash)] = true;
  }
  std::sort(pieces_.begin(), pieces_.end());
  start();
}

void ByteSearch::start() {
  window_.assign(width_, '\0');
  oldest_ = 0;
  hash_ = 0;
  seen_ = 0;
}

void ByteSearch::look_at(std::string_view bytes, const Found& found) {
  for (const char byte : bytes) {
    char& oldest = window_[oldest_];
    if (seen_ >= width_) hash_ -= value_of(oldest) * leading_factor_;
    hash_ = hash_ * kFactor + value_of(byte);
    oldest = byte;
    oldest_ = oldest_ + 1 == width_ ? 0 : oldest_ + 1;
    ++seen_;
    if (seen_ >= width_ && hashes_[bucket(hash_)] && is_piece(hash_)) found(seen_ - width_);
  }
}

bool ByteSearch::is_piece(std::uint64_t hash) const {
  for (auto piece =
           std::lower_bound(pieces_.begin(), pieces_.end(), std::pair(hash, std::size_t{0}));
       piece != pieces_.end() && piece->first == hash; ++piece) {
    const std::string_view text = std::string_view(text_).substr(piece->second, width_);
    if (std::string_view(window_).substr(oldest_) == text.substr(0, width_ - oldest_) &&
        std::string_view(window_).substr(0, oldest_) == text.substr(width_ - oldest_)) {
      return true;
    }
  }
  return false;
}

}  // namespace vkb

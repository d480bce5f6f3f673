// SPDX-License-Identifier: Apache-2.0
#include "storage/posting_value.h"

#include <xxhash.h>

#include <algorithm>

#include "storage/error.h"

namespace vkb {
namespace {

// Texts longer than this are indexed by hash. UUIDs (36) and most categories stay readable.
constexpr std::size_t kLongestPostingText = 40;
// Begins a hashed text; a text that begins so itself is hashed whatever its length.
constexpr char kHashMark = '\x01';

PostingValue text_posting(const std::string& text) {
  if (text.size() <= kLongestPostingText && (text.empty() || text.front() != kHashMark)) {
    return text;
  }
  XXH128_canonical_t hash;
  XXH128_canonicalFromHash(&hash, XXH3_128bits(text.data(), text.size()));
  std::string out(1, kHashMark);
  for (const unsigned char byte : hash.digest) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 0xF];
  }
  return out;
}

struct Postings {
  std::vector<PostingValue> out;

  void operator()(std::monostate) {}
  void operator()(bool value) { out.emplace_back(std::int64_t{value}); }
  void operator()(std::int64_t value) { out.emplace_back(value); }
  void operator()(double value) { out.emplace_back(value); }
  void operator()(const std::string& value) { out.push_back(text_posting(value)); }
  template <typename T>
  void operator()(const std::vector<T>& values) {
    for (const auto& value : values) (*this)(static_cast<T>(value));
  }
};

// Exactly: a conversion of either side would round beyond 2^53.
int compare_exactly(std::int64_t a, double b) {
  if (b >= 0x1p63) return -1;
  if (b < -0x1p63) return 1;
  const auto whole = static_cast<std::int64_t>(b);  // towards zero
  if (a != whole) return a < whole ? -1 : 1;
  const double rest = b - static_cast<double>(whole);
  return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

template <typename T>
int order(const T& a, const T& b) {
  return a < b ? -1 : b < a ? 1 : 0;
}

}  // namespace

ValueKind kind_of(const Value& value) {
  switch (value.index()) {
    case 1:
      return ValueKind::boolean;
    case 2:
      return ValueKind::integer;
    case 3:
      return ValueKind::floating;
    case 4:
      return ValueKind::text;
    case 5:
      return ValueKind::boolean_array;
    case 6:
      return ValueKind::integer_array;
    case 7:
      return ValueKind::float_array;
    case 8:
      return ValueKind::text_array;
    default:
      throw Error(ErrorCode::invalid_argument, "metadata: a null value has no kind");
  }
}

ValueKind array_kind_of(const Value& scalar) {
  if (std::holds_alternative<bool>(scalar)) return ValueKind::boolean_array;
  if (std::holds_alternative<std::int64_t>(scalar)) return ValueKind::integer_array;
  if (std::holds_alternative<double>(scalar)) return ValueKind::float_array;
  return ValueKind::text_array;
}

std::vector<PostingValue> posting_values(const Value& value) {
  Postings postings;
  std::visit(postings, value);
  std::sort(postings.out.begin(), postings.out.end());
  postings.out.erase(std::unique(postings.out.begin(), postings.out.end()), postings.out.end());
  return std::move(postings.out);
}

int compare(const PostingValue& a, const PostingValue& b) {
  const auto* text = std::get_if<std::string>(&a);
  const auto* other_text = std::get_if<std::string>(&b);
  if (text && other_text) return order(text->compare(*other_text), 0);
  if (text || other_text) return text ? 1 : -1;
  const auto* integer = std::get_if<std::int64_t>(&a);
  const auto* other_integer = std::get_if<std::int64_t>(&b);
  if (integer && other_integer) return order(*integer, *other_integer);
  if (integer) return compare_exactly(*integer, std::get<double>(b));
  if (other_integer) return -compare_exactly(*other_integer, std::get<double>(a));
  return order(std::get<double>(a), std::get<double>(b));
}

}  // namespace vkb

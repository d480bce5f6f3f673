// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "storage/value.h"

namespace vkb {

// The kind of a metadata key's values. DO NOT CHANGE THESE VALUES: they are in databases.
enum class ValueKind : int {
  text = 0,
  integer = 1,  // compares with floats
  boolean = 2,
  text_array = 3,  // arrays: one posting an element; integers and floats are apart
  integer_array = 4,
  float_array = 5,
  boolean_array = 6,
  floating = 7,  // compares with integers
};

// What the metadata index holds for a value: its kind and one SQLite value for each scalar in it.
using PostingValue = std::variant<std::int64_t, double, std::string>;
ValueKind kind_of(const Value& value);
// Kind of an array that would hold `scalar`.
ValueKind array_kind_of(const Value& scalar);
// Long texts are indexed by their 128-bit hash, so that an index entry stays small.
// Ascending, without repeats.
std::vector<PostingValue> posting_values(const Value& value);
// Negative, 0, positive: the order in which SQLite has values. Integers and floats compare exactly,
// texts by bytes and after numbers.
int compare(const PostingValue& a, const PostingValue& b);

}  // namespace vkb

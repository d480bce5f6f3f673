// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "storage/value.h"

namespace vkb {

// A condition on records: a tree whose leaves compare one metadata key, or search the document.
// The semantics are Chroma's: `ne`, `nin`, `not_contains` and `document_not_*` are complements over
// all records, so they match records that lack the key or the document; `gt` .. `lte` compare
// integers and floats as numbers and match nothing else; `contains` asks whether an array holds an
// element of the same type.
struct Filter {
  enum class Op {
    all_of,  // every child; no children: all records
    any_of,  // at least one child; no children: none
    eq,
    ne,
    gt,
    gte,
    lt,
    lte,
    in,
    nin,
    contains,
    not_contains,
    document_contains,  // exact substring, case-sensitive, by bytes
    document_not_contains,
    document_regex,  // what RE2 and Rust's regex crate read alike; unanchored, case-sensitive
    document_not_regex,
  };

  // What eq, ne, in and nin compare: metadata, or one of the record's own texts as a whole.
  enum class Field { metadata, id, document, uri };

  Op op = Op::all_of;
  std::string key;               // metadata key, for eq .. not_contains
  std::vector<Value> operands;   // scalars: one, or the members of `in`/`nin`; text for document_*
  std::vector<Filter> children;  // for all_of and any_of
  Field field = Field::metadata;

  friend bool operator==(const Filter&, const Filter&) = default;

  static Filter compare(Op op, std::string key, Value operand);
  static Filter one_of(Op op, std::string key, std::vector<Value> operands);  // in, nin
  static Filter document(Op op, std::string text);
  static Filter combine(Op op, std::vector<Filter> children);  // all_of, any_of
};

// Parse Chroma's `where` and `where_document` JSON. {"a": 1} is {"a": {"$eq": 1}}. `where` also
// takes {"#document": {"$contains": ...}}, and compares document and uri under the keys
// "chroma:document" and "chroma:uri". Throws invalid_argument that names the offending part.
Filter parse_where(std::string_view json);
Filter parse_where_document(std::string_view json);
// As parse_where, in a search: there "#id" is the record's id, with $eq, $ne, $in and $nin.
Filter parse_search_filter(std::string_view json);

}  // namespace vkb

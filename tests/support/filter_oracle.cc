// SPDX-License-Identifier: Apache-2.0
#include "tests/support/filter_oracle.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "storage/value.h"

namespace vkb {
namespace {

using Op = Filter::Op;

// -1, 0, 1 for a number against a number, without rounding either.
int compare(const Value& a, const Value& b) {
  const auto* x = std::get_if<std::int64_t>(&a);
  const auto* y = std::get_if<std::int64_t>(&b);
  if (x && y) return (*x > *y) - (*x < *y);
  if (y) return -compare(b, a);
  const double real = std::get<double>(b);
  if (!x) return (std::get<double>(a) > real) - (std::get<double>(a) < real);
  if (real >= 0x1p63) return -1;
  if (real < -0x1p63) return 1;
  const auto whole = static_cast<std::int64_t>(real);  // towards zero
  if (*x != whole) return *x < whole ? -1 : 1;
  const double rest = real - std::trunc(real);
  return (rest < 0) - (rest > 0);
}

bool is_number(const Value& value) { return value.index() == 2 || value.index() == 3; }

bool equals(const Value& value, const Value& operand) {
  if (is_number(value) && is_number(operand)) return compare(value, operand) == 0;
  return value == operand;
}

template <typename T>
bool holds(const Value& value, const Value& operand) {
  const auto* array = std::get_if<std::vector<T>>(&value);
  const auto* element = std::get_if<T>(&operand);
  return array && element && std::find(array->begin(), array->end(), *element) != array->end();
}

bool matches_key(const Value* value, const Filter& filter) {
  if (!value) return false;
  const auto any = [&](auto predicate) {
    return std::any_of(filter.operands.begin(), filter.operands.end(), predicate);
  };
  const Value& operand = filter.operands.front();
  switch (filter.op) {
    case Op::eq:
    case Op::in:
      return any([&](const Value& member) { return equals(*value, member); });
    case Op::contains:
      return holds<bool>(*value, operand) || holds<std::int64_t>(*value, operand) ||
             holds<double>(*value, operand) || holds<std::string>(*value, operand);
    default:
      break;
  }
  if (!is_number(*value)) return false;
  const int order = compare(*value, operand);
  return filter.op == Op::gt    ? order > 0
         : filter.op == Op::gte ? order >= 0
         : filter.op == Op::lt  ? order < 0
                                : order <= 0;
}

// eq or in on one of the record's own texts.
bool matches_field(const RecordRow& record, const Filter& filter) {
  const std::optional<std::string> text = filter.field == Filter::Field::id ? record.id
                                          : filter.field == Filter::Field::document
                                              ? record.document
                                              : record.uri;
  return text && std::find(filter.operands.begin(), filter.operands.end(), Value(*text)) !=
                     filter.operands.end();
}

bool matches(const RecordRow& record, const Filter& filter) {
  const auto positive = [&](Op op) {
    Filter copy = filter;
    copy.op = op;
    return matches(record, copy);
  };
  const auto child = [&](const Filter& part) { return matches(record, part); };
  switch (filter.op) {
    case Op::all_of:
      return std::all_of(filter.children.begin(), filter.children.end(), child);
    case Op::any_of:
      return std::any_of(filter.children.begin(), filter.children.end(), child);
    case Op::ne:
      return !positive(Op::eq);
    case Op::nin:
      return !positive(Op::in);
    case Op::not_contains:
      return !positive(Op::contains);
    case Op::document_not_contains:
      return !positive(Op::document_contains);
    case Op::document_not_regex:
      return !positive(Op::document_regex);
    case Op::document_contains:
      return record.document &&
             record.document->find(std::get<std::string>(filter.operands[0])) != std::string::npos;
    case Op::document_regex:
      return record.document &&
             oracle_patterns().at(std::get<std::string>(filter.operands[0]))(*record.document);
    default:
      break;
  }
  if (filter.field != Filter::Field::metadata) return matches_field(record, filter);
  if (!record.metadata) return false;
  const auto found = record.metadata->find(filter.key);
  return matches_key(found == record.metadata->end() ? nullptr : &found->second, filter);
}

}  // namespace

const std::map<std::string, bool (*)(const std::string&)>& oracle_patterns() {
  static const std::map<std::string, bool (*)(const std::string&)> table = {
      {"", [](const std::string&) { return true; }},
      {"^a", [](const std::string& text) { return text.starts_with("a"); }},
      {"b$", [](const std::string& text) { return text.ends_with("b"); }},
      {"(?i)ü",
       [](const std::string& text) {
         return text.find("ü") != text.npos || text.find("Ü") != text.npos;
       }},
      {"^.$",
       [](const std::string& text) {
         return (text.size() == 1 && text != "\n") || text == "ü" || text == "Ü";
       }},
      {"\\x00", [](const std::string& text) { return text.find('\0') != text.npos; }},
      {"a.*b", [](const std::string& text) {
         const std::size_t a = text.find('a');
         if (a == text.npos) return false;
         // "." does not match a line feed; the texts of the tests have an "a" in one line only.
         const std::string line = text.substr(a, text.find('\n', a) - a);
         return line.find('b') != line.npos;
       }}};
  return table;
}

RowSet oracle_rows(const std::map<std::int64_t, RecordRow>& rows, const Filter& filter) {
  RowSet out;
  for (const auto& [row_id, row] : rows) {
    if (matches(row, filter)) out.add(row_id);
  }
  return out;
}

std::string description(const Filter& filter) {
  std::string out = "op " + std::to_string(static_cast<int>(filter.op)) + " '" + filter.key + "'";
  for (const Value& operand : filter.operands)
    out += " " + (operand.index() ? to_json({{"v", operand}}) : "null");
  for (const Filter& child : filter.children) out += " (" + description(child) + ")";
  return out;
}

}  // namespace vkb

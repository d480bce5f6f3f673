// SPDX-License-Identifier: Apache-2.0
#include "storage/filter.h"

#include <re2/re2.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "storage/error.h"
#include "storage/json_depth.h"

namespace vkb {
namespace {

using Json = nlohmann::json;
using Op = Filter::Op;

// Deeper trees than any program writes; keeps recursion bounded for text from the network.
constexpr int kMaxDepth = 126;

std::optional<Op> comparison(std::string_view name) {
  constexpr std::pair<std::string_view, Op> kNames[] = {{"$eq", Op::eq},
                                                        {"$ne", Op::ne},
                                                        {"$gt", Op::gt},
                                                        {"$gte", Op::gte},
                                                        {"$lt", Op::lt},
                                                        {"$lte", Op::lte},
                                                        {"$in", Op::in},
                                                        {"$nin", Op::nin},
                                                        {"$contains", Op::contains},
                                                        {"$not_contains", Op::not_contains}};
  for (const auto& [known, op] : kNames) {
    if (known == name) return op;
  }
  return std::nullopt;
}

std::optional<Op> document_operator(std::string_view name) {
  if (name == "$contains") return Op::document_contains;
  if (name == "$not_contains") return Op::document_not_contains;
  if (name == "$regex") return Op::document_regex;
  if (name == "$not_regex") return Op::document_not_regex;
  return std::nullopt;
}

// The beginning of what was found, for a message.
std::string shown(std::string_view text) { return std::string(text.substr(0, 80)); }

// Parses one of the two clause languages; `name` begins its messages.
class Parser {
 public:
  explicit Parser(std::string_view name) : name_(name) {}

  Json read(std::string_view text) const {
    // Before the text becomes a tree. (The library's own callback takes quadratic time.)
    if (json_depth(text) > kMaxDepth) {
      refuse("more than " + std::to_string(kMaxDepth) + " brackets within each other");
    }
    Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) refuse("not JSON: " + shown(text));
    return json;
  }

  Filter where(const Json& clause) const {
    const auto& [key, operand] = single(clause);
    if (key == "$and" || key == "$or") {
      return children(key == "$and" ? Op::all_of : Op::any_of, operand,
                      [this](const Json& child) { return where(child); });
    }
    if (key == "#document") {
      refuse_comparison(operand);
      return document(operand);
    }
    if (key.empty() || key.front() == '$') refuse("'" + shown(key) + "' is not a metadata key");
    if (!operand.is_object()) return Filter::compare(Op::eq, key, scalar(operand));
    const auto& [name, value] = single(operand);
    const std::optional<Op> op = comparison(name);
    if (!op) refuse("unknown operator " + shown(name));
    if (*op == Op::in || *op == Op::nin) return Filter::one_of(*op, key, members(value));
    const bool ordered = *op == Op::gt || *op == Op::gte || *op == Op::lt || *op == Op::lte;
    if (ordered && !value.is_number())
      refuse(name + " takes a number, found " + shown(value.dump()));
    return Filter::compare(*op, key, scalar(value));
  }

  Filter where_document(const Json& clause) const {
    const auto& [key, operand] = single(clause);
    if (key == "$and" || key == "$or") {
      return children(key == "$and" ? Op::all_of : Op::any_of, operand,
                      [this](const Json& child) { return where_document(child); });
    }
    return document(clause);
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    throw Error(ErrorCode::invalid_argument, "Invalid " + name_ + " clause: " + problem);
  }

  std::pair<const std::string&, const Json&> single(const Json& object) const {
    if (!object.is_object() || object.size() != 1) {
      refuse("expected an object with exactly one key, found " + shown(object.dump()));
    }
    const Json::const_iterator entry = object.begin();
    return {entry.key(), entry.value()};
  }

  // Documents are searched, not compared: {"#document": "x"} has no index to ask.
  static void refuse_comparison(const Json& operand) {
    const Json* value = &operand;
    if (operand.is_object() && operand.size() == 1 && comparison(operand.begin().key()) &&
        !document_operator(operand.begin().key())) {
      value = &operand.begin().value();
    }
    const char* type = value->is_string()           ? "Str"
                       : value->is_boolean()        ? "Bool"
                       : value->is_number_integer() ? "Int"
                       : value->is_number()         ? "Float"
                                                    : nullptr;
    if (type) {
      throw Error(ErrorCode::invalid_argument,
                  std::string("Cannot filter using metadata key '#document' with type '") + type +
                      "' because indexing is disabled");
    }
  }

  template <typename Parse>
  Filter children(Op op, const Json& array, Parse parse) const {
    if (!array.is_array()) refuse("$and and $or take an array of clauses");
    std::vector<Filter> parsed;
    for (const Json& child : array) parsed.push_back(parse(child));
    return Filter::combine(op, std::move(parsed));
  }

  Filter document(const Json& clause) const {
    const auto& [name, text] = single(clause);
    const std::optional<Op> op = document_operator(name);
    if (!op) refuse("unknown document operator " + shown(name));
    if (!text.is_string()) refuse(name + " takes a text, found " + shown(text.dump()));
    return Filter::document(*op, text.get<std::string>());
  }

  Value scalar(const Json& json) const {
    if (json.is_string()) return json.get<std::string>();
    if (json.is_boolean()) return json.get<bool>();
    if (json.is_number_unsigned() && json.get<std::uint64_t>() > INT64_MAX) {
      refuse(json.dump() + " does not fit 64 bits");
    }
    if (json.is_number_integer()) return json.get<std::int64_t>();
    if (json.is_number_float()) return json.get<double>();
    refuse("expected a text, number or boolean, found " + shown(json.dump()));
  }

  std::vector<Value> members(const Json& array) const {
    if (!array.is_array() || array.empty()) refuse("$in and $nin take an array that is not empty");
    std::vector<Value> out;
    for (const Json& member : array) out.push_back(scalar(member));
    for (const Value& member : out) {
      if (member.index() == out.front().index()) continue;
      // An integer after a float stays one: a double could not hold each exactly.
      if (std::holds_alternative<double>(out.front()) &&
          std::holds_alternative<std::int64_t>(member)) {
        continue;
      }
      refuse("$in and $nin take members of one type");
    }
    return out;
  }

  std::string name_;
};

void check_regex(const std::string& pattern) {
  const RE2 compiled(pattern, RE2::Quiet);
  if (!compiled.ok()) {
    throw Error(ErrorCode::invalid_argument, "Regex syntax error: " + compiled.error());
  }
}

}  // namespace

Filter Filter::compare(Op op, std::string key, Value operand) {
  return {.op = op, .key = std::move(key), .operands = {std::move(operand)}, .children = {}};
}

Filter Filter::one_of(Op op, std::string key, std::vector<Value> operands) {
  return {.op = op, .key = std::move(key), .operands = std::move(operands), .children = {}};
}

Filter Filter::document(Op op, std::string text) {
  if (op == Op::document_regex || op == Op::document_not_regex) check_regex(text);
  return {.op = op, .key = {}, .operands = {std::move(text)}, .children = {}};
}

Filter Filter::combine(Op op, std::vector<Filter> children) {
  return {.op = op, .key = {}, .operands = {}, .children = std::move(children)};
}

Filter parse_where(std::string_view json) {
  const Parser parser("where");
  return parser.where(parser.read(json));
}

Filter parse_where_document(std::string_view json) {
  const Parser parser("where document");
  return parser.where_document(parser.read(json));
}

}  // namespace vkb

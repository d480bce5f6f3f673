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
  explicit Parser(std::string_view name, bool ids = false) : name_(name), ids_(ids) {}

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
    if (key == "#document" && operand.is_object() && operand.size() == 1 &&
        document_operator(operand.begin().key())) {
      return document(operand);
    }
    if (key.starts_with('$')) refuse("'" + shown(key) + "' is not a metadata key");
    Filter filter = condition(key, operand);
    const bool is_text = std::holds_alternative<std::string>(filter.operands.front());
    if (key == "#document" && is_text) {
      throw Error(ErrorCode::invalid_argument,
                  "Cannot filter using metadata key '#document' with type 'Str' because indexing "
                  "is disabled");
    }
    filter.field = field_of(filter);
    return filter;
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

  Filter condition(const std::string& key, const Json& operand) const {
    if (!operand.is_object()) return Filter::compare(Op::eq, key, scalar(operand));
    const auto& [name, value] = single(operand);
    const std::optional<Op> op = comparison(name);
    if (!op) refuse("unknown operator " + shown(name));
    if (*op == Op::in || *op == Op::nin) return Filter::one_of(*op, key, members(value));
    const bool ordered = *op == Op::gt || *op == Op::gte || *op == Op::lt || *op == Op::lte;
    if (ordered && !value.is_number()) {
      refuse(name + " takes a number, found " + shown(value.dump()));
    }
    return Filter::compare(*op, key, scalar(value));
  }

  Filter::Field field_of(const Filter& filter) const {
    const bool compares =
        filter.op == Op::eq || filter.op == Op::ne || filter.op == Op::in || filter.op == Op::nin;
    if (ids_ && filter.key == "#id") {
      if (!compares || !std::holds_alternative<std::string>(filter.operands.front())) {
        refuse("'#id' takes $eq, $ne, $in and $nin with texts");
      }
      return Filter::Field::id;
    }
    if (compares && filter.key == "chroma:document") return Filter::Field::document;
    if (compares && filter.key == "chroma:uri") return Filter::Field::uri;
    return Filter::Field::metadata;
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
  bool ids_;  // whether "#id" is the record's id
};

// Whether the text begins with a repetition: {2}, {2,} or {2,5}.
bool is_repetition(std::string_view text) {
  const auto skip_digits = [&text] {
    const std::size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(end);
    return end > 0;
  };
  text.remove_prefix(1);
  if (!skip_digits()) return false;
  if (text.starts_with(',')) {
    text.remove_prefix(1);
    skip_digits();
  }
  return text.starts_with('}');
}

// How long the [:name:] is that the text begins with; 0 when there is none.
std::size_t named_class_size(std::string_view text) {
  const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz^", 2);
  return text.starts_with("[:") && text.substr(std::min(end, text.size())).starts_with(":]")
             ? end + 2
             : 0;
}

// Chroma's patterns are those of Rust's regex crate. Returns what RE2 takes too, but in another
// sense or where Rust takes nothing, which would be a wrong answer without a word; "" when there is
// nothing of the kind.
std::string_view foreign_construct(std::string_view pattern) {
  constexpr std::string_view kEscapes[] = {"\\<", "\\>",  // edges of a word, not the characters
                                           "\\C", "\\Q",  // RE2's: any byte, a quotation
                                           "\\0", "\\1", "\\2", "\\3",
                                           "\\4", "\\5", "\\6", "\\7"};  // RE2's: octal numbers
  constexpr std::string_view kInClass[] = {"&&", "--", "~~"};            // operators on sets
  const auto known = [](const auto& table, std::string_view text) -> std::string_view {
    for (const std::string_view construct : table) {
      if (text.starts_with(construct)) return construct;
    }
    return {};
  };
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const std::string_view rest = pattern.substr(i);
    if (rest.front() == '\\') {
      if (const auto found = known(kEscapes, rest); !found.empty()) return found;
      const bool braced =
          rest.starts_with("\\p{") || rest.starts_with("\\P{") || rest.starts_with("\\x{");
      i += braced ? std::min(rest.find('}'), rest.size()) : 1;
    } else if (in_class) {
      if (const auto found = known(kInClass, rest); !found.empty()) return found;
      const std::size_t named = named_class_size(rest);
      if (rest.front() == '[' && named == 0) return rest.substr(0, 1);  // a class in a class
      if (named > 0) i += named - 1;
      if (rest.front() == ']') in_class = false;
    } else if (rest.front() == '[') {
      in_class = true;
      if (rest.substr(1).starts_with('^')) ++i;
      if (pattern.substr(i + 1).starts_with(']')) ++i;  // the character
    } else if (rest.front() == '{' && !is_repetition(rest)) {
      return rest.substr(0, 1);  // \b{start}, or a mistake
    }
  }
  return {};
}

void check_regex(const std::string& pattern) {
  if (const std::string_view found = foreign_construct(pattern); !found.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "Regex syntax error: '" + std::string(found) +
                    "' is not supported in this place; write a backslash before a character that "
                    "is meant itself");
  }
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

Filter parse_search_filter(std::string_view json) {
  const Parser parser("where", true);
  return parser.where(parser.read(json));
}

Filter parse_where_document(std::string_view json) {
  const Parser parser("where document");
  return parser.where_document(parser.read(json));
}

}  // namespace vkb

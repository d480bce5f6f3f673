// SPDX-License-Identifier: Apache-2.0
#include "storage/filter_eval.h"

#include <algorithm>
#include <map>
#include <optional>

#include "storage/document_index.h"
#include "storage/error.h"
#include "storage/posting_index.h"
#include "storage/records.h"
#include "storage/regex_function.h"

namespace vkb {
namespace {

using Op = Filter::Op;
using Field = Filter::Field;

Selection operator&(Selection a, const Selection& b) {
  if (a.complement && b.complement) {
    a.rows |= b.rows;
  } else if (!a.complement && !b.complement) {
    a.rows &= b.rows;
  } else if (!a.complement) {
    a.rows -= b.rows;
  } else {
    RowSet rows = b.rows;
    rows -= a.rows;
    return {std::move(rows), false};
  }
  return a;
}

Selection inverted(Selection selection) {
  selection.complement = !selection.complement;
  return selection;
}

// Whether it reads documents or other long columns.
bool is_document_condition(const Filter& filter) {
  switch (filter.op) {
    case Op::document_contains:
    case Op::document_not_contains:
    case Op::document_regex:
    case Op::document_not_regex:
      return true;
    case Op::eq:
    case Op::ne:
    case Op::in:
    case Op::nin:
      return filter.field == Field::document || filter.field == Field::uri;
    default:
      return std::any_of(filter.children.begin(), filter.children.end(), is_document_condition);
  }
}

class Evaluator {
 public:
  Evaluator(Database& db, std::int64_t collection_id)
      : db_(db), collection_id_(collection_id), records_(db, collection_id) {}

  // candidates: only these rows matter to the caller; the answer may hold others too.
  Selection evaluate(const Filter& filter, const std::optional<Selection>& candidates) {
    switch (filter.op) {
      case Op::all_of:
        return all_of(filter);
      case Op::any_of: {
        Selection none_of{{}, true};
        for (const Filter& child : filter.children) {
          none_of = std::move(none_of) & inverted(evaluate(child, candidates));
        }
        return inverted(std::move(none_of));
      }
      case Op::eq:
      case Op::in:
        return {matching(filter, candidates), false};
      case Op::ne:
      case Op::nin:
        return {matching(filter, candidates), true};
      case Op::gt:
      case Op::gte:
      case Op::lt:
      case Op::lte:
        return {ordered(filter), false};
      case Op::contains:
        return {containing(filter), false};
      case Op::not_contains:
        return {containing(filter), true};
      case Op::document_contains:
      case Op::document_regex:
        return {search(document_condition(filter), candidates), false};
      case Op::document_not_contains:
      case Op::document_not_regex:
        return {search(document_condition(filter), candidates), true};
    }
    throw Error(ErrorCode::invalid_argument, "filter: unknown operator");
  }

 private:
  // Conditions on metadata first: they are cheap, and spare documents from being read.
  Selection all_of(const Filter& filter) {
    Selection result{{}, true};
    for (const bool documents : {false, true}) {
      for (const Filter& child : filter.children) {
        if (is_document_condition(child) != documents) continue;
        const Selection matches = evaluate(child, result);
        result = std::move(result) & matches;
      }
    }
    return result;
  }

  const Value& operand(const Filter& filter) const {
    if (filter.operands.empty()) {
      throw Error(ErrorCode::invalid_argument, "filter on '" + filter.key + "': no operand");
    }
    return filter.operands.front();
  }

  static bool is_number(const Value& value) {
    return std::holds_alternative<std::int64_t>(value) || std::holds_alternative<double>(value);
  }

  static void check_scalar(const Filter& filter, const Value& value) {
    if (is_number(value) || std::holds_alternative<bool>(value) ||
        std::holds_alternative<std::string>(value)) {
      return;
    }
    throw Error(ErrorCode::invalid_argument,
                "filter on '" + filter.key + "': an operand is a text, number or boolean");
  }

  RowSet matching(const Filter& filter, const std::optional<Selection>& candidates) {
    RowSet rows;
    if (filter.op == Op::eq || filter.op == Op::ne) operand(filter);
    std::map<ValueKind, std::vector<PostingValue>> values;
    for (const Value& member : filter.operands) {
      check_scalar(filter, member);
      if (filter.field == Field::metadata) {
        for (const ValueKind kind : comparable_kinds(member)) {
          values[kind].push_back(posting_values(member).front());
        }
      } else if (const auto* text = std::get_if<std::string>(&member)) {
        append_equal(rows, filter.field, *text, candidates);
      }
    }
    for (auto& [kind, wanted] : values) {
      if (const auto key_id = records_.key_id(filter.key, kind)) {
        rows |= find_postings(db_, *key_id, std::move(wanted));
      }
    }
    return rows;
  }

  void append_equal(RowSet& rows, Field field, const std::string& text,
                    const std::optional<Selection>& candidates) {
    if (field == Field::id) {
      if (const auto row_id = records_.find(text)) rows.add(*row_id);
      return;
    }
    const DocumentCondition condition =
        field == Field::document ? DocumentCondition{text, "document=?2", {.lists = {{text}}}}
                                 : DocumentCondition{text, "uri=?2", {}};
    rows |= search(condition, candidates);
  }

  RowSet ordered(const Filter& filter) {
    const Value& bound = operand(filter);
    if (!is_number(bound)) {
      throw Error(ErrorCode::invalid_argument,
                  "filter on '" + filter.key + "': $gt, $gte, $lt and $lte take a number");
    }
    const Comparison comparison = filter.op == Op::gt    ? Comparison::greater
                                  : filter.op == Op::gte ? Comparison::greater_or_equal
                                  : filter.op == Op::lt  ? Comparison::less
                                                         : Comparison::less_or_equal;
    RowSet rows;
    for (const ValueKind kind : comparable_kinds(bound)) {
      append(rows, filter.key, kind, comparison, posting_values(bound).front());
    }
    return rows;
  }

  RowSet containing(const Filter& filter) {
    const Value& element = operand(filter);
    check_scalar(filter, element);
    RowSet rows;
    for (const PostingValue& value : posting_values(element)) {
      append(rows, filter.key, array_kind_of(element), Comparison::equal, value);
    }
    return rows;
  }

  // Integers and floats compare with each other, other values with their own kind.
  static std::vector<ValueKind> comparable_kinds(const Value& scalar) {
    if (!is_number(scalar)) return {kind_of(scalar)};
    return {ValueKind::integer, ValueKind::floating};
  }

  void append(RowSet& rows, const std::string& key, ValueKind kind, Comparison comparison,
              const PostingValue& value) {
    const std::optional<std::int64_t> key_id = records_.key_id(key, kind);
    if (!key_id) return;  // no record ever had such a value
    rows |= find_postings(db_, *key_id, comparison, value);
  }

  // A positive condition on a text as SQL, and what the document index may be asked for.
  struct DocumentCondition {
    std::string text;
    const char* sql;
    RequiredTexts required;
  };

  DocumentCondition document_condition(const Filter& filter) const {
    const auto* text = std::get_if<std::string>(&operand(filter));
    if (!text) throw Error(ErrorCode::invalid_argument, "document filter: expected a text operand");
    if (filter.op == Op::document_contains || filter.op == Op::document_not_contains) {
      return {*text, "instr(document, ?2)>0", {.lists = {{*text}}}};
    }
    Filter::document(filter.op,
                     *text);  // throws: a filter put together by hand was not compiled yet
    return {
        *text, "vkb_regex(?2, document)", {.lists = texts_required_by(*text), .in_any_case = true}};
  }

  // The matches, `candidates` being all that matter.
  RowSet search(const DocumentCondition& condition, const std::optional<Selection>& candidates) {
    // Reading one row by its id costs several times what a row costs in a scan.
    constexpr std::uint64_t kScanAdvantage = 10;
    // Reading so many rows costs no more than asking the document index.
    constexpr std::uint64_t kFew = 100;
    const bool bounded = candidates && !candidates->complement;
    std::uint64_t most = count_records() / kScanAdvantage;
    if (bounded) most = std::min<std::uint64_t>(most, candidates->rows.size());
    if (!bounded || candidates->rows.size() > kFew) {
      if (auto found = document_candidates(db_, collection_id_, condition.required, most)) {
        Selection indexed{RowSet(found->rows), false};
        if (candidates) indexed = std::move(indexed) & *candidates;
        RowSet rows = matches_among(indexed.rows, condition);
        rows |= scan(condition, found->indexed_through);
        return rows;
      }
    }
    if (bounded && candidates->rows.size() <= most) {
      return matches_among(candidates->rows, condition);
    }
    return scan(condition, 0);
  }

  RowSet matches_among(const RowSet& candidates, const DocumentCondition& condition) {
    Statement found(db_, std::string("SELECT 1 FROM record WHERE row_id=?1 AND ") + condition.sql);
    RowSet rows;
    for (const std::int64_t row_id : candidates.values()) {
      found.bind(row_id, condition.text);
      if (found.step()) rows.add(row_id);
      found.rewind();
    }
    return rows;
  }

  RowSet scan(const DocumentCondition& condition, std::int64_t after) {
    Statement found(db_, std::string("SELECT row_id FROM record INDEXED BY record_by_collection"
                                     " WHERE collection_id=?1 AND row_id>?3 AND ") +
                             condition.sql + " ORDER BY row_id");
    found.bind(collection_id_, condition.text, after);
    RowSet rows;
    while (found.step()) rows.add(found.integer(0));
    return rows;
  }

  // As the collection keeps it: counting half a million rows takes milliseconds.
  std::uint64_t count_records() {
    Statement count(db_, "SELECT record_count FROM collection WHERE collection_id=?");
    count.bind(collection_id_);
    return count.step() ? static_cast<std::uint64_t>(count.integer(0)) : 0;
  }

  Database& db_;
  std::int64_t collection_id_;
  Records records_;
};

}  // namespace

Selection select_rows(Database& db, std::int64_t collection_id, const Filter& filter) {
  return Evaluator(db, collection_id).evaluate(filter, std::nullopt);
}

std::vector<std::int64_t> list_rows(Database& db, std::int64_t collection_id,
                                    const Selection& selection, std::uint64_t offset,
                                    std::uint64_t limit) {
  if (!selection.complement) return selection.rows.values(offset, limit);
  constexpr std::uint64_t kPageRows = 1000;
  Records records(db, collection_id);
  std::vector<std::int64_t> rows;
  std::int64_t after = 0;
  while (rows.size() < limit) {
    const std::vector<std::int64_t> page = records.row_ids(after, 0, kPageRows);
    if (page.empty()) break;
    for (const std::int64_t row : page) {
      if (rows.size() == limit) break;
      if (selection.rows.contains(row)) continue;
      offset > 0 ? void(--offset) : rows.push_back(row);
    }
    after = page.back();
  }
  return rows;
}

}  // namespace vkb

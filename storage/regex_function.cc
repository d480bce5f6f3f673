// SPDX-License-Identifier: Apache-2.0
#include "storage/regex_function.h"

#include <re2/filtered_re2.h>
#include <re2/re2.h>
#include <sqlite3.h>

#include <memory>
#include <new>
#include <numeric>
#include <string>

namespace vkb {
namespace {

re2::StringPiece text_of(sqlite3_value* value) {
  const auto* data = reinterpret_cast<const char*>(sqlite3_value_text(value));
  return {data, static_cast<std::size_t>(sqlite3_value_bytes(value))};
}

// The pattern a connection used last. SQLite's own place for such things (auxdata) lasts for one
// run of a statement only, and documents of few candidates are read with a run each.
struct LastPattern {
  std::string text;
  std::unique_ptr<RE2> compiled;
};

void regex(sqlite3_context* context, int /*count*/, sqlite3_value** arguments) noexcept {
  if (sqlite3_value_type(arguments[1]) == SQLITE_NULL) return sqlite3_result_null(context);
  try {
    auto& last = *static_cast<LastPattern*>(sqlite3_user_data(context));
    const re2::StringPiece pattern = text_of(arguments[0]);
    if (!last.compiled || pattern != last.text) {
      last.compiled = std::make_unique<RE2>(pattern, RE2::Quiet);
      last.text.assign(pattern.data(), pattern.size());
    }
    if (!last.compiled->ok()) {
      return sqlite3_result_error(context, last.compiled->error().c_str(), -1);
    }
    sqlite3_result_int(context, RE2::PartialMatch(text_of(arguments[1]), *last.compiled));
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  }
}

constexpr int kLeastCharacters = 3;
// More are not worth asking for.
constexpr std::size_t kMostAtoms = 16;

// RE2's atoms are in its own lower case. What of them is the same in every text that matches, ASCII
// letters aside: ASCII, and the scripts between CJK radicals and Yi, and Hangul, which have no
// case.
bool has_one_form(std::string_view character) {
  if (character.size() == 1) return static_cast<unsigned char>(character[0]) < 0x80;
  if (character.size() != 3) return false;
  return (character >= "\u2E80" && character <= "\uA4CF") ||
         (character >= "\uAC00" && character <= "\uD7A3");
}

// The parts of an atom that are long enough and have one form.
std::vector<std::string> usable_parts(std::string_view atom) {
  std::vector<std::string> parts;
  std::string part;
  int characters = 0;
  const auto end_part = [&] {
    if (characters >= kLeastCharacters) parts.push_back(part);
    part.clear();
    characters = 0;
  };
  while (!atom.empty()) {
    std::size_t size = 1;
    while (size < atom.size() && (atom[size] & 0xC0) == 0x80) ++size;
    if (has_one_form(atom.substr(0, size))) {
      part += atom.substr(0, size);
      ++characters;
    } else {
      end_part();
    }
    atom.remove_prefix(size);
  }
  end_part();
  return parts;
}

}  // namespace

std::vector<std::vector<std::string>> texts_required_by(std::string_view pattern) {
  // RE2 knows a condition on atoms, built with "and" and "or", but tells only which sets of atoms
  // meet it. That is enough: an atom without which the set of all others fails is needed.
  re2::FilteredRE2 filter(kLeastCharacters);
  int id = 0;
  std::vector<std::string> atoms;
  if (filter.Add(re2::StringPiece(pattern.data(), pattern.size()), RE2::Quiet, &id) !=
      RE2::NoError) {
    return {};
  }
  filter.Compile(&atoms);
  const auto met_by = [&](const std::vector<int>& present) {
    std::vector<int> passed;
    filter.AllPotentials(present, &passed);
    return !passed.empty();
  };
  if (atoms.size() > kMostAtoms || met_by({})) return {};
  std::vector<std::string> needed;
  for (std::size_t i = 0; i < atoms.size(); ++i) {
    std::vector<int> others(atoms.size());
    std::iota(others.begin(), others.end(), 0);
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    if (met_by(others)) continue;
    for (std::string& part : usable_parts(atoms[i])) needed.push_back(std::move(part));
  }
  if (!needed.empty()) return {needed};
  // None alone is needed, but none at all does not do.
  std::vector<std::vector<std::string>> alternatives;
  for (const std::string& atom : atoms) {
    alternatives.push_back(usable_parts(atom));
    if (alternatives.back().empty()) return {};
  }
  return alternatives;
}

void register_regex_function(sqlite3* connection) {
  sqlite3_create_function_v2(connection, "vkb_regex", 2,
                             SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
                             std::make_unique<LastPattern>().release(), regex, nullptr, nullptr,
                             [](void* last) { delete static_cast<LastPattern*>(last); });
}

}  // namespace vkb

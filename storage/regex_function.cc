// SPDX-License-Identifier: Apache-2.0
#include "storage/regex_function.h"

#include <re2/re2.h>
#include <sqlite3.h>

#include <memory>
#include <new>
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

}  // namespace

void register_regex_function(sqlite3* connection) {
  sqlite3_create_function_v2(connection, "vkb_regex", 2,
                             SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
                             std::make_unique<LastPattern>().release(), regex, nullptr, nullptr,
                             [](void* last) { delete static_cast<LastPattern*>(last); });
}

}  // namespace vkb

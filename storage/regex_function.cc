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

void regex(sqlite3_context* context, int /*count*/, sqlite3_value** arguments) noexcept {
  if (sqlite3_value_type(arguments[1]) == SQLITE_NULL) return sqlite3_result_null(context);
  try {
    auto* compiled = static_cast<RE2*>(sqlite3_get_auxdata(context, 0));
    std::unique_ptr<RE2> fresh;
    if (compiled == nullptr) {
      fresh = std::make_unique<RE2>(text_of(arguments[0]), RE2::Quiet);
      compiled = fresh.get();
    }
    if (!compiled->ok()) return sqlite3_result_error(context, compiled->error().c_str(), -1);
    sqlite3_result_int(context, RE2::PartialMatch(text_of(arguments[1]), *compiled));
    // Last: SQLite may call the destructor at once.
    if (fresh) {
      sqlite3_set_auxdata(context, 0, fresh.release(),
                          [](void* pattern) { delete static_cast<RE2*>(pattern); });
    }
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  }
}

}  // namespace

void register_regex_function(sqlite3* connection) {
  sqlite3_create_function_v2(connection, "vkb_regex", 2,
                             SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY, nullptr, regex,
                             nullptr, nullptr, nullptr);
}

}  // namespace vkb

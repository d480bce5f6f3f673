// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

struct sqlite3;

namespace vkb {

// Gives a connection the SQL function vkb_regex(pattern, text): 1 when RE2 finds `pattern` in
// `text`, else 0, NULL for NULL text. The pattern is compiled once a statement.
void register_regex_function(sqlite3* connection);

// Texts without which nothing can match `pattern`: every match holds all texts of at least one of
// the lists, ASCII letters in either case. Letters beyond ASCII that have case are in none of them.
// Empty when no such texts of three characters or more are known.
std::vector<std::vector<std::string>> texts_required_by(std::string_view pattern);

}  // namespace vkb

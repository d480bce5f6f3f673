// SPDX-License-Identifier: Apache-2.0
#pragma once

struct sqlite3;

namespace vkb {

// Gives a connection the SQL function vkb_regex(pattern, text): 1 when RE2 finds `pattern` in
// `text`, else 0, NULL for NULL text. The pattern is compiled once a statement.
void register_regex_function(sqlite3* connection);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "storage/sqlite.h"

namespace vkb {

// The schema version this build writes; PRAGMA user_version of the database.
inline constexpr int kSchemaVersion = 4;

// 0 for a database without tables.
int schema_version(Database& database);

// True for a new database, or one whose creation was cut short.
bool is_blank(Database& database);

// Throws unsupported when a newer vkb wrote the database, corruption when it is another program's.
void check_schema(Database& database);

// Brings the database up to kSchemaVersion, one numbered step after the other. One whose pages have
// no checksums yet is written anew.
void migrate(Database& writer);

}  // namespace vkb

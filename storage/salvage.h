// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "storage/sqlite.h"

namespace vkb {

// A database in which pages are damaged, though all that is no cache can be read (R9): the damage
// is in an index, in the metadata or document index, or in what SQLite keeps about free pages.

// What salvage() leaves beside a database when it is killed.
inline constexpr std::array<std::string_view, 2> kSalvageSuffixes = {"-salvage",
                                                                     "-salvage-journal"};

// Whether that is so. Reads all of it.
bool can_salvage(Database& db);

// Writes the database anew from what is no cache, in one transaction of `writer`'s file, beside
// readers; no other connection writes. Indexes are made with their tables; the metadata index and
// the document indexes are empty after, and the caller's to rebuild. Throws corruption when
// something cannot be read, and has changed nothing then. may_lose: records and log entries that
// cannot be read are left out, and so are entries older than those, which they may have replaced:
// afterwards there may be records without a vector and vectors without a record, and the database
// keeps the ids of the records left out, as far as the index of ids can be read, until they are
// forgotten. What readers have of the log counts no more.
void salvage(Database& writer, bool may_lose);

using LostIds = std::map<std::int64_t, std::string>;  // by row_id
LostIds lost_ids(Database& db, std::int64_t collection_id);
void forget_lost_ids(Database& db, std::int64_t collection_id);

}  // namespace vkb

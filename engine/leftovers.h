// SPDX-License-Identifier: Apache-2.0
//
// What a restore leaves beside the place of its store when it is killed: DIR.restoring-PID, which
// is its copy of the backup, or, after the exchange, the store that was there before.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "storage/file.h"

namespace vkb {

inline constexpr std::string_view kRestoringSuffix = ".restoring-";
inline constexpr std::string_view kWriterLock = "writer.lock";
// Of imports and repairs; a restored store gets those of the one it replaces.
inline constexpr std::string_view kReportFolder = "reports";

// One of the names in a directory that no store has, or "".
std::string foreign_name(const std::vector<std::string>& names);
// Whether a program has the store open: a server, a notebook, ...
bool has_connections(FileSystem& files, const std::string& directory);

// Removes the copies beside `place` that were not complete; returns the directories that are left.
// Those may be old stores: these have a writer lock, which a copy gets just before the exchange.
// The caller holds the lock of restores to `place`, so that none of them is another one's.
std::vector<std::string> remove_cut_short(FileSystem& files, const std::string& place);
// Removes these, after moving their reports to the store in `place`. Returns those that are kept,
// each with the reason.
std::vector<std::string> remove_old_stores(FileSystem& files, const std::vector<std::string>& left,
                                           const std::string& place);
// Moves the reports of imports and repairs of a store that is no longer in place to the one that
// is. Throws already_exists rather than replace one.
void move_reports(FileSystem& files, const std::string& from, const std::string& place);

}  // namespace vkb

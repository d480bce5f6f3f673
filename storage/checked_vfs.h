// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

struct sqlite3_file;

namespace vkb {

// Bytes at the end of each page of vkb.sqlite3 that SQLite leaves alone: a checksum of the others.
// (SQLite's file format, "Reserved bytes per page"; its own cksumvfs extension does alike.)
inline constexpr int kPageChecksumBytes = 8;

// The name, for sqlite3_open_v2(), of a VFS that is the default one but for database files: a page
// gets its checksum when it is written to the file, and when it is read from there it must have it
// (R8), or the read fails with SQLITE_IOERR_DATA. A database that was made without such checksums
// is left without, and one of a newer vkb likewise. Pages in the -wal file are not checked when
// they are read; its frames have checksums of SQLite's, and how many there must be says
// storage/log_mark.h, whose marks this VFS keeps. The URI parameter page_checksums=0 makes a new
// database one without; with accept_damage=1 pages are read as they are, which is for whoever
// overwrites them. Thread safety: all functions.
const char* checked_vfs();

// Whether a main database file, opened through checked_vfs(), has checksums in its pages.
bool has_page_checksums(sqlite3_file* file) noexcept;

// Whether a sync of a database file or log, opened so, failed. It is written no more.
bool is_given_up(sqlite3_file* file) noexcept;

// The number of the page that this thread last found without its checksum.
std::uint64_t last_bad_page() noexcept;

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Getting back what Store::backup() has put away.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vkb {

class FileSystem;
struct Progress;

struct RestoreOptions {
  bool replace = false;  // also a store that has records, or that cannot be read
  std::chrono::milliseconds lock_timeout{5000};  // waits for a writer, or another restore
  FileSystem* file_system = nullptr;
};

struct RestoreResult {
  bool stopped = false;     // the progress function asked to stop; nothing has changed
  bool replaced = false;    // there was a store
  std::string created;      // when the backup was made, in UTC: "2026-11-23T13:19:59Z"
  std::uint64_t bytes = 0;  // of the store
  // What killed restores to this place left that was not removed, each with the reason.
  std::vector<std::string> kept{};
};

// Makes the store `directory` from the backup `backup`. Every byte of the copy is compared with the
// hashes of the backup's manifest before the store appears under its name, in one step. A store
// that was there is exchanged for it, and removed once the new one could be opened in its place; so
// is what restores to this place left when they were killed, after their reports were moved there.
// Throws corruption, naming the file with what was expected and found; not_found when `backup` has
// no complete backup; already_exists when there is something else in `directory`, or a store with
// records, unless `replace`; busy while anybody has that store open, another restore makes it, or
// another backup goes into `backup`. What was there is untouched then. Thread safety: any thread.
RestoreResult restore(const std::string& backup, const std::string& directory,
                      const RestoreOptions& options = {},
                      const std::function<bool(const Progress&)>& progress = {});

}  // namespace vkb

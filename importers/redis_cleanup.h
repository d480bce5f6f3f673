// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/vkb.h"
#include "importers/redis_client.h"

namespace vkb {

struct RedisCleanupOptions {
  RedisUrl url;
  std::string report;              // directory of the import's report
  std::size_t batch_size = 10000;  // keys in one UNLINK, at most
  bool yes = false;                // delete; else only say what would be
  std::chrono::milliseconds retry_for{30000};
  ProgressFunction progress;      // false stops after the batch
  std::function<bool()> stopped;  // the same, for waits
};

struct RedisCleanupResult {
  std::string source;
  std::string index;         // "" when the report names none
  bool index_there = false;  // before
  bool index_dropped = false;
  std::uint64_t keys = 0;       // in the report
  std::uint64_t unchanged = 0;  // of them, as they were imported: deleted, or to be deleted
  std::uint64_t deleted = 0;
  std::uint64_t changed = 0;              // differ from what was imported: kept
  std::uint64_t gone = 0;                 // not there any more
  std::vector<std::string> changed_keys;  // escaped, the first 100
  std::uint64_t used_memory_before = 0;   // bytes, 0 when INFO is denied
  std::uint64_t used_memory_after = 0;
  std::uint64_t resident_after = 0;  // what the server still holds of the machine's memory
  double seconds = 0;
  bool yes = false;
  bool stopped = false;

  // What the allocator keeps after deletions goes back with a restart.
  std::uint64_t freed_by_restart() const noexcept {
    return resident_after > used_memory_after ? resident_after - used_memory_after : 0;
  }
};

// Deletes from Redis what an import with a passed report took, and nothing else: each key of the
// report is read again and left alone unless it is byte for byte as it was imported. The index goes
// first (FT.DROPINDEX without DD, so that no key goes with it), because deleting under an index is
// slow. Interrupted, it goes on when called again. Throws invalid_argument when the report did not
// pass, corruption when its list of keys is not the one it was written
// with.
RedisCleanupResult cleanup_redis(const RedisCleanupOptions& options);

// {"source","index",…} on one line.
std::string cleanup_result_json(const RedisCleanupResult& result);

}  // namespace vkb

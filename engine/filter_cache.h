// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/search.h"
#include "engine/snapshot.h"
#include "storage/filter.h"
#include "storage/filter_eval.h"

namespace vkb {

// What a filter selects, ready for searching a snapshot.
struct CompiledFilter {
  struct Slots {
    Bitmap accepted;
    std::size_t count = 0;
  };
  Selection rows;               // for what is in no segment
  std::vector<Slots> segments;  // of the snapshot, in its order
};

// Turns rows into slots of each segment. Throws corruption for a segment whose sections disagree.
CompiledFilter compile_filter(Selection rows, const Snapshot& snapshot);

// The filters compiled last, as long as nothing they depend on has changed: finding half of half a
// million rows and their slots takes two milliseconds, five times what the search does. Thread
// safety: all methods.
class FilterCache {
 public:
  // What a compiled filter depends on, as read in a transaction (R7).
  struct Version {
    std::int64_t changes = 0;           // of the collection's records
    std::int64_t manifest_version = 0;  // of its segments
    friend bool operator==(const Version&, const Version&) = default;
  };
  // Null when it is not there. Filters that are themselves large are not kept.
  std::shared_ptr<const CompiledFilter> find(const Filter& filter, const Version& version);
  // most: how many are kept.
  void put(const Filter& filter, const Version& version,
           std::shared_ptr<const CompiledFilter> compiled, std::size_t most);

 private:
  struct Entry {
    Filter filter;
    std::shared_ptr<const CompiledFilter> compiled;
  };
  std::mutex mutex_;
  Version version_;             // of all entries; guarded, as they are, by mutex_
  std::vector<Entry> entries_;  // the one used last comes last
};

}  // namespace vkb

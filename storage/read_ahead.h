// SPDX-License-Identifier: Apache-2.0
//
// Reads of segments that are not in memory. A walk over the graph, and the ranking of what it
// found, read a thousand rows here and there. Left to page faults the disk gets one request at a
// time, and some disks' read-ahead brings in megabytes for each; asked for in batches, just before
// they are used, it works on all of a batch at once.
#pragma once

#include <cstdint>
#include <span>

#include "storage/segment.h"

namespace vkb {

// Lives as long as one walk, or one ranking, over a segment. Where the last one found everything in
// memory it does nothing; whether that still holds it sees from what this thread had read
// meanwhile. Thread safety: one thread at a time; any number of objects for a segment.
class ReadAhead {
 public:
  // What of a segment is read together: links and what steers walks, or finer codes and vectors.
  enum class Part { walk, ranking };

  ReadAhead(const Segment& segment, Part part) noexcept;
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // Whether ask() does anything.
  bool is_cold() const noexcept { return cold_; }
  // The rows that will be read next, in any order. Slots beyond the segment's are left out, as is a
  // section that it has not.
  void ask(SectionKind kind, std::span<const std::uint32_t> slots) const;

 private:
  std::atomic<bool>& noted() const noexcept;

  const Segment& segment_;
  const Part part_;
  const bool cold_;
  const std::uint64_t pages_before_;
};

}  // namespace vkb

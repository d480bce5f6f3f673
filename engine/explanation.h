// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vkb {

// What one call of Collection::query or query_batch did; counts and times are sums over its
// vectors. Times in microseconds.
struct Explanation {
  struct Segment {
    std::string file;
    std::uint64_t rows = 0;      // without the removed ones
    std::uint64_t selected = 0;  // of them, those that ids and filter leave
    // "exact": compared with every selected row; "flat": the same by compact codes, the nearest
    // exactly; "graph", "filtered graph": walked; "none": nothing to compare with. Of several
    // vectors the last one's.
    std::string_view plan;
    std::uint64_t estimated = 0;  // rows met by one-bit codes
    std::uint64_t ranked = 0;     // rows met, or ranked again, by four-bit or int8 codes
    std::uint64_t compared = 0;   // rows whose distance was computed from their vector
    double search_us = 0;
  };
  std::uint32_t ef = 0;             // the beam width that walks began with
  std::uint64_t log_rows = 0;       // rows in no segment yet: compared one by one
  bool has_filter = false;          // ids or a filter were given;
  bool filter_from_cache = false;   // the rows it selects were known from an earlier query
  std::vector<Segment> segments{};  // oldest first
  double snapshot_us = 0;           // which state of the collection to read; opening what is new
  double filter_us = 0;             // from ids and filter to the rows they select
  double search_us = 0;             // log and segments
  double records_us = 0;            // ids, and what else was to be included
  double total_us = 0;              // these, and the transaction around them
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <malloc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "engine/bit_codes.h"
#include "engine/codes.h"
#include "engine/tuning.h"
#include "storage/error.h"

namespace vkb {

// How OpenOptions::memory_limit is spent. The pages of mapped segments are the system's, which
// takes them back when it needs them, and are not part of it.
class MemoryBudget {
 public:
  static constexpr std::uint64_t kLeast = std::uint64_t{64} << 20;

  // limit: bytes, 0: as much as is useful. Throws invalid_argument below kLeast.
  explicit MemoryBudget(std::uint64_t limit) : limit_(limit) {
    if (limit != 0 && limit < kLeast) {
      throw Error(ErrorCode::invalid_argument,
                  "memory limit: " + std::to_string(limit) + " bytes, expected at least " +
                      std::to_string(kLeast) + " (64 MB), or 0 for none");
    }
  }

  bool is_limited() const noexcept { return limit_ != 0; }
  // After work that took much memory: what malloc keeps for the next time counts too.
  void trim() const noexcept {
    if (is_limited()) ::malloc_trim(0);
  }
  std::uint64_t limit() const noexcept { return limit_; }

  // Rows whose graph is built at once: half of the limit, but for what batches and buffers take.
  std::uint64_t graph_rows(std::uint32_t dim, std::uint32_t m) const noexcept {
    if (!is_limited()) return std::numeric_limits<std::uint64_t>::max();
    return std::max<std::uint64_t>((limit_ / 2 - kBuffers) / build_row_bytes(dim, m),
                                   kGraphMinRows);
  }
  // Rows of a log, which is in memory, twice while it is sealed: a sixteenth.
  std::uint64_t log_rows(std::uint32_t dim) const noexcept {
    if (!is_limited()) return std::numeric_limits<std::uint64_t>::max();
    return std::max<std::uint64_t>(limit_ / 16 / (sizeof(float) * dim), kSealRows);
  }
  // Filters of a collection that are kept: a sixteenth. Each has a bit for each row, twice.
  std::size_t cached_filters(std::uint64_t rows) const noexcept {
    if (!is_limited()) return kCachedFilters;
    return std::clamp<std::size_t>(limit_ / 16 / (rows / 4 + 1), 1, kCachedFilters);
  }
  // SQLite's pages: a sixteenth for the writer, and one for all readers that wait for their turn.
  std::size_t writer_cache_bytes() const noexcept { return limit_ / 16; }
  std::size_t reader_cache_bytes() const noexcept { return limit_ / 16 / kIdleReaders; }
  std::size_t idle_readers() const noexcept {
    return is_limited() ? kIdleReaders : std::numeric_limits<std::size_t>::max();
  }

 private:
  static constexpr std::size_t kIdleReaders = 16;
  static constexpr std::uint64_t kBuffers = std::uint64_t{16} << 20;

  // Codes; links of level 0; of those above a node has one list in m, about; where it comes from.
  static std::uint64_t build_row_bytes(std::uint32_t dim, std::uint32_t m) noexcept {
    return row_stride(code_bytes(dim)) + (has_bit_codes(dim) ? kBitCodeBytes : 0) +
           sizeof(std::uint32_t) * (2 * m + 2) + 32;
  }

  const std::uint64_t limit_;
};

}  // namespace vkb

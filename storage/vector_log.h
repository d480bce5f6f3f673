// SPDX-License-Identifier: Apache-2.0
//
// The log of vectors that are in no segment yet, and of removals. Free functions; the caller holds
// the transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "storage/sqlite.h"

namespace vkb {

struct LogEntry {
  std::int64_t seq = 0;
  std::int64_t row_id = 0;
  std::span<const float> vector;  // empty: removed. Valid during the visit only.
};

// Appends an entry and returns its seq, which grows and is never reused (R4).
std::int64_t append_log(Database& db, std::int64_t collection_id, std::int64_t row_id,
                        std::span<const float> vector);
std::int64_t append_removal(Database& db, std::int64_t collection_id, std::int64_t row_id);

std::uint64_t count_log(Database& db, std::int64_t collection_id);

// Visits the entries with seq > after, oldest first. Throws corruption when a vector has not dim
// floats.
void read_log(Database& db, std::int64_t collection_id, std::int64_t after, std::uint32_t dim,
              const std::function<void(const LogEntry&)>& visit);

// Drops entries up to and including `through`.
void trim_log(Database& db, std::int64_t collection_id, std::int64_t through);

}  // namespace vkb

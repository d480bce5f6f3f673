// SPDX-License-Identifier: Apache-2.0
//
// The path of a query: rows that may be answered -> segments and memtable -> the k nearest -> their
// records.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/open_store.h"
#include "engine/vkb.h"
#include "storage/filter_eval.h"
#include "storage/records.h"

namespace vkb {

// Microseconds from one lap to the next; asks no clock, and says 0, unless it runs.
class Stopwatch {
 public:
  explicit Stopwatch(bool runs) : runs_(runs) { lap(); }
  double lap() {
    if (!runs_) return 0;
    const auto before = std::exchange(last_, std::chrono::steady_clock::now());
    return std::chrono::duration<double, std::micro>(last_ - before).count();
  }

 private:
  const bool runs_;
  std::chrono::steady_clock::time_point last_{};
};

// The rows that `filter` (may be null) matches among `ids`; nothing when neither is given: all
// rows.
std::optional<Selection> select_rows(Database& db, std::int64_t collection_id, const Filter* filter,
                                     std::optional<std::span<const std::string>> ids);

// A record as the caller asked for it. `snapshot` is needed for embeddings, and spares asking
// SQLite for an id alone. packed: as
// Records::read() has it.
Record read_record(Records& records, std::int64_t row_id, const Include& include,
                   const Snapshot* snapshot, PackedMetadata* packed = nullptr);

// Collection::query_batch inside the transaction that `db` is in.
std::vector<std::vector<Hit>> run_queries(Database& db, OpenCollection& collection,
                                          std::span<const std::span<const float>> queries,
                                          const QueryOptions& options);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>

#include "engine/open_store.h"
#include "engine/vkb.h"
#include "storage/records.h"

namespace vkb {

// Throws invalid_argument, naming the record, for what no collection takes: an empty or non-UTF-8
// id, texts that are not UTF-8, an embedding with no or too many components, or with NaN or
// infinity.
void check_record(const Record& record);

// What the collection keeps in SQLite of a record, its embedding aside. Null metadata values are
// dropped.
RecordRow row_of(Record record);

// Changes the records of one collection inside one write transaction (R1), and keeps their vectors
// in exactly one live place each (R5). Thread safety: one thread at a time.
class RecordWriter {
 public:
  // To be made before the transaction changes anything.
  RecordWriter(Database& db, OpenCollection& collection);

  void add(const Record& record);
  void upsert(const Record& record);
  void update(const Record& record);
  void remove(std::int64_t row_id);
  // For rows in a segment too damaged to be asked for their slots, by whoever knows them: remove(),
  // and the way of a sound vector into the log.
  void remove_sealed(std::int64_t row_id, std::int64_t segment_id, std::uint32_t slot);
  void unseal(std::int64_t row_id, std::span<const float> vector, std::int64_t segment_id,
              std::uint32_t slot);
  // Kills the live vector of a row that is about to get another in a new segment.
  void retire_vector(std::int64_t row_id);
  // The first embedding decides the dimension; throws invalid_argument for another one later.
  void check_dimension(const Record& record);

  Records& records() noexcept { return records_; }
  CollectionRow& row() noexcept { return row_; }
  void count_inserted(std::int64_t count) noexcept { count_change_ += count; }
  void manifest_changed() noexcept { manifest_changed_ = true; }
  // Writes the collection's counters. Last.
  void finish();

 private:
  void insert(const Record& record);
  void merge(std::int64_t row_id, const Record& record);
  void put_vector(std::int64_t row_id, std::span<const float> vector, bool is_new);
  void bury_slot(std::int64_t row_id, std::int64_t seq);

  Database& db_;
  CollectionRow row_;
  std::shared_ptr<const Snapshot> snapshot_;
  Records records_;
  std::int64_t count_change_ = 0;
  std::int64_t last_seq_ = 0;
  bool manifest_changed_ = false;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/record_writer.h"

#include <cmath>

#include "storage/error.h"
#include "storage/segment_format.h"
#include "storage/utf8.h"
#include "storage/vector_log.h"

namespace vkb {
namespace {

[[noreturn]] void refuse(const Record& record, const std::string& problem) {
  throw Error(ErrorCode::invalid_argument, record_name(record.id) + ": " + problem);
}

}  // namespace

void check_record(const Record& record) {
  if (record.id.empty()) {
    throw Error(ErrorCode::invalid_argument, "Empty ID, ID must have at least one character");
  }
  if (!is_utf8(record.id)) {
    throw Error(ErrorCode::invalid_argument, "a record's id is not valid UTF-8");
  }
  if (record.document && !is_utf8(*record.document)) refuse(record, "document is not valid UTF-8");
  if (record.uri && !is_utf8(*record.uri)) refuse(record, "uri is not valid UTF-8");
  if (!record.embedding) return;
  const std::vector<float>& vector = *record.embedding;
  if (vector.empty() || vector.size() > kMaxDim) {
    refuse(record, "expected an embedding of 1 to " + std::to_string(kMaxDim) +
                       " components, found " + std::to_string(vector.size()));
  }
  for (std::size_t i = 0; i < vector.size(); ++i) {
    if (!std::isfinite(vector[i])) {
      refuse(record, "Embeddings must not contain NaN or Infinity values, found " +
                         std::to_string(vector[i]) + " at component " + std::to_string(i));
    }
  }
}

RecordRow row_of(Record record) {
  RecordRow row{.row_id = 0,
                .id = std::move(record.id),
                .document = std::move(record.document),
                .uri = std::move(record.uri),
                .metadata = std::move(record.metadata),
                .origin = std::move(record.origin)};
  if (row.metadata) {
    std::erase_if(*row.metadata, [](const auto& entry) {
      return std::holds_alternative<std::monostate>(entry.second);
    });
    if (row.metadata->empty()) row.metadata.reset();
  }
  return row;
}

RecordWriter::RecordWriter(Database& db, OpenCollection& collection)
    : db_(db),
      row_(collection.row(db)),
      snapshot_(collection.snapshot(db, row_)),
      records_(db, collection.collection_id) {}

void RecordWriter::add(const Record& record) {
  if (!record.embedding) refuse(record, "an embedding is needed");
  check_dimension(record);
  if (!records_.find(record.id)) insert(record);
}

void RecordWriter::upsert(const Record& record) {
  if (!record.embedding) refuse(record, "an embedding is needed");
  check_dimension(record);
  if (const auto row_id = records_.find(record.id)) {
    merge(*row_id, record);
  } else {
    insert(record);
  }
}

void RecordWriter::update(const Record& record) {
  if (record.embedding) check_dimension(record);
  if (const auto row_id = records_.find(record.id)) merge(*row_id, record);
}

void RecordWriter::remove(std::int64_t row_id) {
  records_.remove(row_id);
  retire_vector(row_id);
  --count_change_;
}

void RecordWriter::remove_sealed(std::int64_t row_id, std::int64_t segment_id, std::uint32_t slot) {
  records_.remove(row_id);
  last_seq_ = append_removal(db_, row_.collection_id, row_id);
  insert_tombstone(db_, segment_id, {.slot = slot, .seq = last_seq_});
  --count_change_;
}

void RecordWriter::unseal(std::int64_t row_id, std::span<const float> vector,
                          std::int64_t segment_id, std::uint32_t slot) {
  put_vector(row_id, vector, true);
  insert_tombstone(db_, segment_id, {.slot = slot, .seq = last_seq_});
}

void RecordWriter::check_dimension(const Record& record) {
  const auto dim = static_cast<std::uint32_t>(record.embedding->size());
  if (!row_.dim) {
    row_.dim = dim;
    update_collection(db_, row_);
    // Snapshots are made for one dimension.
    manifest_changed_ = true;
  } else if (*row_.dim != dim) {
    refuse(record, "Collection expecting embedding with dimension of " + std::to_string(*row_.dim) +
                       ", got " + std::to_string(dim));
  }
}

void RecordWriter::insert(const Record& record) {
  const std::int64_t row_id = records_.insert(row_of(record));
  put_vector(row_id, *record.embedding, true);
  ++count_change_;
}

void RecordWriter::merge(std::int64_t row_id, const Record& record) {
  RecordRow row = records_.read(row_id);
  if (record.document) row.document = record.document;
  if (record.uri) row.uri = record.uri;
  if (record.metadata) {
    Metadata merged = row.metadata.value_or(Metadata{});
    for (const auto& [key, value] : *record.metadata) {
      if (std::holds_alternative<std::monostate>(value)) {
        merged.erase(key);
      } else {
        merged.insert_or_assign(key, value);
      }
    }
    row.metadata = merged.empty() ? std::nullopt : std::optional(std::move(merged));
  }
  // Where a record came from no longer describes it once it was changed by hand.
  row.origin = record.origin;
  records_.replace(row);
  if (record.embedding) put_vector(row_id, *record.embedding, false);
}

void RecordWriter::put_vector(std::int64_t row_id, std::span<const float> vector, bool is_new) {
  last_seq_ = append_log(db_, row_.collection_id, row_id, vector);
  if (!is_new) bury_slot(row_id, last_seq_);
}

void RecordWriter::retire_vector(std::int64_t row_id) {
  last_seq_ = append_removal(db_, row_.collection_id, row_id);
  bury_slot(row_id, last_seq_);
}

void RecordWriter::bury_slot(std::int64_t row_id, std::int64_t seq) {
  if (const auto place = snapshot_->find_in_segments(row_id)) {
    insert_tombstone(db_, place->view->row.segment_id, {.slot = place->slot, .seq = seq});
  }
}

void RecordWriter::finish() {
  touch_collection(db_, row_.collection_id, count_change_, last_seq_, manifest_changed_);
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/vector_log.h"

#include <cstring>
#include <string>
#include <vector>

#include "storage/error.h"
#include "storage/records.h"

namespace vkb {

std::int64_t append_log(Database& db, std::int64_t collection_id, std::int64_t row_id,
                        std::span<const float> vector) {
  Statement(db, "INSERT INTO vector_log(collection_id, row_id, vector) VALUES(?,?,?)")
      .bind(collection_id, row_id, std::as_bytes(vector))
      .run();
  return db.last_insert_rowid();
}

std::int64_t append_removal(Database& db, std::int64_t collection_id, std::int64_t row_id) {
  Statement(db, "INSERT INTO vector_log(collection_id, row_id, vector) VALUES(?,?,NULL)")
      .bind(collection_id, row_id)
      .run();
  return db.last_insert_rowid();
}

std::uint64_t count_log(Database& db, std::int64_t collection_id) {
  Statement entries(db, "SELECT count(*) FROM vector_log WHERE collection_id=?");
  entries.bind(collection_id);
  return entries.step() ? static_cast<std::uint64_t>(entries.integer(0)) : 0;
}

void read_log(Database& db, std::int64_t collection_id, std::int64_t after, std::uint32_t dim,
              const std::function<void(const LogEntry&)>& visit) {
  Statement rows(db,
                 "SELECT seq, row_id, vector FROM vector_log INDEXED BY vector_log_by_collection"
                 " WHERE collection_id=? AND seq>? ORDER BY seq");
  rows.bind(collection_id, after);
  std::vector<float> vector(dim);
  while (rows.step()) {
    LogEntry entry{.seq = rows.integer(0), .row_id = rows.integer(1), .vector = {}};
    if (!rows.is_null(2)) {
      const std::span<const std::byte> bytes = rows.blob(2);
      if (bytes.size() != vector.size() * sizeof(float)) {
        const std::optional<std::string> id = Records(db, collection_id).id_of(entry.row_id);
        throw Error(ErrorCode::corruption,
                    db.path() + ": vector_log entry " + std::to_string(entry.seq) +
                        (id ? ", the vector of " + record_name(*id) : "") + ": expected " +
                        std::to_string(vector.size() * sizeof(float)) + " bytes, found " +
                        std::to_string(bytes.size()) + "; restore a backup");
      }
      std::memcpy(vector.data(), bytes.data(), bytes.size());
      entry.vector = vector;
    }
    visit(entry);
  }
}

void trim_log(Database& db, std::int64_t collection_id, std::int64_t through) {
  Statement(db, "DELETE FROM vector_log WHERE collection_id=? AND seq<=?")
      .bind(collection_id, through)
      .run();
}

}  // namespace vkb

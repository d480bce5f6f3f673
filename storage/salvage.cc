// SPDX-License-Identifier: Apache-2.0
#include "storage/salvage.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <string_view>

#include "storage/error.h"
#include "storage/schema.h"

namespace vkb {
namespace {

// The tables that are no cache; the last has the numbers that AUTOINCREMENT gave out (R4).
constexpr std::array<std::string_view, 9> kTruth = {"tenant",  "database",     "collection",
                                                    "record",  "metadata_key", "vector_log",
                                                    "segment", "tombstone",    "sqlite_sequence"};

// All of a table, from its own pages if `whence` is of them. The condition keeps SQLite from
// copying index by index.
std::string rows_of(std::string_view schema, std::string_view table, const std::string& whence) {
  return "SELECT * FROM " + std::string(schema) + "." + std::string(table) + " " + whence +
         " WHERE 1";
}

// Calls read(whence) with each way to all of a table until one can be read.
template <typename Read>
void read_table(std::string_view table, const Read& read) {
  // WITHOUT ROWID: a table is its primary key, and NOT INDEXED does not keep SQLite from another
  // index that has all columns.
  if (table == "tombstone") {
    try {
      return read("INDEXED BY sqlite_autoindex_tombstone_1");
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corruption) throw;
      return read("INDEXED BY tombstone_by_seq");
    }
  }
  read(table == "tenant" ? "INDEXED BY sqlite_autoindex_tenant_1" : "NOT INDEXED");
}

// Copies the rows of a table with an integer key, from `first` to `last`. Of those on a page that
// cannot be read the others are looked for by halving the range. Returns the last key that cannot
// be read, whether there is a row or not; 0: all can.
std::int64_t copy_rows(Database& sound, const std::string& table, const std::string& key,
                       std::int64_t first, std::int64_t last) {
  try {
    Statement(sound, "INSERT INTO main." + table + " SELECT * FROM damaged." + table +
                         " NOT INDEXED WHERE " + key + " BETWEEN ? AND ?")
        .bind(first, last)
        .run();
    return 0;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
    if (first == last) return last;
    const std::int64_t middle = first + (last - first) / 2;
    return std::max(copy_rows(sound, table, key, first, middle),
                    copy_rows(sound, table, key, middle + 1, last));
  }
}

// Not a table of the schema: it is there from a salvage that lost records to the end of the repair,
// which a kill may put off.
constexpr const char* kLostTable = "lost_record";

bool has_table(Database& db, std::string_view schema, std::string_view table) {
  Statement named(db, "SELECT 1 FROM " + std::string(schema) + ".sqlite_schema WHERE name=?");
  named.bind(table);
  return named.step();
}

// The ids of the records that were not copied. The index that has them may be damaged too: it is
// read from both its ends.
void keep_lost_ids(Database& sound) {
  for (const std::string_view order : {"ASC", "DESC"}) {
    try {
      Statement lost(sound,
                     "SELECT row_id, collection_id, id FROM damaged.record"
                     " INDEXED BY sqlite_autoindex_record_1 WHERE row_id NOT IN"
                     " (SELECT row_id FROM main.record) ORDER BY collection_id " +
                         std::string(order) + ", id " + std::string(order));
      while (lost.step()) {
        Statement(sound,
                  std::string("INSERT OR REPLACE INTO main.") + kLostTable + " VALUES(?,?,?)")
            .bind(lost.integer(0), lost.integer(1), lost.text(2))
            .run();
      }
      break;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corruption) throw;
    }
  }
}

// The largest key that a table ever gave out.
std::int64_t last_key(Database& sound, const std::string& table) {
  Statement largest(sound, "SELECT seq FROM main.sqlite_sequence WHERE name=?");
  largest.bind(table);
  return largest.step() ? largest.integer(0) : 0;
}

// Removed with the journal that SQLite keeps beside it.
struct TemporaryDatabase {
  const std::string database;  // that it is beside
  const std::string path;
  explicit TemporaryDatabase(const std::string& its_database)
      : database(its_database), path(its_database + std::string(kSalvageSuffixes[0])) {
    remove();
  }
  ~TemporaryDatabase() { remove(); }
  TemporaryDatabase(const TemporaryDatabase&) = delete;
  TemporaryDatabase& operator=(const TemporaryDatabase&) = delete;
  void remove() const {
    std::error_code ignored;
    for (const std::string_view suffix : kSalvageSuffixes) {
      std::filesystem::remove(database + std::string(suffix), ignored);
    }
  }
};

}  // namespace

bool can_salvage(Database& db) {
  try {
    for (const std::string_view table : kTruth) {
      read_table(table, [&](const std::string& whence) {
        Statement rows(db, rows_of("main", table, whence));
        while (rows.step()) rows.read_all();
      });
    }
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
    return false;
  }
}

void salvage(Database& writer, bool may_lose) {
  const TemporaryDatabase file(writer.path());
  Database sound(file.path, Database::Mode::copy);
  // A statement that fails has to leave nothing; after a crash the file is of no use.
  sound.execute(
      "PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=OFF;"
      "PRAGMA journal_mode=MEMORY");
  migrate(sound);
  Statement(sound, "ATTACH ? AS damaged").bind(writer.path()).run();
  for (const std::string_view table : kTruth) {
    sound.execute("DELETE FROM main." + std::string(table));
  }
  for (const std::string_view table : kTruth) {
    if (may_lose && (table == "record" || table == "vector_log")) continue;
    try {
      read_table(table, [&](const std::string& whence) {
        sound.execute("INSERT INTO main." + std::string(table) + " " +
                      rows_of("damaged", table, whence));
      });
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corruption) throw;
      throw Error(error.code(), writer.path() + ": a page of table " + std::string(table) +
                                    " is damaged, and what it held is nowhere else; restore a "
                                    "backup");
    }
  }
  const std::int64_t last_row = last_key(sound, "record");
  const bool has_lost = has_table(sound, "damaged", kLostTable);  // of a repair that was cut short
  if (has_lost || may_lose) {
    sound.execute(std::string("CREATE TABLE main.") + kLostTable +
                  "(row_id INTEGER PRIMARY KEY, collection_id INTEGER NOT NULL, id TEXT NOT NULL)");
  }
  if (has_lost) copy_rows(sound, kLostTable, "row_id", 1, last_row);
  if (may_lose) {
    copy_rows(sound, "record", "row_id", 1, last_row);
    keep_lost_ids(sound);
    const std::int64_t missing =
        copy_rows(sound, "vector_log", "seq", 1, last_key(sound, "vector_log"));
    Statement(sound, "DELETE FROM main.vector_log WHERE seq<=?").bind(missing).run();
  }
  sound.execute("UPDATE main.collection SET manifest_version=manifest_version+1");
  sound.execute("DETACH damaged");
  sound.copy_over(writer.path());
}

LostIds lost_ids(Database& db, std::int64_t collection_id) {
  LostIds ids;
  if (!has_table(db, "main", kLostTable)) return ids;
  Statement all(db, std::string("SELECT row_id, id FROM ") + kLostTable + " WHERE collection_id=?");
  all.bind(collection_id);
  while (all.step()) ids.emplace(all.integer(0), all.text(1));
  return ids;
}

void forget_lost_ids(Database& db, std::int64_t collection_id) {
  if (!has_table(db, "main", kLostTable)) return;
  const std::string table(kLostTable);
  Statement(db, "DELETE FROM " + table + " WHERE collection_id=?").bind(collection_id).run();
  if (!Statement(db, "SELECT 1 FROM " + table).step()) db.execute("DROP TABLE " + table);
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/salvage.h"

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

// All of a table from its own pages. The condition keeps SQLite from copying index by index.
std::string rows_of(std::string_view schema, std::string_view table) {
  return "SELECT * FROM " + std::string(schema) + "." + std::string(table) + " NOT INDEXED WHERE 1";
}

// Removed with the journal that SQLite keeps beside it.
struct TemporaryDatabase {
  const std::string path;
  explicit TemporaryDatabase(std::string its_path) : path(std::move(its_path)) { remove(); }
  ~TemporaryDatabase() { remove(); }
  TemporaryDatabase(const TemporaryDatabase&) = delete;
  TemporaryDatabase& operator=(const TemporaryDatabase&) = delete;
  void remove() const {
    std::error_code ignored;
    for (const char* suffix : {"", "-journal"}) std::filesystem::remove(path + suffix, ignored);
  }
};

}  // namespace

bool can_salvage(Database& db) {
  try {
    for (const std::string_view table : kTruth) {
      Statement rows(db, rows_of("main", table));
      while (rows.step()) rows.read_all();
    }
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
    return false;
  }
}

void salvage(Database& writer) {
  const TemporaryDatabase file(writer.path() + "-salvage");
  Database sound(file.path, Database::Mode::copy);
  sound.execute("PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA synchronous=OFF");
  migrate(sound);
  Statement(sound, "ATTACH ? AS damaged").bind(writer.path()).run();
  {
    Transaction transaction(sound, Transaction::Kind::write);
    for (const std::string_view table : kTruth) {
      sound.execute("DELETE FROM main." + std::string(table));
      sound.execute("INSERT INTO main." + std::string(table) + " " + rows_of("damaged", table));
    }
    transaction.commit();
  }
  sound.execute("DETACH damaged");
  sound.copy_over(writer.path());
}

}  // namespace vkb

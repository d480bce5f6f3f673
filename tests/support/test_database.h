// SPDX-License-Identifier: Apache-2.0
//
// A database with vkb's tables in a directory of its own, and short ways to ask it things.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/catalog.h"
#include "storage/filter_eval.h"
#include "storage/schema.h"
#include "storage/sqlite.h"
#include "tests/support/temp_directory.h"

namespace vkb {

inline std::int64_t integer_of(Database& db, std::string_view sql) {
  Statement statement(db, sql);
  return statement.step() ? statement.integer(0) : 0;
}

inline std::string text_of(Database& db, std::string_view sql) {
  Statement statement(db, sql);
  return statement.step() ? std::string(statement.text(0)) : "";
}

inline std::vector<std::string> texts_of(Database& db, std::string_view sql) {
  Statement statement(db, sql);
  std::vector<std::string> texts;
  while (statement.step()) texts.emplace_back(statement.text(0));
  return texts;
}

inline std::int64_t make_collection(Database& db, const std::string& name) {
  CollectionRow row;
  row.name = name;
  row.m = 16;
  row.ef_construction = 200;
  row.ef_search = 192;
  return insert_collection(db, "default_tenant", "default_database", row).collection_id;
}

// The rows that `filter` matches.
inline RowSet evaluate(Database& db, std::int64_t collection, const Filter& filter) {
  return RowSet(list_rows(db, collection, select_rows(db, collection, filter), 0, UINT64_MAX));
}

class TestDatabase {
 public:
  TestDatabase() { open(); }
  Database& db() { return *db_; }
  std::string path() const { return directory_.file("vkb.sqlite3"); }
  void close() { db_.reset(); }
  void open() {
    db_ = std::make_unique<Database>(path(), Database::Mode::writer);
    migrate(*db_);
  }
  void reopen() {
    close();
    open();
  }

 private:
  TempDirectory directory_;
  std::unique_ptr<Database> db_;
};

}  // namespace vkb

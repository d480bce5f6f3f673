// SPDX-License-Identifier: Apache-2.0
#include "storage/schema.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "storage/catalog.h"
#include "storage/document_index.h"
#include "storage/filter_eval.h"
#include "storage/posting_index.h"
#include "storage/records.h"
#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

TEST(Schema, AFreshDatabaseGetsTheTablesAndTheDefaults) {
  const TempDirectory directory;
  Database db(directory.file("db"), Database::Mode::writer);
  EXPECT_EQ(schema_version(db), 0);
  VKB_EXPECT_ERROR(check_schema(db), ErrorCode::corruption, "not a vkb store");
  migrate(db);
  EXPECT_EQ(schema_version(db), kSchemaVersion);
  EXPECT_NO_THROW(check_schema(db));
  EXPECT_TRUE(tenant_exists(db, "default_tenant"));
  EXPECT_EQ(list_databases(db, "default_tenant"), std::vector<std::string>{"default_database"});
}

TEST(Schema, MigratingAgainChangesNothing) {
  TestDatabase file;
  make_collection(file.db(), "kept");
  migrate(file.db());
  file.reopen();
  EXPECT_EQ(list_all_collections(file.db()).size(), 1u);
  EXPECT_EQ(list_databases(file.db(), "default_tenant").size(), 1u);
}

// A schema 2 had documents in lower case in its index: a text would be missed in it.
TEST(Schema, ADocumentIndexOfVersion2IsNotAskedAndThenDropped) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "old");
  RecordRow row;
  row.id = "one";
  row.document = "as it was";
  Records(file.db(), collection).insert(row);
  ASSERT_EQ(index_some_documents(file.db(), collection), 1u);
  ASSERT_TRUE(has_document_index(file.db(), collection));
  file.db().execute("UPDATE record SET document='AS IT WAS'; PRAGMA user_version=2");
  EXPECT_FALSE(has_document_index(file.db(), collection));
  const auto ask = [&](Database& db) {
    return evaluate(db, collection, Filter::document(Filter::Op::document_contains, "AS IT"));
  };
  EXPECT_EQ(ask(file.db()).size(), 1u);
  migrate(file.db());
  EXPECT_EQ(integer_of(file.db(), "SELECT count(*) FROM document_index"), 0);
  EXPECT_EQ(integer_of(file.db(), "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%trigram%'"),
            0);
  EXPECT_EQ(ask(file.db()).size(), 1u);
  ASSERT_EQ(index_some_documents(file.db(), collection), 1u);
  EXPECT_EQ(ask(file.db()).size(), 1u);
}

// The store of a schema 1: its index is one table. It can be read as it is, becomes schema 2 with
// the first write, and its entries blocks with the next merge.
TEST(Schema, AStoreOfVersion1IsReadAndThenMigrated) {
  TestDatabase file;
  const std::int64_t collection = make_collection(file.db(), "old");
  Records records(file.db(), collection);
  for (int i = 0; i < 1000; ++i) {
    RecordRow row;
    row.id = std::to_string(i);
    row.metadata = Metadata{{"n", std::int64_t{i}}, {"half", i % 2 == 0}};
    records.insert(row, i >= 900);
  }
  file.db().execute(
      "DROP TABLE posting_block; DROP TABLE posting_removed; ALTER TABLE collection DROP COLUMN "
      "changes; PRAGMA user_version=1");
  const auto ask = [&](Database& db) {
    return evaluate(db, collection, parse_where(R"({"$and":[{"half":true},{"n":{"$gte":800}}]})"));
  };
  const auto digest = [&](Database& db) { return digest_postings(db, collection, [] {}); };
  const PostingDigest before = digest(file.db());
  EXPECT_EQ(before.count, 2000u);
  {
    Database reader(file.path(), Database::Mode::reader);
    EXPECT_NO_THROW(check_schema(reader));
    EXPECT_EQ(ask(reader).size(), 100u);
    EXPECT_EQ(count_unmerged_postings(reader, 5000), 1800u);
  }
  Database reader(file.path(), Database::Mode::reader);
  EXPECT_EQ(ask(reader).size(), 100u);
  migrate(file.db());
  EXPECT_EQ(schema_version(file.db()), kSchemaVersion);
  EXPECT_EQ(ask(reader).size(), 100u) << "a reader that was there before";
  EXPECT_EQ(digest(file.db()), before);
  merge_postings(file.db());
  EXPECT_EQ(integer_of(file.db(), "SELECT count(*) FROM posting"), 0);
  EXPECT_EQ(ask(reader).size(), 100u);
  EXPECT_EQ(digest(reader), before);
}

// A store without page checksums, as an older vkb left it: the same tables and rows, of schema 3.
void make_plain(const std::string& path, const std::string& source) {
  Database db(path, Database::Mode::plain_copy);
  db.execute("PRAGMA page_size=8192; PRAGMA journal_mode=WAL; ATTACH '" + source + "' AS source");
  std::vector<std::string> statements;
  {
    Statement all(db,
                  "SELECT sql FROM source.sqlite_schema WHERE name NOT LIKE 'sqlite%' AND sql "
                  "IS NOT NULL ORDER BY rowid");
    while (all.step()) statements.emplace_back(all.text(0));
  }
  for (const std::string& statement : statements) db.execute(statement);
  for (const char* table : {"tenant", "database", "collection"}) {
    db.execute(std::string("INSERT INTO main.") + table + " SELECT * FROM source." + table);
  }
  db.execute(
      "PRAGMA application_id=" + std::to_string(integer_of(db, "PRAGMA source.application_id")) +
      "; PRAGMA user_version=3; DETACH source");
}

// A reader that began before keeps the log from becoming part of the file: the file's header does
// not speak of checksums yet, and whoever opens the store meanwhile reads it as what it was.
TEST(Schema, PageChecksumsComeWhileAReaderHoldsTheLog) {
  TestDatabase source;
  make_collection(source.db(), "kept");
  source.db().checkpoint();
  const std::string path = source.path() + "_plain";
  make_plain(path, source.path());
  Database early(path, Database::Mode::reader);
  {
    const Transaction held(early, Transaction::Kind::read);
    EXPECT_EQ(list_all_collections(early).size(), 1u);
    Database writer(path, Database::Mode::writer);
    EXPECT_FALSE(writer.has_page_checksums());
    migrate(writer);
    Database late(path, Database::Mode::reader);
    EXPECT_NO_THROW(check_schema(late));
    EXPECT_EQ(list_all_collections(late).size(), 1u);
  }
  Database writer(path, Database::Mode::writer);
  migrate(writer);
  EXPECT_EQ(schema_version(writer), kSchemaVersion);
  Database late(path, Database::Mode::reader);
  EXPECT_NO_THROW(check_schema(late));
  EXPECT_TRUE(late.has_page_checksums());
  EXPECT_EQ(list_all_collections(late).size(), 1u);
  EXPECT_EQ(list_all_collections(early).size(), 1u);
  EXPECT_TRUE(late.quick_check().empty());
}

TEST(Schema, ANewerVersionIsUnsupported) {
  TestDatabase file;
  file.db().execute("PRAGMA user_version=" + std::to_string(kSchemaVersion + 1));
  VKB_EXPECT_ERROR(check_schema(file.db()), ErrorCode::unsupported, "written by a newer vkb");
  VKB_EXPECT_ERROR(migrate(file.db()), ErrorCode::unsupported, file.path());
  Database reader(file.path(), Database::Mode::reader);
  VKB_EXPECT_ERROR(check_schema(reader), ErrorCode::unsupported, "written by a newer vkb");
}

TEST(Schema, AnotherProgramsDatabaseIsCorruptionAndStaysAsItIs) {
  for (const char* made :
       {"CREATE TABLE theirs(x)", "CREATE TABLE theirs(x); PRAGMA user_version=1",
        "CREATE TABLE theirs(x); PRAGMA user_version=77",
        "CREATE TABLE theirs(x); PRAGMA application_id=5; PRAGMA user_version=2",
        "PRAGMA application_id=5; PRAGMA user_version=1"}) {
    const TempDirectory directory;
    Database db(directory.file("db"), Database::Mode::writer);
    db.execute(made);
    const std::vector<std::string> before = texts_of(db, "SELECT sql FROM sqlite_schema");
    VKB_EXPECT_ERROR(migrate(db), ErrorCode::corruption, "not a vkb store");
    VKB_EXPECT_ERROR(check_schema(db), ErrorCode::corruption, "not a vkb store");
    EXPECT_EQ(texts_of(db, "SELECT sql FROM sqlite_schema"), before) << made;
  }
}

TEST(Schema, AFileThatIsNoDatabaseIsCorruption) {
  const TempDirectory directory;
  write_whole_file(directory.file("db"), std::string(8192, 'x'));
  VKB_EXPECT_ERROR(Database(directory.file("db"), Database::Mode::writer), ErrorCode::corruption,
                   "file is not a database");
  VKB_EXPECT_ERROR(Database(directory.file("db"), Database::Mode::reader), ErrorCode::corruption,
                   directory.file("db"));
}

// What a killed creation leaves is taken as if there were nothing: an empty file, a database in WAL
// mode without tables, or a transaction that was not committed (R1).
TEST(Schema, AHalfCreatedDatabaseIsCreatedAnew) {
  const TempDirectory directory;
  write_whole_file(directory.file("empty"), "");
  Database empty(directory.file("empty"), Database::Mode::writer);
  migrate(empty);
  { const Database no_tables(directory.file("no_tables"), Database::Mode::writer); }
  Database no_tables(directory.file("no_tables"), Database::Mode::writer);
  migrate(no_tables);
  EXPECT_NO_THROW(check_schema(no_tables));
}

TEST(Schema, R1_AKillInTheMiddleOfTheCreationLeavesNothing) {
  const TempDirectory directory;
  const std::string path = directory.file("db");
  const pid_t child = ::fork();
  if (child == 0) {
    Database db(path, Database::Mode::writer);
    db.execute("PRAGMA cache_size=1");  // so that pages go to the -wal before the commit
    db.execute("BEGIN IMMEDIATE; CREATE TABLE tenant(name); CREATE TABLE record(x)");
    for (int i = 0; i < 100; ++i) db.execute("INSERT INTO record VALUES(zeroblob(8000))");
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  Database db(path, Database::Mode::writer);
  EXPECT_EQ(schema_version(db), 0);
  migrate(db);
  EXPECT_NO_THROW(check_schema(db));
  EXPECT_TRUE(db.quick_check().empty());
}

TEST(Schema, AFailureDuringTheCreationRollsAllOfItBack) {
  const TempDirectory directory;
  Database db(directory.file("db"), Database::Mode::writer);
  db.execute("PRAGMA max_page_count=10");
  VKB_EXPECT_ERROR(migrate(db), ErrorCode::io_error, "free disk space");
  EXPECT_EQ(integer_of(db, "SELECT count(*) FROM sqlite_schema"), 0);
  EXPECT_EQ(schema_version(db), 0);
  db.execute("PRAGMA max_page_count=10000");
  migrate(db);
  EXPECT_NO_THROW(check_schema(db));
}

}  // namespace
}  // namespace vkb

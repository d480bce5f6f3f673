// SPDX-License-Identifier: Apache-2.0
#include "storage/catalog.h"

#include <gtest/gtest.h>

#include <cctype>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "storage/document_index.h"
#include "storage/manifest.h"
#include "storage/records.h"
#include "storage/vector_log.h"
#include "tests/support/test_data.h"
#include "tests/support/test_database.h"

namespace vkb {
namespace {

constexpr const char* kTenant = "default_tenant";
constexpr const char* kDatabase = "default_database";

std::string message_of(const std::string& name) {
  const std::optional<Error> error = error_of([&] { check_name("collection", name); });
  if (!error) return "";
  EXPECT_EQ(error->code(), ErrorCode::invalid_argument);
  return error->what();
}

TEST(CheckName, TakesWhatChromaTakes) {
  for (const std::string& name :
       {std::string("abc"), std::string("a.b"), std::string("A_-9"), std::string("1.2.3"),
        std::string("1.2.3.4.5"), std::string("256.1.1.1"), std::string("01.2.3.4"),
        std::string("a__--b"), std::string(512, 'a')})
    EXPECT_EQ(message_of(name), "") << name;
}

TEST(CheckName, RefusesTheRestWithChromasWords) {
  const std::string long_name(513, 'a');
  for (const std::string& name :
       {std::string(), std::string("ab"), long_name, std::string("-ab"), std::string("ab-"),
        std::string(".ab"), std::string("ab_"), std::string("a b"), std::string("a/b"),
        std::string("a+b"), std::string("äbc"), std::string("abä"), std::string("abc\n"),
        std::string("::1"), std::string("a:b")}) {
    const std::string expected =
        "collection: Expected a name containing 3-512 characters from [a-zA-Z0-9._-], "
        "starting and ending with a character in [a-zA-Z0-9]. Got: " +
        name;
    EXPECT_EQ(message_of(name), expected);
  }
  // The message goes on after a NUL.
  EXPECT_NE(message_of(std::string("abc\0d", 5)).find("Got: abc\\u0000d"), std::string::npos);
  EXPECT_EQ(message_of("a..b"),
            "collection: Expected a name that does not contains two consecutive periods (..). Got "
            "a..b");
  EXPECT_EQ(message_of("192.168.0.1"),
            "collection: Expected a name that is not a valid ip address. Got 192.168.0.1");
}

TEST(Catalog, UuidsAreRandomAndOfVersion4) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string uuid = make_uuid();
    std::string form = uuid;
    for (char& c : form) c = c == '-' ? '-' : std::isxdigit(c) && !std::isupper(c) ? 'x' : '?';
    EXPECT_EQ(form, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") << uuid;
    EXPECT_EQ(uuid[14], '4');
    EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos) << uuid;
    EXPECT_TRUE(seen.insert(uuid).second);
  }
}

TEST(Catalog, TenantsAndDatabases) {
  TestDatabase file;
  Database& db = file.db();
  VKB_EXPECT_ERROR(create_tenant(db, "ab"), ErrorCode::invalid_argument, "at least 3 characters");
  VKB_EXPECT_ERROR(create_tenant(db, kTenant), ErrorCode::already_exists, "[default_tenant]");
  EXPECT_FALSE(tenant_exists(db, "mine"));
  create_tenant(db, "mine");
  EXPECT_TRUE(tenant_exists(db, "mine"));
  EXPECT_TRUE(list_databases(db, "mine").empty());

  create_database(db, "nobody", "data");  // as in Chroma, a database needs no tenant row
  EXPECT_EQ(list_databases(db, "nobody"), std::vector<std::string>{"data"});
  VKB_EXPECT_ERROR(create_database(db, "mine", "a"), ErrorCode::invalid_argument, "3-512");
  create_database(db, "mine", "zzz");
  create_database(db, "mine", "data");
  VKB_EXPECT_ERROR(create_database(db, "mine", "data"), ErrorCode::already_exists,
                   "Database [data] already exists");
  create_database(db, kTenant, "data");  // the same name for another tenant
  EXPECT_EQ(list_databases(db, "mine"), (std::vector<std::string>{"data", "zzz"}));
  EXPECT_NE(database_id(db, "mine", "data"), database_id(db, kTenant, "data"));
  VKB_EXPECT_ERROR(database_id(db, "mine", kDatabase), ErrorCode::not_found,
                   "Database [default_database] not found. Are you sure it exists?");
  delete_database(db, database_id(db, "mine", "data"));
  EXPECT_EQ(list_databases(db, "mine"), std::vector<std::string>{"zzz"});
  EXPECT_EQ(list_databases(db, kTenant), (std::vector<std::string>{"data", kDatabase}));
}

TEST(Catalog, ACollectionComesBackAsItWasMade) {
  TestDatabase file;
  Database& db = file.db();
  CollectionRow row;
  row.name = "notes";
  row.dim = 768;
  row.space = 2;
  row.m = 16;
  row.ef_construction = 200;
  row.ef_search = 128;
  row.model = "all-minilm";
  row.metadata = R"({"a":1})";
  const CollectionRow made = insert_collection(db, kTenant, kDatabase, row);
  file.reopen();
  for (const auto& found : {find_collection(file.db(), kTenant, kDatabase, "notes"),
                            find_collection(file.db(), made.collection_id)}) {
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->collection_id, made.collection_id);
    EXPECT_EQ(found->uuid, made.uuid);
    EXPECT_EQ(found->name, "notes");
    EXPECT_EQ(found->tenant, kTenant);
    EXPECT_EQ(found->database, kDatabase);
    EXPECT_EQ(found->dim, 768u);
    EXPECT_EQ(found->space, 2u);
    EXPECT_EQ(found->m, 16u);
    EXPECT_EQ(found->ef_construction, 200u);
    EXPECT_EQ(found->ef_search, 128u);
    EXPECT_EQ(found->model, "all-minilm");
    EXPECT_EQ(found->metadata, R"({"a":1})");
    EXPECT_EQ(found->record_count, 0u);
    EXPECT_EQ(found->last_seq, 0);
    EXPECT_EQ(found->manifest_version, 0);
  }
}

TEST(Catalog, CollectionNamesAreUniqueInTheirDatabase) {
  TestDatabase file;
  Database& db = file.db();
  CollectionRow row;
  row.m = 16;
  row.ef_construction = 200;
  row.ef_search = 192;
  row.name = "notes";
  const CollectionRow first = insert_collection(db, kTenant, kDatabase, row);
  VKB_EXPECT_ERROR(insert_collection(db, kTenant, kDatabase, row), ErrorCode::already_exists,
                   "Collection [notes] already exists");
  VKB_EXPECT_ERROR(insert_collection(db, kTenant, "missing", row), ErrorCode::not_found,
                   "Database [missing]");
  create_database(db, kTenant, "other");
  const CollectionRow second = insert_collection(db, kTenant, "other", row);
  EXPECT_NE(first.collection_id, second.collection_id);
  EXPECT_NE(first.uuid, second.uuid);
  EXPECT_FALSE(find_collection(db, kTenant, kDatabase, "none").has_value());
  EXPECT_FALSE(find_collection(db, 999).has_value());
  row.name = "a b";
  VKB_EXPECT_ERROR(insert_collection(db, kTenant, kDatabase, row), ErrorCode::invalid_argument,
                   "Got: a b");
  make_collection(db, "abc");
  std::vector<std::string> names;
  for (const CollectionRow& listed : list_collections(db, database_id(db, kTenant, kDatabase)))
    names.push_back(listed.name);
  EXPECT_EQ(names, (std::vector<std::string>{"abc", "notes"}));
  EXPECT_EQ(list_all_collections(db).size(), 3u);
}

TEST(Catalog, UpdateAndTouchChangeOnlyTheirColumns) {
  TestDatabase file;
  Database& db = file.db();
  const std::int64_t id = make_collection(db, "notes");
  const std::int64_t other = make_collection(db, "other");
  touch_collection(db, id, 5, 10, true);
  touch_collection(db, id, -2, 7, false);  // an older seq does not take last_seq back
  CollectionRow row = *find_collection(db, id);
  EXPECT_EQ(row.record_count, 3u);
  EXPECT_EQ(row.last_seq, 10);
  EXPECT_EQ(row.manifest_version, 1);
  row.name = "renamed";
  row.dim = 3;
  row.ef_search = 7;
  row.model = "model";
  row.metadata = "{}";
  row.record_count = 99;
  update_collection(db, row);
  const CollectionRow after = *find_collection(db, id);
  EXPECT_EQ(after.name, "renamed");
  EXPECT_EQ(after.dim, 3u);
  EXPECT_EQ(after.ef_search, 7u);
  EXPECT_EQ(after.model, "model");
  EXPECT_EQ(after.metadata, "{}");
  EXPECT_EQ(after.record_count, 3u);
  EXPECT_EQ(after.uuid, row.uuid);
  EXPECT_EQ(find_collection(db, other)->name, "other");
  EXPECT_EQ(find_collection(db, other)->record_count, 0u);
}

std::map<std::string, std::int64_t> rows_of_tables(Database& db) {
  std::map<std::string, std::int64_t> rows;
  for (const std::string& table :
       texts_of(db,
                "SELECT name FROM sqlite_schema WHERE type='table' AND name<>'sqlite_sequence'"
                " AND sql NOT LIKE 'CREATE VIRTUAL%'"))
    rows[table] = integer_of(db, "SELECT count(*) FROM " + table);
  return rows;
}

std::int64_t fill_collection(Database& db, const std::string& name) {
  const std::int64_t id = make_collection(db, name);
  Records records(db, id);
  const std::vector<float> vector = {1, 2};
  for (int i = 0; i < 4; ++i) {
    RecordRow record;
    record.id = std::to_string(i);
    record.document = "text";
    record.metadata = Metadata{{"k", std::int64_t{i}}, {"t", std::vector<std::string>{"a", "b"}}};
    append_log(db, id, records.insert(record, i % 2 == 0), vector);
  }
  const std::int64_t segment = insert_segment(db, id,
                                              {.segment_id = 0,
                                               .file = name + ".vseg",
                                               .row_count = 9,
                                               .byte_count = 1,
                                               .checksum = 1,
                                               .has_graph = true});
  insert_tombstone(db, segment, {.slot = 1, .seq = 1});
  index_some_documents(db, id);
  RecordRow changed = records.read(*records.find("0"));
  changed.document = "another text";
  records.replace(changed);
  for (const char* sql : {"INSERT INTO posting_block(key_id, first_value, last_value, entry_count)"
                          " SELECT key_id, 0, 0, 0 FROM metadata_key WHERE collection_id=?",
                          "INSERT INTO posting_removed(key_id, value, row_id)"
                          " SELECT key_id, 0, 0 FROM metadata_key WHERE collection_id=?"}) {
    Statement(db, sql).bind(id).run();
  }
  return id;
}

TEST(Catalog, DeletingACollectionLeavesNothingInAnyTable) {
  TestDatabase file;
  Database& db = file.db();
  const std::int64_t kept = fill_collection(db, "kept");
  const std::map<std::string, std::int64_t> before = rows_of_tables(db);
  const std::int64_t gone = fill_collection(db, "gone");
  for (const auto& [table, rows] : rows_of_tables(db)) {
    if (table == "tenant" || table == "database") continue;
    if (table.starts_with("document_trigram")) continue;  // each collection has its own
    EXPECT_GT(rows, before.at(table)) << table << " is not filled by this test";
  }
  EXPECT_EQ(delete_collection(db, gone), std::vector<std::string>{"gone.vseg"});
  EXPECT_EQ(rows_of_tables(db), before);
  EXPECT_FALSE(find_collection(db, gone).has_value());
  EXPECT_EQ(Records(db, kept).count(), 4u);
  EXPECT_EQ(count_log(db, kept), 4u);
  EXPECT_EQ(list_segments(db, kept).size(), 1u);
  EXPECT_TRUE(delete_collection(db, gone).empty());
}

TEST(Catalog, R4_ACollectionsIdIsNeverReused) {
  TestDatabase file;
  const std::int64_t first = make_collection(file.db(), "one");
  delete_collection(file.db(), first);
  file.reopen();
  EXPECT_GT(make_collection(file.db(), "one"), first);
}

}  // namespace
}  // namespace vkb

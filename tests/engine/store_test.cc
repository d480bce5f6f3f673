// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "engine/vkb.h"
#include "storage/sqlite.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

TEST(Store, OpensWhatItCreated) {
  const TempDirectory directory;
  const std::string path = directory.file("a/new store");
  {
    Store store = Store::open(path);
    EXPECT_EQ(store.directory(), path);
    EXPECT_TRUE(store.collections().empty());
    store.create_collection("first");
  }
  const Store store = Store::open(path, {.create = false});
  EXPECT_EQ(store.collections(), std::vector<std::string>{"first"});
  EXPECT_TRUE(is_sound(store));
}

TEST(Store, IsNotCreatedUnasked) {
  const TempDirectory directory;
  const std::string path = directory.file("none");
  VKB_EXPECT_ERROR(Store::open(path, {.create = false}), ErrorCode::not_found, path);
  VKB_EXPECT_ERROR(Store::open(path, {.read_only = true}), ErrorCode::not_found, path);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Store, RefusesAFileInPlaceOfItsDirectory) {
  const TempDirectory directory;
  const std::string path = directory.file("file");
  write_whole_file(path, "not a directory");
  VKB_EXPECT_ERROR(Store::open(path), ErrorCode::io_error, path);
  VKB_EXPECT_ERROR(Store::open(path, {.read_only = true}), ErrorCode::io_error, path);
}

TEST(Store, RefusesPathsThatCannotBeOne) {
  const TempDirectory directory;
  const std::string loop = directory.file("loop");
  std::filesystem::create_symlink(loop, loop);
  for (const std::string& path : {loop, loop + "/store", directory.file(std::string(300, 'x'))}) {
    VKB_EXPECT_ERROR(Store::open(path), ErrorCode::io_error, path);
    VKB_EXPECT_ERROR(Store::open(path, {.read_only = true}), ErrorCode::io_error, path);
  }
}

TEST(Store, RefusesTheDirectoryOfAChromaDatabase) {
  const TempDirectory directory;
  write_whole_file(directory.file("chroma.sqlite3"), "SQLite format 3");
  VKB_EXPECT_ERROR(Store::open(directory.path()), ErrorCode::unsupported, "chroma.sqlite3");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);

  // One without collections has nothing to lose sight of.
  std::filesystem::remove(directory.file("chroma.sqlite3"));
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(directory.file("chroma.sqlite3").c_str(), &handle), SQLITE_OK);
  sqlite3_exec(handle, "CREATE TABLE collections(id TEXT); INSERT INTO collections VALUES('a')",
               nullptr, nullptr, nullptr);
  VKB_EXPECT_ERROR(Store::open(directory.path()), ErrorCode::unsupported, "chroma.sqlite3");
  sqlite3_exec(handle, "DELETE FROM collections", nullptr, nullptr, nullptr);
  sqlite3_close(handle);
  EXPECT_NO_THROW(Store::open(directory.path()));
}

TEST(Store, RefusesFilesOfOthersAndLeavesThemAlone) {
  const TempDirectory directory;
  const std::string path = directory.file("vkb.sqlite3");
  for (const char* kind : {"text", "sqlite"}) {
    SCOPED_TRACE(kind);
    std::filesystem::remove(path);
    if (kind == std::string("text")) {
      write_whole_file(
          path, "This is not a database, whatever its name says." + std::string(10'000, '.'));
    } else {
      sqlite3* handle = nullptr;
      ASSERT_EQ(sqlite3_open(path.c_str(), &handle), SQLITE_OK);
      sqlite3_exec(handle, "CREATE TABLE theirs(x)", nullptr, nullptr, nullptr);
      sqlite3_close(handle);
    }
    const std::string before = read_whole_file(path);
    VKB_EXPECT_ERROR(Store::open(directory.path()), ErrorCode::corruption, path);
    VKB_EXPECT_ERROR(Store::open(directory.path(), {.read_only = true}), ErrorCode::corruption,
                     path);
    EXPECT_EQ(read_whole_file(path), before);
  }
}

TEST(Store, RefusesANewerSchema) {
  const TempDirectory directory;
  Store::open(directory.path());
  Database(directory.file("vkb.sqlite3"), Database::Mode::writer)
      .execute("PRAGMA user_version=999");
  VKB_EXPECT_ERROR(Store::open(directory.path()), ErrorCode::unsupported, "schema 999");
}

TEST(Store, ReadOnlyRefusesToWrite) {
  const TempDirectory directory;
  Store::open(directory.path()).create_collection("there");
  Store store = Store::open(directory.path(), {.read_only = true});
  Collection collection = store.get_or_create_collection("there");
  const std::vector<Record> records = test_records(1, 4);
  const std::vector<std::string> ids{"r0"};
  VectorSource source(records, 1);
  VKB_EXPECT_ERROR(collection.add(records), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(collection.upsert(records), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(collection.update(records), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(collection.remove(ids), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(collection.remove(Filter{}), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(collection.load(source), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(collection.modify({.name = "other"}), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(store.create_collection("more"), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(store.get_or_create_collection("more"), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(store.delete_collection("there"), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(store.create_tenant("tenant"), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(store.create_database("more"), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(store.delete_database("more"), ErrorCode::unsupported, "read-only");
  VKB_EXPECT_ERROR(store.repair(), ErrorCode::unsupported, "read-only");
}

TEST(Store, KeepsTenantsAndDatabasesApart) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  EXPECT_TRUE(store.has_tenant(std::string(kDefaultTenant)));
  EXPECT_FALSE(store.has_tenant("acme"));
  store.create_tenant("acme");
  EXPECT_TRUE(store.has_tenant("acme"));
  store.create_database("papers", "acme");
  store.create_database("papers");
  EXPECT_EQ(store.databases("acme"), std::vector<std::string>{"papers"});
  EXPECT_EQ(store.databases(), (std::vector<std::string>{std::string(kDefaultDatabase), "papers"}));
  const Collection a = store.create_collection("same", {}, "papers", "acme");
  const Collection b = store.create_collection("same", {}, "papers");
  EXPECT_NE(a.uuid(), b.uuid());
  EXPECT_EQ(a.info().tenant, "acme");
  EXPECT_EQ(a.info().database, "papers");
  VKB_EXPECT_ERROR(store.collection("same"), ErrorCode::not_found, "same");

  VKB_EXPECT_ERROR(store.create_tenant("acme"), ErrorCode::already_exists, "acme");
  VKB_EXPECT_ERROR(store.create_database("papers"), ErrorCode::already_exists, "papers");
  EXPECT_NE(store.database_uuid("papers", "acme"), store.database_uuid("papers", kDefaultTenant));
  VKB_EXPECT_ERROR(store.database_uuid("more", "acme"), ErrorCode::not_found, "more");
  EXPECT_EQ(store.collection_by_uuid(a.uuid()).info(InfoDetail::records).tenant, "acme");
  VKB_EXPECT_ERROR(store.collection_by_uuid("none"), ErrorCode::not_found, "none");
  ASSERT_EQ(store.all_collections().size(), 2u);
  EXPECT_EQ(store.all_collections()[1].uuid(), b.uuid());
  VKB_EXPECT_ERROR(store.delete_database("nothing"), ErrorCode::not_found, "nothing");
  VKB_EXPECT_ERROR(store.collections("nothing"), ErrorCode::not_found, "nothing");
  VKB_EXPECT_ERROR(store.create_collection("new", {}, "nothing"), ErrorCode::not_found, "nothing");
}

TEST(Store, ResetLeavesTheDefaultTenantAndDatabaseOnly) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  store.create_tenant("acme");
  store.create_database("papers", "acme");
  Collection collection = store.create_collection("vectors", {}, "papers", "acme");
  collection.add(test_records(10, 4));
  collection.compact();
  store.create_collection("others");
  store.delete_database(std::string(kDefaultDatabase));
  collection.wait_for_maintenance();  // while its thread reads, files of before stay
  store.reset();
  EXPECT_TRUE(store.all_collections().empty());
  EXPECT_FALSE(store.has_tenant("acme"));
  EXPECT_TRUE(store.databases("acme").empty());
  EXPECT_EQ(store.databases(), std::vector<std::string>{std::string(kDefaultDatabase)});
  EXPECT_EQ(store.info().segment_bytes, 0u);
  VKB_EXPECT_ERROR(collection.count(), ErrorCode::not_found, "does not exist");
}

TEST(Store, KeepsWhatAFrontEndWantsKeptAndNamesMetadataKeys) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("notes", {.extra = "{\"a\": 1}"});
  EXPECT_EQ(collection.info(InfoDetail::records).options.extra, "{\"a\": 1}");
  collection.modify({.extra = "b"});
  EXPECT_EQ(collection.info(InfoDetail::records).options.extra, "b");
  const std::vector<Record> records = {
      {.id = "1",
       .embedding = std::vector{1.0F},
       .metadata = Metadata{{"n", std::int64_t{1}}, {"tags", std::vector<std::string>{"x"}}}},
      {.id = "2", .embedding = std::vector{1.0F}, .metadata = Metadata{{"n", 2.5}, {"b", true}}}};
  collection.add(records);
  auto keys = collection.info(InfoDetail::records).metadata_keys;
  std::sort(keys.begin(), keys.end());
  const decltype(keys) expected = {{"b", "bool"}, {"n", "float"}, {"n", "int"}, {"tags", "string"}};
  EXPECT_EQ(keys, expected);
}

TEST(Store, DeletingADatabaseTakesItsCollections) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  store.create_database("papers");
  Collection collection = store.create_collection("vectors", {}, "papers");
  collection.add(test_records(10, 4));
  collection.compact();
  store.delete_database("papers");
  EXPECT_EQ(store.databases(), std::vector<std::string>{std::string(kDefaultDatabase)});
  VKB_EXPECT_ERROR(collection.count(), ErrorCode::not_found, collection.uuid());
  EXPECT_TRUE(std::filesystem::is_empty(directory.file("segments")));
}

TEST(Store, NamesAreChecked) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  for (const std::string& name :
       {std::string(""), std::string("ab"), std::string("_abc"), std::string("abc-"),
        std::string("a..b"), std::string("a b c"), std::string("192.168.0.1"),
        std::string(513, 'a'), std::string("n\xC3\xA4me"), std::string("a\0bc", 4)}) {
    SCOPED_TRACE(name);
    VKB_EXPECT_ERROR(store.create_collection(name), ErrorCode::invalid_argument, "collection");
    VKB_EXPECT_ERROR(store.create_database(name), ErrorCode::invalid_argument, "database");
  }
  EXPECT_NO_THROW(store.create_collection("a.B_c-9"));
  EXPECT_NO_THROW(store.create_collection(std::string(512, 'a')));
}

TEST(Store, CollectionOptionsAreChecked) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  for (const CollectionOptions& options :
       {CollectionOptions{.dim = 0}, CollectionOptions{.dim = 16385}, CollectionOptions{.m = 1},
        CollectionOptions{.m = 513}, CollectionOptions{.ef_construction = 0},
        CollectionOptions{.ef_search = 0}}) {
    VKB_EXPECT_ERROR(store.create_collection("bad", options), ErrorCode::invalid_argument,
                     "collection option");
  }
  Collection collection = store.create_collection("good");
  VKB_EXPECT_ERROR(collection.modify({.ef_search = 0}), ErrorCode::invalid_argument, "ef_search");
  EXPECT_EQ(to_string(parse_space("l2")), "l2");
  VKB_EXPECT_ERROR(parse_space("hamming"), ErrorCode::invalid_argument, "hamming");
}

TEST(Store, ADeletedCollectionsHandlesSaySo) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("gone");
  collection.add(test_records(3, 4));
  collection.compact();
  store.delete_collection("gone");
  EXPECT_TRUE(std::filesystem::is_empty(directory.file("segments")));
  Collection successor = store.create_collection("gone");
  const std::vector<Record> records = test_records(1, 4);
  const std::vector<float> query(4, 1.0F);
  VectorSource source(records, 1);
  const std::string& uuid = collection.uuid();
  VKB_EXPECT_ERROR(collection.count(), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.get(), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.query(query), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.add(records), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.remove(Filter{}), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.load(source), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.modify({.model = "x"}), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(collection.info(), ErrorCode::not_found, uuid);
  VKB_EXPECT_ERROR(store.delete_collection("never"), ErrorCode::not_found, "never");
  EXPECT_EQ(successor.count(), 0u);
  EXPECT_TRUE(is_sound(store));
}

TEST(Store, TwoStoresOfOneProcessSeeEachOther) {
  const TempDirectory directory;
  Store first = Store::open(directory.path());
  Store second = Store::open(directory.path(), {.lock_timeout = std::chrono::milliseconds(20)});
  Collection collection = first.create_collection("shared");
  const std::vector<Record> records = test_records(2, 4);
  collection.add(records);
  Collection other = second.collection("shared");
  EXPECT_EQ(differences(expected_of(records), other), "");
  VKB_EXPECT_ERROR(other.remove(Filter{}), ErrorCode::busy, "held by another writer");
  EXPECT_EQ(first.info().writer, second.info().writer);
  EXPECT_NE(first.info().writer.find("pid " + std::to_string(::getpid())), std::string::npos);
}

TEST(Store, ClosesWithItsLastHandle) {
  const TempDirectory directory;
  std::optional<Collection> collection;
  {
    Store store = Store::open(directory.path());
    collection.emplace(store.create_collection("kept"));
  }
  collection->add(test_records(1, 4));
  EXPECT_EQ(collection->count(), 1u);
  collection.reset();
  EXPECT_EQ(Store::open(directory.path(), {.read_only = true}).info().writer, "");
}

class NetworkFileSystem final : public FaultyFileSystem {
 public:
  std::string network_file_system(const std::string& /*path*/) override { return "NFS"; }
};

TEST(Store, R6_IsNotOpenedOnANetworkFileSystem) {
  const TempDirectory directory;
  NetworkFileSystem files;
  VKB_EXPECT_ERROR(Store::open(directory.file("store"), {.file_system = &files}),
                   ErrorCode::unsupported, "NFS");
  EXPECT_FALSE(std::filesystem::exists(directory.file("store")));
  Store::open(directory.file("store"));
  VKB_EXPECT_ERROR(Store::open(directory.file("store"), {.read_only = true, .file_system = &files}),
                   ErrorCode::unsupported, "NFS");
}

// Whoever thinks that a lock is stale: the kernel knows better, and a second writer gets in.
TEST(Store, R6_AWriterWhoseLockIsRemovedWritesNoMore) {
  const TempDirectory directory;
  Store store = Store::open(directory.path());
  Collection collection = store.create_collection("kept");
  collection.add(test_records(3, 4));
  std::filesystem::remove(directory.file("writer.lock"));
  VKB_EXPECT_ERROR(collection.add(test_records(6, 4)), ErrorCode::io_error, "writer.lock");
  VKB_EXPECT_ERROR(collection.compact(), ErrorCode::io_error, "writer.lock");
  EXPECT_EQ(collection.count(), 3U);
  Store::open(directory.path()).collection("kept").add(test_records(6, 4));
  EXPECT_EQ(collection.count(), 6U);
  EXPECT_TRUE(is_sound(Store::open(directory.path(), {.read_only = true})));
}

TEST(Store, BackupIsAStoreOfItsOwn) {
  const TempDirectory directory;
  const std::string copy = directory.file("copy");
  Store store = Store::open(directory.file("store"));
  Collection collection = store.create_collection("vectors");
  const std::vector<Record> records = test_records(30, 4);
  collection.add(std::span(records).first(20));
  collection.compact();
  collection.add(std::span(records).subspan(20));
  store.backup(copy);
  collection.remove(Filter{});
  collection.compact();
  Store copied = Store::open(copy);
  Collection copied_collection = copied.collection("vectors");
  EXPECT_EQ(differences(expected_of(records), copied_collection), "");
  EXPECT_TRUE(is_sound(copied));
  copied_collection.add(test_records(3, 4, 2, "more"));
  EXPECT_EQ(copied_collection.count(), 33u);
  EXPECT_EQ(collection.count(), 0u);
  VKB_EXPECT_ERROR(store.backup(copy), ErrorCode::already_exists, copy);
}

}  // namespace
}  // namespace vkb

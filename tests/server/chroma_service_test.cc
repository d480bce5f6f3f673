// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_service.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/server/refusal.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

class Service : public ::testing::Test {
 protected:
  CollectionPlace make(const std::string& name) {
    return {.in = {}, .id = service_.create_collection({}, {.name = name}).id};
  }
  static RecordBatch batch(std::vector<std::string> ids) {
    RecordBatch out{.ids = std::move(ids)};
    out.embeddings.emplace();
    for (std::size_t i = 0; i < out.ids.size(); ++i) {
      out.embeddings->push_back(std::vector<float>{static_cast<float>(i), 1});
    }
    return out;
  }
  std::vector<std::string> ids_of(const CollectionPlace& place,
                                  const RecordSelection& selection = {}) {
    std::vector<std::string> ids;
    for (const Record& record : service_.get(place, selection, {}, 0, {})) ids.push_back(record.id);
    return ids;
  }

  TempDirectory directory_;
  Store store_ = Store::open(directory_.path());
  ChromaService service_{store_, {.allow_reset = true}};
};

using Ids = std::vector<std::string>;

TEST_F(Service, FindsCollectionsByAnyFormOfTheirUuid) {
  const CollectionPlace place = make("notes");
  std::string upper = place.id;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string bare = place.id;
  std::erase(bare, '-');
  for (const std::string& id : {place.id, upper, bare, "{" + place.id + "}"}) {
    EXPECT_EQ(service_.get_collection_by_id({.in = {}, .id = id}).name, "notes") << id;
  }
  for (const char* id :
       {"", "notes", "00000000-0000-0000-0000-00000000000g", "00000000000000000000000000000000-"}) {
    EXPECT_TRUE(refusal([&] { service_.count({.in = {}, .id = id}); }).starts_with("400 ")) << id;
  }
}

TEST_F(Service, ACollectionElsewhereDoesNotExist) {
  const CollectionPlace place = make("notes");
  service_.create_database({.tenant = "default_tenant", .database = "other"});
  const CollectionPlace elsewhere = {.in = {.tenant = "default_tenant", .database = "other"},
                                     .id = place.id};
  EXPECT_EQ(refusal([&] { service_.count(elsewhere); }),
            "404 Collection [" + place.id + "] does not exist");
  EXPECT_EQ(service_.count(place), 0u);
}

TEST_F(Service, ForgetsWhatWasDeleted) {
  const CollectionPlace place = make("notes");
  service_.add(place, batch({"a"}));
  service_.delete_collection({}, "notes");
  EXPECT_TRUE(refusal([&] { service_.count(place); }).starts_with("404 "));
  // By another user of the store, behind the service's back.
  const CollectionPlace second = make("notes");
  EXPECT_EQ(service_.count(second), 0u);
  store_.delete_collection("notes");
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(refusal([&] { service_.count(second); }).starts_with("404 "));
  }
  const CollectionPlace third = make("notes");
  service_.reset();
  EXPECT_TRUE(refusal([&] { service_.count(third); }).starts_with("404 "));
}

TEST_F(Service, ReservedKeysAreTheDocumentAndTheUri) {
  const CollectionPlace place = make("notes");
  RecordBatch records = batch({"a", "b", "c"});
  records.metadatas = {Metadata{{"chroma:document", std::string("text")}},
                       Metadata{{"chroma:uri", std::string("u")}},
                       Metadata{{"chroma:other", std::int64_t{1}}}};
  service_.add(place, std::move(records));
  const auto found = service_.get(place, {}, {}, 0, {});
  EXPECT_EQ(found[0].document, "text");
  EXPECT_FALSE(found[0].metadata);
  EXPECT_FALSE(found[1].uri);  // not asked for
  EXPECT_EQ(found[1].metadata, Metadata{});
  EXPECT_EQ(found[2].metadata, Metadata{});
  EXPECT_EQ(service_.get(place, {}, {}, 0, {.uris = true})[1].uri, "u");
}

TEST_F(Service, DeleteCountsWhatChromaCounts) {
  const CollectionPlace place = make("notes");
  RecordBatch records = batch({"a", "b", "c", "d"});
  records.metadatas.emplace(4, Metadata{{"k", std::int64_t{1}}});
  service_.add(place, std::move(records));
  const std::string where = R"({"k":1})";
  EXPECT_EQ(service_.remove(place, {.ids = Ids{"a", "nobody"}}, {}), 2u);
  EXPECT_EQ(service_.remove(place, {.ids = Ids{"b", "nobody"}, .where_json = where}, {}), 1u);
  EXPECT_EQ(service_.remove(place, {.where_json = where}, 1), 1u);
  EXPECT_EQ(ids_of(place), Ids{"d"});
  EXPECT_EQ(service_.remove(place, {}, {}), 0u);
  EXPECT_TRUE(refusal([&] { service_.remove(place, {.ids = Ids{}}, {}); }).starts_with("400 "));
  EXPECT_TRUE(refusal([&] { service_.remove(place, {.ids = Ids{"d"}}, 1); }).starts_with("400 "));
  EXPECT_EQ(service_.count(place), 1u);
}

TEST_F(Service, QueryTakesMoreResultsThanThereAre) {
  const CollectionPlace place = make("notes");
  const std::vector<std::vector<float>> queries = {{0, 1}, {1, 1}};
  EXPECT_EQ(service_.query(place, {}, queries, 10, {}).size(), 2u);
  service_.add(place, batch({"a", "b"}));
  const auto answers = service_.query(place, {}, queries, UINT32_MAX, {});
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].size(), 2u);
  EXPECT_EQ(answers[1][0].record.id, "b");
  // Chroma's error for an id that is not there, unless a filter is given.
  EXPECT_EQ(refusal([&] {
              service_.query(place, {.ids = Ids{"a", "x"}}, queries, 1, {});
            }),
            "500 Error executing plan: Internal error: Error finding id");
  const RecordSelection filtered{.ids = Ids{"a", "x"}, .where_json = R"({"k":{"$ne":1}})"};
  EXPECT_EQ(service_.query(place, filtered, queries, 5, {})[0].size(), 1u);
}

TEST_F(Service, BatchesAreCheckedAsAWhole) {
  const CollectionPlace place = make("notes");
  service_.add(place, batch({"a"}));
  RecordBatch wrong = batch({"b", "c"});
  (*wrong.embeddings)[1] = std::vector<float>{1, 2, 3};
  EXPECT_EQ(refusal([&] { service_.add(place, std::move(wrong)); }),
            "400 Inconsistent dimensions in provided embeddings");
  RecordBatch longer = batch({"b"});
  (*longer.embeddings)[0] = std::vector<float>{1, 2, 3};
  EXPECT_EQ(refusal([&] { service_.upsert(place, std::move(longer)); }),
            "400 Collection expecting embedding with dimension of 2, got 3");
  RecordBatch uneven = batch({"b", "c"});
  uneven.documents.emplace(1);
  EXPECT_EQ(refusal([&] { service_.add(place, std::move(uneven)); }),
            "400 Inconsistent number of IDs, embeddings, documents, URIs and metadatas");
  EXPECT_EQ(refusal([&] { service_.add(place, batch({""})); }),
            "400 Empty ID, ID must have at least one character");
  EXPECT_EQ(service_.count(place), 1u);
}

TEST_F(Service, ForkIsACopyThatGoesItsOwnWay) {
  const CollectionPlace place = make("notes");
  RecordBatch records = batch({"a", "b"});
  records.documents.emplace(2, "text");
  service_.add(place, std::move(records));
  const CollectionModel fork = service_.fork_collection(place, "copy");
  EXPECT_NE(fork.id, place.id);
  const CollectionPlace copy{.in = {}, .id = fork.id};
  service_.add(copy, batch({"c"}));
  service_.remove(place, {.ids = Ids{"a"}}, {});
  EXPECT_EQ(ids_of(place), Ids{"b"});
  EXPECT_EQ(ids_of(copy), (Ids{"a", "b", "c"}));
  EXPECT_EQ(service_.get(copy, {}, {}, 0, {})[0].document, "text");
  EXPECT_TRUE(refusal([&] { service_.fork_collection(place, "copy"); }).starts_with("409 "));
  EXPECT_TRUE(refusal([&] { service_.fork_collection(place, "x"); }).starts_with("400 "));
  const IndexingStatus status = service_.indexing_status(copy);
  EXPECT_EQ(status.total, 3u);
  EXPECT_EQ(status.indexed, 2u);  // the copy is sealed; what came later is in the log
}

TEST_F(Service, ReadOnlyRefusesEachChange) {
  const CollectionPlace place = make("notes");
  service_.add(place, batch({"a"}));
  const Store store = Store::open(directory_.path(), {.read_only = true});
  ChromaService reader(store, {.allow_reset = true, .read_only = true});
  const std::vector<std::function<void()>> changes = {
      [&] { reader.reset(); },
      [&] { reader.create_tenant("mine"); },
      [&] { reader.create_database({.tenant = "default_tenant", .database = "mine"}); },
      [&] { reader.delete_database({}); },
      [&] { reader.create_collection({}, {.name = "more"}); },
      [&] { reader.modify_collection(place, {.name = "more"}); },
      [&] { reader.delete_collection({}, "notes"); },
      [&] { reader.fork_collection(place, "more"); },
      [&] { reader.add(place, batch({"b"})); },
      [&] { reader.update(place, batch({"a"})); },
      [&] { reader.upsert(place, batch({"b"})); },
      [&] { reader.remove(place, {.ids = Ids{"a"}}, {}); },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    EXPECT_TRUE(refusal(changes[i]).starts_with("403 ")) << i << ": " << refusal(changes[i]);
  }
  EXPECT_EQ(reader.count(place), 1u);
  EXPECT_EQ(reader.create_collection({}, {.name = "notes", .get_or_create = true}).id, place.id);
}

TEST_F(Service, ShowsCollectionsThatWereNotMadeThroughIt) {
  store_.create_collection("imported", {.space = Space::cosine, .ef_search = 192});
  const CollectionModel model = service_.get_collection({}, "imported");
  const Json hnsw = Json::parse(model.configuration_json)["hnsw"];
  EXPECT_EQ(hnsw["space"], "cosine");
  EXPECT_EQ(hnsw["ef_search"], 192);
  service_.modify_collection({.in = {}, .id = model.id},
                             {.configuration_json = R"({"hnsw":{"ef_search":20}})"});
  EXPECT_EQ(store_.collection("imported").info().options.ef_search, 20u);
}

TEST_F(Service, NewMetadataKeysShowInTheSchema) {
  const CollectionPlace place = make("notes");
  RecordBatch records = batch({"a"});
  records.metadatas = {Metadata{{"n", std::int64_t{1}}, {"tags", std::vector<std::string>{"x"}}}};
  service_.add(place, std::move(records));
  const Json keys = Json::parse(service_.get_collection_by_id(place).schema_json)["keys"];
  EXPECT_TRUE(keys["n"].contains("int"));
  EXPECT_TRUE(keys["tags"].contains("string"));
  EXPECT_TRUE(keys.contains("#embedding"));
}

TEST_F(Service, DisabledIndexesRefuseFilters) {
  const CollectionModel model = service_.create_collection(
      {},
      {.name = "notes",
       .schema_json = R"({"defaults":{"int":{"int_inverted_index":{"enabled":false,"config":{}}}},
               "keys":{"#document":{"string":{"fts_index":{"enabled":false,"config":{}}}}}})"});
  const CollectionPlace place{.in = {}, .id = model.id};
  EXPECT_EQ(
      refusal([&] { ids_of(place, {.where_json = R"({"n":1})"}); }),
      "400 Cannot filter using metadata key 'n' with type 'Int' because indexing is disabled");
  EXPECT_EQ(refusal([&] { ids_of(place, {.where_document_json = R"({"$contains":"x"})"}); }),
            "400 Cannot filter using full-text search because FTS indexing is disabled");
  EXPECT_EQ(refusal([&] { ids_of(place, {.where_json = R"({"s":"x"})"}); }), "");
}

TEST_F(Service, ChromasKeysAskTheDocumentAndTheUri) {
  const CollectionPlace place = make("notes");
  RecordBatch records = batch({"a", "b", "c"});
  records.documents = {{"dog cat", "", std::nullopt}};
  records.uris = {{"u1", std::nullopt, "u2"}};
  service_.add(place, std::move(records));
  const auto found = [&](const std::string& where) { return ids_of(place, {.where_json = where}); };
  EXPECT_EQ(found(R"({"chroma:document":"dog cat"})"), Ids{"a"});
  EXPECT_EQ(found(R"({"chroma:document":""})"), Ids{"b"});
  EXPECT_EQ(found(R"({"chroma:document":{"$ne":"dog cat"}})"), (Ids{"b", "c"}));
  EXPECT_EQ(found(R"({"chroma:uri":{"$in":["u1","u2"]}})"), (Ids{"a", "c"}));
  EXPECT_EQ(found(R"({"chroma:document":"dog"})"), Ids{});
  EXPECT_EQ(found(R"({"$and":[{"chroma:uri":{"$nin":["u2"]}},{"chroma:document":""}]})"), Ids{"b"});
  EXPECT_EQ(found(R"({"":1})"), Ids{});
  EXPECT_EQ(found(R"({"#id":"a"})"), Ids{});
}

TEST_F(Service, FieldsOfASchemaThatAreNotForUsersAreRefused) {
  const auto create = [&](const std::string& schema) {
    return refusal(
        [&] { service_.create_collection({}, {.name = "notes", .schema_json = schema}); });
  };
  EXPECT_EQ(create(R"({"defaults":{},"keys":{},"source_attached_function_id":"x"})"),
            "400 Validation error: schema: Cannot set source_attached_function_id. This field is "
            "reserved for system use.");
  EXPECT_TRUE(
      create(R"({"defaults":{},"keys":{},"source_attached_function_id":5})").starts_with("422 "));
  EXPECT_TRUE(create(R"({"defaults":{},"keys":{"#document":{"string":{"string_inverted_index":
                         {"enabled":true,"config":{}}}}}})")
                  .starts_with("400 Validation error: schema: String inverted index"));
  EXPECT_EQ(create(R"({"defaults":{},"keys":{},"source_attached_function_id":null})"), "");
}

}  // namespace
}  // namespace vkb

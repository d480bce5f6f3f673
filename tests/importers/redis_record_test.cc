// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_record.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/importers/llama_index_data.h"

namespace vkb {
namespace {

using Mapped = std::variant<MappedRecord, Rejection>;

const MappedRecord& good(const Mapped& mapped) {
  if (const auto* rejection = std::get_if<Rejection>(&mapped)) {
    throw std::runtime_error(rejection->reason + ": " + rejection->message);
  }
  return std::get<MappedRecord>(mapped);
}

std::string reason(const Mapped& mapped) {
  const auto* rejection = std::get_if<Rejection>(&mapped);
  return rejection == nullptr ? "" : rejection->reason;
}

// As the store gives a record back: metadata through its JSON, empty metadata as none.
Record through_store(Record record) {
  Metadata metadata = parse_metadata(to_json(record.metadata.value_or(Metadata())));
  record.metadata.reset();
  if (!metadata.empty()) record.metadata = std::move(metadata);
  return record;
}

void set_field(RedisFields& fields, const std::string& name, const std::string& value) {
  for (auto& [field, content] : fields) {
    if (field == name) {
      content = value;
      return;
    }
  }
  fields.emplace_back(name, value);
  std::sort(fields.begin(), fields.end());
}

void drop_field(RedisFields& fields, const std::string& name) {
  std::erase_if(fields, [&](const auto& field) { return field.first == name; });
}

TEST(RedisRecordTest, EveryAcceptedHashIsRebuiltByteForByte) {
  std::map<std::string, int> accepted;
  for (const SampleHash& sample : read_samples()) {
    const Mapped mapped = map_record(sample.key, sample.fields, llama_index_mapping());
    if (const auto* record = std::get_if<MappedRecord>(&mapped)) {
      ++accepted[sample.layout];
      const RedisOriginal original = rebuild_hash(through_store(record->record));
      EXPECT_EQ(original.key, sample.key);
      EXPECT_EQ(original.fields, sample.fields) << sample.layout << ' ' << sample.kind;
      EXPECT_EQ(original.hash, hash_of(sample.fields));
      EXPECT_EQ(record->hash, original.hash);
    }
  }
  ASSERT_EQ(accepted.size(), 3u);
  for (const auto& [layout, count] : accepted) EXPECT_EQ(count, 13) << layout;
}

TEST(RedisRecordTest, EachKindOfBadRecordIsRejectedForItsReasonOrTaken) {
  const std::map<std::string, std::string> expected = {
      {"missing_vector", "missing_vector"},
      {"wrong_dim", "wrong_dimension"},
      {"odd_bytes", "vector_bytes_not_multiple_of_4"},
      {"float64", "wrong_dimension"},
      {"nan", "not_finite"},
      {"inf", "not_finite"},
      {"bad_utf8", "invalid_utf8"},
      {"empty_hash_like", "no_fields_of_the_layout"}};
  for (const SampleHash& sample : read_samples()) {
    const auto found = expected.find(sample.kind);
    EXPECT_EQ(reason(map_record(sample.key, sample.fields, llama_index_mapping())),
              found == expected.end() ? "" : found->second)
        << sample.layout << ' ' << sample.kind;
  }
}

TEST(RedisRecordTest, RejectionsSayWhatWasFound) {
  for (const SampleHash& sample : read_samples()) {
    const Mapped mapped = map_record(sample.key, sample.fields, llama_index_mapping());
    const auto* rejection = std::get_if<Rejection>(&mapped);
    if (rejection == nullptr) continue;
    if (sample.kind == "float64") {
      EXPECT_EQ(rejection->found, "64 bytes, 8 float64?");
    }
    if (sample.kind == "odd_bytes") {
      EXPECT_EQ(rejection->found, "31 bytes");
    }
    if (sample.kind == "wrong_dim") {
      EXPECT_EQ(rejection->found, "16 bytes, 4 components");
    }
    if (sample.kind == "nan") {
      EXPECT_EQ(rejection->found, "NaN at component 2");
    }
    if (sample.kind == "inf") {
      EXPECT_EQ(rejection->found, "infinity at component 2");
    }
    if (sample.kind == "bad_utf8") {
      EXPECT_EQ(rejection->found.substr(0, 11), "byte 3 of 2");
    }
    if (sample.kind == "empty_hash_like") {
      EXPECT_EQ(rejection->found, "fields foo");
    }
  }
}

TEST(RedisRecordTest, TextComesFromTheFieldElseFromTheNode) {
  const std::map<std::string, TextSource> expected = {{"empty_text", TextSource::empty},
                                                      {"missing_text", TextSource::missing},
                                                      {"text_in_node", TextSource::node_text}};
  for (const SampleHash& sample : read_samples()) {
    const Mapped mapped = map_record(sample.key, sample.fields, llama_index_mapping());
    const auto* record = std::get_if<MappedRecord>(&mapped);
    if (record == nullptr) continue;
    const auto found = expected.find(sample.kind);
    const TextSource source = found == expected.end() ? TextSource::field : found->second;
    EXPECT_EQ(record->text, source) << sample.kind;
    if (source == TextSource::field) {
      EXPECT_EQ(record->record.document, *find_field(sample.fields, "text"));
    }
    if (source == TextSource::node_text) {
      EXPECT_NE(record->record.document->find("text_in_node"), std::string::npos);
    }
    if (source == TextSource::empty) {
      EXPECT_EQ(record->record.document, "");
    }
    if (source == TextSource::missing) {
      EXPECT_FALSE(record->record.document);
    }
  }
}

TEST(RedisRecordTest, TextIsFoundInATextResource) {
  RedisFields fields = make_node("a", "", {1, 2}, 1);
  set_field(fields, "_node_content",
            R"({"id_":"a","metadata":{"number":1},"text_resource":{"text":"hidden"}})");
  const Mapped mapped = map_record("doc:a", fields, llama_index_mapping(2));
  EXPECT_EQ(good(mapped).text, TextSource::node_text_resource);
  EXPECT_EQ(good(mapped).record.document, "hidden");
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
}

TEST(RedisRecordTest, OnlyTheNodesOwnMembersCount) {
  RedisFields fields = make_node("a", "t", {1, 2}, 1);
  set_field(fields, "_node_content",
            R"({"relationships":{"1":{"id_":"b","metadata":{"text":"c","deep":[{"id_":"d"}]}}},)"
            R"("list":[1,["x",{"metadata":2}],3],"metadata":{"id_":"e","list":[[1,2],{"k":"v"}]},)"
            R"("id_":"first","text":"","id_":"a","scalar":1.5})");
  const Mapped mapped = map_record("doc:a", fields, llama_index_mapping(2));
  EXPECT_FALSE(good(mapped).metadata_from_fields);
  EXPECT_EQ(good(mapped).record.id, "a");
  const Metadata& metadata = *good(mapped).record.metadata;
  EXPECT_EQ(metadata.at("id_"), Value(std::string("e")));
  EXPECT_EQ(metadata.at("list"), Value(std::string(R"([[1,2],{"k":"v"}])")));
  EXPECT_FALSE(metadata.contains("deep"));
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
  // What is wrong in a member that is not looked at still makes the whole no JSON.
  for (const char* broken : {R"({"id_":"a","metadata":{},"relationships":{"1":tru}})",
                             R"({"id_":"a","metadata":{},"relationships":[}})",
                             R"({"id_":"a","metadata":{}} x)", R"(["id_"])", "1"}) {
    set_field(fields, "_node_content", broken);
    EXPECT_TRUE(good(map_record("doc:a", fields, llama_index_mapping(2))).metadata_from_fields)
        << broken;
  }
}

TEST(RedisRecordTest, MetadataIsTypedAndHoldsWhatLlamaIndexRebuildsNodesFrom) {
  const SampleHash sample = read_samples().front();
  const Mapped mapped = map_record(sample.key, sample.fields, llama_index_mapping());
  const Metadata& metadata = *good(mapped).record.metadata;
  EXPECT_EQ(good(mapped).record.id, "with:colon/ümlaut id");
  EXPECT_EQ(metadata.at("page"), Value(std::int64_t{7}));
  EXPECT_EQ(metadata.at("score"), Value(0.25));
  EXPECT_EQ(metadata.at("whole"), Value(3.0));
  EXPECT_EQ(metadata.at("flag"), Value(true));
  EXPECT_EQ(metadata.at("name"), Value(std::string("Ünï")));
  EXPECT_EQ(metadata.at("_node_content"), Value(*find_field(sample.fields, "_node_content")));
  EXPECT_EQ(metadata.at("_node_type"), Value(std::string("TextNode")));
  for (const char* name : {"document_id", "doc_id", "ref_doc_id"}) {
    EXPECT_EQ(metadata.at(name), Value(std::string("doc-1"))) << name;
  }
  EXPECT_FALSE(metadata.contains("text"));
  EXPECT_FALSE(metadata.contains("vector"));
  // Nothing but what does not follow from the record is kept beside: an integer beyond int64.
  const auto origin = nlohmann::json::parse(*good(mapped).record.origin);
  EXPECT_EQ(origin.at("fields").dump(), R"([["huge","18446744073709551615"]])");
  EXPECT_FALSE(origin.contains("absent"));
}

TEST(RedisRecordTest, MetadataComesFromTheFieldsWhenTheJsonIsUnusable) {
  for (const SampleHash& sample : read_samples()) {
    if (sample.kind != "bad_json" && sample.kind != "no_node_content") continue;
    const Mapped mapped = map_record(sample.key, sample.fields, llama_index_mapping());
    EXPECT_TRUE(good(mapped).metadata_from_fields);
    EXPECT_EQ(good(mapped).record.metadata->at("source"), Value(std::string("bad")));
    EXPECT_EQ(good(mapped).record.id, *find_field(sample.fields, "id"));
    EXPECT_EQ(good(mapped).record.metadata->contains("_node_content"), sample.kind == "bad_json");
  }
}

TEST(RedisRecordTest, ValuesAMetadataCannotHoldAreKeptAsTheirJson) {
  RedisFields fields = make_node("a", "t", {1, 2}, 1);
  set_field(fields, "_node_content",
            R"({"id_":"a","metadata":{"none":null,"tags":["x","y"],"mixed":[1,"a"],"empty":[],)"
            R"("object":{"k":1},"":1,"$bad":2,"floats":[0.5]}})");
  const Mapped mapped = map_record("doc:a", fields, llama_index_mapping(2));
  const Metadata& metadata = *good(mapped).record.metadata;
  EXPECT_FALSE(metadata.contains("none"));
  EXPECT_FALSE(metadata.contains("empty"));
  EXPECT_FALSE(metadata.contains(""));
  EXPECT_FALSE(metadata.contains("$bad"));
  EXPECT_EQ(metadata.at("tags"), Value(std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(metadata.at("floats"), Value(std::vector<double>{0.5}));
  EXPECT_EQ(metadata.at("mixed"), Value(std::string(R"([1,"a"])")));
  EXPECT_EQ(metadata.at("object"), Value(std::string(R"({"k":1})")));
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
}

TEST(RedisRecordTest, TheNodeKnowsItsIdBetterThanFieldAndKey) {
  RedisFields fields = make_node("true-id", "t", {1, 2}, 1);
  set_field(fields, "id", "overwritten by a metadata entry");
  Mapped mapped = map_record("doc:overwritten", fields, llama_index_mapping(2));
  EXPECT_EQ(good(mapped).record.id, "true-id");
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);

  drop_field(fields, "_node_content");
  mapped = map_record("doc:overwritten", fields, llama_index_mapping(2));
  EXPECT_EQ(good(mapped).record.id, "overwritten by a metadata entry");
  drop_field(fields, "id");
  mapped = map_record("doc:tail", fields, llama_index_mapping(2));
  EXPECT_EQ(good(mapped).record.id, "tail");
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
}

TEST(RedisRecordTest, BytesThatAreNotUtf8SurviveBesideTheRecord) {
  RedisFields fields = make_node("a", "t", {1, 2}, 1);
  set_field(fields, "raw\xff", std::string("\x00\xfe", 2));
  set_field(fields, "_node_type", "\xff");
  const std::string key =
      "doc:\xff"
      "a";
  const Mapped mapped = map_record(key, fields, llama_index_mapping(2));
  const RedisOriginal original = rebuild_hash(through_store(good(mapped).record));
  EXPECT_EQ(original.key, key);
  EXPECT_EQ(original.fields, fields);
}

TEST(RedisRecordTest, HugeTextsAndDeepJsonAreTaken) {
  RedisFields fields = make_node("a", std::string(5 << 20, 'x'), {1, 2}, 1);
  EXPECT_EQ(good(map_record("doc:a", fields, llama_index_mapping(2))).record.document->size(),
            std::size_t{5} << 20);
  set_field(fields, "_node_content", R"({"metadata":{"a":)" + std::string(100000, '['));
  EXPECT_TRUE(good(map_record("doc:a", fields, llama_index_mapping(2))).metadata_from_fields);
}

TEST(RedisRecordTest, VectorsKeepTheirBits) {
  const std::vector<float> vector = {-0.0F, std::numeric_limits<float>::denorm_min(), 1e38F};
  const RedisFields fields = make_node("a", "t", vector, 1);
  const Mapped mapped = map_record("doc:a", fields, llama_index_mapping(3));
  EXPECT_EQ(std::memcmp(good(mapped).record.embedding->data(), vector.data(), 12), 0);
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
}

TEST(RedisRecordTest, OtherVectorTypesBecomeFloat32AndAreStillRebuilt) {
  RedisMapping mapping = llama_index_mapping(2);
  const auto check = [&](const std::string& bytes, std::vector<float> expected) {
    RedisFields fields = make_node("a", "t", {}, 1);
    set_field(fields, "vector", bytes);
    const Mapped mapped = map_record("doc:a", fields, mapping);
    EXPECT_EQ(*good(mapped).record.embedding, expected);
    EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
  };
  mapping.type = VectorType::float64;
  const double wide[] = {0.1, -2.5};
  check(std::string(reinterpret_cast<const char*>(wide), sizeof wide), {0.1F, -2.5F});
  mapping.type = VectorType::float16;
  check(std::string("\x00\x3c\x01\x80", 4), {1.0F, -std::ldexp(1.0F, -24)});
  mapping.type = VectorType::bfloat16;
  check(std::string("\x80\x3f\x00\xc0", 4), {1.0F, -2.0F});
}

TEST(RedisRecordTest, FlatLayoutsTakeTheirFieldsAsMetadata) {
  RedisMapping mapping;
  mapping.layout = Layout::langchain_community;
  mapping.vector_field = "content_vector";
  mapping.text_field = "content";
  mapping.metadata_field = "metadata";
  mapping.numeric_fields = {"page", "score", "odd"};
  mapping.dim = 2;
  mapping.key_prefix = "doc:idx:";
  const RedisFields fields = {{"content", "text"}, {"content_vector", std::string(8, '\0')},
                              {"odd", "007"},      {"page", "12"},
                              {"score", "1.5"},    {"source", "12"}};
  const Mapped mapped = map_record("doc:idx:77ab", fields, mapping);
  EXPECT_EQ(good(mapped).record.id, "77ab");
  EXPECT_EQ(good(mapped).record.document, "text");
  const Metadata& metadata = *good(mapped).record.metadata;
  EXPECT_EQ(metadata.at("page"), Value(std::int64_t{12}));
  EXPECT_EQ(metadata.at("score"), Value(1.5));
  EXPECT_EQ(metadata.at("source"), Value(std::string("12")));
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
}

TEST(RedisRecordTest, JsonDocumentsAreTakenAndRebuilt) {
  RedisMapping mapping;
  mapping.json = true;
  mapping.vector_field = "meta.emb";
  mapping.text_field = "text";
  mapping.dim = 4;
  mapping.key_prefix = "jj:";
  // As RedisJSON 2.8 prints these numbers.
  const std::string vector =
      "[0.10000000149011612,-0.0,9.999999974752427e-7,0.000019999999494757503]";
  const RedisFields fields = {{"$", R"([{"text":"Größe","meta":{"emb":)" + vector +
                                        R"(},"page":3,"ok":true,"list":["a"]}])"}};
  const Mapped mapped = map_record("jj:1", fields, mapping);
  EXPECT_EQ(good(mapped).record.id, "1");
  EXPECT_EQ(good(mapped).record.document, "Größe");
  EXPECT_EQ((*good(mapped).record.embedding)[0], 0.1F);
  EXPECT_EQ(good(mapped).record.metadata->at("page"), Value(std::int64_t{3}));
  EXPECT_EQ(good(mapped).record.metadata->at("ok"), Value(true));
  EXPECT_EQ(rebuild_hash(through_store(good(mapped).record)).fields, fields);
  // The vector itself is not stored a second time.
  EXPECT_EQ(good(mapped).record.origin->find("0.1000"), std::string::npos);

  // Numbers that are no float32 are kept as they are written.
  const RedisFields rounded = {{"$", R"([{"text":"t","meta":{"emb":[0.1,0.2,0.3,0.4]}}])"}};
  const Mapped other = map_record("jj:2", rounded, mapping);
  EXPECT_EQ(rebuild_hash(through_store(good(other).record)).fields, rounded);

  EXPECT_EQ(reason(map_record("jj:3", {{"$", R"([{"text":"t"}])"}}, mapping)), "missing_vector");
  EXPECT_EQ(reason(map_record("jj:4", {{"$", "[7]"}}, mapping)), "no_fields_of_the_layout");
  EXPECT_EQ(reason(map_record("jj:5", {{"$", R"([{"meta":{"emb":[1,2]}}])"}}, mapping)),
            "wrong_dimension");
  EXPECT_EQ(reason(map_record("jj:6", {{"$", R"([{"meta":{"emb":[1,2,"a",4]}}])"}}, mapping)),
            "not_finite");
}

TEST(RedisRecordTest, FloatsPrintAsPythonPrintsThem) {
  const std::map<double, std::string> expected = {{0.0, "0.0"},
                                                  {3.0, "3.0"},
                                                  {0.25, "0.25"},
                                                  {1e-7, "1e-07"},
                                                  {1.5e-5, "1.5e-05"},
                                                  {1e-4, "0.0001"},
                                                  {1e15, "1000000000000000.0"},
                                                  {1e16, "1e+16"},
                                                  {-12.5, "-12.5"},
                                                  {1.2345678901234568e17, "1.2345678901234568e+17"},
                                                  {1e100, "1e+100"},
                                                  {0.1, "0.1"}};
  for (const auto& [value, text] : expected) EXPECT_EQ(python_float(value), text);
  EXPECT_EQ(python_float(-0.0), "-0.0");
}

TEST(RedisRecordTest, ARecordWithoutOurOriginIsRefused) {
  Record record{.id = "a"};
  EXPECT_THROW(rebuild_hash(record), Error);
  record.origin = "{\"key\":1,\"hash\":2}";
  EXPECT_THROW(rebuild_hash(record), Error);
}

TEST(RedisRecordTest, TheHashTellsFieldsFromEachOther) {
  const RedisFields fields = {{"a", "bc"}, {"d", ""}};
  EXPECT_NE(hash_of(fields), hash_of({{"ab", "c"}, {"d", ""}}));
  EXPECT_NE(hash_of(fields), hash_of({{"a", "bc"}}));
  EXPECT_EQ(hash_of(fields), hash_of({{"a", "bc"}, {"d", ""}}));
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_json.h"

#include "server/api_error.h"
#include "server/json_body.h"
#include "server/json_text.h"
#include "server/json_values.h"

namespace vkb {
namespace {

// These fields, and those that say which records are meant.
std::vector<JsonField> with_selection(RecordSelection& selection, std::vector<JsonField> fields) {
  fields.push_back({"ids", [&](JsonValue& value, const JsonPath& path) {
                      selection.ids = read_column<std::string>(value, path, read_text);
                    }});
  fields.push_back({"where", [&](JsonValue& value, const JsonPath&) {
                      selection.where_json = read_json(value);
                    }});
  fields.push_back({"where_document", [&](JsonValue& value, const JsonPath&) {
                      selection.where_document_json = read_json(value);
                    }});
  return fields;
}

std::vector<std::string> read_include(JsonValue& value, const JsonPath& path, Include& include,
                                      bool& distances) {
  include = {.documents = false, .metadatas = false};
  distances = false;
  std::vector<std::string> names;
  each_element(value, path, [&](JsonValue& element, const JsonPath& at) {
    if (element.type() != JsonType::string) {
      throw ApiError(400, "Failed to parse the request body as JSON: " + at + ": expected value");
    }
    std::string name = read_text(element, at);
    if (!add_to_include(name, include, distances)) {
      refuse_shape(at, "unknown variant `" + name +
                           "`, expected one of `distances`, `documents`, `embeddings`, "
                           "`metadatas`, `uris`");
    }
    names.push_back(std::move(name));
  });
  return names;
}

using Embeddings = std::vector<std::optional<std::vector<float>>>;

// Vectors of one batch are all numbers or all base64.
std::optional<Embeddings> read_embeddings(JsonValue& value, const JsonPath& path, WriteKind kind) {
  const bool update = kind == WriteKind::update;
  if (!update && is_null(value)) refuse_type(path, JsonType::null, "a sequence");
  std::optional<JsonType> form;
  const auto read = [&](JsonValue& element, const JsonPath& at) {
    std::optional<std::vector<float>> embedding;
    if (update && is_null(element)) return embedding;
    const JsonType type = element.type();
    if (form.value_or(type) != type) {
      refuse_shape(at, "data did not match any variant of untagged enum " +
                           std::string(update ? "UpdateEmbeddingsPayload" : "EmbeddingsPayload") +
                           ": all of a batch are arrays of numbers, or all are base64");
    }
    form = type;
    embedding = read_embedding(element, at);
    return embedding;
  };
  return read_column<std::optional<std::vector<float>>>(value, path, read);
}

using Metadatas = std::vector<std::optional<Metadata>>;

std::optional<Metadatas> read_metadatas(JsonValue& value, const JsonPath& path, WriteKind kind) {
  std::size_t index = 0;
  const auto read = [&](JsonValue& element, const JsonPath& at) {
    std::optional<Metadata> metadata;
    if (!is_null(element)) metadata = read_metadata(element, at, kind != WriteKind::add, index);
    ++index;
    return metadata;
  };
  return read_column<std::optional<Metadata>>(value, path, read);
}

void append_names(std::string& out, const std::vector<std::string>& names) {
  out += ",\"include\":[";
  for (std::size_t i = 0; i < names.size(); ++i) out += (i > 0 ? ",\"" : "\"") + names[i] + "\"";
  out += "]}";
}

}  // namespace

CreateCollection parse_create_collection(std::string_view body) {
  CreateCollection request;
  bool named = false;
  read_fields(body,
              {{"name",
                [&](JsonValue& value, const JsonPath& path) {
                  request.name = read_text(value, path);
                  named = true;
                }},
               {"metadata",
                [&](JsonValue& value, const JsonPath& path) {
                  if (!is_null(value)) request.metadata = read_metadata(value, path, false);
                }},
               {"configuration",
                [&](JsonValue& value, auto&) { request.configuration_json = read_json(value); }},
               {"schema", [&](JsonValue& value, auto&) { request.schema_json = read_json(value); }},
               {"get_or_create", [&](JsonValue& value, const JsonPath& path) {
                  request.get_or_create = read_boolean(value, path);
                }}});
  if (!named) refuse_missing("name");
  return request;
}

ModifyCollection parse_modify_collection(std::string_view body) {
  ModifyCollection request;
  read_fields(
      body,
      {{"new_name", [&](JsonValue& value,
                        const JsonPath& path) { request.name = read_optional_text(value, path); }},
       {"new_metadata",
        [&](JsonValue& value, const JsonPath& path) {
          if (!is_null(value)) request.metadata = read_metadata(value, path, true);
        }},
       {"new_configuration",
        [&](JsonValue& value, auto&) { request.configuration_json = read_json(value); }}});
  return request;
}

RecordBatch parse_record_batch(std::string_view body, WriteKind kind) {
  RecordBatch batch;
  bool has_ids = false;
  const auto texts = [](std::optional<std::vector<std::optional<std::string>>>& column) {
    return [&column](JsonValue& value, const JsonPath& path) {
      column = read_column<std::optional<std::string>>(value, path, read_optional_text);
    };
  };
  read_fields(body, {{"ids",
                      [&](JsonValue& value, const JsonPath& path) {
                        if (is_null(value)) refuse_type(path, JsonType::null, "a sequence");
                        batch.ids = *read_column<std::string>(value, path, read_text);
                        has_ids = true;
                      }},
                     {"embeddings",
                      [&](JsonValue& value, const JsonPath& path) {
                        batch.embeddings = read_embeddings(value, path, kind);
                      }},
                     {"documents", texts(batch.documents)},
                     {"uris", texts(batch.uris)},
                     {"metadatas", [&](JsonValue& value, const JsonPath& path) {
                        batch.metadatas = read_metadatas(value, path, kind);
                      }}});
  if (!has_ids) refuse_missing("ids");
  if (kind != WriteKind::update && !batch.embeddings) refuse_missing("embeddings");
  return batch;
}

GetRequest parse_get(std::string_view body) {
  GetRequest request;
  bool distances = false;
  read_fields(body, with_selection(request.selection,
                                   {{"limit",
                                     [&](JsonValue& value, const JsonPath& path) {
                                       request.limit = read_optional_u32(value, path);
                                     }},
                                    {"offset",
                                     [&](JsonValue& value, const JsonPath& path) {
                                       request.offset = read_optional_u32(value, path).value_or(0);
                                     }},
                                    {"include", [&](JsonValue& value, const JsonPath& path) {
                                       request.include_names =
                                           read_include(value, path, request.include, distances);
                                     }}}));
  return request;
}

QueryRequest parse_query(std::string_view body) {
  QueryRequest request;
  bool has_queries = false;
  const auto add_query = [&](JsonValue& element, const JsonPath& path) {
    const JsonType type = element.type();
    if (type != JsonType::array) refuse_type(path, type, "a sequence");
    request.queries.push_back(read_numbers(element, path));
  };
  read_fields(body, with_selection(request.selection,
                                   {{"query_embeddings",
                                     [&](JsonValue& value, const JsonPath& path) {
                                       each_element(value, path, add_query);
                                       has_queries = true;
                                     }},
                                    {"n_results",
                                     [&](JsonValue& value, const JsonPath& path) {
                                       request.n_results =
                                           read_optional_u32(value, path).value_or(10);
                                     }},
                                    {"include", [&](JsonValue& value, const JsonPath& path) {
                                       request.include_names = read_include(
                                           value, path, request.include, request.distances);
                                     }}}));
  if (!has_queries) refuse_missing("query_embeddings");
  return request;
}

DeleteRequest parse_delete(std::string_view body) {
  DeleteRequest request;
  read_fields(body, with_selection(request.selection,
                                   {{"limit", [&](JsonValue& value, const JsonPath& path) {
                                       request.limit = read_optional_u32(value, path);
                                     }}}));
  return request;
}

std::string parse_text_field(std::string_view body, std::string_view field) {
  std::optional<std::string> found;
  read_fields(
      body,
      {{field, [&](JsonValue& value, const JsonPath& path) { found = read_text(value, path); }}});
  if (!found) refuse_missing(field);
  return *std::move(found);
}

std::string to_json(const CollectionModel& collection) {
  std::string out = "{\"id\":" + json_string(collection.id) +
                    ",\"name\":" + json_string(collection.name) +
                    ",\"configuration_json\":" + collection.configuration_json +
                    ",\"schema\":" + collection.schema_json + ",\"metadata\":";
  append_json_or_null(out, collection.metadata);
  out += ",\"dimension\":" +
         (collection.dimension ? std::to_string(*collection.dimension) : std::string("null"));
  out += ",\"tenant\":" + json_string(collection.tenant) +
         ",\"database\":" + json_string(collection.database) + ",\"log_position\":0,\"version\":0}";
  return out;
}

std::string to_json(const DatabaseModel& database) {
  return "{\"id\":" + json_string(database.id) + ",\"name\":" + json_string(database.name) +
         ",\"tenant\":" + json_string(database.tenant) + "}";
}

std::string get_response(const std::vector<Record>& records, const GetRequest& request) {
  std::vector<const Record*> rows;
  rows.reserve(records.size());
  for (const Record& record : records) rows.push_back(&record);
  std::string out = "{";
  write_columns([&](std::string_view part) { out += part; }, {rows}, false, request.include);
  append_names(out, request.include_names);
  return out;
}

std::string query_response(const std::vector<std::vector<Hit>>& answers,
                           const QueryRequest& request) {
  std::vector<std::vector<const Record*>> groups;
  for (const std::vector<Hit>& hits : answers) {
    std::vector<const Record*>& group = groups.emplace_back();
    for (const Hit& hit : hits) group.push_back(&hit.record);
  }
  std::string out = "{";
  const auto write = [&out](std::string_view part) { out += part; };
  write_columns(write, groups, true, request.include);
  request.distances ? write_distances(write, answers) : write(",\"distances\":null");
  append_names(out, request.include_names);
  return out;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The JSON bodies of Chroma's API. The parse_ functions throw ApiError: 400 for text that is not
// JSON, 422 for JSON of another shape, naming the place, and for a field that comes twice. Unknown
// fields are ignored, as in Chroma.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/chroma_service.h"

namespace vkb {

// Which column a request may leave out.
enum class WriteKind { add, update, upsert };

struct GetRequest {
  RecordSelection selection;
  std::optional<std::uint32_t> limit{};
  std::uint32_t offset = 0;
  Include include{};
  std::vector<std::string> include_names{"documents", "metadatas"};  // as requested
};

struct QueryRequest {
  RecordSelection selection;
  std::vector<std::vector<float>> queries;  // each of any length
  std::uint32_t n_results = 10;
  Include include{};
  bool distances = true;
  std::vector<std::string> include_names{"documents", "metadatas", "distances"};
};

struct DeleteRequest {
  RecordSelection selection;
  std::optional<std::uint32_t> limit{};
};

CreateCollection parse_create_collection(std::string_view body);
ModifyCollection parse_modify_collection(std::string_view body);
RecordBatch parse_record_batch(std::string_view body, WriteKind kind);
GetRequest parse_get(std::string_view body);
QueryRequest parse_query(std::string_view body);
DeleteRequest parse_delete(std::string_view body);
// The text in the one field that matters.
std::string parse_text_field(std::string_view body, std::string_view field);

std::string to_json(const CollectionModel& collection);
std::string to_json(const DatabaseModel& database);
std::string get_response(const std::vector<Record>& records, const GetRequest& request);
std::string query_response(const std::vector<std::vector<Hit>>& answers,
                           const QueryRequest& request);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Bodies of Chroma's API. The first byte chooses the kind of body, the rest is the body.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "server/api_error.h"
#include "server/base64_embedding.h"
#include "server/chroma_json.h"
#include "server/chroma_records.h"
#include "server/chroma_schema.h"

namespace {

void parse(std::uint8_t kind, std::string_view body) {
  using namespace vkb;
  switch (kind % 8) {
    case 0: {
      const CreateCollection request = parse_create_collection(body);
      const NewSchema schema =
          make_schema(request.configuration_json, request.schema_json, request.metadata);
      if (shown_configuration(schema.json).empty()) std::abort();
      break;
    }
    case 1: {
      const ModifyCollection request = parse_modify_collection(body);
      if (request.configuration_json) {
        change_schema(schema_of(CollectionOptions{}), *request.configuration_json);
      }
      break;
    }
    case 2:
      for (const Record& record : records_of(parse_record_batch(body, WriteKind::add), true)) {
        if (!record.embedding) std::abort();
      }
      break;
    case 3:
      records_of(parse_record_batch(body, WriteKind::update), false);
      break;
    case 4:
      parse_get(body);
      break;
    case 5:
      parse_query(body);
      break;
    case 6:
      parse_delete(body);
      break;
    default:
      decode_embedding(body);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
    parse(data[0], body);
    // What is taken is JSON, to another parser too.
    if (data[0] % 8 != 7 && !nlohmann::json::accept(body)) std::abort();
  } catch (const vkb::ApiError& error) {
    if (error.status() < 400 || error.status() > 501) std::abort();
  } catch (const vkb::Error&) {
  }
  return 0;
}

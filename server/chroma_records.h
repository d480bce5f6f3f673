// SPDX-License-Identifier: Apache-2.0
//
// Between Chroma's records and the engine's.
#pragma once

#include <string>
#include <vector>

#include "server/chroma_service.h"

namespace vkb {

// The records of a batch. Throws ApiError 400 when columns differ in length, an id is empty, or an
// embedding is missing (if needed), empty, of another length than the first, or not finite.
std::vector<Record> records_of(RecordBatch&& batch, bool needs_embeddings);

// Chroma keeps document and uri among the metadata, under "chroma:" keys that its answers leave
// out. A record that has such a key and nothing else shows {} instead of null. To tell, more must
// be read than is shown: these columns.
Include with_hidden_columns(Include include);
// Makes a record read with them look as asked.
void show_as_chroma(Record& record, const Include& include);

// Copies a collection with all records, on one state of the store. Throws already_exists.
Collection copy_collection(Store& store, const Collection& from, const std::string& name,
                           const std::string& database, const std::string& tenant);

}  // namespace vkb

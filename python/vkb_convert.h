// SPDX-License-Identifier: Apache-2.0
//
// Between Python's objects and vkb's values. All of it needs the GIL, and throws nb::python_error,
// nb::type_error or nb::value_error for what has no counterpart.
#pragma once

#include <nanobind/nanobind.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/vkb.h"
#include "server/chroma_service.h"

namespace vkb {

// A str; `what` names the argument in the message of the TypeError.
std::string to_text(nanobind::handle object, const char* what);
std::optional<std::string> to_optional_text(nanobind::handle object, const char* what);
// A list of str, or None.
std::optional<std::vector<std::string>> to_optional_texts(nanobind::handle list, const char* what);

// A dict of str to None, bool, int, float, str, or lists of one of the last four. ApiError 400 for
// NaN and infinity. An int beyond 64 bits becomes a float, as in JSON.
Metadata to_metadata(nanobind::handle dict);
std::optional<Metadata> to_optional_metadata(nanobind::handle dict);

// Rows of a 2-D array, or a list of 1-D arrays and None, of float32, float64, int32 or int64 in any
// memory layout; read from the arrays' buffers.
std::vector<std::optional<std::vector<float>>> to_embeddings(nanobind::handle arrays);
// The same without None.
std::vector<std::vector<float>> to_queries(nanobind::handle arrays);

RecordBatch to_batch(nanobind::handle ids, nanobind::handle embeddings, nanobind::handle documents,
                     nanobind::handle uris, nanobind::handle metadatas);

// Names of columns. "distances" and "data" are none of the engine's.
Include to_include(nanobind::handle names);

// {"ids": […], "documents": […] | None, "metadatas": …, "uris": …, "embeddings": array | None}
nanobind::dict from_records(const std::vector<Record>& records, const Include& include);
// The same with one list a query, and "distances".
nanobind::dict from_hits(const std::vector<std::vector<Hit>>& answers, const Include& include);

nanobind::dict from_model(const CollectionModel& model);

}  // namespace vkb

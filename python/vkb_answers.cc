// SPDX-License-Identifier: Apache-2.0
//
// The second half of vkb_convert.h: answers of the engine as Python objects.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "python/vkb_convert.h"

namespace nb = nanobind;

namespace vkb {
namespace {

nb::object from_text(const std::string& text) {
  nb::object result =
      nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  if (!result.is_valid()) throw nb::python_error();
  return result;
}

nb::object from_text(const std::optional<std::string>& text) {
  return text ? from_text(*text) : nb::none();
}

struct FromValue {
  nb::object operator()(std::monostate) const { return nb::none(); }
  nb::object operator()(bool value) const { return nb::bool_(value); }
  nb::object operator()(std::int64_t value) const { return nb::int_(value); }
  nb::object operator()(double value) const { return nb::float_(value); }
  nb::object operator()(const std::string& value) const { return from_text(value); }
  template <typename T>
  nb::object operator()(const std::vector<T>& values) const {
    nb::list result;
    for (const auto& value : values) result.append((*this)(value));
    return result;
  }
};

nb::object from_metadata(const std::optional<Metadata>& metadata) {
  if (!metadata) return nb::none();
  nb::dict result;
  for (const auto& [key, value] : *metadata) {
    result[from_text(key)] = std::visit(FromValue(), value);
  }
  return result;
}

// A new numpy array of float32 with one row a record.
template <typename Rows, typename ToEmbedding>
nb::object from_embeddings(const Rows& rows, ToEmbedding&& embedding_of) {
  std::size_t dim = 0;
  for (const auto& row : rows) {
    if (embedding_of(row)) dim = std::max(dim, embedding_of(row)->size());
  }
  const nb::module_ numpy = nb::module_::import_("numpy");
  // Chroma's answer without records is an array of shape (0,).
  nb::object shape = nb::make_tuple(0);
  if (!std::empty(rows)) shape = nb::make_tuple(std::size(rows), dim);
  const nb::object array = numpy.attr("zeros")(shape, numpy.attr("float32"));
  if (std::empty(rows) || dim == 0) return array;
  Py_buffer view;
  if (PyObject_GetBuffer(array.ptr(), &view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS) != 0) {
    throw nb::python_error();
  }
  auto* to = static_cast<float*>(view.buf);
  for (const auto& row : rows) {
    if (const auto& embedding = embedding_of(row)) {
      std::memcpy(to, embedding->data(), embedding->size() * sizeof(float));
    }
    to += dim;
  }
  PyBuffer_Release(&view);
  return array;
}

template <typename Rows, typename ToObject>
nb::object from_column(bool included, const Rows& rows, ToObject&& to_object) {
  if (!included) return nb::none();
  nb::list result;
  for (const auto& row : rows) result.append(to_object(row));
  return result;
}

template <typename Rows, typename ToRecord>
nb::dict from_rows(const Rows& rows, const Include& include, ToRecord&& record_of) {
  nb::dict result;
  const auto id = [&](const auto& row) { return from_text(record_of(row).id); };
  const auto document = [&](const auto& row) { return from_text(record_of(row).document); };
  const auto uri = [&](const auto& row) { return from_text(record_of(row).uri); };
  const auto metadata = [&](const auto& row) { return from_metadata(record_of(row).metadata); };
  const auto embedding = [&](const auto& row) -> const std::optional<std::vector<float>>& {
    return record_of(row).embedding;
  };
  result["ids"] = from_column(true, rows, id);
  result["documents"] = from_column(include.documents, rows, document);
  result["uris"] = from_column(include.uris, rows, uri);
  result["metadatas"] = from_column(include.metadatas, rows, metadata);
  result["embeddings"] =
      include.embeddings ? from_embeddings(rows, embedding) : nb::object(nb::none());
  return result;
}

}  // namespace

nb::dict from_records(const std::vector<Record>& records, const Include& include) {
  return from_rows(records, include, [](const Record& record) -> const Record& { return record; });
}

nb::dict from_hits(const std::vector<std::vector<Hit>>& answers, const Include& include) {
  nb::dict result;
  nb::list distances;
  for (const char* name : {"ids", "documents", "uris", "metadatas", "embeddings"}) {
    result[name] = nb::list();
  }
  for (const std::vector<Hit>& hits : answers) {
    const nb::dict columns =
        from_rows(hits, include, [](const Hit& hit) -> const Record& { return hit.record; });
    for (const auto& [name, column] : columns) nb::cast<nb::list>(result[name]).append(column);
    distances.append(
        from_column(true, hits, [](const Hit& hit) { return nb::float_(hit.distance); }));
  }
  if (!include.documents) result["documents"] = nb::none();
  if (!include.uris) result["uris"] = nb::none();
  if (!include.metadatas) result["metadatas"] = nb::none();
  if (!include.embeddings) result["embeddings"] = nb::none();
  result["distances"] = distances;
  return result;
}

nb::dict from_model(const CollectionModel& model) {
  nb::dict result;
  result["id"] = from_text(model.id);
  result["name"] = from_text(model.name);
  result["tenant"] = from_text(model.tenant);
  result["database"] = from_text(model.database);
  result["configuration_json"] = from_text(model.configuration_json);
  result["schema_json"] = from_text(model.schema_json);
  result["metadata"] = from_metadata(model.metadata);
  result["dimension"] = model.dimension ? nb::object(nb::int_(*model.dimension)) : nb::none();
  return result;
}

}  // namespace vkb

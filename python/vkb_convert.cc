// SPDX-License-Identifier: Apache-2.0
#include "python/vkb_convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "server/api_error.h"

namespace nb = nanobind;

namespace vkb {
namespace {

std::string class_name(nb::handle object) { return Py_TYPE(object.ptr())->tp_name; }

// The elements of a list or tuple.
class Elements {
 public:
  Elements(nb::handle list, const char* what)
      : sequence_(nb::steal(PySequence_Fast(list.ptr(), what))) {
    if (!sequence_.is_valid()) throw nb::python_error();
  }
  std::size_t size() const {
    return static_cast<std::size_t>(PySequence_Fast_GET_SIZE(sequence_.ptr()));
  }
  // A strong reference: converting an element may run Python code that changes the list.
  nb::object operator[](std::size_t i) const {
    if (i >= size()) throw nb::value_error("a list became shorter while it was read");
    return nb::borrow(PySequence_Fast_GET_ITEM(sequence_.ptr(), static_cast<Py_ssize_t>(i)));
  }

 private:
  nb::object sequence_;
};

// The memory of an array, held for as long as this lives.
class ArrayView {
 public:
  explicit ArrayView(nb::handle array) {
    if (PyObject_GetBuffer(array.ptr(), &view_, PyBUF_FORMAT | PyBUF_STRIDES) != 0) {
      throw nb::python_error();
    }
  }
  ~ArrayView() { PyBuffer_Release(&view_); }
  ArrayView(const ArrayView&) = delete;
  ArrayView& operator=(const ArrayView&) = delete;

  int dimensions() const noexcept { return view_.ndim; }
  std::size_t size(int axis) const { return static_cast<std::size_t>(view_.shape[axis]); }
  std::vector<float> row(std::size_t index) const;
  std::vector<float> vector() const { return read(bytes(), view_.strides[0], size(0)); }

 private:
  const std::byte* bytes() const { return static_cast<const std::byte*>(view_.buf); }
  std::vector<float> read(const std::byte* first, Py_ssize_t stride, std::size_t count) const;
  template <typename T>
  static void copy(const std::byte* from, Py_ssize_t stride, std::span<float> to) {
    for (float& value : to) {
      T element;
      std::memcpy(&element, from, sizeof(T));  // arrays need not be aligned
      value = static_cast<float>(element);
      from += stride;
    }
  }

  Py_buffer view_{};
};

std::vector<float> ArrayView::row(std::size_t index) const {
  const auto offset = static_cast<Py_ssize_t>(index) * view_.strides[0];
  return read(bytes() + offset, view_.strides[1], size(1));
}

std::vector<float> ArrayView::read(const std::byte* first, Py_ssize_t stride,
                                   std::size_t count) const {
  std::string_view format = view_.format == nullptr ? "B" : view_.format;
  // An array that is not aligned says "=f"; another byte order (">f") is refused.
  if (format.size() == 2 && (format[0] == '=' || format[0] == '@')) format.remove_prefix(1);
  std::vector<float> result(count);
  const bool is_integer = format == "i" || format == "l" || format == "q";
  if (format == "f" && stride == static_cast<Py_ssize_t>(sizeof(float))) {
    if (count != 0) std::memcpy(result.data(), first, count * sizeof(float));
  } else if (format == "f") {
    copy<float>(first, stride, result);
  } else if (format == "d") {
    copy<double>(first, stride, result);
  } else if (is_integer && view_.itemsize == sizeof(std::int32_t)) {
    copy<std::int32_t>(first, stride, result);
  } else if (is_integer && view_.itemsize == sizeof(std::int64_t)) {
    copy<std::int64_t>(first, stride, result);
  } else {
    throw nb::value_error(("expected embeddings of float32, float64, int32 or int64, got an array "
                           "of buffer format " +
                           std::string(format))
                              .c_str());
  }
  return result;
}

std::optional<std::vector<float>> to_embedding(nb::handle array) {
  if (array.is_none()) return std::nullopt;
  const ArrayView view(array);
  if (view.dimensions() != 1) {
    throw nb::value_error("expected each embedding to be an array of one dimension");
  }
  return view.vector();
}

Value to_number(nb::handle object) {
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(object.ptr(), &overflow);
  if (overflow != 0) {
    const double approximate = PyLong_AsDouble(object.ptr());
    if (approximate == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      throw nb::value_error("an integer in the metadata is larger than any float");
    }
    return approximate;
  }
  if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  return std::int64_t{value};
}

double to_finite(double value, const std::string& key) {
  if (!std::isfinite(value)) {
    throw ApiError(400,
                   "metadata key '" + key + "': expected a finite number, found NaN or infinity");
  }
  return value;
}

template <typename T>
std::vector<T> to_array(const Elements& elements, const std::string& key) {
  std::vector<T> result;
  result.reserve(elements.size());
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const nb::object element = elements[i];
    if constexpr (std::is_same_v<T, bool>) {
      result.push_back(element.ptr() == Py_True);
    } else if constexpr (std::is_same_v<T, double>) {
      const double value = PyFloat_AsDouble(element.ptr());
      if (value == -1.0 && PyErr_Occurred() != nullptr) throw nb::python_error();
      result.push_back(to_finite(value, key));
    } else {
      result.push_back(to_text(element, key.c_str()));
    }
  }
  return result;
}

// A homogeneous list; ints beside floats, or beyond 64 bits, make the whole an array of floats.
Value to_list(nb::handle list, const std::string& key) {
  const Elements elements(list, key.c_str());
  bool all_bool = true, all_int = true, all_number = true, all_text = true;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const nb::object element = elements[i];
    const bool is_bool = PyBool_Check(element.ptr());
    const bool is_int = PyLong_Check(element.ptr()) && !is_bool;
    all_bool = all_bool && is_bool;
    all_int = all_int && is_int && std::holds_alternative<std::int64_t>(to_number(element));
    all_number = all_number && (is_int || PyFloat_Check(element.ptr()));
    all_text = all_text && PyUnicode_Check(element.ptr());
  }
  if (elements.size() == 0) return std::vector<std::string>{};
  if (all_bool) return to_array<bool>(elements, key);
  if (all_int) {
    std::vector<std::int64_t> result;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      result.push_back(std::get<std::int64_t>(to_number(elements[i])));
    }
    return result;
  }
  if (all_number) return to_array<double>(elements, key);
  if (all_text) return to_array<std::string>(elements, key);
  throw nb::value_error(("expected the list under metadata key '" + key +
                         "' to hold str, int, float or bool, all of one type")
                            .c_str());
}

Value to_value(nb::handle object, const std::string& key) {
  if (object.is_none()) return std::monostate();
  if (PyBool_Check(object.ptr())) return object.ptr() == Py_True;
  if (PyLong_Check(object.ptr())) return to_number(object);
  if (PyFloat_Check(object.ptr())) return to_finite(PyFloat_AS_DOUBLE(object.ptr()), key);
  if (PyUnicode_Check(object.ptr())) return to_text(object, key.c_str());
  if (PyList_Check(object.ptr()) || PyTuple_Check(object.ptr())) return to_list(object, key);
  if (class_name(object).ends_with("SparseVector")) {
    throw ApiError(501, "Unimplemented: Sparse vector is not supported for local chroma: " + key);
  }
  throw nb::type_error(("expected the value under metadata key '" + key +
                        "' to be str, int, float, bool, a list of these or None, got " +
                        class_name(object))
                           .c_str());
}

}  // namespace

std::string to_text(nb::handle object, const char* what) {
  if (!PyUnicode_Check(object.ptr())) {
    throw nb::type_error(
        ("expected " + std::string(what) + " to be str, got " + class_name(object)).c_str());
  }
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (text == nullptr) throw nb::python_error();  // lone surrogates
  return std::string(text, static_cast<std::size_t>(size));
}

std::optional<std::string> to_optional_text(nb::handle object, const char* what) {
  if (object.is_none()) return std::nullopt;
  return to_text(object, what);
}

std::optional<std::vector<std::string>> to_optional_texts(nb::handle list, const char* what) {
  if (list.is_none()) return std::nullopt;
  const Elements elements(list, what);
  std::vector<std::string> result;
  result.reserve(elements.size());
  for (std::size_t i = 0; i < elements.size(); ++i) result.push_back(to_text(elements[i], what));
  return result;
}

Metadata to_metadata(nb::handle dict) {
  if (!PyDict_Check(dict.ptr())) {
    throw nb::type_error(("expected metadata to be a dict, got " + class_name(dict)).c_str());
  }
  Metadata result;
  // Over a copy: converting a value may run Python code that changes the dict.
  for (const auto& [key, value] : nb::steal<nb::dict>(PyDict_Copy(dict.ptr()))) {
    std::string name = to_text(key, "a metadata key");
    Value converted = to_value(value, name);
    result.insert_or_assign(std::move(name), std::move(converted));
  }
  return result;
}

std::optional<Metadata> to_optional_metadata(nb::handle dict) {
  if (dict.is_none()) return std::nullopt;
  return to_metadata(dict);
}

std::vector<std::optional<std::vector<float>>> to_embeddings(nb::handle arrays) {
  std::vector<std::optional<std::vector<float>>> result;
  if (!PyList_Check(arrays.ptr()) && !PyTuple_Check(arrays.ptr())) {
    const ArrayView view(arrays);
    if (view.dimensions() != 2) {
      throw nb::value_error("expected embeddings to be an array of two dimensions");
    }
    result.reserve(view.size(0));
    for (std::size_t i = 0; i < view.size(0); ++i) result.emplace_back(view.row(i));
    return result;
  }
  const Elements elements(arrays, "embeddings");
  result.reserve(elements.size());
  for (std::size_t i = 0; i < elements.size(); ++i) result.push_back(to_embedding(elements[i]));
  return result;
}

std::vector<std::vector<float>> to_queries(nb::handle arrays) {
  std::vector<std::vector<float>> result;
  for (std::optional<std::vector<float>>& embedding : to_embeddings(arrays)) {
    if (!embedding) throw nb::value_error("expected each query embedding to be an array, got None");
    result.push_back(std::move(*embedding));
  }
  return result;
}

RecordBatch to_batch(nb::handle ids, nb::handle embeddings, nb::handle documents, nb::handle uris,
                     nb::handle metadatas) {
  const auto column = [](nb::handle list, const char* what, auto&& convert) {
    std::optional<std::vector<decltype(convert(list))>> result;
    if (list.is_none()) return result;
    const Elements elements(list, what);
    result.emplace();
    result->reserve(elements.size());
    for (std::size_t i = 0; i < elements.size(); ++i) result->push_back(convert(elements[i]));
    return result;
  };
  RecordBatch batch;
  batch.ids = to_optional_texts(ids, "ids").value();
  if (!embeddings.is_none()) batch.embeddings = to_embeddings(embeddings);
  batch.documents = column(documents, "documents",
                           [](nb::handle o) { return to_optional_text(o, "a document"); });
  batch.uris = column(uris, "uris", [](nb::handle o) { return to_optional_text(o, "a uri"); });
  batch.metadatas =
      column(metadatas, "metadatas", [](nb::handle o) { return to_optional_metadata(o); });
  return batch;
}

Include to_include(nb::handle names) {
  Include include{.documents = false, .metadatas = false};
  const Elements elements(names, "include");
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const std::string name = to_text(elements[i], "include");
    include.documents = include.documents || name == "documents";
    include.metadatas = include.metadatas || name == "metadatas";
    include.embeddings = include.embeddings || name == "embeddings";
    include.uris = include.uris || name == "uris";
  }
  return include;
}

}  // namespace vkb

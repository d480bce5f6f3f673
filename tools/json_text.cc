// SPDX-License-Identifier: Apache-2.0
#include "tools/json_text.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

namespace vkb {
namespace {

// Numbers with a fraction are read by strtof, so that they are rounded once and not twice.
using FloatJson = nlohmann::basic_json<std::map, std::vector, std::string, bool, std::int64_t,
                                       std::uint64_t, float>;

template <typename Number>
void append_number(std::string& out, Number value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  if (value == 0 && std::signbit(value)) {
    out += "-0.0";  // "-0" would be read as the integer 0
    return;
  }
  char text[40];
  const std::to_chars_result end = std::to_chars(text, text + sizeof text, value);
  out.append(text, end.ptr);
}

std::vector<float> to_vector(const FloatJson& array) {
  std::vector<float> vector;
  vector.reserve(array.size());
  for (const FloatJson& number : array) {
    if (!number.is_number()) {
      throw Error(ErrorCode::invalid_argument, "a vector holds numbers only, found " +
                                                   std::string(number.type_name()) +
                                                   " at position " + std::to_string(vector.size()));
    }
    vector.push_back(number.get<float>());
  }
  if (vector.empty()) throw Error(ErrorCode::invalid_argument, "a vector is empty");
  return vector;
}

using AppendCell = std::function<void(std::string& out, const Record& record)>;

void write_column(Output& out, const std::vector<std::vector<const Record*>>& groups, bool nested,
                  std::string_view name, bool included, const AppendCell& append_cell) {
  out.write((name == "ids" ? "\"" : ",\"") + std::string(name) + "\":");
  if (!included) {
    out.write("null");
    return;
  }
  if (nested) out.write("[");
  std::string cell;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    out.write(group == 0 ? "[" : ",[");
    for (std::size_t row = 0; row < groups[group].size(); ++row) {
      cell = row == 0 ? "" : ",";
      append_cell(cell, *groups[group][row]);
      out.write(cell);
    }
    out.write("]");
  }
  if (nested) out.write("]");
}

}  // namespace

void append_json(std::string& out, std::string_view text) {
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void append_json(std::string& out, float value) { append_number(out, value); }
void append_json(std::string& out, double value) { append_number(out, value); }

void append_json(std::string& out, std::span<const float> values) {
  out += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_number(out, values[i]);
  }
  out += ']';
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json(out, text);
  return out;
}

std::string json_fixed(double value) {
  if (!std::isfinite(value)) return "null";
  char text[400];  // the largest double has 309 digits before the point
  std::snprintf(text, sizeof text, "%.3f", value);
  return text;
}

std::vector<std::vector<float>> parse_vectors(std::string_view json) {
  FloatJson root;
  try {
    root = FloatJson::parse(json);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::invalid_argument, std::string("not JSON: ") + error.what());
  }
  if (!root.is_array() || root.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "expected an array of numbers, or an array of such arrays");
  }
  std::vector<std::vector<float>> vectors;
  if (!root.front().is_array()) {
    vectors.push_back(to_vector(root));
    return vectors;
  }
  for (const FloatJson& array : root) {
    if (!array.is_array()) {
      throw Error(ErrorCode::invalid_argument, "expected an array of vectors, found " +
                                                   std::string(array.type_name()) + " among them");
    }
    vectors.push_back(to_vector(array));
  }
  return vectors;
}

void write_columns(Output& out, const std::vector<std::vector<const Record*>>& groups, bool nested,
                   const Include& include) {
  const auto optional_text = [](std::optional<std::string> Record::*member) {
    return [member](std::string& cell, const Record& record) {
      const std::optional<std::string>& text = record.*member;
      text ? append_json(cell, std::string_view(*text)) : void(cell += "null");
    };
  };
  write_column(out, groups, nested, "ids", true, [](std::string& text, const Record& record) {
    append_json(text, std::string_view(record.id));
  });
  write_column(out, groups, nested, "embeddings", include.embeddings,
               [](std::string& text, const Record& record) {
                 record.embedding ? append_json(text, std::span<const float>(*record.embedding))
                                  : void(text += "null");
               });
  write_column(out, groups, nested, "documents", include.documents,
               optional_text(&Record::document));
  write_column(out, groups, nested, "uris", include.uris, optional_text(&Record::uri));
  write_column(out, groups, nested, "metadatas", include.metadatas,
               [](std::string& text, const Record& record) {
                 text += record.metadata ? to_json(*record.metadata) : "null";
               });
}

void write_include(Output& out, const Include& include, bool distances) {
  std::string list;
  const auto add = [&list](bool included, const char* name) {
    if (included) list += (list.empty() ? "\"" : ",\"") + std::string(name) + "\"";
  };
  add(include.documents, "documents");
  add(include.metadatas, "metadatas");
  add(distances, "distances");
  add(include.embeddings, "embeddings");
  add(include.uris, "uris");
  out.write(",\"include\":[" + list + "]");
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "server/json_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "server/api_error.h"
#include "storage/json_depth.h"

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
  char text[40];
  const std::to_chars_result end = std::to_chars(text, text + sizeof text, value);
  const std::string_view shortest(text, static_cast<std::size_t>(end.ptr - text));
  out += shortest;
  // Readers take a number without a point or an exponent for an integer.
  if (shortest.find_first_of(".e") == std::string_view::npos) out += ".0";
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

void write_column(const WriteText& write, const std::vector<std::vector<const Record*>>& groups,
                  bool nested, std::string_view name, bool included,
                  const AppendCell& append_cell) {
  write((name == "ids" ? "\"" : ",\"") + std::string(name) + "\":");
  if (!included) {
    write("null");
    return;
  }
  if (nested) write("[");
  std::string cell;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    write(group == 0 ? "[" : ",[");
    for (std::size_t row = 0; row < groups[group].size(); ++row) {
      cell = row == 0 ? "" : ",";
      append_cell(cell, *groups[group][row]);
      write(cell);
    }
    write("]");
  }
  if (nested) write("]");
}

}  // namespace

void refuse_depth() {
  throw ApiError(400,
                 "Failed to parse the request body as JSON: recursion limit exceeded: more than " +
                     std::to_string(kMaxJsonDepth) + " levels");
}

void check_depth(std::string_view json) {
  if (json_depth(json) > kMaxJsonDepth) refuse_depth();
}

void refuse_shape(const std::string& path, const std::string& problem) {
  throw ApiError(422, "Failed to deserialize the JSON body into the target type: " +
                          (path.empty() ? problem : path + ": " + problem));
}

void append_json(std::string& out, std::string_view text) {
  const auto is_plain = [](char c) { return c >= ' ' && c != '"' && c != '\\' && c != '\x7f'; };
  if (std::all_of(text.begin(), text.end(),
                  is_plain)) {  // most texts; bytes over 0x7f are negative
    out += '"';
    out += text;
    out += '"';
    return;
  }
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

void append_json_or_null(std::string& out, const std::optional<std::string>& text) {
  text ? append_json(out, std::string_view(*text)) : void(out += "null");
}
void append_json_or_null(std::string& out, const std::optional<std::vector<float>>& values) {
  values ? append_json(out, std::span<const float>(*values)) : void(out += "null");
}
void append_json_or_null(std::string& out, const std::optional<Metadata>& metadata) {
  out += metadata ? to_json(*metadata) : "null";
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

void write_columns(const WriteText& write, const std::vector<std::vector<const Record*>>& groups,
                   bool nested, const Include& include) {
  write_column(write, groups, nested, "ids", true, [](std::string& text, const Record& record) {
    append_json(text, std::string_view(record.id));
  });
  const auto column = [&](std::string_view name, bool included, auto member) {
    write_column(write, groups, nested, name, included,
                 [member](std::string& text, const Record& record) {
                   append_json_or_null(text, record.*member);
                 });
  };
  column("embeddings", include.embeddings, &Record::embedding);
  column("documents", include.documents, &Record::document);
  column("uris", include.uris, &Record::uri);
  column("metadatas", include.metadatas, &Record::metadata);
}

void write_distances(const WriteText& write, const std::vector<std::vector<Hit>>& answers) {
  std::string text = ",\"distances\":[";
  for (std::size_t query = 0; query < answers.size(); ++query) {
    text += query == 0 ? "[" : ",[";
    for (std::size_t i = 0; i < answers[query].size(); ++i) {
      if (i > 0) text += ',';
      append_json(text, answers[query][i].distance);
    }
    text += ']';
  }
  write(text + "]");
}

bool add_to_include(std::string_view name, Include& include, bool& distances) {
  if (name == "documents") return include.documents = true;
  if (name == "metadatas") return include.metadatas = true;
  if (name == "distances") return distances = true;
  if (name == "embeddings") return include.embeddings = true;
  if (name == "uris") return include.uris = true;
  return false;
}

void write_include(const WriteText& write, const Include& include, bool distances) {
  std::string list;
  const auto add = [&list](bool included, const char* name) {
    if (included) list += (list.empty() ? "\"" : ",\"") + std::string(name) + "\"";
  };
  add(include.documents, "documents");
  add(include.metadatas, "metadatas");
  add(distances, "distances");
  add(include.embeddings, "embeddings");
  add(include.uris, "uris");
  write(",\"include\":[" + list + "]");
}

}  // namespace vkb

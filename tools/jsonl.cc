// SPDX-License-Identifier: Apache-2.0
#include "tools/jsonl.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "server/json_text.h"
#include "tools/terminal.h"

namespace vkb {
namespace {

constexpr std::size_t kLongestLine = std::size_t{256} << 20;
constexpr std::size_t kReadSize = 1 << 18;

// Builds a Record from the parser's events, without a tree: a line may hold thousands of numbers.
// Metadata is written out as JSON again, for parse_metadata to judge.
class RecordHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  Record take() {
    if (!seen_id_) fail("there is no \"id\"");
    if (!metadata_.empty()) record_.metadata = parse_metadata(metadata_);
    return std::move(record_);
  }

  bool null() override {
    if (depth_ > 1) return nested("null", "null");
    if (depth_ == 0) not_an_object();
    if (key_ == "id") fail("\"id\" is null");
    return true;
  }
  bool boolean(bool value) override { return scalar("a boolean", value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override {
    return in_embedding() ? number(static_cast<float>(value))
                          : scalar("a number", std::to_string(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return in_embedding() ? number(static_cast<float>(value))
                          : scalar("a number", std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return in_embedding() ? number(std::strtof(text.c_str(), nullptr)) : scalar("a number", text);
  }
  bool string(string_t& text) override {
    if (depth_ != 1) return scalar("text", depth_ > 1 && !in_embedding() ? json_string(text) : "");
    if (key_ == "id") {
      if (text.empty()) fail("\"id\" is empty");
      record_.id = std::move(text);
      seen_id_ = true;
    } else if (key_ == "document") {
      record_.document = std::move(text);
    } else if (key_ == "uri") {
      record_.uri = std::move(text);
    } else {
      wrong_kind("text");
    }
    return true;
  }
  bool binary(binary_t&) override { return false; }  // JSON text has none

  bool start_object(std::size_t) override {
    if (depth_ == 1 && key_ != "metadata") wrong_kind("an object");
    if (depth_ > 1) nested("an object", "{");
    if (depth_ == 1) metadata_ = "{";
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (--depth_ >= 1) metadata_ += '}';
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0) not_an_object();
    if (depth_ == 1 && key_ != "embedding") wrong_kind("an array");
    if (depth_ == 1) {
      record_.embedding.emplace();
    } else {
      nested("an array", "[");
    }
    ++depth_;
    return true;
  }
  bool end_array() override {
    if (--depth_ > 1) metadata_ += ']';
    if (depth_ == 1 && record_.embedding->empty()) fail("\"embedding\" is empty");
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ > 1) {
      separate();
      metadata_ += json_string(name) + ":";
      return true;
    }
    static constexpr std::string_view kKnown[] = {"id", "embedding", "document", "metadata", "uri"};
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) {
      fail("unknown key \"" + name + "\"; known: id, embedding, document, metadata, uri");
    }
    if (!keys_.insert(name).second) fail("\"" + name + "\" is given twice");
    key_ = name;
    return true;
  }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& error) override {
    fail(std::string("not JSON: ") + error.what());
  }

 private:
  [[noreturn]] static void fail(const std::string& message) {
    throw Error(ErrorCode::invalid_argument, message);
  }
  [[noreturn]] static void not_an_object() {
    fail("expected an object {\"id\": …, \"embedding\": […], …}");
  }
  [[noreturn]] void wrong_kind(const char* found) const {
    const char* expected = key_ == "embedding"  ? "an array of numbers"
                           : key_ == "metadata" ? "an object"
                                                : "text";
    fail("\"" + key_ + "\" must be " + expected + ", found " + found);
  }
  bool in_embedding() const { return depth_ > 1 && key_ == "embedding"; }
  bool number(float value) {
    if (!std::isfinite(value)) {
      fail("number " + std::to_string(record_.embedding->size()) +
           " of \"embedding\" is larger than a float can hold");
    }
    record_.embedding->push_back(value);
    return true;
  }
  bool scalar(const char* kind, const std::string& text) {
    if (depth_ == 0) not_an_object();
    if (depth_ == 1) wrong_kind(kind);
    return nested(kind, text);
  }
  // A value inside the embedding, where only numbers may be, or inside the metadata.
  bool nested(const char* kind, const std::string& text) {
    if (in_embedding()) fail("\"embedding\" must hold numbers only, found " + std::string(kind));
    separate();
    metadata_ += text;
    return true;
  }
  void separate() {
    const char last = metadata_.back();
    if (last != '{' && last != '[' && last != ':') metadata_ += ',';
  }

  Record record_;
  std::set<std::string, std::less<>> keys_;
  std::string key_;
  std::string metadata_;
  int depth_ = 0;
  bool seen_id_ = false;
};

}  // namespace

Record parse_record_line(std::string_view line) {
  RecordHandler handler;
  nlohmann::json::sax_parse(line, &handler);
  return handler.take();
}

std::string format_record_line(const Record& record) {
  std::string line = "{\"id\":";
  append_json(line, std::string_view(record.id));
  if (record.embedding) {
    line += ",\"embedding\":";
    append_json(line, std::span<const float>(*record.embedding));
  }
  if (record.document) {
    line += ",\"document\":";
    append_json(line, std::string_view(*record.document));
  }
  if (record.metadata) line += ",\"metadata\":" + to_json(*record.metadata);
  if (record.uri) {
    line += ",\"uri\":";
    append_json(line, std::string_view(*record.uri));
  }
  return line + "}";
}

LineReader::LineReader(const std::string& file)
    : name_(file == "-" ? "stdin" : file),
      fd_(file == "-" ? 0 : open(file.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0) {
    throw Error(ErrorCode::not_found, name_ + ": cannot open this file: " + std::strerror(errno));
  }
}

LineReader::~LineReader() {
  if (fd_ > 2) close(fd_);
}

bool LineReader::next(std::string& line) {
  std::size_t searched = position_;
  for (;;) {
    const std::size_t end = buffer_.find('\n', searched);
    if (end != std::string::npos) {
      line.assign(buffer_, position_, end - position_);
      position_ = end + 1;
      break;
    }
    if (buffer_.size() - position_ > kLongestLine) {
      throw Error(ErrorCode::invalid_argument, name_ + " line " + std::to_string(number_ + 1) +
                                                   ": longer than 256 MiB; is this JSON lines?");
    }
    buffer_.erase(0, position_);
    position_ = 0;
    searched = buffer_.size();
    if (stop_requested()) return false;
    if (!fill()) {
      if (buffer_.empty() || stop_requested()) return false;
      line = std::move(buffer_);
      buffer_.clear();
      break;
    }
  }
  ++number_;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return true;
}

bool LineReader::fill() {
  const std::size_t before = buffer_.size();
  buffer_.resize(before + kReadSize);
  ssize_t count = -1;
  do {
    count = read(fd_, buffer_.data() + before, kReadSize);
  } while (count < 0 && errno == EINTR && !stop_requested());
  const int error = errno;
  buffer_.resize(before + (count > 0 ? static_cast<std::size_t>(count) : 0));
  if (count < 0 && !stop_requested()) {
    throw Error(ErrorCode::io_error, name_ + ": cannot read: " + std::strerror(error));
  }
  return count > 0;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>

#include "storage/error.h"
#include "storage/utf8.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

// What stands for itself after a backslash, or for the character at the same place below.
constexpr std::string_view kEscapes = "\"\\bfnrt";
constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";

[[noreturn]] void refuse(const std::string& key, const std::string& problem) {
  throw Error(ErrorCode::invalid_argument, "metadata key '" + key + "': " + problem);
}

// One array of scalars: all texts, all booleans, all integers, or numbers with at least one float;
// nothing for a mixed one.
std::optional<Value> array_of(std::vector<Value>& elements) {
  const auto all = [&]<typename... T>(std::type_identity<T>...) {
    return std::all_of(elements.begin(), elements.end(), [](const Value& element) {
      return (std::holds_alternative<T>(element) || ...);
    });
  };
  const auto take = [&]<typename T>(std::type_identity<T>) {
    std::vector<T> out;
    out.reserve(elements.size());
    for (Value& element : elements) out.push_back(std::move(std::get<T>(element)));
    return out;
  };
  constexpr std::type_identity<std::string> kText;
  constexpr std::type_identity<bool> kBoolean;
  constexpr std::type_identity<std::int64_t> kInteger;
  if (all(kText)) return take(kText);
  if (all(kBoolean)) return take(kBoolean);
  if (all(kInteger)) return take(kInteger);
  if (!all(kInteger, std::type_identity<double>())) return std::nullopt;
  std::vector<double> numbers;
  for (const Value& element : elements) {
    const auto* integer = std::get_if<std::int64_t>(&element);
    numbers.push_back(integer ? static_cast<double>(*integer) : std::get<double>(element));
  }
  return numbers;
}

// Takes a JSON text's tokens as they are read: metadata is long, and a tree of it would be built
// only to be taken apart.
class MetadataReader final : public Json::json_sax_t {
 public:
  // Throws when there was something in the object that metadata cannot hold.
  Metadata take() {
    if (!problem_.empty()) refuse(bad_key_, problem_);
    return std::move(metadata_);
  }

  bool null() override { return put({}); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(std::int64_t value) override { return put(value); }
  bool number_unsigned(std::uint64_t value) override {
    if (value > INT64_MAX) return put(static_cast<double>(value));
    return put(static_cast<std::int64_t>(value));
  }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    if (in_array_) {
      note(kWrongArray);
    } else if (in_object_) {
      note("expected a text, number, boolean or array of these, found an object");
    }
    in_object_ = true;
    return true;
  }
  bool key(std::string& key) override {
    key_ = std::move(key);
    return true;
  }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override {
    if (in_array_) note(kWrongArray);
    in_array_ = true;
    return in_object_;
  }
  bool end_array() override {
    in_array_ = false;
    if (!problem_.empty()) return true;
    if (elements_.empty()) {
      metadata_.erase(key_);  // an empty array says nothing; Chroma stores none either
    } else if (std::optional<Value> array = array_of(elements_)) {
      metadata_.insert_or_assign(key_, std::move(*array));
    } else {
      note(kWrongArray);
    }
    elements_.clear();
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }

 private:
  static constexpr const char* kWrongArray =
      "expected an array of texts, of booleans, of integers or of numbers";

  // Thrown at the end: a text that is no JSON at all is said to be just that.
  void note(const char* problem) {
    if (!problem_.empty()) return;
    problem_ = problem;
    bad_key_ = key_;
  }
  bool put(Value value) {
    if (!problem_.empty()) return true;
    if (in_array_) {
      elements_.push_back(std::move(value));
    } else {
      metadata_.insert_or_assign(key_, std::move(value));
    }
    return in_object_;
  }

  Metadata metadata_;
  std::string key_;
  std::vector<Value> elements_;  // of the array being read
  bool in_object_ = false;
  bool in_array_ = false;
  std::string problem_;
  std::string bad_key_;
};

// Reads what JsonPrinter writes, which has no blanks, several times as fast as nlohmann's lexer
// does.
class PrintedReader {
 public:
  PrintedReader(std::string_view text, MetadataReader& reader) : text_(text), reader_(reader) {}

  // False for other text, JSON or not, of which `reader` may have been told some.
  bool read() {
    if (!is_utf8(text_) || !take('{')) return false;
    reader_.start_object(0);
    if (take('}')) return at_ == text_.size();
    do {
      if (!text() || !take(':')) return false;
      reader_.key(string_);
      if (!(take('[') ? array() : scalar())) return false;
    } while (take(','));
    return take('}') && at_ == text_.size();
  }

 private:
  char next() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (next() != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  bool array() {
    reader_.start_array(0);
    if (!take(']')) {
      do {
        if (!scalar()) return false;
      } while (take(','));
      if (!take(']')) return false;
    }
    return reader_.end_array();
  }
  bool scalar() {
    if (next() == '"') return text() && reader_.string(string_);
    if (take("true")) return reader_.boolean(true);
    if (take("false")) return reader_.boolean(false);
    if (take("null")) return reader_.null();
    return number();
  }
  // Leaves the text in string_.
  bool text() {
    if (!take('"')) return false;
    string_.clear();
    for (std::size_t plain = at_; at_ < text_.size(); ++at_) {
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
      string_.append(text_, plain, at_ - plain);
      if (byte == '"') return take('"');
      const std::size_t pair = byte == '\\' && at_ + 1 < text_.size()
                                   ? kEscapes.find(text_[at_ + 1], 0)
                                   : std::string_view::npos;
      if (pair == std::string_view::npos) return false;
      string_ += kEscaped[pair];
      plain = ++at_ + 1;
    }
    return false;
  }
  bool number() {
    const std::size_t end = std::min(text_.find_first_not_of("0123456789+-.eE", at_), text_.size());
    const std::string_view token = text_.substr(at_, end - at_);
    const std::string_view digits = token.substr(token.starts_with('-') ? 1 : 0);
    const auto is_digit = [&](std::size_t at) {
      return at < digits.size() && digits[at] >= '0' && digits[at] <= '9';
    };
    const std::size_t point = digits.find('.');
    if (!is_digit(0) || (digits[0] == '0' && is_digit(1)) ||
        (point != std::string_view::npos && !is_digit(point + 1))) {
      return false;
    }
    at_ = end;
    const auto read_as = [&](auto value, auto tell) {
      const auto [stop, error] = std::from_chars(token.data(), token.data() + token.size(), value);
      return error == std::errc{} && stop == token.data() + token.size() && tell(value);
    };
    if (digits.find_first_of(".eE") == std::string_view::npos) {
      return read_as(std::int64_t{0}, [&](std::int64_t n) { return reader_.number_integer(n); });
    }
    return read_as(0.0, [&](double n) { return reader_.number_float(n, {}); });
  }

  std::string_view text_;
  MetadataReader& reader_;
  std::size_t at_ = 0;
  std::string string_;
};

// Appends the JSON of values to a text; nlohmann's own printer takes every byte apart.
class JsonPrinter {
 public:
  explicit JsonPrinter(std::string& out) : out_(out) {}

  void operator()(std::monostate) { out_ += "null"; }
  void operator()(bool value) { out_ += value ? "true" : "false"; }
  void operator()(std::int64_t value) { out_ += std::to_string(value); }
  void operator()(double value) {
    if (!std::isfinite(value))
      refuse(std::string(key_), "expected a finite number, found NaN or infinity");
    out_ += Json(value).dump();
  }
  void operator()(std::string_view text) {
    if (!is_utf8(text)) {
      throw Error(ErrorCode::invalid_argument, "metadata: a key or text is not valid UTF-8");
    }
    out_ += '"';
    std::size_t plain = 0;  // where what needs no escape begins
    for (std::size_t at = 0; at < text.size(); ++at) {
      const auto byte = static_cast<unsigned char>(text[at]);
      if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
      out_.append(text, plain, at - plain);
      plain = at + 1;
      escape(byte);
    }
    out_.append(text, plain);
    out_ += '"';
  }
  template <typename T>
  void operator()(const std::vector<T>& values) {
    out_ += '[';
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out_ += ',';
      (*this)(static_cast<T>(values[i]));
    }
    out_ += ']';
  }
  void member(const std::string& key, const Value& value) {
    key_ = key;
    (*this)(key_);
    out_ += ':';
    std::visit(*this, value);
  }

 private:
  void escape(unsigned char byte) {
    if (const std::size_t at = kEscaped.find(static_cast<char>(byte)); at != kEscaped.npos) {
      out_ += '\\';
      out_ += kEscapes[at];
      return;
    }
    out_ += "\\u00";
    out_ += "0123456789abcdef"[byte >> 4];
    out_ += "0123456789abcdef"[byte & 0xF];
  }

  std::string& out_;
  std::string_view key_;  // for messages
};

}  // namespace

std::string to_json(const Metadata& metadata) {
  std::string out = "{";
  JsonPrinter printer(out);
  for (const auto& [key, value] : metadata) {
    if (out.size() > 1) out += ',';
    printer.member(key, value);
  }
  return out + '}';
}

Metadata parse_metadata(std::string_view text) {
  MetadataReader usual;
  if (PrintedReader(text, usual).read()) return usual.take();
  MetadataReader reader;
  if (!Json::sax_parse(text, &reader)) {
    throw Error(ErrorCode::invalid_argument,
                "metadata: expected a JSON object, found " + std::string(text.substr(0, 80)));
  }
  return reader.take();
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_node.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

namespace vkb {
namespace {

using Json = nlohmann::json;

// Deeper JSON than any knowledge base writes is taken as text: printing it again recurses.
constexpr std::size_t kMaxJsonDepth = 200;

}  // namespace

bool too_deep(std::string_view json) {
  std::size_t depth = 0;
  bool in_text = false;
  for (std::size_t at = 0; at < json.size(); ++at) {
    const char c = json[at];
    if (in_text) {
      if (c == '\\') ++at;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth) return true;
    } else if (c == '}' || c == ']') {
      depth -= depth > 0 ? 1 : 0;
    }
  }
  return false;
}

Json parse_object(const std::string* text) {
  if (text == nullptr || too_deep(*text)) return nullptr;
  Json json = Json::parse(*text, nullptr, false);
  return json.is_object() ? std::move(json) : Json(nullptr);
}

namespace {

// Takes a node's JSON and keeps what a record is made of: most of it says how the node is related
// to others, and is read only to know that all of it is JSON.
class NodeReader final : public Json::json_sax_t {
 public:
  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(std::int64_t value) override { return put(value); }
  bool number_unsigned(std::uint64_t value) override { return put(value); }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }
  bool key(std::string& key) override {
    key_ = std::move(key);
    kept_ = open_.size() > 1 || std::find(kMembers.begin(), kMembers.end(), key_) != kMembers.end();
    return true;
  }
  bool start_object(std::size_t) override { return begin(Json::object()); }
  bool start_array(std::size_t) override { return begin(Json::array()); }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }

 private:
  static constexpr std::array<std::string_view, 4> kMembers = {"id_", "metadata", "text",
                                                               "text_resource"};

  // Where the next value belongs.
  Json& place() {
    if (open_.empty()) return root_;
    if (open_.back()->is_array()) return open_.back()->emplace_back();
    return (*open_.back())[key_];
  }
  bool put(Json value) {
    if (skipped_ == 0 && kept_) place() = std::move(value);
    return true;
  }
  bool begin(Json empty) {
    if (skipped_ > 0 || !kept_) {
      ++skipped_;
    } else {
      Json& value = place() = std::move(empty);
      open_.push_back(&value);
    }
    return true;
  }
  bool end() {
    if (skipped_ > 0) {
      --skipped_;
    } else {
      open_.pop_back();
    }
    return true;
  }

  Json root_;
  std::vector<Json*> open_;  // objects and arrays that are being read
  std::string key_;
  bool kept_ = true;         // whether the member being read is
  std::size_t skipped_ = 0;  // depth within one that is not
};

}  // namespace

Json parse_node(const std::string* text) {
  if (text == nullptr || too_deep(*text)) return nullptr;
  NodeReader reader;
  if (!Json::sax_parse(*text, &reader)) return nullptr;
  Json node = reader.take();
  return node.is_object() ? std::move(node) : Json(nullptr);
}

}  // namespace vkb

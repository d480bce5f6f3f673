// SPDX-License-Identifier: Apache-2.0
#include "tools/config.h"

#include <yaml-cpp/yaml.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "storage/error.h"

namespace vkb {
namespace {

// Reads one kind of mapping: every key must be known, and given once.
class SectionReader {
 public:
  SectionReader(std::string file, std::string name)
      : file_(std::move(file)), name_(std::move(name)) {}

  using Setter = std::function<void(const YAML::Node& value, const std::string& key)>;
  void key(std::string name, Setter setter) {
    setters_.emplace_back(std::move(name), std::move(setter));
  }
  void text(std::string name, std::optional<std::string>& target) {
    key(std::move(name), [this, &target](const YAML::Node& value, const std::string& full) {
      if (value.IsNull()) return;
      if (!value.IsScalar()) fail(value, full + " must be text");
      target = value.Scalar();
    });
  }

  void flag(std::string name, std::optional<bool>& target) {
    key(std::move(name), [this, &target](const YAML::Node& value, const std::string& full) {
      bool flag = false;
      if (!value.IsScalar() || !YAML::convert<bool>::decode(value, flag)) {
        fail(value, full + " must be true or false");
      }
      target = flag;
    });
  }
  void texts(std::string name, std::vector<std::string>& target) {
    key(std::move(name), [this, &target](const YAML::Node& value, const std::string& full) {
      if (value.IsNull()) return;
      if (!value.IsSequence()) fail(value, full + " must be a list of texts");
      for (const YAML::Node& each : value) {
        if (!each.IsScalar()) fail(each, full + " must be a list of texts");
        target.push_back(each.Scalar());
      }
    });
  }

  void read(const YAML::Node& section) const {
    if (section.IsNull()) return;
    if (!section.IsMap()) {
      fail(section, (name_.empty() ? "the file" : name_) + " must be a mapping of keys to values");
    }
    std::set<std::string> seen;
    for (const auto& entry : section) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      const std::string full = name_.empty() ? key : name_ + "." + key;
      if (!seen.insert(key).second) fail(entry.first, "key '" + full + "' is given twice");
      const Setter* setter = find(key);
      if (setter == nullptr) fail(entry.first, "unknown key '" + full + "'; known: " + known());
      (*setter)(entry.second, full);
    }
  }

  [[noreturn]] void fail(const YAML::Node& node, const std::string& message) const {
    throw Error(ErrorCode::invalid_argument,
                file_ + " line " + std::to_string(node.Mark().line + 1) + ": " + message);
  }

 private:
  const Setter* find(const std::string& key) const {
    for (const auto& [name, setter] : setters_) {
      if (name == key) return &setter;
    }
    return nullptr;
  }
  std::string known() const {
    std::string list;
    for (const auto& [name, setter] : setters_) list += (list.empty() ? "" : ", ") + name;
    return list;
  }

  std::string file_;
  std::string name_;
  std::vector<std::pair<std::string, Setter>> setters_;
};

void check_choice(const SectionReader& reader, const YAML::Node& section, const char* key,
                  const std::optional<std::string>& value,
                  std::initializer_list<std::string_view> choices) {
  if (!value) return;
  std::string list;
  for (const std::string_view choice : choices) {
    if (*value == choice) return;
    list += (list.empty() ? "'" : " or '") + std::string(choice) + "'";
  }
  reader.fail(section[key],
              std::string(key) + " is '" + *value + "', but this program knows " + list);
}

void read_vector_store(const std::string& file, const YAML::Node& node, Config& config) {
  SectionReader reader(file, "vector_store");
  reader.text("provider", config.vector_store.provider);
  reader.text("path", config.vector_store.path);
  reader.text("collection", config.vector_store.collection);
  reader.read(node);
  check_choice(reader, node, "provider", config.vector_store.provider, {"vkb"});
}

void read_embedding(const std::string& file, const YAML::Node& node, Config& config) {
  SectionReader reader(file, "embedding");
  reader.text("provider", config.embedding.provider);
  reader.text("url", config.embedding.url);
  reader.text("model", config.embedding.model);
  reader.text("query_prefix", config.embedding.query_prefix);
  reader.text("document_prefix", config.embedding.document_prefix);
  reader.read(node);
  check_choice(reader, node, "provider", config.embedding.provider, {"ollama", "openai"});
}

void read_redis(const std::string& file, const YAML::Node& node, Config& config) {
  SectionReader reader(file, "redis");
  reader.text("url", config.redis.url);
  reader.text("index", config.redis.index);
  reader.read(node);
}

void read_server(const std::string& file, const YAML::Node& node, Config& config) {
  SectionReader reader(file, "server");
  reader.text("host", config.server.host);
  reader.key("port", [&](const YAML::Node& value, const std::string& full) {
    int port = 0;
    if (!value.IsScalar() || !YAML::convert<int>::decode(value, port) || port < 0 || port > 65535) {
      reader.fail(value, full + " must be a number from 0 to 65535");
    }
    config.server.port = static_cast<std::uint16_t>(port);
  });
  reader.texts("cors_allow_origins", config.server.cors_allow_origins);
  reader.flag("allow_reset", config.server.allow_reset);
  reader.flag("read_only", config.server.read_only);
  reader.text("auth_token_file", config.server.auth_token_file);
  reader.text("auth_basic_file", config.server.auth_basic_file);
  reader.text("tls_cert", config.server.tls_cert);
  reader.text("tls_key", config.server.tls_key);
  reader.text("access_log", config.server.access_log);
  reader.read(node);
}

}  // namespace

Config load_config(const std::string& file) {
  std::ifstream stream(file);
  if (!stream || std::filesystem::is_directory(file)) {
    throw Error(ErrorCode::not_found, file + ": cannot read this configuration file");
  }
  Config config;
  config.file = file;
  using Reader = void (*)(const std::string&, const YAML::Node&, Config&);
  SectionReader reader(file, "");
  for (const auto& [name, section] :
       {std::pair<const char*, Reader>{"vector_store", read_vector_store},
        {"embedding", read_embedding},
        {"redis", read_redis},
        {"server", read_server}}) {
    reader.key(name,
               [&file, &config, section = section](const YAML::Node& node, const std::string&) {
                 section(file, node, config);
               });
  }
  try {
    reader.read(YAML::Load(stream));
  } catch (const YAML::Exception& error) {
    throw Error(ErrorCode::invalid_argument,
                file + " line " + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
  return config;
}

std::string find_config(const std::string& flag) {
  if (!flag.empty()) return flag;
  if (const auto file = environment("VKB_CONFIG")) return *file;
  std::error_code ignored;
  return std::filesystem::is_regular_file("vkb.yaml", ignored) ? "vkb.yaml" : "";
}

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace vkb

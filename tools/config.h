// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vkb {

// The configuration file (YAML), as docs/cli.md describes it. What is absent was not set.
struct Config {
  std::string file;  // where it was read from; "" when there is none

  struct VectorStore {
    std::optional<std::string> provider;  // "vkb"
    std::optional<std::string> path;
    std::optional<std::string> collection;
  } vector_store;

  struct Embedding {
    std::optional<std::string> provider;  // "ollama" or "openai"
    std::optional<std::string> url;
    std::optional<std::string> model;
    std::optional<std::string> query_prefix;
    std::optional<std::string> document_prefix;
  } embedding;

  struct Redis {
    std::optional<std::string> url;
    std::optional<std::string> index;
  } redis;

  struct Server {
    std::optional<std::string> host;
    std::optional<std::uint16_t> port;
    std::vector<std::string> cors_allow_origins;
    std::optional<bool> allow_reset;
    std::optional<bool> read_only;
    std::optional<std::string> auth_token_file;
    std::optional<std::string> auth_basic_file;
    std::optional<std::string> tls_cert;
    std::optional<std::string> tls_key;
    std::optional<std::string> access_log;
  } server;
};

// Reads a configuration file. Throws Error{not_found} when it cannot be read, and
// Error{invalid_argument} that names file, line and key for YAML that does not parse, an unknown or
// repeated key, or a value of the wrong kind.
Config load_config(const std::string& file);

// The file to read: `flag`, else VKB_CONFIG, else vkb.yaml when there is one, else "".
std::string find_config(const std::string& flag);

// The environment variable, or nothing when it is unset or empty.
std::optional<std::string> environment(const char* name);

}  // namespace vkb

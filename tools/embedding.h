// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/vkb.h"
#include "tools/config.h"

namespace vkb {

// Where text becomes vectors.
struct EmbeddingOptions {
  std::string provider = "ollama";  // "ollama" or "openai" (any compatible server)
  std::string url = "http://127.0.0.1:11434";
  std::string model = "nomic-embed-text";
  std::string query_prefix;     // put before each query
  std::string document_prefix;  // put before each document
  std::string api_key;          // sent as a bearer token when not empty
  std::chrono::milliseconds timeout{120'000};
};

// What the command line says about embedding; empty strings when nothing.
struct EmbeddingFlags {
  std::string provider;
  std::string url;
  std::string model;
};

// True when flags or the file name a provider, a url or a model.
bool embedding_configured(const EmbeddingFlags& flags, const Config::Embedding& config);

// Flags beat the file, which beats `collection_model` (what the collection remembers) and the
// defaults. nomic-embed-text models get their task prefixes unless the file sets others. The key is
// OPENAI_API_KEY. Throws invalid_argument for an unknown provider.
EmbeddingOptions embedding_options(const EmbeddingFlags& flags, const Config::Embedding& config,
                                   const std::optional<std::string>& collection_model);

// Whether two names mean the same model: Ollama's "name" is "name:latest".
bool same_model(const std::string& a, const std::string& b);

// Throws Error{invalid_argument} when `model` is not the one the collection's vectors come from.
void check_model(const CollectionInfo& collection, const std::string& model);

enum class EmbeddingUse { query, document };

// Embeds texts, one vector each, all of one dimension. Throws Error{io_error} that says what to do:
// endpoint not reachable, model missing, key refused, or an answer that is not what was asked for.
std::vector<std::vector<float>> embed(const EmbeddingOptions& options, EmbeddingUse use,
                                      std::span<const std::string> texts);

}  // namespace vkb

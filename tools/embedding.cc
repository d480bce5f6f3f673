// SPDX-License-Identifier: Apache-2.0
#include "tools/embedding.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/http.h"
#include "tools/terminal.h"

namespace vkb {
namespace {

using Json = nlohmann::json;
using Vectors = std::vector<std::vector<float>>;

constexpr std::size_t kTextsPerRequest = 64;
constexpr std::string_view kOverride = "set embedding.url or pass --embed-url for another address";

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorCode::io_error, message); }

std::string base_url(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

HttpResponse post(const EmbeddingOptions& options, const std::string& url, const Json& body) {
  HttpRequest request{.url = url,
                      .body = body.dump(-1, ' ', false, Json::error_handler_t::replace),
                      .headers = {},
                      .timeout = options.timeout};
  if (!options.api_key.empty())
    request.headers.push_back("Authorization: Bearer " + options.api_key);
  try {
    return http_post(request);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::io_error || stop_requested()) throw;
    fail(std::string("embedding endpoint not reachable: ") + error.what() + "; start it (" +
         (options.provider == "ollama" ? "`ollama serve`" : "an OpenAI-compatible server") +
         "), or " + std::string(kOverride));
  }
}

// The server's own words about an error, or the beginning of what it sent instead.
std::string error_text(const HttpResponse& response) {
  const Json json = Json::parse(response.body, nullptr, false);
  if (json.is_object() && json.contains("error")) {
    const Json& error = json["error"];
    if (error.is_string()) return error.get<std::string>();
    if (error.is_object() && error.contains("message") && error["message"].is_string()) {
      return error["message"].get<std::string>();
    }
  }
  return one_line(response.body, 200);
}

[[noreturn]] void fail_with(const EmbeddingOptions& options, const std::string& url,
                            const HttpResponse& response) {
  const std::string text = error_text(response);
  const std::string status = "HTTP " + std::to_string(response.status);
  const std::string who = url + " answers " + status + (text.empty() ? "" : ": " + text);
  if (response.status == 401 || response.status == 403) {
    fail(who + "; set OPENAI_API_KEY to a key this server accepts");
  }
  if (response.status == 404 && text.find("model") != std::string::npos) {
    fail("embedding model '" + options.model + "' is missing: " + who + "; " +
         (options.provider == "ollama" ? "fetch it with `ollama pull " + options.model + "`"
                                       : std::string("see which models the server has")) +
         ", or name another with embedding.model or --embed-model");
  }
  if (response.status == 404) {
    fail(who + "; no embedding endpoint there: check embedding.provider (" + options.provider +
         ") and embedding.url");
  }
  fail("embedding failed: " + who);
}

std::vector<float> to_vector(const Json& array, const std::string& url) {
  if (!array.is_array() || array.empty()) fail(url + ": the answer holds no vector");
  std::vector<float> vector;
  vector.reserve(array.size());
  for (const Json& number : array) {
    const float value = number.is_number() ? number.get<float>() : NAN;
    if (!std::isfinite(value))
      fail(url + ": the answer holds a vector with something not a number");
    vector.push_back(value);
  }
  return vector;
}

Json parse_answer(const HttpResponse& response, const std::string& url) {
  Json json = Json::parse(response.body, nullptr, false);
  if (!json.is_object()) {
    fail(url + ": expected a JSON object, found '" + one_line(response.body, 80) + "'; " +
         std::string(kOverride));
  }
  return json;
}

// Ollama before 0.3 knows one text a request only.
Vectors embed_ollama_old(const EmbeddingOptions& options, const Json& texts) {
  const std::string url = base_url(options.url) + "/api/embeddings";
  Vectors vectors;
  for (const Json& text : texts) {
    const HttpResponse response = post(options, url, {{"model", options.model}, {"prompt", text}});
    if (response.status != 200) fail_with(options, url, response);
    vectors.push_back(to_vector(parse_answer(response, url)["embedding"], url));
  }
  return vectors;
}

Vectors embed_ollama(const EmbeddingOptions& options, const Json& texts) {
  const std::string url = base_url(options.url) + "/api/embed";
  const HttpResponse response = post(options, url, {{"model", options.model}, {"input", texts}});
  if (response.status == 404 && !Json::parse(response.body, nullptr, false).is_object()) {
    return embed_ollama_old(options, texts);  // "404 page not found": the path, not the model
  }
  if (response.status != 200) fail_with(options, url, response);
  const Json answer = parse_answer(response, url);
  const auto found = answer.find("embeddings");
  if (found == answer.end() || !found->is_array()) fail(url + ": the answer has no \"embeddings\"");
  Vectors vectors;
  for (const Json& array : *found) vectors.push_back(to_vector(array, url));
  return vectors;
}

Vectors embed_openai(const EmbeddingOptions& options, const Json& texts) {
  const std::string base = base_url(options.url);
  const std::string url = base + (base.ends_with("/v1") ? "/embeddings" : "/v1/embeddings");
  const HttpResponse response = post(options, url, {{"model", options.model}, {"input", texts}});
  if (response.status != 200) fail_with(options, url, response);
  const Json answer = parse_answer(response, url);
  const auto found = answer.find("data");
  if (found == answer.end() || !found->is_array()) fail(url + ": the answer has no \"data\"");
  Vectors vectors(found->size());
  for (std::size_t i = 0; i < found->size(); ++i) {
    const Json& entry = (*found)[i];
    if (!entry.is_object()) fail(url + ": the answer's \"data\" holds something not an object");
    const auto index = entry.find("index");  // the order is not promised, the index is
    const std::size_t place =
        index != entry.end() && index->is_number_unsigned() ? index->get<std::size_t>() : i;
    if (place >= vectors.size() || !vectors[place].empty()) {
      fail(url + ": the answer's \"data\" does not number its vectors from 0");
    }
    vectors[place] = to_vector(entry.value("embedding", Json()), url);
  }
  return vectors;
}

}  // namespace

bool embedding_configured(const EmbeddingFlags& flags, const Config::Embedding& config) {
  return !flags.provider.empty() || !flags.url.empty() || !flags.model.empty() || config.provider ||
         config.url || config.model;
}

EmbeddingOptions embedding_options(const EmbeddingFlags& flags, const Config::Embedding& config,
                                   const std::optional<std::string>& collection_model) {
  const EmbeddingOptions defaults;
  const auto choose = [](const std::string& flag, const std::optional<std::string>& file,
                         const std::string& otherwise) {
    return !flag.empty() ? flag : file.value_or(otherwise);
  };
  EmbeddingOptions options;
  options.provider = choose(flags.provider, config.provider, defaults.provider);
  if (options.provider != "ollama" && options.provider != "openai") {
    throw Error(ErrorCode::invalid_argument,
                "embedding provider '" + options.provider + "' is not known: use ollama or openai");
  }
  options.url = choose(
      flags.url, config.url,
      options.provider == "openai" ? std::string("https://api.openai.com/v1") : defaults.url);
  options.model =
      choose(flags.model, config.model,
             collection_model.value_or(options.provider == "openai" ? "text-embedding-3-small"
                                                                    : defaults.model));
  const bool nomic = options.model.find("nomic-embed-text") != std::string::npos;
  options.query_prefix = config.query_prefix.value_or(nomic ? "search_query: " : "");
  options.document_prefix = config.document_prefix.value_or(nomic ? "search_document: " : "");
  if (options.provider == "openai") {
    options.api_key = environment("OPENAI_API_KEY").value_or("");
  }
  return options;
}

bool same_model(const std::string& a, const std::string& b) {
  const auto full = [](const std::string& name) {
    return name.find(':') == std::string::npos ? name + ":latest" : name;
  };
  return full(a) == full(b);
}

void check_model(const CollectionInfo& collection, const std::string& model) {
  const std::optional<std::string>& known = collection.options.model;
  if (!known || same_model(*known, model)) return;
  throw Error(ErrorCode::invalid_argument, "collection '" + collection.name +
                                               "' holds vectors of the model '" + *known +
                                               "', but the text would be embedded with '" + model +
                                               "': set embedding.model, or pass --model " + *known);
}

std::vector<std::vector<float>> embed(const EmbeddingOptions& options, EmbeddingUse use,
                                      std::span<const std::string> texts) {
  const std::string& prefix =
      use == EmbeddingUse::query ? options.query_prefix : options.document_prefix;
  Vectors vectors;
  for (std::size_t begin = 0; begin < texts.size(); begin += kTextsPerRequest) {
    const std::size_t end = std::min(begin + kTextsPerRequest, texts.size());
    Json batch = Json::array();
    for (std::size_t i = begin; i < end; ++i) batch.push_back(prefix + texts[i]);
    Vectors part =
        options.provider == "ollama" ? embed_ollama(options, batch) : embed_openai(options, batch);
    if (part.size() != end - begin) {
      fail(options.url + ": " + std::to_string(part.size()) + " vectors came back for " +
           std::to_string(end - begin) + " texts");
    }
    std::move(part.begin(), part.end(), std::back_inserter(vectors));
  }
  for (const std::vector<float>& vector : vectors) {
    if (vector.size() != vectors.front().size()) {
      fail(options.url + ": the vectors have " + std::to_string(vectors.front().size()) + " and " +
           std::to_string(vector.size()) + " dimensions; they must be alike");
    }
  }
  return vectors;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "tools/embedding.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>

#include "tests/tools/http_server.h"
#include "tools/http.h"

namespace vkb {
namespace {

using Json = nlohmann::json;

// A vector for a text: its length and a constant.
Json vector_of(const std::string& text) { return {static_cast<double>(text.size()), 0.5}; }

HttpServer::Reply ollama(const HttpServer::Request& request) {
  if (request.path != "/api/embed") return {404, "404 page not found"};
  const Json body = Json::parse(request.body);
  if (body["model"] != "known") {
    return {404, R"({"error":"model \"other\" not found, try pulling it first"})"};
  }
  Json vectors = Json::array();
  for (const Json& text : body["input"]) vectors.push_back(vector_of(text));
  return {200, Json{{"embeddings", vectors}}.dump()};
}

EmbeddingOptions options_for(const HttpServer& server, const std::string& provider = "ollama") {
  EmbeddingOptions options;
  options.provider = provider;
  options.url = server.url();
  options.model = "known";
  return options;
}

std::string error_of(const EmbeddingOptions& options) {
  const std::string text = "hello";
  try {
    embed(options, EmbeddingUse::query, std::span(&text, 1));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Embedding, OllamaGivesOneVectorForEachTextInOrder) {
  HttpServer server(ollama);
  EmbeddingOptions options = options_for(server);
  options.query_prefix = "q: ";
  const std::vector<std::string> texts{"a", "bcd"};
  const auto vectors = embed(options, EmbeddingUse::query, texts);
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_EQ(vectors[0], (std::vector<float>{4, 0.5f}));
  EXPECT_EQ(vectors[1], (std::vector<float>{6, 0.5f}));
}

TEST(Embedding, ManyTextsGoInSeveralRequests) {
  HttpServer server(ollama);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 150; ++i) texts.emplace_back(i, 'x');
  const auto vectors = embed(options_for(server), EmbeddingUse::document, texts);
  ASSERT_EQ(vectors.size(), 150u);
  for (std::size_t i = 0; i < 150; ++i) EXPECT_EQ(vectors[i][0], static_cast<float>(i));
  EXPECT_EQ(server.requests().size(), 3u);
}

TEST(Embedding, OldOllamaIsAskedTextByText) {
  HttpServer server([](const HttpServer::Request& request) -> HttpServer::Reply {
    if (request.path != "/api/embeddings") return {404, "404 page not found"};
    return {200, Json{{"embedding", vector_of(Json::parse(request.body)["prompt"])}}.dump()};
  });
  const std::vector<std::string> texts{"a", "bcd"};
  const auto vectors = embed(options_for(server), EmbeddingUse::query, texts);
  ASSERT_EQ(vectors.size(), 2u);
  EXPECT_EQ(vectors[1][0], 3.0f);
}

TEST(Embedding, OpenAiIsOrderedByIndexAndSendsTheKey) {
  HttpServer server([](const HttpServer::Request& request) -> HttpServer::Reply {
    if (request.path != "/v1/embeddings") return {404, "{}"};
    return {200, R"({"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]})"};
  });
  const std::vector<std::string> texts{"a", "b"};
  for (const char* path : {"", "/", "/v1", "/v1/"}) {
    EmbeddingOptions options = options_for(server, "openai");
    options.url += path;
    options.api_key = "key-123";
    const auto vectors = embed(options, EmbeddingUse::query, texts);
    ASSERT_EQ(vectors.size(), 2u);
    EXPECT_EQ(vectors[0][0], 1.0f);
  }
  EXPECT_NE(server.requests()[0].head.find("Authorization: Bearer key-123"), std::string::npos);
}

TEST(Embedding, AMissingModelIsNamedWithTheCommandThatFetchesIt) {
  HttpServer server(ollama);
  EmbeddingOptions options = options_for(server);
  options.model = "other";
  const std::string message = error_of(options);
  EXPECT_NE(message.find("ollama pull other"), std::string::npos) << message;
  EXPECT_EQ(server.requests().size(), 1u);  // not taken for an old Ollama
}

TEST(Embedding, AnEndpointThatIsNotThereIsNamed) {
  EmbeddingOptions options;
  {
    HttpServer server(ollama);
    options = options_for(server);
  }
  const std::string message = error_of(options);
  EXPECT_NE(message.find(options.url), std::string::npos) << message;
  EXPECT_NE(message.find("--embed-url"), std::string::npos) << message;
  EXPECT_NE(message.find("ollama serve"), std::string::npos) << message;
}

TEST(Embedding, WrongAnswersAreErrors) {
  for (const char* body : {"", "hello", "[]", "{}", R"({"embeddings":3})", R"({"embeddings":[]})",
                           R"({"embeddings":[[]]})", R"({"embeddings":[["a"]]})",
                           R"({"embeddings":[[1e39]]})", R"({"embeddings":[[1],[2]]})"}) {
    HttpServer server([&](const HttpServer::Request&) { return HttpServer::Reply{200, body}; });
    EXPECT_NE(error_of(options_for(server)), "") << body;
  }
  for (const char* body : {"{}", R"({"data":[3]})", R"({"data":[{"index":7,"embedding":[1]}]})",
                           R"({"data":[{"index":0}]})"}) {
    HttpServer server([&](const HttpServer::Request&) { return HttpServer::Reply{200, body}; });
    EXPECT_NE(error_of(options_for(server, "openai")), "") << body;
  }
}

TEST(Embedding, StatusCodesSayWhatToDo) {
  int status = 401;
  HttpServer server([&](const HttpServer::Request&) {
    return HttpServer::Reply{status, R"({"error":{"message":"because"}})"};
  });
  EXPECT_NE(error_of(options_for(server, "openai")).find("OPENAI_API_KEY"), std::string::npos);
  status = 500;
  const std::string message = error_of(options_for(server));
  EXPECT_NE(message.find("HTTP 500: because"), std::string::npos) << message;
}

TEST(Embedding, ASlowEndpointTimesOut) {
  // A listener that never answers: connections wait in its queue.
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  EmbeddingOptions options;
  options.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  options.timeout = std::chrono::milliseconds(50);
  EXPECT_NE(error_of(options).find("Timeout"), std::string::npos);
  close(listener);
}

TEST(Embedding, ThisMachineIsNotAskedThroughAProxy) {
  HttpServer server(ollama);
  ASSERT_EQ(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
  const std::string text = "hello";
  EXPECT_EQ(embed(options_for(server), EmbeddingUse::query, std::span(&text, 1)).size(), 1u);
  unsetenv("http_proxy");
}

TEST(Embedding, OtherSchemesAreRefused) {
  EmbeddingOptions options;
  options.url = "file:///etc/passwd?";
  EXPECT_NE(error_of(options), "");
}

TEST(EmbeddingOptions, FlagsBeatTheFileWhichBeatsTheCollection) {
  Config::Embedding file;
  EXPECT_EQ(embedding_options({}, file, std::nullopt).model, "nomic-embed-text");
  EXPECT_EQ(embedding_options({}, file, "remembered").model, "remembered");
  file.model = "from-file";
  file.url = "http://file";
  EXPECT_EQ(embedding_options({}, file, "remembered").model, "from-file");
  const EmbeddingOptions options =
      embedding_options({.provider = "openai", .url = "", .model = "flag"}, file, "remembered");
  EXPECT_EQ(options.model, "flag");
  EXPECT_EQ(options.url, "http://file");
  EXPECT_EQ(options.provider, "openai");
  EXPECT_THROW(embedding_options({.provider = "x", .url = "", .model = ""}, file, {}), Error);
}

TEST(EmbeddingOptions, NomicModelsGetTheirPrefixesUnlessTheFileSetsOthers) {
  Config::Embedding file;
  EXPECT_EQ(embedding_options({}, file, "nomic-embed-text:v1.5").query_prefix, "search_query: ");
  EXPECT_EQ(embedding_options({}, file, {}).document_prefix, "search_document: ");
  EXPECT_EQ(embedding_options({}, file, "all-minilm").query_prefix, "");
  file.query_prefix = "";
  EXPECT_EQ(embedding_options({}, file, {}).query_prefix, "");
}

TEST(EmbeddingOptions, AnotherModelThanTheCollectionsIsRefused) {
  CollectionInfo info;
  info.name = "notes";
  EXPECT_NO_THROW(check_model(info, "anything"));
  info.options.model = "a-model";
  EXPECT_NO_THROW(check_model(info, "a-model"));
  EXPECT_NO_THROW(check_model(info, "a-model:latest"));
  try {
    check_model(info, "b-model");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    const std::string message = error.what();
    EXPECT_NE(message.find("a-model"), std::string::npos);
    EXPECT_NE(message.find("b-model"), std::string::npos);
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "tools/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <new>
#include <sstream>

#include "server/json_text.h"

namespace vkb {
namespace {

constexpr std::string_view kDefaultPath = "./vkb-data";
constexpr std::size_t kTextWidth = 100;

std::string quoted_list(const std::vector<std::string>& names) {
  std::string list;
  const std::size_t shown = std::min<std::size_t>(names.size(), 10);
  for (std::size_t i = 0; i < shown; ++i) list += (i == 0 ? "" : ", ") + names[i];
  return names.size() > shown ? list + ", …" : list;
}

Store open_existing(const std::string& path, const OpenOptions& options) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) {
    throw Error(ErrorCode::invalid_argument,
                path + " is a file; a store is a directory: give another --path");
  }
  try {
    return Store::open(path, options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::not_found, path +
                                          ": there is no store here; name its directory with "
                                          "--path or VKB_PATH, or make one with `vkb add` or "
                                          "`vkb import-redis`");
  }
}

}  // namespace

const Config& Context::config() {
  if (!config_) {
    const std::string file = find_config(config_flag);
    try {
      config_ = file.empty() ? Config{} : load_config(file);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }
  return *config_;
}

std::string Context::path() {
  // The file is read even when a flag makes it unnecessary: a mistake in it must not hide.
  const Config& file = config();
  if (!path_flag.empty()) return path_flag;
  if (const auto value = environment("VKB_PATH")) return *value;
  return file.vector_store.path.value_or(std::string(kDefaultPath));
}

std::optional<std::string> Context::collection_name() {
  const Config& file = config();
  if (!collection_flag.empty()) return collection_flag;
  if (const auto value = environment("VKB_COLLECTION")) return value;
  return file.vector_store.collection;
}

Store Context::open_to_read() {
  return open_existing(path(), {.read_only = true, .create = false, .memory_limit = memory_limit});
}

Store Context::open_to_write(bool create) {
  return open_existing(
      path(), {.create = create, .lock_timeout = lock_timeout(), .memory_limit = memory_limit});
}

Collection Context::open_collection(const Store& store) {
  const std::optional<std::string> name = collection_name();
  if (!name) {
    const std::vector<std::string> names = store.collections();
    if (names.size() == 1) return store.collection(names.front());
    if (names.empty()) {
      throw Error(ErrorCode::not_found, store.directory() +
                                            ": the store holds no collection yet; `vkb add` and "
                                            "`vkb import-redis` make one");
    }
    throw UsageError("the store holds several collections: name one with --collection (" +
                     quoted_list(names) + ")");
  }
  try {
    return store.collection(*name);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    const std::vector<std::string> names = store.collections();
    throw Error(ErrorCode::not_found,
                store.directory() + ": there is no collection '" + *name + "'; " +
                    (names.empty() ? "the store is empty" : "there are: " + quoted_list(names)));
  }
}

void Context::note(std::string_view line) const {
  if (!quiet) write_stderr(line);
}

int Context::stopped(std::string_view how_to_go_on) const {
  const int number = stop_signal();
  write_stderr("vkb: stopped by " + std::string(number == 2 ? "SIGINT" : "SIGTERM") + ": " +
               std::string(how_to_go_on));
  return 128 + number;
}

Filter parse_filter_flag(std::string_view flag, const std::string& json,
                         Filter (*parse)(std::string_view)) {
  try {
    return parse(json);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;
    throw UsageError(std::string(flag) + ": " + error.what());
  }
}

std::optional<Filter> make_filter(const std::string& where, const std::string& where_document) {
  std::vector<Filter> filters;
  if (!where.empty()) filters.push_back(parse_filter_flag("--where", where, parse_where));
  if (!where_document.empty()) {
    filters.push_back(parse_filter_flag("--where-document", where_document, parse_where_document));
  }
  if (filters.empty()) return std::nullopt;
  if (filters.size() == 1) return std::move(filters.front());
  return Filter::combine(Filter::Op::all_of, std::move(filters));
}

Include parse_include(const std::string& list, bool& distances) {
  Include include{.documents = false, .metadatas = false};
  distances = false;
  std::istringstream names(list);
  for (std::string name; std::getline(names, name, ',');) {
    if (!add_to_include(name, include, distances)) {
      throw UsageError("--include: '" + name +
                       "' is none of documents, metadatas, distances, embeddings, uris");
    }
  }
  return include;
}

void add_id_option(CLI::App& verb, std::vector<std::string>& ids, const std::string& description) {
  // Without extra arguments CLI11 takes "[a]" for the text it is, not for a list; main() repeats
  // the flag before each further word.
  verb.add_option("--id", ids, description + "; several may follow")
      ->allow_extra_args(false)
      ->type_name("ID");
}

void add_embedding_flags(CLI::App& verb, EmbeddingFlags& flags) {
  verb.add_option("--embed-provider", flags.provider, "ollama or openai (any compatible server)")
      ->check(CLI::IsMember({"ollama", "openai"}))
      ->type_name("NAME");
  verb.add_option("--embed-url", flags.url, "The embedding endpoint [http://127.0.0.1:11434]")
      ->type_name("URL");
  verb.add_option("--model,--embed-model", flags.model, "The embedding model")->type_name("NAME");
}

void write_record_text(Output& out, const Record& record, const Include& include) {
  constexpr std::string_view kIndent = "     ";
  const auto line = [&out, kIndent](std::string_view text) {
    if (!text.empty()) out.write(std::string(kIndent) + std::string(text) + "\n");
  };
  if (include.documents && record.document) line(one_line(*record.document, kTextWidth));
  if (include.metadatas && record.metadata) {
    line(one_line(to_json(*record.metadata), kTextWidth));
  }
  if (include.uris && record.uri) line(one_line(*record.uri, kTextWidth));
  if (include.embeddings && record.embedding) {
    std::string text;
    append_json(text, std::span<const float>(*record.embedding));
    line(one_line(text, kTextWidth));
  }
}

std::string message_of(const std::exception& error) {
  if (dynamic_cast<const Error*>(&error) != nullptr) return error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return "out of memory; free some, or raise the limit this program runs under";
  }
  return std::string("unexpected: ") + error.what();
}

}  // namespace vkb

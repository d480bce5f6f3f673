// SPDX-License-Identifier: Apache-2.0
//
// The frame of the program `vkb`: what its verbs share. Each verb is one register_<verb>() that
// adds a subcommand, and sets Context::run from the subcommand's callback.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/vkb.h"
#include "tools/config.h"
#include "tools/embedding.h"
#include "tools/terminal.h"

namespace CLI {
class App;
}

namespace vkb {

// Exit codes of the program; docs/cli.md promises them.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitRejected = 3;
inline constexpr int kExitBusy = 4;

// Wrong usage: a flag or a value that the program does not take. Ends it with kExitUsage.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(ErrorCode::invalid_argument, message) {}
};

// The global flags, and what follows from them. Flags beat the environment, which beats the
// configuration file. Nothing is read before it is asked for: starting up takes no time.
// Thread safety: one thread at a time.
class Context {
 public:
  // Set by the parser.
  std::string path_flag;
  std::string collection_flag;
  std::string config_flag;
  bool json = false;
  bool quiet = false;
  double lock_timeout_seconds = 5;  // how long a write waits for another writer
  std::chrono::milliseconds lock_timeout() const {
    return std::chrono::milliseconds(static_cast<std::int64_t>(lock_timeout_seconds * 1000));
  }
  std::uint64_t memory_limit = 0;  // bytes, see OpenOptions
  char** arguments = nullptr;      // main's argv
  // The chosen verb; returns the exit code. Set by a subcommand's callback, called after parsing.
  std::function<int()> run;
  // When main began.
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();

  // The configuration file, read on first use; empty when there is none. Throws UsageError.
  const Config& config();
  // The store directory: --path, VKB_PATH, vector_store.path, ./vkb-data.
  std::string path();
  // The collection's name: --collection, VKB_COLLECTION, vector_store.collection, if any is set.
  std::optional<std::string> collection_name();

  // Opens the existing store for reading only, or for writing. Throws not_found naming the path
  // and how to set it.
  Store open_to_read();
  Store open_to_write(bool create = false);
  // The named collection; without a name the only one there is. Throws not_found and UsageError
  // that list the collections there are.
  Collection open_collection(const Store& store);

  // stdout. Flushed by main at the end.
  Output& out() { return out_; }
  // A line on stderr for people; nothing with --quiet.
  void note(std::string_view line) const;
  // Says how to go on after a signal; returns the exit code (130 or 143).
  int stopped(std::string_view how_to_go_on) const;

 private:
  std::optional<Config> config_;
  Output out_{1, "stdout"};
};

// Milliseconds between two moments.
inline double milliseconds(std::chrono::steady_clock::time_point from,
                           std::chrono::steady_clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

// Runs `work`; an Error{invalid_argument} in it becomes a UsageError that begins with `flag`.
Filter parse_filter_flag(std::string_view flag, const std::string& json,
                         Filter (*parse)(std::string_view));
// The filter of --where and --where-document, both of which must match; none when both are empty.
std::optional<Filter> make_filter(const std::string& where, const std::string& where_document);
// "documents,metadatas" -> Include; `distances` tells whether that was among them. Throws
// UsageError that lists what there is.
Include parse_include(const std::string& list, bool& distances);

// Options that several verbs share.
inline constexpr std::uint64_t kLargestCount = std::uint64_t{1} << 53;  // for --limit and the like
void add_id_option(CLI::App& verb, std::vector<std::string>& ids, const std::string& description);
void add_embedding_flags(CLI::App& verb, EmbeddingFlags& flags);

// Prints what is included of a record for people, indented, one line each.
void write_record_text(Output& out, const Record& record, const Include& include);

// `vkb check --erased`: looks for the ids, and for what is in the text files, in all files of the
// store. Returns the exit code, kExitFailed when it found something. In erased.cc.
int check_erased(const std::vector<std::string>& ids, const std::vector<std::string>& text_files,
                 Context& context);

// The verbs, each in the file of its name unless noted.
void register_import_redis(CLI::App& app, Context& context);
void register_cleanup_redis(CLI::App& app, Context& context);
void register_query(CLI::App& app, Context& context);
void register_get(CLI::App& app, Context& context);
void register_add(CLI::App& app, Context& context);
void register_delete(CLI::App& app, Context& context);  // remove.cc
void register_export(CLI::App& app, Context& context);
void register_count(CLI::App& app, Context& context);        // info.cc
void register_collections(CLI::App& app, Context& context);  // info.cc
void register_info(CLI::App& app, Context& context);
void register_compact(CLI::App& app, Context& context);
void register_check(CLI::App& app, Context& context);
void register_repair(CLI::App& app, Context& context);  // check.cc
void register_backup(CLI::App& app, Context& context);
void register_restore(CLI::App& app, Context& context);  // backup.cc
void register_serve(CLI::App& app, Context& context);
void register_bench(CLI::App& app, Context& context);
void register_completion(CLI::App& app, Context& context);

// What to say of an error that is about to end a verb.
std::string message_of(const std::exception& error);

// Parses the command line and runs the verb; returns the exit code. Catches everything.
int run_cli(int argc, char** argv, std::chrono::steady_clock::time_point started);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <sstream>

#include "tools/cli.h"

namespace vkb {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  vkb import-redis redis://127.0.0.1:6379 --index llama_index --collection notes\n"
    "  vkb query --text 'how do I rotate the keys?' -k 5\n"
    "  vkb query --vector-file queries.npy --where '{\"lang\":\"en\"}' --json\n"
    "  vkb add --jsonl notes.jsonl --collection notes\n"
    "  vkb check --deep && vkb backup /backups/today\n"
    "\n"
    "Environment: VKB_PATH, VKB_COLLECTION, VKB_CONFIG, VKB_AUTH_TOKEN, VKB_REDIS_PASSWORD,\n"
    "OPENAI_API_KEY.\n"
    "Exit codes: 0 done, 1 failed or found something wrong, 2 wrong usage, 3 done but records "
    "were\n"
    "rejected, 4 the store is held by another writer.";

// Makes bytes of "1.5GB", "512 MB" or "67108864"; returns what is wrong, nothing when it is right.
std::string to_memory_limit(std::string& size) {
  constexpr std::string_view kUnits = "kmgt";
  constexpr double kLeast = 64.0 * (1 << 20);
  constexpr double kMost = 1024.0 * 1024 * 1024 * 1024 * 1024;
  const std::string unknown =
      "'" + size + "' is not recognized: give a size such as 512MB or 1.5GB";
  double number = 0;
  const char* const end = size.data() + size.size();
  const auto [rest, error] = std::from_chars(size.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number)) return unknown;
  std::string unit = CLI::detail::to_lower(CLI::detail::trim_copy(std::string(rest, end)));
  if (unit.ends_with('b')) unit.pop_back();
  if (unit.ends_with('i') && unit.size() == 2) unit.pop_back();
  const std::size_t power = unit.empty() ? 0 : kUnits.find(unit) + 1;
  if (unit.size() > 1 || (!unit.empty() && power == 0)) return unknown;
  for (std::size_t i = 0; i < power; ++i) number *= 1024;
  if (number < kLeast || number > kMost) {
    return size + " is not in range: give at least 64MB, at most 1024TB";
  }
  size = std::to_string(static_cast<std::uint64_t>(number));
  return "";
}

void add_globals(CLI::App& app, Context& context) {
  app.add_option("--path", context.path_flag, "The store's directory [VKB_PATH, else ./vkb-data]")
      ->type_name("DIR");
  app.add_option("--collection", context.collection_flag,
                 "The collection [VKB_COLLECTION, else the only one]")
      ->type_name("NAME");
  app.add_option("--config", context.config_flag,
                 "Configuration file [VKB_CONFIG, else ./vkb.yaml when present]")
      ->type_name("FILE");
  app.add_flag("--json", context.json, "One JSON document on stdout");
  app.add_flag("--quiet", context.quiet, "No progress and no notes on stderr");
  app.add_option("--lock-timeout", context.lock_timeout_seconds,
                 "How long a write waits for another writer, in seconds [5]")
      ->check(CLI::Range(0.0, 86400.0).description(""))
      ->type_name("S");
  app.add_option("--memory-limit", context.memory_limit,
                 "Memory for caches and for building graphs: 512MB, 1.5GB; not less than 64MB")
      ->transform(CLI::Validator(to_memory_limit, ""))
      ->type_name("SIZE");
  app.set_version_flag("--version", "vkb " VKB_VERSION, "Print the version");
}

void add_verbs(CLI::App& app, Context& context) {
  register_import_redis(app, context);
  register_cleanup_redis(app, context);
  register_query(app, context);
  register_get(app, context);
  register_add(app, context);
  register_delete(app, context);
  register_export(app, context);
  register_count(app, context);
  register_collections(app, context);
  register_info(app, context);
  register_compact(app, context);
  register_check(app, context);
  register_repair(app, context);
  register_backup(app, context);
  register_restore(app, context);
  register_serve(app, context);
  register_bench(app, context);
  register_completion(app, context);
}

int fail(std::string_view message, int code) {
  write_stderr("vkb: error: " + safe_message(message));
  return code;
}

// The verb the user meant, for pointing to its help: "query", "bench open", "" when none was found.
std::string chosen_verb(const CLI::App& app) {
  std::string verb;
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    verb += (verb.empty() ? "" : " ") + at->get_name();
  }
  return verb;
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const std::string verb = chosen_verb(app);
  std::string message = error.what();
  if (verb.empty()) {
    const std::vector<std::string> extras = app.remaining();
    if (!extras.empty()) {
      message = "unknown verb or option '" + extras.front() + "'";
    } else if (error.get_name() == "RequiredError") {
      message = "a verb is missing";
    }
    return fail(message + "; `vkb --help` lists the verbs", kExitUsage);
  }
  return fail(verb + ": " + message + "; see `vkb " + verb + " --help`", kExitUsage);
}

// The words of the command line, last first, as CLI11 wants them. `--id a b` becomes `--id a --id
// b`: an option that takes several words itself would also take "[a]" for a list, and ids are any
// text.
std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words;
  bool in_ids = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (in_ids && word.starts_with('-')) in_ids = false;
    if (in_ids) words.insert(words.end(), {"--id", word});
    if (!in_ids) words.push_back(word);
    if (word == "--id" && i + 1 < argc) {
      words.push_back(argv[++i]);
      in_ids = true;
    }
  }
  std::reverse(words.begin(), words.end());
  return words;
}

int parse_and_run(CLI::App& app, Context& context, int argc, char** argv) {
  try {
    app.parse(words_of(argc, argv));
  } catch (const CLI::Success& help_or_version) {
    std::ostringstream text;
    app.exit(help_or_version, text, text);
    context.out().write(text.str());
    context.out().flush();
    return kExitDone;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  const int code = context.run();
  context.out().flush();
  return code;
}

}  // namespace

int run_cli(int argc, char** argv, std::chrono::steady_clock::time_point started) {
  try {
    CLI::App app("vkb: a vector knowledge base in a directory", "vkb");
    Context context;
    context.started = started;
    context.arguments = argv;
    app.fallthrough();
    app.require_subcommand(1);
    app.footer(kFooter);
    app.get_formatter()->column_width(34);
    add_globals(app, context);
    add_verbs(app, context);
    return parse_and_run(app, context, argc, argv);
  } catch (const OutputClosed&) {
    return kExitFailed;
  } catch (const UsageError& error) {
    return fail(error.what(), kExitUsage);
  } catch (const Error& error) {
    return fail(error.what(), error.code() == ErrorCode::busy ? kExitBusy : kExitFailed);
  } catch (const std::exception& error) {
    return fail(message_of(error), kExitFailed);
  }
}

}  // namespace vkb

int main(int argc, char** argv) {
  const auto started = std::chrono::steady_clock::now();
  vkb::prepare_process();
  return vkb::run_cli(argc, argv, started);
}

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_cleanup.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "importers/redis_report.h"
#include "tools/cli.h"

namespace vkb {
namespace {

struct CleanupFlags {
  std::string url;
  RedisCleanupOptions options;
};

std::string result_text(const RedisCleanupResult& result) {
  std::string out = result.source + ": " + with_commas(result.unchanged) + " of " +
                    with_commas(result.keys) + " imported keys are unchanged";
  out += result.yes ? "; " + with_commas(result.deleted) + " deleted" : " and would be deleted";
  out += "; changed and kept " + with_commas(result.changed) + ", gone already " +
         with_commas(result.gone) + '\n';
  for (const std::string& key : result.changed_keys) out += "  changed since: " + key + '\n';
  if (!result.index.empty()) {
    out += "index " + result.index + ": " +
           (result.index_dropped  ? "dropped"
            : !result.index_there ? "not there"
            : result.yes          ? "kept"
                                  : "would be dropped, without its keys") +
           '\n';
  }
  out += "used memory: " + human_bytes(result.used_memory_before);
  if (!result.yes) return out + "\nnothing was deleted; repeat with --yes to do it\n";
  return out + " before, " + human_bytes(result.used_memory_after) +
         " after; a restart would give back another " + human_bytes(result.freed_by_restart()) +
         " that the server still holds\n";
}

int run_cleanup(CleanupFlags& flags, Context& context) {
  RedisCleanupOptions& options = flags.options;
  const ImportReport report = read_report(options.report);
  try {
    options.url = parse_redis_url(flags.url.empty() ? report.source : flags.url);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  ProgressPrinter progress(context.quiet, "keys");
  options.progress = progress.function();
  options.stopped = [] { return stop_requested(); };
  const RedisCleanupResult result = cleanup_redis(options);
  progress.clear();
  if (result.stopped) {
    return context.stopped(with_commas(result.deleted) +
                           " keys were deleted; run the same command again to go on");
  }
  context.out().write(context.json ? cleanup_result_json(result) + '\n' : result_text(result));
  return kExitDone;
}

}  // namespace

void register_cleanup_redis(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "cleanup-redis", "Delete from Redis what a verified import took, and nothing else");
  const auto flags = std::make_shared<CleanupFlags>();
  RedisCleanupOptions& options = flags->options;
  verb->add_option("url", flags->url,
                   "As for import-redis; the report's when absent (password: VKB_REDIS_PASSWORD)");
  verb->add_option("--report", options.report, "The import's report directory")->required();
  verb->add_option("--batch-size", options.batch_size, "Keys read and deleted between two stops")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  verb->add_flag("--yes", options.yes, "Delete; without it only say what would be deleted");
  verb->footer(
      "Each key is read again first and kept when it changed since the import. The search index "
      "is dropped, other keys stay.");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_cleanup(*flags, context); };
  });
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_import.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "importers/redis_report.h"
#include "tools/cli.h"

namespace vkb {
namespace {

constexpr const char* kDefaultUrl = "redis://127.0.0.1:6379/0";

struct ImportFlags {
  std::string url;
  std::string space;
  std::string model;
  bool no_verify = false;
  RedisImportOptions options;
};

std::string text_of(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string verification_text(const Verification& v) {
  std::string out = "verified: " + with_commas(v.records_proved) +
                    " records rebuilt and equal byte for byte; " + with_commas(v.samples_equal) +
                    " of " + with_commas(v.samples_checked) + " random ones equal to Redis";
  if (v.overlap.queries > 0) {
    out += "; top 10 of " + with_commas(v.overlap.queries) +
           " queries: " + text_of("%.4f", v.overlap.top10_overlap) + " of the exact answer (" +
           v.overlap.reference + ")";
    if (v.overlap.source_recall_default) {
      out += ", Redis as usually asked gives " + text_of("%.4f", *v.overlap.source_recall_default);
    }
  }
  out += '\n';
  for (const std::string& problem : v.problems) out += "problem: " + problem + '\n';
  return out + (v.passed ? "passed\n" : "NOT PASSED\n");
}

std::string result_text(const RedisImportResult& result) {
  const SourceCounts& counts = result.counts;
  if (result.dry_run) {
    std::string out = "dry run: of " + with_commas(result.plan.sample.keys) + " sampled keys " +
                      with_commas(result.plan.sample.good) + " can be imported, " +
                      with_commas(result.plan.sample.with_text) + " with text\n";
    for (const auto& [reason, count] : result.plan.sample.rejected) {
      out += "  would be rejected: " + reason + " " + with_commas(count) + '\n';
    }
    return out + "nothing was written\n";
  }
  std::string out = result.collection + ": imported " + with_commas(counts.imported) +
                    ", unchanged " + with_commas(counts.unchanged) + ", rejected " +
                    with_commas(counts.rejected) + " of " + with_commas(result.records_seen) +
                    " records in " + text_of("%.1f s", result.times.total) + " (" +
                    text_of("%.0f", result.vectors_per_second) + "/s); " +
                    with_commas(counts.with_text()) + " with text\n";
  for (const auto& [reason, count] : counts.reasons) {
    out += "  rejected: " + reason + " " + with_commas(count) + '\n';
  }
  if (!result.rejects_file.empty()) out += "rejected records: " + result.rejects_file + '\n';
  if (result.backup) out += "backup: " + result.backup->note + '\n';
  if (result.verification) out += verification_text(*result.verification);
  return out + "report: " + result.report + "/report.html\n";
}

int exit_code(const RedisImportResult& result) {
  if (result.verification && !result.verification->passed) return kExitFailed;
  return result.counts.rejected > 0 ? kExitRejected : kExitDone;
}

// Flags beat the configuration file.
void complete(ImportFlags& flags, Context& context) {
  RedisImportOptions& options = flags.options;
  const Config& config = context.config();
  try {
    options.url =
        parse_redis_url(!flags.url.empty() ? flags.url : config.redis.url.value_or(kDefaultUrl));
    if (!flags.space.empty()) options.selection.space = parse_space(flags.space);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  if (!options.selection.index && !options.selection.prefix && flags.url.empty()) {
    options.selection.index = config.redis.index;
  }
  options.store = context.path();
  options.lock_timeout = context.lock_timeout();
  options.memory_limit = context.memory_limit;
  options.collection = context.collection_name().value_or("");
  if (!flags.model.empty()) {
    options.model = flags.model;
  } else {
    options.model = config.embedding.model;
  }
  options.verify = !flags.no_verify;
}

int run_import(ImportFlags& flags, Context& context) {
  complete(flags, context);
  RedisImportOptions& options = flags.options;
  ProgressPrinter progress(context.quiet, "records");
  options.progress = progress.function();
  options.stopped = [] { return stop_requested(); };
  options.message = [&](std::string_view line) {
    progress.clear();
    context.note(line);
  };
  RedisImportResult result;
  try {
    result = import_redis(options);
  } catch (const Error&) {
    progress.clear();
    if (!stop_requested()) throw;
    return context.stopped("run the same command again to go on");
  }
  progress.clear();
  if (result.stopped) {
    return context.stopped(with_commas(result.counts.accepted()) +
                           " records are stored; run the same command again to go on");
  }
  context.out().write(context.json ? import_result_json(result) + '\n' : result_text(result));
  return exit_code(result);
}

void add_source_flags(CLI::App& verb, ImportFlags& flags) {
  RedisSelection& selection = flags.options.selection;
  verb.add_option("url", flags.url,
                  "redis://[user:password@]host:port/db, rediss://…, unix://path?db=n; password "
                  "also in VKB_REDIS_PASSWORD");
  verb.add_option("--index", selection.index, "RediSearch index to import; found when absent");
  verb.add_option("--prefix", selection.prefix, "Import the keys that begin with this");
  verb.add_option("--vector-field", selection.vector_field, "Field (or JSON path) of the vector");
  verb.add_option("--text-field", selection.text_field, "Field (or JSON path) of the text");
  verb.add_option("--id-field", selection.id_field, "Field (or JSON path) of the id");
  verb.add_option("--space,--metric", flags.space,
                  "cosine, l2 or ip; the index's, or cosine, when absent");
  verb.add_option("--model", flags.model,
                  "Name of the embedding model, remembered by the collection");
}

void add_run_flags(CLI::App& verb, ImportFlags& flags) {
  RedisImportOptions& options = flags.options;
  verb.add_option("--batch-size", options.batch_size, "Records in one transaction")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  verb.add_option("--limit", options.limit, "Import at most so many records");
  verb.add_flag("--dry-run", options.dry_run, "Look at the source only; write nothing");
  verb.add_flag("--fresh", options.fresh, "Delete the collection first");
  verb.add_flag("--backup", options.backup, "Have Redis save itself first (BGSAVE)");
  verb.add_option("--verify-samples", options.verify_samples,
                  "Random records to compare with Redis")
      ->capture_default_str();
  verb.add_option("--verify-queries", options.verify_queries,
                  "Random queries to compare the answers of")
      ->capture_default_str();
  verb.add_flag("--no-verify", flags.no_verify, "Skip the verification");
  verb.add_flag("--allow-missing-documents", options.allow_missing_documents,
                "Import even when no record has a text");
  verb.add_option("--rejects", options.rejects_file,
                  "File for records that cannot be taken (JSON lines)");
  verb.add_option("--report", options.report, "Directory for the report");
}

}  // namespace

void register_import_redis(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "import-redis", "Import a LlamaIndex, LangChain or other knowledge base from Redis");
  const auto flags = std::make_shared<ImportFlags>();
  add_source_flags(*verb, *flags);
  add_run_flags(*verb, *flags);
  verb->footer(
      "Only reads from Redis. Repeat the command to go on after an interruption. Exit code 3: "
      "done, but some records were rejected.");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_import(*flags, context); };
  });
}

}  // namespace vkb

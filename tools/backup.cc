// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <memory>

#include "engine/backup.h"
#include "server/json_text.h"
#include "tools/cli.h"

namespace vkb {
namespace {

int run_backup(const std::string& destination, Context& context) {
  if (destination.empty()) throw UsageError("backup: the destination is empty; name a directory");
  const Store store = context.open_to_read();
  const auto begin = std::chrono::steady_clock::now();
  ProgressPrinter progress(context.quiet, "files");
  const BackupResult result = store.backup(destination, progress.function());
  progress.clear();
  if (result.stopped) {
    return context.stopped("what was in " + destination + " is as it was; repeat the command");
  }
  const double seconds = milliseconds(begin, std::chrono::steady_clock::now()) / 1000;
  context.out().write(context.json ? "{\"backup\":" + json_string(destination) +
                                         ",\"bytes\":" + std::to_string(result.bytes) +
                                         ",\"new_bytes\":" + std::to_string(result.new_bytes) +
                                         ",\"seconds\":" + json_fixed(seconds) + "}\n"
                                   : "backed up " + store.directory() + " to " + destination +
                                         " (" + human_bytes(result.bytes) + ", " +
                                         human_bytes(result.new_bytes) + " of it new)\n");
  return kExitDone;
}

int run_restore(const std::string& source, bool replace, Context& context) {
  const std::string path = context.path();
  const auto begin = std::chrono::steady_clock::now();
  ProgressPrinter progress(context.quiet, "files");
  RestoreResult result;
  try {
    result = restore(source, path, {.replace = replace, .lock_timeout = context.lock_timeout()},
                     progress.function());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::already_exists || replace) throw;
    throw Error(error.code(), std::string(error.what()) + " (--yes replaces a store)");
  }
  progress.clear();
  if (result.stopped) return context.stopped("nothing was restored; repeat the command");
  for (const std::string& kept : result.kept) {
    context.note("vkb: an earlier restore was killed, and what it left is kept: " +
                 safe_message(kept) + "; when you need nothing of it, remove that directory");
  }
  const double seconds = milliseconds(begin, std::chrono::steady_clock::now()) / 1000;
  context.out().write(context.json
                          ? "{\"restored\":" + json_string(path) +
                                ",\"created\":" + json_string(result.created) +
                                ",\"replaced\":" + (result.replaced ? "true" : "false") +
                                ",\"bytes\":" + std::to_string(result.bytes) +
                                ",\"seconds\":" + json_fixed(seconds) + "}\n"
                          : "restored " + source + " of " + result.created + " to " + path + " (" +
                                human_bytes(result.bytes) + "), every byte checked\n");
  return kExitDone;
}

}  // namespace

void register_backup(CLI::App& app, Context& context) {
  const auto destination = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("backup", "Copy the store, consistently, while it is in use");
  verb->add_option("DEST", *destination, "Directory to make, or one with a backup of this store")
      ->required();
  verb->footer(
      "A backup that is there is brought up to date: only new segments are copied, and the "
      "database.\n"
      "On the same file system the immutable segments are hard links: quick and small, but not a\n"
      "second copy of the bytes. Back up to another disk for that.\n"
      "Linked segments are not read. `vkb check --deep --path DEST` reads the whole backup and\n"
      "exits with 1 when something is damaged; `vkb restore` checks every byte in any case.");
  verb->callback([destination, &context] {
    context.run = [destination, &context] { return run_backup(*destination, context); };
  });
}

void register_restore(CLI::App& app, Context& context) {
  const auto source = std::make_shared<std::string>();
  const auto replace = std::make_shared<bool>(false);
  CLI::App* verb =
      app.add_subcommand("restore", "Make the store at --path from a backup, after checking it");
  verb->add_option("SRC", *source, "Directory that `vkb backup` made")->required();
  verb->add_flag("--yes", *replace, "Replace the store at --path, with the records it has");
  verb->footer(
      "--path must not exist, be empty, or hold a store that nobody has open. Nothing changes "
      "there\n"
      "unless every byte of the backup is as its manifest says.");
  verb->callback([source, replace, &context] {
    context.run = [source, replace, &context] { return run_restore(*source, *replace, context); };
  });
}

}  // namespace vkb

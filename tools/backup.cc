// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "tools/cli.h"
#include "server/json_text.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;

// Throws already_exists unless `directory` is absent or an empty directory.
void require_absent_or_empty(const fs::path& directory, const std::string& advice) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (status.type() == fs::file_type::not_found) return;
  if (fs::is_directory(status) && fs::is_empty(directory, error) && !error) return;
  throw Error(ErrorCode::already_exists,
              directory.string() + ": this must not exist, or be an empty directory; " + advice);
}

void sync_directory(const fs::path& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!synced) {
    throw Error(ErrorCode::io_error,
                directory.string() + ": cannot sync this directory: " + std::strerror(error));
  }
}

std::string copied_json(const char* key, const std::string& directory, const StoreInfo& info,
                        double seconds) {
  return std::string("{\"") + key + "\":" + json_string(directory) +
         ",\"bytes\":" + std::to_string(info.database_bytes + info.segment_bytes) +
         ",\"seconds\":" + json_fixed(seconds) + "}\n";
}

void remove_tree(const fs::path& directory) {
  std::error_code ignored;
  fs::remove_all(directory, ignored);
}

int run_backup(const std::string& destination, Context& context) {
  const Store store = context.open_to_read();
  require_absent_or_empty(destination, "name another DEST");
  const auto begin = std::chrono::steady_clock::now();
  ProgressPrinter progress(context.quiet, "files");
  try {
    store.backup(destination, progress.function());
  } catch (const Error&) {
    remove_tree(destination);  // it was empty before: all of it is ours
    if (!progress.stopped()) throw;
  }
  progress.clear();
  if (progress.stopped()) {
    remove_tree(destination);
    return context.stopped("the incomplete backup was removed; repeat the command");
  }
  const double seconds = milliseconds(begin, std::chrono::steady_clock::now()) / 1000;
  const StoreInfo info = Store::open(destination, {.read_only = true, .create = false}).info();
  context.out().write(context.json
                          ? copied_json("backup", destination, info, seconds)
                          : "backed up " + store.directory() + " to " + destination + " (" +
                                human_bytes(info.database_bytes + info.segment_bytes) + ")\n");
  return kExitDone;
}

// Removes the half-made copy unless it was kept.
struct TemporaryDirectory {
  fs::path path;
  ~TemporaryDirectory() { remove_tree(path); }
};

// Copies the backup beside its place and checks every byte of it there. Returns false if stopped.
bool copy_and_check(const std::string& source, const fs::path& copy, ProgressPrinter& progress) {
  try {
    Store::open(source, {.read_only = true, .create = false})
        .backup(copy.string(), progress.function());
    if (progress.stopped()) return false;
    const CheckResult result = Store::open(copy.string(), {.read_only = true, .create = false})
                                   .check(true, progress.function());
    if (progress.stopped()) return false;
    if (result.problems.empty()) return true;
    const Problem& first = result.problems.front();
    throw Error(ErrorCode::corruption,
                source + ": the backup is damaged, nothing was restored: " + first.object + ": " +
                    first.message + "; `vkb check --deep --path " + source + "` lists all");
  } catch (const Error&) {
    if (!progress.stopped()) throw;
    return false;
  }
}

int run_restore(const std::string& source, Context& context) {
  const fs::path target = fs::absolute(context.path()).lexically_normal();
  // "dir/" has no file name; its parent is not the directory it is in.
  const fs::path place = target.has_filename() ? target : target.parent_path();
  require_absent_or_empty(place, "move it away, or restore into another --path");
  if (!fs::is_directory(source)) {
    throw Error(ErrorCode::not_found, source + ": there is no backup directory here");
  }
  const auto begin = std::chrono::steady_clock::now();
  fs::create_directories(place.parent_path());
  const TemporaryDirectory copy{place.string() + ".restoring-" + std::to_string(getpid())};
  ProgressPrinter progress(context.quiet);
  const bool complete = copy_and_check(source, copy.path, progress);
  progress.clear();
  if (!complete) return context.stopped("nothing was restored; repeat the command");
  std::error_code error;
  fs::rename(copy.path, place, error);
  if (error) {
    throw Error(ErrorCode::io_error,
                place.string() + ": cannot put the restored store here: " + error.message());
  }
  sync_directory(place.parent_path());
  const double seconds = milliseconds(begin, std::chrono::steady_clock::now()) / 1000;
  const StoreInfo info = Store::open(place.string(), {.read_only = true, .create = false}).info();
  context.out().write(context.json ? copied_json("restored", place.string(), info, seconds)
                                   : "restored " + source + " to " + place.string() + " (" +
                                         human_bytes(info.database_bytes + info.segment_bytes) +
                                         "), every byte checked\n");
  return kExitDone;
}

}  // namespace

void register_backup(CLI::App& app, Context& context) {
  const auto destination = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("backup", "Copy the store, consistently, while it is in use");
  verb->add_option("DEST", *destination, "Directory to make; absent or empty")->required();
  verb->footer(
      "On the same file system the immutable segments are hard links: quick and small, but not a\n"
      "second copy of the bytes. Back up to another disk for that.");
  verb->callback([destination, &context] {
    context.run = [destination, &context] { return run_backup(*destination, context); };
  });
}

void register_restore(CLI::App& app, Context& context) {
  const auto source = std::make_shared<std::string>();
  CLI::App* verb =
      app.add_subcommand("restore", "Make the store at --path from a backup, after checking it");
  verb->add_option("SRC", *source, "Directory that `vkb backup` made")->required();
  verb->footer("--path must not exist, or be empty. Nothing appears there unless all is sound.");
  verb->callback([source, &context] {
    context.run = [source, &context] { return run_restore(*source, context); };
  });
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>

#include "server/json_text.h"
#include "tools/cli.h"
#include "tools/jsonl.h"

namespace vkb {
namespace {

struct CheckFlags {
  bool deep = false;
  std::vector<std::string> erased_ids;
  std::vector<std::string> erased_files;
};

std::string problems_json(const std::vector<Problem>& problems) {
  std::string json = "[";
  for (const Problem& problem : problems) {
    json += (json.size() == 1 ? "" : ",") + ("{\"object\":" + json_string(problem.object)) +
            ",\"message\":" + json_string(problem.message) +
            ",\"repairable\":" + (problem.repairable ? "true" : "false") + "}";
  }
  return json + "]";
}

void write_problems(Output& out, const std::vector<Problem>& problems) {
  for (const Problem& problem : problems) {
    out.write(safe_message(problem.object + ": " + problem.message) +
              (problem.repairable ? " (repairable)\n" : " (not repairable)\n"));
  }
}

// A store too damaged to be opened is something a check found, not a check that failed.
CheckResult check_store(Context& context, bool deep, ProgressPrinter& progress) {
  try {
    return context.open_to_read().check(deep, progress.function());
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
    return {.problems = {{.object = "store " + context.path(), .message = error.what()}}};
  }
}

int run_check(bool deep, Context& context) {
  ProgressPrinter progress(context.quiet, "records");
  const CheckResult result = check_store(context, deep, progress);
  progress.clear();
  if (progress.stopped()) return context.stopped("the check is not complete; repeat it");
  const bool ok = result.problems.empty();
  Output& out = context.out();
  if (context.json) {
    out.write(std::string("{\"ok\":") + (ok ? "true" : "false") + ",\"deep\":" +
              (deep ? "true" : "false") + ",\"segments\":" + std::to_string(result.segments) +
              ",\"records\":" + std::to_string(result.records) + ",\"bytes\":" +
              std::to_string(result.bytes) + ",\"orphans\":" + std::to_string(result.orphans) +
              ",\"recall\":" + (result.recall ? std::to_string(*result.recall) : "null") +
              ",\"problems\":" + problems_json(result.problems) + "}\n");
    return ok ? kExitDone : kExitFailed;
  }
  write_problems(out, result.problems);
  out.write((ok ? "ok: "
                : "damaged: " + std::to_string(result.problems.size()) +
                      (result.problems.size() == 1 ? " problem, " : " problems, ")) +
            std::to_string(result.segments) + " segments, " + with_commas(result.records) +
            " records, " + human_bytes(result.bytes) + " compared with checksums" +
            (result.recall ? ", recall " + std::to_string(*result.recall) : "") + "\n");
  if (result.orphans > 0) {
    context.note(
        "vkb: " + std::to_string(result.orphans) + " files in segments/ belong to nothing: " +
        (ok ? "a writer left them when it died, or they wait for a reader to end; the next "
              "write removes them"
            : "a writer left them, or vkb.sqlite3 is that of another time; they stay "
              "while a segment is missing"));
  }
  if (!ok) {
    context.note(
        "vkb: `vkb repair` rebuilds what is repairable; for the rest, `vkb restore` a backup");
  }
  return ok ? kExitDone : kExitFailed;
}

// A file that was made is safe when its name is. Errors are in errno.
bool sync_directory_of(const std::string& file) {
  std::error_code none;
  const auto directory = std::filesystem::canonical(file, none).parent_path();
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool is_synced = fsync(fd) == 0;
  const int error = errno;
  close(fd);
  errno = error;
  return is_synced;
}

// Adds the records to a file of JSON lines, on disk when this returns: they are about to go. When
// it throws, the file is as long as it was: whoever adds to it next begins a line.
void append_lost(const std::string& file, const Collection& collection,
                 std::span<const Record> records) {
  std::string lines;
  for (const Record& record : records) {
    std::string line = format_record_line(record);
    line.insert(1,
                "\"collection\":" + json_string(collection.info(InfoDetail::records).name) + ",");
    lines += line + "\n";
  }
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const off_t length = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
  bool is_written = length >= 0;
  for (std::size_t done = 0; is_written && done < lines.size();) {
    const ssize_t wrote = write(fd, lines.data() + done, lines.size() - done);
    is_written = wrote > 0 || errno == EINTR;
    done += static_cast<std::size_t>(std::max<ssize_t>(wrote, 0));
  }
  is_written = is_written && fsync(fd) == 0 && (length > 0 || sync_directory_of(file));
  const std::string reason = std::strerror(errno);
  [[maybe_unused]] const int is_cut = is_written || length < 0 ? 0 : ftruncate(fd, length);
  if (fd >= 0) close(fd);
  if (!is_written) throw Error(ErrorCode::io_error, file + ": cannot write to it: " + reason);
}

// A log that cannot be read to its end keeps a store closed, unless what is behind may be lost.
Store open_to_repair(bool may_lose, Context& context, std::vector<Problem>& found) {
  try {
    return context.open_to_write();
  } catch (const Error& error) {
    if (!may_lose || error.code() != ErrorCode::corruption) throw;
    found.push_back({.object = "store " + context.path(), .message = error.what()});
    return Store::open(context.path(), {.create = false,
                                        .abandon_log = true,
                                        .lock_timeout = context.lock_timeout(),
                                        .memory_limit = context.memory_limit});
  }
}

int run_repair(const std::string& lost_file, Context& context) {
  std::vector<Problem> unopened;
  Store store = open_to_repair(!lost_file.empty(), context, unopened);
  ProgressPrinter progress(context.quiet, "records");
  CheckResult before = store.check(true, progress.function());
  CheckResult after = before;
  std::uint64_t lost = 0;
  Store::LostFunction take;
  if (!lost_file.empty()) {
    take = [&](const Collection& collection, std::span<const Record> records) {
      append_lost(lost_file, collection, records);
      lost += records.size();
    };
  }
  if (!progress.stopped() && !before.problems.empty()) {
    after = store.repair(progress.function(), take);
  }
  before.problems.insert(before.problems.begin(), unopened.begin(), unopened.end());
  progress.clear();
  if (progress.stopped()) {
    return context.stopped("what was rebuilt is kept; repeat the command to go on");
  }
  const bool ok = after.problems.empty();
  Output& out = context.out();
  if (context.json) {
    out.write(std::string("{\"ok\":") + (ok ? "true" : "false") + ",\"found\":" +
              problems_json(before.problems) + ",\"problems\":" + problems_json(after.problems) +
              ",\"lost\":" + std::to_string(lost) +
              (unopened.empty() ? "" : ",\"log_given_up\":true") + "}\n");
    return ok ? kExitDone : kExitFailed;
  }
  if (before.problems.empty()) {
    out.write("nothing to repair: " + std::to_string(after.segments) + " segments, " +
              with_commas(after.records) + " records are sound\n");
    return kExitDone;
  }
  out.write("found:\n");
  write_problems(out, before.problems);
  if (!unopened.empty()) {
    out.write(
        "the log is cut where it is damaged: the writes behind are lost, how many is unknown\n");
  }
  if (lost > 0) {
    out.write(with_commas(lost) +
              " records are no longer here, as their vectors or their texts are damaged: what is "
              "left of them is in " +
              lost_file + "\n");
  }
  if (ok) {
    out.write("repaired: nothing is left\n");
  } else {
    out.write("left after the repair:\n");
    write_problems(out, after.problems);
    context.note(
        "vkb: what is left needs its data back: `vkb restore` a backup, or import again; or give "
        "up "
        "records whose vectors are damaged: `vkb repair --lost FILE`");
  }
  return ok ? kExitDone : kExitFailed;
}

}  // namespace

void register_check(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<CheckFlags>();
  CLI::App* verb = app.add_subcommand("check", "Look for damage in the store; exit 1 if there is");
  CLI::Option* deep =
      verb->add_flag("--deep", flags->deep, "Read everything: checksums, vectors, graphs, codes");
  verb->add_option("--erased", flags->erased_ids,
                   "Instead look for these bytes, a record's id, in all files of the store")
      ->allow_extra_args(false)
      ->excludes(deep)
      ->type_name("ID");
  verb->add_option("--erased-text", flags->erased_files,
                   "The same for what this file holds: a text, or a vector's floats")
      ->allow_extra_args(false)
      ->excludes(deep)
      ->type_name("FILE");
  verb->footer(
      "--erased and --erased-text may be repeated. Exit 1 says that something was found, and "
      "where:\n"
      "of a long text parts are enough, and an id may be a part of something else.");
  verb->callback([flags, &context] {
    context.run = [flags, &context] {
      return flags->erased_ids.empty() && flags->erased_files.empty()
                 ? run_check(flags->deep, context)
                 : check_erased(flags->erased_ids, flags->erased_files, context);
    };
  });
}

void register_repair(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand(
      "repair", "Rebuild damaged graphs, codes and postings from vectors and records");
  const auto lost = std::make_shared<std::string>();
  verb->add_option("--lost", *lost,
                   "Give up records whose vectors are damaged; what is left of them is added to "
                   "this file, as JSON lines")
      ->type_name("FILE");
  verb->footer(
      "Without --lost, vectors, documents and metadata are never dropped. Exit 1 when damage is "
      "left.");
  verb->callback(
      [lost, &context] { context.run = [lost, &context] { return run_repair(*lost, context); }; });
}

}  // namespace vkb

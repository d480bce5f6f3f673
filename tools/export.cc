// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "server/json_text.h"
#include "tools/cli.h"
#include "tools/jsonl.h"

namespace vkb {
namespace {

constexpr const char* kNotAll = "the lines written are whole, but not all";

struct ExportFlags {
  std::string jsonl;
};

[[noreturn]] void fail(const std::string& file, const std::string& what) {
  throw Error(ErrorCode::io_error, file + ": " + what + ": " + std::strerror(errno));
}

// A file that appears under its name only when it is complete and on disk. A pipe or a device that
// is there is written to, a link's own file replaced, and one that leads nowhere refused.
class ExportFile {
 public:
  explicit ExportFile(const std::string& file) : file_(file) {
    std::error_code none;
    const bool is_there = std::filesystem::exists(std::filesystem::symlink_status(file, none));
    is_stream_ = is_there && !std::filesystem::is_regular_file(file, none);
    if (is_there && !is_stream_) file_ = std::filesystem::canonical(file, none);
    written_ = is_stream_ ? file_ : file_ + ".tmp-" + std::to_string(getpid());
    fd_ = open(written_.c_str(), O_WRONLY | O_CLOEXEC | (is_stream_ ? 0 : O_CREAT | O_TRUNC), 0666);
    if (fd_ < 0) fail(written_, is_stream_ ? "cannot write to it" : "cannot make this file");
  }
  ~ExportFile() {
    if (fd_ >= 0) close(fd_);
    if (!published_ && !is_stream_) unlink(written_.c_str());
  }
  ExportFile(const ExportFile&) = delete;
  ExportFile& operator=(const ExportFile&) = delete;

  int fd() const noexcept { return fd_; }
  bool is_stream() const noexcept { return is_stream_; }
  void publish() {
    if (is_stream_) return;
    if (fsync(fd_) != 0) fail(written_, "cannot write it to disk");
    if (std::rename(written_.c_str(), file_.c_str()) != 0) fail(file_, "cannot rename to it");
    published_ = true;
  }

 private:
  std::string file_;
  std::string written_;  // until it is complete
  int fd_ = -1;
  bool is_stream_ = false;
  bool published_ = false;
};

// Writes every record; returns how many, fewer than all when a signal asked to stop.
std::uint64_t write_records(const Collection& collection, Output& out, ProgressPrinter& progress) {
  const Include all{.embeddings = true, .uris = true};
  const std::uint64_t total = collection.count();
  std::uint64_t written = 0;
  collection.for_each(all, [&](Record&& record) {
    if (!progress.update("export", written, total)) return false;
    out.write(format_record_line(record) + "\n");
    ++written;
    return true;
  });
  out.flush();
  progress.clear();
  return written;
}

int run_export(const ExportFlags& flags, Context& context) {
  const Store store = context.open_to_read();
  const Collection collection = context.open_collection(store);
  ProgressPrinter progress(context.quiet, "records");
  if (flags.jsonl == "-") {
    if (context.json) throw UsageError("export: --json needs a FILE for the lines, not -");
    write_records(collection, context.out(), progress);
    return progress.stopped() ? context.stopped(kNotAll) : kExitDone;
  }
  ExportFile file(flags.jsonl);
  Output out(file.fd(), flags.jsonl);
  const std::uint64_t written = write_records(collection, out, progress);
  if (progress.stopped()) {
    return context.stopped(file.is_stream() ? kNotAll : "nothing was exported; repeat the command");
  }
  file.publish();
  const std::string name = collection.info(InfoDetail::records).name;
  context.out().write(context.json ? "{\"collection\":" + json_string(name) +
                                         ",\"exported\":" + std::to_string(written) +
                                         ",\"file\":" + json_string(flags.jsonl) + "}\n"
                                   : "exported " + with_commas(written) + " records of " + name +
                                         " to " + flags.jsonl + "\n");
  return kExitDone;
}

}  // namespace

void register_export(CLI::App& app, Context& context) {
  const auto flags = std::make_shared<ExportFlags>();
  CLI::App* verb = app.add_subcommand("export", "Write all records as JSON lines");
  verb->add_option("--jsonl", flags->jsonl, "The file to write; - is stdout")
      ->required()
      ->type_name("FILE|-");
  verb->footer(
      "The lines are those `vkb add` reads, embeddings bit for bit. A FILE appears when it is "
      "complete.\n"
      "Example:\n"
      "  vkb export --jsonl notes.jsonl --collection notes");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_export(*flags, context); };
  });
}

}  // namespace vkb

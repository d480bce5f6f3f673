// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "server/json_text.h"
#include "tools/bench.h"

extern char** environ;

namespace vkb {
namespace {

using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

// The verb a measured process runs; not shown in the help.
constexpr const char* kProbe = "probe-open";

struct BenchFlags {
  std::uint32_t runs = 10;
  bool no_cold = false;
};

// What one fresh process took, from the start of its main.
struct Sample {
  double open_ms = 0;   // store and collection opened
  double first_ms = 0;  // first answer there
  double total_ms = 0;  // from starting the process to its end, seen from outside
};

void read_all(int fd, void* data, std::size_t size) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t count = read(fd, at, size);
    if (count > 0) {
      at += count;
      size -= static_cast<std::size_t>(count);
    } else if (count == 0 || errno != EINTR) {
      throw Error(ErrorCode::io_error, "probe-open: the query vector ends early on stdin");
    }
  }
}

// The measured process: stdin holds the query vector as floats, stdout gets one JSON line.
int run_probe(Context& context) {
  const Store store = context.open_to_read();
  const Collection collection = context.open_collection(store);
  const double open_ms = milliseconds(context.started, Clock::now());
  std::uint32_t dim = 0;
  read_all(0, &dim, sizeof dim);
  if (dim == 0 || dim > 16384) throw UsageError("probe-open: wrong dimension on stdin");
  std::vector<float> query(dim);
  read_all(0, query.data(), query.size() * sizeof(float));
  const std::vector<Hit> hits = collection.query(query);
  const double first_ms = milliseconds(context.started, Clock::now());
  context.out().write("{\"open_ms\":" + json_fixed(open_ms) + ",\"first_ms\":" +
                      json_fixed(first_ms) + ",\"hits\":" + std::to_string(hits.size()) + "}\n");
  return kExitDone;
}

// Both ends of a pipe, closed at the end.
struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (pipe2(ends, O_CLOEXEC) != 0) {
      throw Error(ErrorCode::io_error, std::string("pipe: ") + std::strerror(errno));
    }
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(int which) {
    if (ends[which] >= 0) close(ends[which]);
    ends[which] = -1;
  }
};

std::string read_to_end(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t count = 0; (count = read(fd, buffer, sizeof buffer)) != 0;) {
    if (count < 0 && errno != EINTR) break;
    if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
  }
  return text;
}

// Runs this program anew as a probe.
Sample measure_once(const std::string& path, const std::string& collection,
                    const std::vector<float>& query) {
  Pipe in;
  Pipe out;
  const auto dim = static_cast<std::uint32_t>(query.size());
  std::string input(sizeof dim + query.size() * sizeof(float), '\0');
  std::memcpy(input.data(), &dim, sizeof dim);
  std::memcpy(input.data() + sizeof dim, query.data(), query.size() * sizeof(float));
  // Fits the pipe's buffer (at most 64 KiB + 4), or waits until the probe reads.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.ends[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], 1);
  std::vector<std::string> words{"vkb", "bench",        kProbe,    "--path",
                                 path,  "--collection", collection};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const Clock::time_point begin = Clock::now();
  pid_t pid = 0;
  const int error = posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    throw Error(ErrorCode::io_error,
                std::string("cannot start this program again: ") + std::strerror(error));
  }
  in.close_end(0);
  out.close_end(1);
  const ssize_t written = write(in.ends[1], input.data(), input.size());
  in.close_end(1);
  const std::string answer = read_to_end(out.ends[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  const double total_ms = milliseconds(begin, Clock::now());
  if (stop_requested()) return {};  // Ctrl-C reaches the probe as well
  const nlohmann::json json = nlohmann::json::parse(answer, nullptr, false);
  if (written != static_cast<ssize_t>(input.size()) || status != 0 || !json.is_object()) {
    throw Error(ErrorCode::io_error, "the measured process failed; see its message above");
  }
  return {json.at("open_ms").get<double>(), json.at("first_ms").get<double>(), total_ms};
}

// Asks the system to forget the store's files; false when that is not permitted. Pages that another
// process has mapped stay.
bool drop_cache(const std::string& path) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path)) {
    if (!entry.is_regular_file()) continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    // Only pages that are on disk already can be dropped.
    const bool dropped = fdatasync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
    close(fd);
    if (!dropped) return false;
  }
  return true;
}

struct Series {
  std::vector<double> open_ms, first_ms, total_ms;

  void add(const Sample& sample) {
    open_ms.push_back(sample.open_ms);
    first_ms.push_back(sample.first_ms);
    total_ms.push_back(sample.total_ms);
  }
  std::string json() {
    const auto values = [](std::vector<double>& samples) {
      const double median = percentile(samples, 0.5);  // sorts
      return "{\"p50\":" + json_fixed(median) + ",\"min\":" + json_fixed(samples.front()) +
             ",\"max\":" + json_fixed(samples.back()) + "}";
    };
    return "{\"runs\":" + std::to_string(open_ms.size()) + ",\"open_ms\":" + values(open_ms) +
           ",\"first_answer_ms\":" + values(first_ms) + ",\"process_ms\":" + values(total_ms) + "}";
  }
  std::string text(const char* name) {
    char line[200];
    const double open = percentile(open_ms, 0.5);
    const double first = percentile(first_ms, 0.5);
    const double total = percentile(total_ms, 0.5);
    std::snprintf(line, sizeof line, "%-6s %9.2f ms (%.2f..%.2f) %9.2f ms (%.2f..%.2f) %9.2f ms\n",
                  name, open, open_ms.front(), open_ms.back(), first, first_ms.front(),
                  first_ms.back(), total);
    return line;
  }
};

struct Subject {
  std::string path;
  std::string collection;
  std::uint64_t rows = 0;
  std::vector<float> query;
};

// Which collection, and a vector to ask for; the store is closed again, so that its pages can go.
Subject find_subject(Context& context) {
  const Store store = context.open_to_read();
  const Collection collection = context.open_collection(store);
  Subject subject{
      store.directory(), collection.info(InfoDetail::records).name, collection.count(), {}};
  std::vector<Record> records = collection.get(
      {.limit = 1, .include = {.documents = false, .metadatas = false, .embeddings = true}});
  if (records.empty() || !records.front().embedding) {
    throw Error(ErrorCode::not_found, "collection '" + subject.collection +
                                          "' is empty: there is no first answer to measure");
  }
  subject.query = std::move(*records.front().embedding);
  return subject;
}

int run_bench_open(const BenchFlags& flags, Context& context) {
  const Subject subject = find_subject(context);
  ProgressPrinter progress(context.quiet);
  Series warm;
  Series cold;
  bool permitted = !flags.no_cold;
  measure_once(subject.path, subject.collection, subject.query);  // fills the cache
  for (std::uint32_t run = 0; run < flags.runs && !stop_requested(); ++run) {
    progress.update("warm", run, flags.runs);
    warm.add(measure_once(subject.path, subject.collection, subject.query));
  }
  for (std::uint32_t run = 0; run < flags.runs && permitted && !stop_requested(); ++run) {
    progress.update("cold", run, flags.runs);
    permitted = drop_cache(subject.path);
    if (permitted) cold.add(measure_once(subject.path, subject.collection, subject.query));
  }
  progress.clear();
  if (stop_requested()) return context.stopped("nothing was measured completely; repeat it");
  const bool has_cold = permitted && !cold.open_ms.empty();
  Output& out = context.out();
  if (context.json) {
    out.write("{\"collection\":" + json_string(subject.collection) +
              ",\"rows\":" + std::to_string(subject.rows) + ",\"warm\":" + warm.json() +
              ",\"cold\":" + (has_cold ? cold.json() : "null") + "}\n");
    return kExitDone;
  }
  out.write(subject.collection + ", " + with_commas(subject.rows) + " rows, " +
            std::to_string(flags.runs) + " fresh processes each; median (least..most)\n");
  out.write("cache  main to store opened          main to first answer          whole process\n");
  out.write(warm.text("warm"));
  if (has_cold) out.write(cold.text("cold"));
  if (!has_cold && !flags.no_cold) out.write("cold: dropping the page cache is not permitted\n");
  return kExitDone;
}

}  // namespace

void register_bench_open(CLI::App& bench, Context& context) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* verb = bench.add_subcommand(
      "open", "Time from a fresh process to the opened store and to the first answer");
  verb->add_option("--runs", flags->runs, "Processes started, warm and cold each [10]")
      ->check(CLI::Range(1, 10000).description(""))
      ->type_name("N");
  verb->add_flag("--no-cold", flags->no_cold, "Do not drop the page cache");
  verb->footer(
      "cold: the store's files are dropped from the page cache before each process starts (not "
      "what\n"
      "another process keeps mapped).");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_bench_open(*flags, context); };
  });
  bench.add_subcommand(kProbe, "")->group("")->callback([&context] {
    context.run = [&context] { return run_probe(context); };
  });
}

}  // namespace vkb

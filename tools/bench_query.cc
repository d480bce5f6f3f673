// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "engine/explanation.h"
#include "server/json_text.h"
#include "storage/start_thread.h"
#include "tools/bench.h"
#include "tools/npy.h"

namespace vkb {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchFlags {
  std::string queries;
  std::string truth;
  std::vector<std::uint32_t> ef;
  std::uint32_t k = 10;
  std::uint32_t threads = 1;
  std::uint32_t warm_up = 100;
  std::uint32_t batch = 0;  // queries in one call, beside single calls
  double recall = 0;        // wanted: the smallest ef that reaches it is found
  bool exact = false;
  std::string where;
  std::string include;
};

struct Measured {
  std::uint32_t ef = 0;
  std::optional<double> recall{};
  double p50_us = 0, p95_us = 0, p99_us = 0, mean_us = 0;
  double qps = 0;
  double batch_qps = 0;
  std::uint64_t resident_bytes = 0;
};

// From a filter to the rows it selects.
struct FilterTimes {
  double compile_us = 0;  // never seen by this process
  double cached_us = 0;   // p50 once it was
};

// Row numbers become ids once, and only those that the truth names are kept in memory.
using Truth = std::vector<std::unordered_set<std::string>>;

Truth read_truth(const BenchFlags& flags, std::size_t queries, const Collection& collection) {
  const Matrix<std::int64_t> rows = read_npy_integers(flags.truth);
  if (rows.rows < queries || rows.columns < flags.k) {
    throw Error(ErrorCode::invalid_argument,
                flags.truth + ": holds " + std::to_string(rows.rows) + " x " +
                    std::to_string(rows.columns) + " row numbers, expected at least " +
                    std::to_string(queries) + " x " + std::to_string(flags.k));
  }
  std::unordered_map<std::int64_t, std::string> ids;
  std::int64_t last = -1;
  for (std::size_t query = 0; query < queries; ++query) {
    for (std::size_t i = 0; i < flags.k; ++i) {
      const std::int64_t row = rows.row(query)[i];
      if (row >= 0) ids.emplace(row, "");
      last = std::max(last, row);
    }
  }
  std::int64_t row = 0;
  collection.for_each({.documents = false, .metadatas = false}, [&](Record&& record) {
    if (const auto found = ids.find(row); found != ids.end()) found->second = std::move(record.id);
    return ++row <= last;
  });
  if (row <= last) {
    throw Error(ErrorCode::invalid_argument, flags.truth + ": names row " + std::to_string(last) +
                                                 ", but the collection has " + std::to_string(row) +
                                                 " rows");
  }
  Truth truth(queries);
  for (std::size_t query = 0; query < queries; ++query) {
    for (std::size_t i = 0; i < flags.k; ++i) {
      const std::int64_t number = rows.row(query)[i];
      if (number >= 0) truth[query].insert(ids.at(number));
    }
  }
  return truth;
}

// Resident memory of this process, mapped files included.
std::uint64_t process_resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// One pass over queries with one ef.
class Run {
 public:
  Run(const Collection& collection, const Matrix<float>& queries, const QueryOptions& options)
      : collection_(collection), queries_(queries), options_(options) {}

  // Asks the first `count` queries on `threads` threads; fills latencies and answers.
  double go(std::size_t count, std::size_t threads) {
    latencies_us.assign(count, 0);
    answers.assign(count, {});
    next_ = 0;
    count_ = count;
    const Clock::time_point begin = Clock::now();
    if (threads == 1) {
      work();
    } else {
      std::vector<std::jthread> workers;
      for (std::size_t i = 0; i < threads; ++i) {
        workers.push_back(start_thread(
            "bench", [this] { return std::jthread([this] { work_in_thread(); }); }));
      }
      workers.clear();  // joins
      if (error_) std::rethrow_exception(error_);
    }
    return milliseconds(begin, Clock::now()) / 1000;
  }

  std::vector<double> latencies_us;
  std::vector<std::vector<Hit>> answers;

 private:
  void work() {
    for (std::size_t query = next_++; query < count_ && !stop_requested(); query = next_++) {
      const std::span<const float> vector(queries_.row(query), queries_.columns);
      const Clock::time_point begin = Clock::now();
      answers[query] = collection_.query(vector, options_);
      latencies_us[query] = milliseconds(begin, Clock::now()) * 1000;
    }
  }
  void work_in_thread() {
    try {
      work();
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
      next_ = count_;
    }
  }

  const Collection& collection_;
  const Matrix<float>& queries_;
  const QueryOptions& options_;
  std::atomic<std::size_t> next_{0};
  std::size_t count_ = 0;
  std::mutex mutex_;
  std::exception_ptr error_;
};

// Queries a second when so many of them make one call.
double batch_rate(const Collection& collection, const Matrix<float>& queries, std::size_t batch,
                  const QueryOptions& options) {
  std::vector<std::vector<std::vector<float>>> batches;
  for (std::size_t query = 0; query < queries.rows; ++query) {
    if (query % batch == 0) batches.emplace_back();
    batches.back().emplace_back(queries.row(query), queries.row(query) + queries.columns);
  }
  const Clock::time_point begin = Clock::now();
  for (const auto& vectors : batches) {
    if (stop_requested()) break;
    collection.query_batch(vectors, options);
  }
  return static_cast<double>(queries.rows) * 1000 / milliseconds(begin, Clock::now());
}

FilterTimes measure_filter(const Collection& collection, const Matrix<float>& queries,
                           QueryOptions options) {
  constexpr std::size_t kAsked = 25;
  Explanation explanation;
  options.explain = &explanation;
  std::vector<double> times;
  for (std::size_t i = 0; i < kAsked; ++i) {
    collection.query({queries.row(0), queries.columns}, options);
    times.push_back(explanation.filter_us);
  }
  const double first = times.front();
  times.erase(times.begin());
  return {.compile_us = first, .cached_us = percentile(times, 0.50)};
}

double recall_of(const std::vector<std::vector<Hit>>& answers, const Truth& truth) {
  Recall recall;
  for (std::size_t query = 0; query < answers.size(); ++query) {
    recall.wanted += truth[query].size();
    for (const Hit& hit : answers[query]) recall.found += truth[query].count(hit.record.id);
  }
  return recall.value();
}

// What the collection itself answers when it compares with every vector.
Truth exact_truth(const BenchFlags& flags, const Collection& collection,
                  const Matrix<float>& queries, QueryOptions options) {
  options.exact = true;
  Run run(collection, queries, options);
  run.go(queries.rows, std::max(flags.threads, std::thread::hardware_concurrency()));
  Truth truth(queries.rows);
  for (std::size_t query = 0; query < queries.rows; ++query) {
    for (const Hit& hit : run.answers[query]) truth[query].insert(hit.record.id);
  }
  return truth;
}

// The smallest ef whose recall reaches the target, to a sixteenth, or to one where that is less:
// recall grows with ef.
std::uint32_t ef_for_recall(const BenchFlags& flags, const Collection& collection,
                            const Matrix<float>& queries, QueryOptions options,
                            const Truth& truth) {
  constexpr std::uint32_t kMost = 1U << 16;
  const auto reaches = [&](std::uint32_t ef) {
    options.ef = ef;
    Run run(collection, queries, options);
    run.go(queries.rows, flags.threads);
    return recall_of(run.answers, truth) >= flags.recall;
  };
  std::uint32_t little = flags.k - 1;  // an ef below k is taken for k
  std::uint32_t enough = std::max(flags.k, 8U);
  while (!stop_requested() && !reaches(enough)) {
    if (enough >= kMost) {
      throw Error(ErrorCode::invalid_argument, "recall " + json_fixed(flags.recall) +
                                                   " is not reached with ef " +
                                                   std::to_string(enough) + "; ask for less");
    }
    little = enough;
    enough *= 2;
  }
  while (!stop_requested() && enough - little > std::max(1U, enough / 16)) {
    const std::uint32_t middle = little + (enough - little) / 2;
    (reaches(middle) ? enough : little) = middle;
  }
  return enough;
}

Measured measure(const BenchFlags& flags, const Collection& collection,
                 const Matrix<float>& queries, const QueryOptions& options,
                 const std::optional<Truth>& truth) {
  Run run(collection, queries, options);
  run.go(std::min<std::size_t>(flags.warm_up, queries.rows), flags.threads);
  const double seconds = run.go(queries.rows, flags.threads);
  Measured measured{.ef = options.ef};
  if (truth) measured.recall = recall_of(run.answers, *truth);
  if (flags.batch > 0) measured.batch_qps = batch_rate(collection, queries, flags.batch, options);
  measured.resident_bytes = process_resident_bytes();
  const double count = static_cast<double>(queries.rows);
  measured.qps = count / seconds;
  measured.mean_us = std::accumulate(run.latencies_us.begin(), run.latencies_us.end(), 0.0) / count;
  measured.p50_us = percentile(run.latencies_us, 0.50);
  measured.p95_us = percentile(run.latencies_us, 0.95);
  measured.p99_us = percentile(run.latencies_us, 0.99);
  return measured;
}

void write_json(Output& out, const BenchFlags& flags, std::size_t queries,
                const std::optional<FilterTimes>& filter, const std::vector<Measured>& results) {
  out.write("{\"k\":" + std::to_string(flags.k) + ",\"queries\":" + std::to_string(queries) +
            ",\"threads\":" + std::to_string(flags.threads));
  if (filter) {
    out.write(",\"filter\":{\"compile_us\":" + json_fixed(filter->compile_us) +
              ",\"cached_us\":" + json_fixed(filter->cached_us) + "}");
  }
  out.write(",\"results\":[");
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Measured& measured = results[i];
    std::string json = (i == 0 ? "{\"ef\":" : ",{\"ef\":") + std::to_string(measured.ef);
    json += ",\"recall\":";
    measured.recall ? append_json(json, *measured.recall) : void(json += "null");
    if (flags.batch > 0) {
      json += ",\"batch\":" + std::to_string(flags.batch) +
              ",\"batch_qps\":" + json_fixed(measured.batch_qps);
    }
    out.write(json + ",\"p50_us\":" + json_fixed(measured.p50_us) + ",\"p95_us\":" +
              json_fixed(measured.p95_us) + ",\"p99_us\":" + json_fixed(measured.p99_us) +
              ",\"mean_us\":" + json_fixed(measured.mean_us) +
              ",\"qps\":" + json_fixed(measured.qps) +
              ",\"resident_bytes\":" + std::to_string(measured.resident_bytes) + "}");
  }
  out.write("]}\n");
}

void write_table(Output& out, const BenchFlags& flags, std::size_t queries,
                 const std::optional<FilterTimes>& filter, const std::vector<Measured>& results) {
  out.write(with_commas(queries) + " queries, k " + std::to_string(flags.k) + ", " +
            std::to_string(flags.threads) + (flags.threads == 1 ? " thread\n" : " threads\n"));
  if (filter) {
    out.write("filter compiled in " + json_fixed(filter->compile_us) + " us, found again in " +
              json_fixed(filter->cached_us) + " us\n");
  }
  out.write("    ef  recall     p50 us     p95 us     p99 us    mean us        qps   resident\n");
  for (const Measured& measured : results) {
    char recall[16] = "     -";
    if (measured.recall) std::snprintf(recall, sizeof recall, "%.4f", *measured.recall);
    char line[160];
    std::snprintf(line, sizeof line, "%6u  %s %10.0f %10.0f %10.0f %10.0f %10.0f %10s\n",
                  measured.ef, recall, measured.p50_us, measured.p95_us, measured.p99_us,
                  measured.mean_us, measured.qps, human_bytes(measured.resident_bytes).c_str());
    out.write(line);
    if (flags.batch == 0) continue;
    std::snprintf(line, sizeof line,
                  "%6s  %u in one call: %.0f qps, %.2f times that of single calls\n", "",
                  flags.batch, measured.batch_qps, measured.batch_qps / measured.qps);
    out.write(line);
  }
}

int run_bench_query(const BenchFlags& flags, Context& context) {
  if (flags.recall > 0 && (flags.exact || !flags.ef.empty())) {
    throw UsageError("--recall finds an ef; it does not go with --ef or --exact");
  }
  if (flags.batch > 0 && flags.threads > 1) throw UsageError("--batch needs --threads 1");
  const Matrix<float> queries = read_npy_floats(flags.queries);
  QueryOptions options{.k = flags.k, .exact = flags.exact};
  bool distances = false;
  options.include = parse_include(flags.include, distances);
  options.filter = make_filter(flags.where, "");
  const Store store = context.open_to_read();
  const Collection collection = context.open_collection(store);
  const CollectionOptions known = collection.info(InfoDetail::records).options;
  if (known.dim && *known.dim != queries.columns) {
    throw Error(ErrorCode::invalid_argument,
                flags.queries + ": the queries have " + std::to_string(queries.columns) +
                    " dimensions, the collection's vectors " + std::to_string(*known.dim));
  }
  std::optional<Truth> truth;
  if (!flags.truth.empty()) truth = read_truth(flags, queries.rows, collection);
  std::vector<std::uint32_t> widths = flags.ef;

  ProgressPrinter progress(context.quiet);
  if (flags.recall > 0) {
    if (!truth) {
      progress.update("exact answers", 0, queries.rows);
      truth = exact_truth(flags, collection, queries, options);
    }
    progress.update("ef for recall " + json_fixed(flags.recall), 0, queries.rows);
    widths.push_back(ef_for_recall(flags, collection, queries, options, *truth));
  }
  if (widths.empty()) widths.push_back(known.ef_search);
  std::optional<FilterTimes> filter;
  if (options.filter && queries.rows > 0) {
    filter = measure_filter(collection, queries, options);
  }
  std::vector<Measured> results;
  for (const std::uint32_t ef : widths) {
    if (!progress.update("ef " + std::to_string(ef), results.size(), widths.size())) break;
    options.ef = ef;
    results.push_back(measure(flags, collection, queries, options, truth));
  }
  progress.clear();
  if (stop_requested()) return context.stopped("nothing was measured completely; repeat it");
  context.json ? write_json(context.out(), flags, queries.rows, filter, results)
               : write_table(context.out(), flags, queries.rows, filter, results);
  return kExitDone;
}

}  // namespace

void register_bench_query(CLI::App& bench, Context& context) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* verb =
      bench.add_subcommand("query", "Latency, throughput and recall of queries, for each ef");
  verb->add_option("--queries", flags->queries, "NumPy file, float32 or float16, [n, dim]")
      ->required()
      ->type_name("Q.npy");
  verb->add_option("--truth", flags->truth,
                   "NumPy file, int32 or int64, [n, >= k]: the nearest rows, numbered in insertion "
                   "order")
      ->type_name("GT.npy");
  verb->add_option("--ef", flags->ef, "Beam widths, 16,32,64 [the collection's]")
      ->delimiter(',')
      ->check(CLI::Range(1, 1000000).description(""))
      ->type_name("LIST");
  verb->add_option("--recall", flags->recall,
                   "Find the smallest ef with this recall, 0.95 for example; without --truth the "
                   "exact answers are computed")
      ->check(CLI::Range(0.01, 1.0).description(""))
      ->type_name("R");
  verb->add_option("-k,--k", flags->k, "Results a query, 1 to 10000 [10]")
      ->check(CLI::Range(1, 10000).description(""))
      ->type_name("N");
  verb->add_option("--threads", flags->threads, "Threads asking at once [1]")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N");
  verb->add_option("--warm-up", flags->warm_up, "Queries asked before measuring, for each ef [100]")
      ->check(CLI::Range(kLargestCount).description(""))
      ->type_name("N");
  verb->add_option("--batch", flags->batch,
                   "Also measure the rate of calls with so many queries each")
      ->check(CLI::Range(1, 100000).description(""))
      ->type_name("N");
  verb->add_flag("--exact", flags->exact, "Compare with every vector instead");
  verb->add_option("--where", flags->where, "Condition on metadata, as in Chroma")
      ->type_name("JSON");
  verb->add_option("--include", flags->include,
                   "Also fetch documents,metadatas,embeddings,uris [none]")
      ->type_name("LIST");
  verb->footer(
      "A latency is one whole query as a program sees it: filter, search, exact distances, ids. "
      "With\n"
      "several threads it holds the waiting too. resident_bytes is this process, mapped pages "
      "included.\n"
      "Example:\n"
      "  vkb bench query --queries q.npy --truth gt.npy --ef 32,64,128,256");
  verb->callback([flags, &context] {
    context.run = [flags, &context] { return run_bench_query(*flags, context); };
  });
}

}  // namespace vkb

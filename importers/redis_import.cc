// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_import.h"

#include <unistd.h>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>

#include "importers/line_file.h"
#include "importers/redis_report.h"

namespace vkb {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kRatePoints = 400;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string utc_now(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

std::uint64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;  // Linux counts kilobytes
}

// Points of a curve; when there are many, every other one goes and the distance doubles.
class RateLog {
 public:
  void add(double seconds, std::uint64_t records, std::string_view step) {
    const bool first_of_step = points.empty() || points.back().step != step;
    if (!first_of_step && seconds - points.back().seconds < least_) return;
    points.push_back({seconds, records, std::string(step)});
    if (points.size() < kRatePoints) return;
    std::vector<RatePoint> half;
    for (std::size_t i = 0; i < points.size(); i += 2) half.push_back(std::move(points[i]));
    points = std::move(half);
    least_ *= 2;
  }
  std::vector<RatePoint> points;

 private:
  double least_ = 0.25;
};

// One import, step by step. Thread safety: one thread at a time.
class Import {
 public:
  explicit Import(const RedisImportOptions& options) : options_(options) {}

  RedisImportResult run() {
    result_.began = utc_now("%Y-%m-%dT%H:%M:%SZ");
    result_.source = options_.url.name();
    result_.dry_run = options_.dry_run;
    RedisClient client(options_.url,
                       {.retry_for = options_.retry_for, .stopped = options_.stopped});
    result_.redis_version = client.version();
    make_plan(client);
    if (options_.dry_run) return finish();
    if (options_.backup) make_backup(client);
    Store store = Store::open(options_.store, {.lock_timeout = options_.lock_timeout,
                                               .memory_limit = options_.memory_limit,
                                               .file_system = options_.file_system});
    Collection collection = prepare_collection(store);
    result_.collection_uuid = collection.uuid();
    choose_report_directory(store);
    make_report_directory();

    RejectLog rejects(options_.rejects_file.value_or(result_.report + "/rejects.jsonl"));
    if (options_.rejects_file) rejects.create();
    RedisSource source(client, result_.plan, collection, rejects, source_options());
    load(collection, source);
    rejects.close();
    if (result_.counts.rejected > 0) result_.rejects_file = rejects.path();
    if (!result_.stopped && options_.verify) verify(client, collection, source);
    check_texts_at_end();
    if (result_.stopped) result_.report.clear();
    finish();
    if (!result_.stopped) write_report();
    return std::move(result_);
  }

 private:
  void say(const std::string& line) const {
    if (options_.message) options_.message(line);
  }

  void make_plan(RedisClient& client) {
    const auto start = Clock::now();
    RedisPlan& plan = result_.plan;
    plan = plan_redis_import(client, options_.selection);
    result_.collection = options_.collection;
    if (result_.collection.empty()) {
      result_.collection = plan.index ? plan.index->name : "knowledge_base";
    }
    Store::check_collection_name(result_.collection);  // before a store is made for nothing
    for (const std::string& note : plan.notes) say(note);
    const RedisMapping& mapping = plan.mapping;
    say("layout " + std::string(to_string(mapping.layout)) + (mapping.json ? " (JSON)" : "") +
        ", keys " + escape_bytes(mapping.key_prefix) + "…, vector \"" +
        escape_bytes(mapping.vector_field) + "\" " + std::to_string(mapping.dim) + " x " +
        std::string(to_string(mapping.type)) + ", text \"" + escape_bytes(mapping.text_field) +
        "\", space " + std::string(to_string(plan.space)) + "; of " +
        count_of(plan.sample.keys, "sampled key") + ' ' + grouped(plan.sample.good) +
        " are records, " + grouped(plan.sample.with_text) + " with text");
    result_.times.planning = seconds_since(start);
    if (plan.sample.with_text == 0 && !options_.allow_missing_documents) refuse_missing_texts();
  }

  [[noreturn]] void refuse_missing_texts() const {
    const RedisPlan& plan = result_.plan;
    std::string seen;
    for (const auto& [name, count] : plan.sample.fields) {
      if (seen.size() < 300) seen += (seen.empty() ? "" : ", ") + escape_bytes(name);
    }
    throw Error(ErrorCode::invalid_argument,
                result_.source + ": not one of " + count_of(plan.sample.good, "record") +
                    " looked at has a text: field \"" + escape_bytes(plan.mapping.text_field) +
                    "\"" +
                    (plan.mapping.layout == Layout::llama_index
                         ? ", _node_content.text and _node_content.text_resource.text are"
                         : " is") +
                    " missing or empty. Fields found: " + seen +
                    ". Name the right one with --text-field, or import without texts with "
                    "--allow-missing-documents");
  }

  void check_texts_at_end() {
    const SourceCounts& counts = result_.counts;
    if (result_.stopped || options_.allow_missing_documents || counts.accepted() == 0 ||
        counts.with_text() > 0) {
      return;
    }
    if (!result_.verification) refuse_missing_texts();
    result_.verification->passed = false;
    result_.verification->problems.push_back("not one of the records has a text");
  }

  void make_backup(RedisClient& client) {
    const auto start = Clock::now();
    say("the server saves its data (BGSAVE) …");
    result_.backup = back_up_redis(client, options_.stopped);
    say(result_.backup->note);
    result_.times.backup = seconds_since(start);
  }

  Collection prepare_collection(Store& store) {
    const RedisPlan& plan = result_.plan;
    const std::string& name = result_.collection;
    const std::vector<std::string> names = store.collections();
    bool exists = std::find(names.begin(), names.end(), name) != names.end();
    if (exists && options_.fresh) {
      store.delete_collection(name);
      exists = false;
    }
    if (!exists) {
      return store.create_collection(name, {.space = plan.space,
                                            .dim = plan.mapping.dim,
                                            .m = plan.m,
                                            .ef_construction = plan.ef_construction,
                                            .model = options_.model});
    }
    Collection collection = store.collection(name);
    check_fits(collection);
    return collection;
  }

  void check_fits(Collection& collection) const {
    const CollectionOptions there = collection.info(InfoDetail::records).options;
    const RedisPlan& plan = result_.plan;
    const auto refuse = [&](const std::string& what) {
      throw Error(ErrorCode::invalid_argument,
                  "collection " + result_.collection + ' ' + what +
                      "; choose another --collection, or --fresh to start over");
    };
    if (there.dim && *there.dim != plan.mapping.dim) {
      refuse("has dimension " + std::to_string(*there.dim) + ", the source " +
             std::to_string(plan.mapping.dim));
    }
    if (there.space != plan.space) {
      refuse("has the space " + std::string(to_string(there.space)) + ", the source " +
             std::string(to_string(plan.space)));
    }
    if (options_.model && there.model && *there.model != *options_.model) {
      refuse("was made with the model " + *there.model + ", not " + *options_.model);
    }
    if (options_.model && !there.model) collection.modify({.model = options_.model});
  }

  void choose_report_directory(const Store& store) {
    if (options_.report) {
      result_.report = *options_.report;
      return;
    }
    const std::string base =
        store.directory() + "/reports/" + utc_now("%Y%m%dT%H%M%SZ") + '-' + result_.collection;
    result_.report = base;
    for (int i = 2; std::filesystem::exists(result_.report); ++i) {
      result_.report = base + '-' + std::to_string(i);
    }
  }

  // Now, not when the report is written: a place that cannot be written to must not cost the
  // import.
  void make_report_directory() const {
    std::error_code error;
    std::filesystem::create_directories(result_.report, error);
    if (!error && ::access(result_.report.c_str(), W_OK) != 0) {
      error = std::error_code(errno, std::generic_category());
    }
    if (error) {
      throw Error(ErrorCode::io_error, "report directory " + result_.report +
                                           " cannot be written: " + error.message() +
                                           "; nothing was imported, choose another with --report");
    }
  }

  RedisSourceOptions source_options() const {
    return {
        .batch_size = std::max<std::size_t>(options_.batch_size, 1),
        .limit = options_.limit,
        .samples = options_.verify ? std::max(options_.verify_samples, options_.verify_queries) : 0,
        .seed = options_.seed != 0
                    ? options_.seed
                    : static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()),
        .stopped = options_.stopped};
  }

  void load(Collection& collection, RedisSource& source) {
    const auto start = Clock::now();
    RateLog rate;
    const auto progress = [&](const Progress& at) {
      rate.add(seconds_since(start), at.done, at.step);
      return !options_.progress || options_.progress(at);
    };
    LoadResult loaded;
    try {
      loaded = collection.load(source, progress);
    } catch (const Error& error) {
      throw Error(error.code(), std::string(error.what()) + ". " +
                                    count_of(collection.count(), "record") + " are in collection " +
                                    result_.collection + "; run the same command again to go on");
    }
    result_.counts = source.counts();
    result_.records_seen = result_.counts.keys;
    result_.stopped = loaded.stopped || (options_.stopped && options_.stopped());
    result_.times.reading = loaded.source_seconds;
    result_.times.storing = loaded.store_seconds;
    result_.times.graph = loaded.build_seconds;
    result_.rate = std::move(rate.points);
  }

  void verify(RedisClient& client, const Collection& collection, const RedisSource& source) {
    std::filesystem::create_directories(result_.report);
    const std::string keys_file = result_.report + "/keys.tsv";
    LineFile keys(keys_file + ".part");
    result_.verification = verify_import(client, result_.plan, collection, source,
                                         {.samples = options_.verify_samples,
                                          .queries = options_.verify_queries,
                                          .progress = options_.progress},
                                         keys);
    result_.times.verification = result_.verification->seconds;
    result_.stopped = result_.verification->stopped;
    keys.close();
    std::filesystem::rename(keys_file + ".part", keys_file);
  }

  const RedisImportResult& finish() {
    result_.times.total = seconds_since(start_);
    result_.peak_resident_bytes = peak_resident_bytes();
    if (result_.times.total > 0) {
      result_.vectors_per_second =
          static_cast<double>(result_.counts.imported) / result_.times.total;
    }
    return result_;
  }

  void write_report() const {
    std::filesystem::create_directories(result_.report);
    replace_file(result_.report + "/report.html", report_html(result_, options_.store));
    // Last: with it the report counts as written.
    replace_file(result_.report + "/report.json", report_json(result_, options_.store));
  }

  const RedisImportOptions& options_;
  const Clock::time_point start_ = Clock::now();
  RedisImportResult result_;
};

}  // namespace

RedisImportResult import_redis(const RedisImportOptions& options) {
  try {
    return Import(options).run();
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorCode::io_error, "report directory: " + std::string(error.what()));
  }
}

}  // namespace vkb

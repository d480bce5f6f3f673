// SPDX-License-Identifier: Apache-2.0
#include "server/metrics.h"

#include <dirent.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>

namespace vkb {
namespace {

using prometheus::ClientMetric;
using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::MetricFamily;

constexpr std::size_t kLongestLabel = 128;

// Seconds. Close enough to each other that quantiles from 0.2 ms to 10 s can be read.
const Histogram::BucketBoundaries& buckets() {
  static const Histogram::BucketBoundaries boundaries{
      0.0002, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03,
      0.05,   0.075,  0.1,   0.15,   0.2,   0.3,   0.5,   1.0,    2.0,  5.0,   10.0};
  return boundaries;
}

MetricFamily gauge_family(const std::string& name, const std::string& help) {
  return {name, help, prometheus::MetricType::Gauge, {}};
}

void add_value(MetricFamily& family, double value, std::vector<ClientMetric::Label> labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

// The resident memory of this process; 0 when the system does not say.
double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t pages = 0;
  std::uint64_t resident = 0;
  file >> pages >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_files() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), closedir);
  double count = 0;
  while (directory && readdir(directory.get()) != nullptr) ++count;
  return std::max(count - 3, 0.0);  // ".", "..", and the directory itself
}

// FNV-1a.
std::string digest_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  std::string digits(16, '0');
  for (std::size_t i = digits.size(); i-- > 0; hash >>= 4U)
    digits[i] = "0123456789abcdef"[hash & 15U];
  return digits;
}

std::vector<MetricFamily> store_families(const StoreGauges& gauges) {
  using Of = StoreGauges::OfCollection;
  struct Column {
    const char* name;
    const char* help;
    std::uint64_t Of::*value;
  };
  static constexpr Column kColumns[] = {
      {"vkb_collection_records", "Records of a collection.", &Of::records},
      {"vkb_collection_unsealed_records", "Records whose vector is still in the log.",
       &Of::unsealed},
      {"vkb_collection_tombstones", "Dead rows that `vkb compact` will drop.", &Of::tombstones},
      {"vkb_collection_segments", "Segments of a collection.", &Of::segments},
      {"vkb_collection_bytes", "Bytes of a collection's segments.", &Of::bytes},
  };
  std::vector<MetricFamily> families;
  for (const Column& column : kColumns) {
    MetricFamily family = gauge_family(column.name, column.help);
    for (const Of& each : gauges.collections) {
      if (family.metric.size() == StoreGauges::kMostCollections) break;
      add_value(family, static_cast<double>(each.*column.value),
                {{"tenant", label_of(each.tenant)},
                 {"database", label_of(each.database)},
                 {"collection", label_of(each.name)}});
    }
    families.push_back(std::move(family));
  }
  families.push_back(gauge_family("vkb_collections", "Collections of the store."));
  add_value(families.back(), static_cast<double>(gauges.collection_count));
  families.push_back(gauge_family("vkb_store_bytes", "Bytes of the store on disk."));
  add_value(families.back(), static_cast<double>(gauges.database_bytes), {{"kind", "database"}});
  add_value(families.back(), static_cast<double>(gauges.segment_bytes), {{"kind", "segments"}});
  return families;
}

}  // namespace

std::string label_of(const std::string& name) {
  if (name.size() <= kLongestLabel) return name;
  const std::string digest = "~" + digest_of(name);
  std::size_t size = kLongestLabel - digest.size();
  const auto is_continuation = [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
  };
  while (size > 0 && is_continuation(name[size])) --size;
  return name.substr(0, size) + digest;
}

class Metrics::Implementation {
 public:
  Implementation(const Facts& facts, std::function<StoreGauges()> collect)
      : collect_(std::move(collect)) {
    gauge("vkb_build_info", "Always 1; the label is the program's version.",
          {{"version", facts.version}})
        .Set(1);
    gauge("vkb_store_open_seconds",
          "Time from the start of the process to the opened store (cold start).")
        .Set(facts.open_seconds);
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    gauge("process_start_time_seconds", "When the server started, in seconds since 1970.")
        .Set(std::chrono::duration<double>(now).count());
  }

  Gauge& gauge(const char* name, const char* help, const prometheus::Labels& labels = {}) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels);
  }

  void count(std::string_view operation, int status, double seconds) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto found = operations_.find(operation);
    if (found == operations_.end()) {
      const std::string name(operation);
      Operation made{
          &errors_.Add({{"operation", name}}), &seconds_.Add({{"operation", name}}, buckets()), {}};
      found = operations_.emplace(name, std::move(made)).first;
    }
    Operation& entry = found->second;
    Counter*& requests = entry.requests[status];
    if (requests == nullptr) {
      requests = &requests_.Add(
          {{"operation", std::string(operation)}, {"status", std::to_string(status)}});
    }
    requests->Increment();
    if (status >= 500) entry.errors->Increment();
    entry.seconds->Observe(seconds);
  }

  std::string text() const {
    std::vector<MetricFamily> families = registry_.Collect();
    try {
      for (MetricFamily& family : store_families(collect_())) families.push_back(std::move(family));
      families.push_back(
          gauge_family("vkb_store_readable", "1 when the store's gauges are there."));
      add_value(families.back(), 1);
    } catch (const std::exception&) {
      // The store cannot be read now: that alone must not hide how the requests go.
      families.push_back(
          gauge_family("vkb_store_readable", "1 when the store's gauges are there."));
      add_value(families.back(), 0);
    }
    families.push_back(gauge_family("process_resident_memory_bytes", "Resident memory."));
    add_value(families.back(), resident_bytes());
    families.push_back(gauge_family("process_open_fds", "Open file descriptors."));
    add_value(families.back(), open_files());
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families);
    return out.str();
  }

 private:
  struct Operation {
    Counter* errors;
    Histogram* seconds;
    std::map<int, Counter*> requests;
  };
  std::function<StoreGauges()> collect_;
  prometheus::Registry registry_;
  prometheus::Family<Counter>& requests_ = prometheus::BuildCounter()
                                               .Name("vkb_requests_total")
                                               .Help("Answered requests.")
                                               .Register(registry_);
  prometheus::Family<Counter>& errors_ = prometheus::BuildCounter()
                                             .Name("vkb_request_errors_total")
                                             .Help("Requests answered with a status of 5xx.")
                                             .Register(registry_);
  prometheus::Family<Histogram>& seconds_ =
      prometheus::BuildHistogram()
          .Name("vkb_request_seconds")
          .Help("Time from the whole request to its answer, waiting for a worker included.")
          .Register(registry_);
  std::mutex mutex_;  // operations_
  std::map<std::string, Operation, std::less<>> operations_;

 public:
  Gauge& in_flight = gauge("vkb_requests_in_flight", "Requests that are being worked on.");
  Gauge& connections = gauge("vkb_connections", "Open connections.");
  Counter& refused = prometheus::BuildCounter()
                         .Name("vkb_connections_refused_total")
                         .Help("Connections beyond the limit.")
                         .Register(registry_)
                         .Add({});
};

Metrics::Metrics(const Facts& facts, std::function<StoreGauges()> collect)
    : implementation_(std::make_unique<Implementation>(facts, std::move(collect))) {}
Metrics::~Metrics() = default;

void Metrics::request_began() noexcept { implementation_->in_flight.Increment(); }

void Metrics::request_left() noexcept { implementation_->in_flight.Decrement(); }

void Metrics::count_answer(std::string_view operation, int status, double seconds) {
  implementation_->count(operation, status, seconds);
}

void Metrics::connection_opened() noexcept { implementation_->connections.Increment(); }
void Metrics::connection_closed() noexcept { implementation_->connections.Decrement(); }
void Metrics::connection_refused() noexcept { implementation_->refused.Increment(); }

std::string Metrics::text() const { return implementation_->text(); }
std::string_view Metrics::content_type() noexcept {
  return "text/plain; version=0.0.4; charset=utf-8";
}

}  // namespace vkb

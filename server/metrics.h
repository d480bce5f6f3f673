// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace vkb {

// What is known of a store at one moment.
struct StoreGauges {
  struct OfCollection {
    std::string tenant{};
    std::string database{};
    std::string name{};
    std::uint64_t records = 0;
    std::uint64_t unsealed = 0;  // records whose vector is still in the log
    std::uint64_t tombstones = 0;
    std::uint64_t segments = 0;
    std::uint64_t bytes = 0;
  };
  // Of any number: the first kMostCollections are shown.
  static constexpr std::size_t kMostCollections = 1000;
  std::vector<OfCollection> collections{};
  std::uint64_t collection_count = 0;
  std::uint64_t database_bytes = 0;
  std::uint64_t segment_bytes = 0;
};

// A name as the value of a label: a long one is cut to 128 bytes of UTF-8, of which the end is a
// digest of the whole, so that different names stay different.
std::string label_of(const std::string& name);

// Counts requests, and says what it counted in the text format of Prometheus. The names are in
// docs/operations/serve.md. Thread safety: all methods.
class Metrics {
 public:
  struct Facts {
    std::string version{};
    double open_seconds = 0;  // from the start of the process to the opened store
  };
  // `collect` is called for each text(), and may throw: then the text goes without its gauges.
  Metrics(const Facts& facts, std::function<StoreGauges()> collect);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  void request_began() noexcept;
  void request_left() noexcept;  // answered or not
  // `operation` is one of a fixed set: each new one costs memory for good.
  void count_answer(std::string_view operation, int status, double seconds);
  void connection_opened() noexcept;
  void connection_closed() noexcept;
  void connection_refused() noexcept;

  std::string text() const;
  static std::string_view content_type() noexcept;

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

// Counts a request as in flight while it is there. `metrics` may be null.
class RequestInFlight {
 public:
  explicit RequestInFlight(Metrics* metrics) : metrics_(metrics) {
    if (metrics_ != nullptr) metrics_->request_began();
  }
  ~RequestInFlight() {
    if (metrics_ != nullptr) metrics_->request_left();
  }
  RequestInFlight(const RequestInFlight&) = delete;
  RequestInFlight& operator=(const RequestInFlight&) = delete;

 private:
  Metrics* metrics_;
};

}  // namespace vkb

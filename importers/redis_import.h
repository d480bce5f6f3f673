// SPDX-License-Identifier: Apache-2.0
//
// From a Redis knowledge base to a collection: plan, load, verify, report. docs/redis_import.md is
// the operator's view of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/vkb.h"
#include "importers/redis_backup.h"
#include "importers/redis_client.h"
#include "importers/redis_schema.h"
#include "importers/redis_source.h"
#include "importers/redis_verify.h"

namespace vkb {

struct RedisImportOptions {
  RedisUrl url;
  RedisSelection selection;
  std::string store;                             // directory; made when it is not there
  std::chrono::milliseconds lock_timeout{5000};  // how long to wait for another writer
  std::uint64_t memory_limit = 0;                // the store's, see OpenOptions
  std::string collection;                        // made when it is not there
  std::optional<std::string> model;
  std::size_t batch_size = 4000;
  std::optional<std::uint64_t> limit;
  bool dry_run = false;  // plan and sample only; writes nothing
  bool fresh = false;    // delete the collection first
  bool backup = false;
  bool verify = true;
  std::size_t verify_samples = 100;
  std::size_t verify_queries = 100;
  bool allow_missing_documents = false;
  std::optional<std::string> rejects_file;  // default: rejects.jsonl in the report directory
  std::optional<std::string> report;        // default: <store>/reports/<UTC time>-<collection>
  std::uint64_t seed = 0;                   // of the random samples; 0: from the clock
  std::chrono::milliseconds retry_for{30000};
  FileSystem* file_system = nullptr;  // of the store; replaced by tests only

  ProgressFunction progress;                      // false stops at the next safe point
  std::function<bool()> stopped;                  // the same, for waits in between; any thread
  std::function<void(std::string_view)> message;  // a line for people
};

// Where the time went, in seconds of the wall clock.
struct RedisImportTimes {
  double planning = 0;
  double backup = 0;
  double reading = 0;  // waiting for Redis while nothing could be stored
  double storing = 0;
  double graph = 0;  // building, after the last record was stored
  double verification = 0;
  double total = 0;
};

struct RatePoint {
  double seconds = 0;  // since loading began
  std::uint64_t records = 0;
  std::string step;  // "load", "index", "build"
};

struct RedisImportResult {
  std::string collection;
  std::string collection_uuid;
  std::string source;  // URL without the password
  std::string redis_version;
  RedisPlan plan;
  std::uint64_t records_seen = 0;
  SourceCounts counts;
  std::string rejects_file;  // "" when nothing was rejected
  std::optional<RedisBackup> backup;
  std::optional<Verification> verification;
  RedisImportTimes times;
  std::vector<RatePoint> rate;
  double vectors_per_second = 0;  // imported records by the time from the first read to the graph
  std::uint64_t peak_resident_bytes = 0;
  std::string report;  // directory; "" for a dry run
  std::string began;   // UTC, "2026-01-31T12:00:00Z"
  bool dry_run = false;
  bool stopped = false;
};

// Imports what is not yet there. An interrupted import goes on when called again; a finished one
// changes nothing. Errors beyond those of RedisClient, plan_redis_import and Store:
// invalid_argument when the source's records have no text and that was not allowed, or the
// collection there is of another dimension or space.
RedisImportResult import_redis(const RedisImportOptions& options);

}  // namespace vkb

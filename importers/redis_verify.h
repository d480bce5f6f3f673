// SPDX-License-Identifier: Apache-2.0
//
// The proof that an import lost nothing: counts, every stored record against the hash of what was
// read, random records against Redis itself, and answers against the source's answers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/vkb.h"
#include "importers/line_file.h"
#include "importers/redis_client.h"
#include "importers/redis_schema.h"
#include "importers/redis_source.h"

namespace vkb {

struct VerifyOptions {
  std::size_t samples = 100;
  std::size_t queries = 100;
  double least_overlap = 0.95;
  ProgressFunction progress;
};

// Random vectors as queries.
struct AnswerOverlap {
  std::uint64_t queries = 0;
  double top10_overlap = 0;  // with the exact answer
  std::string reference;     // "redis": its exact answer; "exact": computed from its vectors
  std::optional<double> top10_overlap_default;  // with what Redis answers when asked as usual
  std::optional<double> source_recall_default;  // of that answer itself
};

struct Verification {
  // Counts.
  std::uint64_t source_count = 0;      // records taken from the source in its whole scan
  std::uint64_t store_count = 0;       // records in the collection
  std::uint64_t missing = 0;           // taken, but not in the collection
  std::uint64_t gone_from_source = 0;  // imported earlier, no longer in Redis
  std::uint64_t not_imported = 0;      // in the collection, but not from Redis
  bool count_ok = false;
  // Every stored record, rebuilt and compared with the hash of the bytes that Redis gave.
  std::uint64_t records_proved = 0;
  std::uint64_t records_damaged = 0;
  std::string keys_digest;  // of the keys proved; see redis_report.h
  // Random records, read again from Redis.
  std::uint64_t samples_checked = 0;
  std::uint64_t samples_equal = 0;
  std::uint64_t documents_equal = 0;
  std::uint64_t samples_changed = 0;  // changed in Redis since they were read
  std::vector<std::string> poisoned;  // keys whose vectors spoil Redis's own answers
  AnswerOverlap overlap;

  bool stopped = false;
  bool passed = false;
  std::vector<std::string> problems;  // sentences, with examples; empty when passed
  double seconds = 0;
};

// Compares the collection with the source that `source` was read from. Writes a line for each
// proved key to `keys`: escaped key, tab, hash.
Verification verify_import(RedisClient& client, const RedisPlan& plan, const Collection& collection,
                           const RedisSource& source, const VerifyOptions& options, LineFile& keys);

// Digest of a set of keys: XXH3-128 over their sorted hashes.
std::string digest_of_keys(std::vector<Hash128> keys);

}  // namespace vkb

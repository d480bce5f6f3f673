// SPDX-License-Identifier: Apache-2.0
//
// The records of a Redis as a Source for Collection::load: scan, read, map, and leave out what the
// collection has already.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "engine/vkb.h"
#include "importers/line_file.h"
#include "importers/redis_read.h"
#include "importers/redis_record.h"
#include "importers/redis_schema.h"

namespace vkb {

// The rejects file: one JSON line for each key that was not taken, with all its fields. Created,
// with its directory, by the first line. Thread safety: one thread at a time.
class RejectLog {
 public:
  explicit RejectLog(std::string path) : path_(std::move(path)) {}
  // Creates or empties the file now, so that a place where it cannot be is known in time.
  void create();
  void add(const RawRecord& raw, const Rejection& rejection);
  void close();
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  std::unique_ptr<LineFile> file_;
};

struct SourceCounts {
  std::uint64_t keys = 0;      // of the knowledge base: taken and rejected
  std::uint64_t imported = 0;  // given to the collection, new or changed
  std::uint64_t unchanged = 0;
  std::uint64_t rejected = 0;
  std::uint64_t other_keys = 0;  // under the scanned prefix, but not of the knowledge base
  std::uint64_t vanished = 0;
  std::uint64_t metadata_from_fields = 0;
  std::array<std::uint64_t, kTextSources> texts{};
  std::map<std::string, std::uint64_t> reasons;
  std::uint64_t bytes_read = 0;

  std::uint64_t accepted() const noexcept { return imported + unchanged; }
  std::uint64_t with_text() const noexcept;
};

struct RedisSourceOptions {
  std::size_t batch_size = 1000;
  std::optional<std::uint64_t> limit;  // take no more records than this
  std::size_t samples = 0;             // keys to choose for sample()
  std::uint64_t seed = 0;
  std::function<bool()> stopped;  // answers true: give up; called from the thread of next()
};

// Collection::load calls next() while it stores the batch before, so reading and storing overlap.
// Thread safety: one thread at a time.
class RedisSource final : public Source {
 public:
  // `collection` tells which records are there already.
  RedisSource(RedisClient& client, const RedisPlan& plan, const Collection& collection,
              RejectLog& rejects, RedisSourceOptions options);

  bool next(std::vector<Record>& batch) override;
  std::uint64_t size_hint() const override { return size_hint_; }

  const SourceCounts& counts() const noexcept { return counts_; }
  // Whether the whole source was read: not stopped, and no limit met.
  bool complete() const noexcept { return complete_; }
  // Keys chosen uniformly from those that were accepted.
  const std::vector<std::string>& sample() const noexcept { return sample_; }
  // Whether the record `id` at `key` is one that was accepted.
  bool accepted(std::string_view id, std::string_view key) const;
  // Hashes of the keys of all records that were accepted, ascending.
  std::vector<Hash128> accepted_keys() const;
  // Keys whose vectors spoil RediSearch's graph: not finite (rejected), or zero under cosine.
  const std::vector<std::string>& poisoned_keys() const noexcept { return poisoned_keys_; }

 private:
  // Reads until there is a batch of records to consider; false when there are no more keys.
  bool read_batch(std::vector<MappedRecord>& mapped);
  // Puts a record into `mapped`, or counts it as what else it is.
  void sort_in(RawRecord&& raw, std::vector<MappedRecord>& mapped);
  void admit(std::vector<MappedRecord>&& mapped, std::vector<Record>& batch);
  std::unordered_map<std::string, RedisOriginal> stored_origins(
      const std::vector<MappedRecord>& mapped) const;
  void accept(MappedRecord&& mapped, bool unchanged, std::vector<Record>& batch);
  void reject(const RawRecord& raw, const Rejection& rejection);
  void reject_duplicate(const MappedRecord& mapped, const std::string& first_key);
  std::string first_key_of(const std::string& id) const;
  bool still_at(const std::string& key, const std::string& id);

  RedisClient& client_;
  const RedisPlan& plan_;
  const Collection& collection_;
  RejectLog& rejects_;
  RedisSourceOptions options_;
  bool store_was_empty_;
  std::uint64_t size_hint_ = 0;

  KeyScan scan_;
  RecordReader reader_;
  std::vector<std::string> keys_;  // of the scan's last step
  std::size_t keys_read_ = 0;
  std::size_t batch_bytes_ = 0;
  SourceCounts counts_;
  std::unordered_map<Hash128, Hash128> accepted_;             // id -> key, of this run
  std::unordered_set<Hash128> left_out_;                      // keys rejected, other, in this run
  std::unordered_map<std::string, std::string> recent_keys_;  // id -> key of the last few batches
  std::vector<std::string> sample_;
  std::vector<std::string> poisoned_keys_;
  std::mt19937_64 random_;
  bool complete_ = false;
};

}  // namespace vkb

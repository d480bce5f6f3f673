// SPDX-License-Identifier: Apache-2.0
//
// Reading many keys of a Redis: the scan over their names, and their records in pipelines.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "importers/redis_client.h"
#include "importers/redis_record.h"

namespace vkb {

// The keys that begin with one of some prefixes, by SCAN. A key may come more than once, and comes
// at least once when it is there all the time. When the server was restarted in between the scan
// begins anew, because the old cursor means nothing to it. Thread safety: one thread at a time.
class KeyScan {
 public:
  KeyScan(RedisClient& client, std::vector<std::string> prefixes);
  // Replaces `keys` with the next few, perhaps none; returns false at the end.
  bool next(std::vector<std::string>& keys);

 private:
  RedisClient* client_;
  std::vector<std::string> prefixes_;
  std::size_t prefix_ = 0;
  std::string cursor_ = "0";
  std::string instance_;
};

// One key as it was found.
struct RawRecord {
  std::string key;
  RedisFields fields;
  bool vanished = false;   // deleted or expired since its name was read
  std::string wrong_type;  // what it is when it is no hash (or no JSON document)
};

// Reads records in pipelines whose size follows the size of the records, so that memory stays
// bounded whatever they hold. Thread safety: one thread at a time.
class RecordReader {
 public:
  RecordReader(RedisClient& client, bool json) : client_(&client), json_(json) {}
  // Reads the first few of `keys`, at least one; returns them in order.
  std::vector<RawRecord> read_some(std::span<const std::string> keys);
  // Reads all of them.
  std::vector<RawRecord> read_all(std::span<const std::string> keys);
  std::uint64_t bytes_read() const noexcept { return bytes_read_; }

 private:
  RedisClient* client_;
  bool json_;
  std::size_t chunk_ = 32;
  std::uint64_t bytes_read_ = 0;
};

}  // namespace vkb

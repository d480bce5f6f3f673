// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_cleanup.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "importers/bytes.h"
#include "importers/redis_read.h"
#include "importers/redis_report.h"
#include "importers/redis_verify.h"

namespace vkb {
namespace {

constexpr std::size_t kNamedKeys = 100;
constexpr std::size_t kMostBatch = 10000;
constexpr std::size_t kLookedAt = 1000;

struct ImportedKey {
  std::string key;
  Hash128 hash;
};

// The lines of keys.tsv, one after the other.
class KeyList {
 public:
  explicit KeyList(std::string path) : path_(std::move(path)), file_(path_, std::ios::binary) {
    if (!file_) throw Error(ErrorCode::not_found, path_ + " cannot be read");
  }

  bool next(ImportedKey& out) {
    std::string line;
    if (!std::getline(file_, line)) return false;
    const std::size_t tab = line.find('\t');
    const auto hash = tab == std::string::npos ? std::nullopt
                                               : parse_hash(std::string_view(line).substr(tab + 1));
    if (!hash) throw Error(ErrorCode::corruption, path_ + ": a line is not a key and its hash");
    out = {unescape_bytes(std::string_view(line).substr(0, tab)), *hash};
    return true;
  }

 private:
  std::string path_;
  std::ifstream file_;
};

std::uint64_t memory_value(RedisClient& client, std::string_view name) {
  const Reply info = client.ask({"INFO", "memory"});
  return info.is_error() ? 0 : std::strtoull(info_value(info.text, name).c_str(), nullptr, 10);
}

class Cleanup {
 public:
  explicit Cleanup(const RedisCleanupOptions& options)
      : options_(options),
        report_(read_report(options.report)),
        keys_file_(options.report + "/keys.tsv") {}

  RedisCleanupResult run() {
    const auto start = std::chrono::steady_clock::now();
    check_report();
    RedisClient client(options_.url,
                       {.retry_for = options_.retry_for, .stopped = options_.stopped});
    result_.source = client.url().name();
    result_.index = report_.index;
    result_.keys = report_.keys;
    result_.yes = options_.yes;
    result_.used_memory_before = memory_value(client, "used_memory");
    if (!report_.index.empty()) drop_index(client);
    delete_keys(client);
    result_.used_memory_after = memory_value(client, "used_memory");
    result_.resident_after = memory_value(client, "used_memory_rss");
    result_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(result_);
  }

 private:
  void check_report() const {
    if (!report_.passed) {
      throw Error(ErrorCode::invalid_argument,
                  options_.report +
                      ": this import did not pass its verification, so nothing is "
                      "deleted; import again until it does");
    }
    std::vector<Hash128> hashes;
    ImportedKey key;
    for (KeyList list(keys_file_); list.next(key);) hashes.push_back(hash_bytes(key.key));
    if (hashes.size() != report_.keys || digest_of_keys(std::move(hashes)) != report_.keys_digest) {
      throw Error(ErrorCode::corruption,
                  keys_file_ + " is not the list of keys that report.json was written with");
    }
  }

  void drop_index(RedisClient& client) {
    const Reply info = client.ask({"FT.INFO", report_.index});
    if (info.error_starts_with("NOPERM")) client.fail(info, "FT.INFO");
    result_.index_there = !info.is_error();
    if (!result_.index_there || !options_.yes || !looks_like_the_source(client)) return;
    // Never DD: it would delete every key the index knows, imported or not.
    const Reply reply = client.ask({"FT.DROPINDEX", report_.index});
    if (reply.error_starts_with("NOPERM")) client.fail(reply, "FT.DROPINDEX");
    // Any other error is an index that is gone: dropped by the attempt before a lost connection.
    result_.index_dropped = true;
  }

  // Keys prove themselves by their content, an index has nothing but its name: on a server where
  // none of the first keys is as it was imported, that index may be anything.
  bool looks_like_the_source(RedisClient& client) const {
    KeyList list(keys_file_);
    std::vector<std::string> keys;
    std::vector<Hash128> hashes;
    for (ImportedKey one; keys.size() < kLookedAt && list.next(one);) {
      keys.push_back(one.key);
      hashes.push_back(one.hash);
    }
    const std::vector<RawRecord> found = RecordReader(client, report_.json).read_all(keys);
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (!found[i].fields.empty() && hash_of(found[i].fields) == hashes[i]) return true;
    }
    return false;
  }

  void delete_keys(RedisClient& client) {
    KeyList list(keys_file_);
    RecordReader reader(client, report_.json);
    const std::size_t batch = std::clamp<std::size_t>(options_.batch_size, 1, kMostBatch);
    std::vector<ImportedKey> keys;
    std::uint64_t done = 0;
    for (bool more = true; more;) {
      keys.clear();
      for (ImportedKey key; keys.size() < batch && (more = list.next(key));) keys.push_back(key);
      delete_batch(client, reader, keys);
      done += keys.size();
      const bool go_on =
          (!options_.stopped || !options_.stopped()) &&
          (!options_.progress ||
           options_.progress(
               {.step = options_.yes ? "delete" : "check", .done = done, .total = report_.keys}));
      if (!go_on && more) {
        result_.stopped = true;
        return;
      }
    }
  }

  // Reads and deletes a pipeline's worth at a time: what was read as unchanged is deleted within
  // milliseconds.
  void delete_batch(RedisClient& client, RecordReader& reader,
                    const std::vector<ImportedKey>& imported) {
    std::vector<std::string> keys;
    for (const ImportedKey& one : imported) keys.push_back(one.key);
    for (std::size_t at = 0; at < keys.size();) {
      RedisCommand unlink = {"UNLINK"};
      for (const RawRecord& raw : reader.read_some(std::span(keys).subspan(at))) {
        if (raw.vanished) {
          ++result_.gone;
        } else if (!raw.wrong_type.empty() || hash_of(raw.fields) != imported[at].hash) {
          ++result_.changed;
          if (result_.changed_keys.size() < kNamedKeys) {
            result_.changed_keys.push_back(escape_bytes(raw.key));
          }
        } else {
          ++result_.unchanged;
          unlink.push_back(raw.key);
        }
        ++at;
      }
      if (!options_.yes || unlink.size() == 1) continue;
      client.command(unlink);
      // Not what UNLINK counts: a repetition after a lost connection finds nothing to delete.
      result_.deleted += unlink.size() - 1;
    }
  }

  const RedisCleanupOptions& options_;
  ImportReport report_;
  std::string keys_file_;
  RedisCleanupResult result_;
};

}  // namespace

RedisCleanupResult cleanup_redis(const RedisCleanupOptions& options) {
  return Cleanup(options).run();
}

std::string cleanup_result_json(const RedisCleanupResult& result) {
  using Json = nlohmann::ordered_json;
  const Json json = {{"source", result.source},
                     {"index", result.index.empty() ? Json(nullptr) : Json(result.index)},
                     {"index_dropped", result.index_dropped},
                     {"dry_run", !result.yes},
                     {"keys", result.keys},
                     {"unchanged", result.unchanged},
                     {"deleted", result.deleted},
                     {"changed", result.changed},
                     {"gone", result.gone},
                     {"changed_keys", result.changed_keys},
                     {"used_memory_before", result.used_memory_before},
                     {"used_memory_after", result.used_memory_after},
                     {"resident_after", result.resident_after},
                     {"freed_by_restart", result.freed_by_restart()},
                     {"stopped", result.stopped},
                     {"seconds", result.seconds}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_verify.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "engine/work_beside.h"
#include "importers/redis_overlap.h"
#include "importers/redis_read.h"
#include "importers/redis_record.h"

namespace vkb {
namespace {

constexpr std::size_t kExamples = 10;  // named in a problem
constexpr std::uint64_t kProgressEvery = 5000;

struct IdAndKey {
  std::string id;
  std::string key;
};

// What the walk over the whole collection finds.
struct Walk {
  std::vector<Hash128> proved;  // hashes of keys
  std::vector<std::string> damaged;
  std::vector<IdAndKey> unexpected;  // imported, but not met in this run's scan
  bool stopped = false;
};

void add_problem(Verification& out, const std::string& sentence,
                 const std::vector<std::string>& examples) {
  std::string text = sentence;
  for (std::size_t i = 0; i < std::min(examples.size(), kExamples); ++i) {
    text += (i == 0 ? ": " : ", ") + escape_bytes(examples[i]);
  }
  out.problems.push_back(text + (examples.size() > kExamples ? ", …" : ""));
}

// The vectors of what is proved are what Redis gave, bit for bit: `exact` is told of them, of all
// unless RediSearch's answer has come, which stands in for it.
Walk prove_records(const Collection& collection, const RedisSource& source,
                   const VerifyOptions& options, const std::atomic<bool>& answered,
                   ExactNeighbours& exact, Verification& out, LineFile& keys) {
  Walk walk;
  out.store_count = collection.count();
  std::uint64_t done = 0;
  const Include all{.embeddings = true, .uris = true, .origins = true};
  collection.for_each(all, [&](Record&& record) {
    ++done;
    if (options.progress && done % kProgressEvery == 0 &&
        !options.progress({.step = "prove", .done = done, .total = out.store_count})) {
      walk.stopped = true;
      return false;
    }
    if (!record.origin) {
      ++out.not_imported;
      return true;
    }
    RedisOriginal original;
    try {
      original = rebuild_hash(record);
    } catch (const Error&) {
      walk.damaged.push_back(record.id);
      return true;
    }
    if (hash_of(original.fields) != original.hash) {
      walk.damaged.push_back(original.key);
    } else if (source.accepted(record.id, original.key)) {
      walk.proved.push_back(hash_bytes(original.key));
      if (record.embedding && !answered) exact.add(original.key, *record.embedding);
      keys.write(escape_bytes(original.key) + '\t' + original.hash.hex() + '\n');
    } else {
      walk.unexpected.push_back({record.id, original.key});
    }
    return true;
  });
  return walk;
}

// Records of an earlier run whose keys are gone, or hold something else now, are no loss.
std::vector<std::string> not_explained(RedisClient& client, const RedisPlan& plan,
                                       const std::vector<IdAndKey>& unexpected) {
  std::vector<std::string> out;
  RecordReader reader(client, plan.mapping.json);
  for (const IdAndKey& record : unexpected) {
    const RawRecord raw = reader.read_some({&record.key, 1}).front();
    if (raw.vanished || !raw.wrong_type.empty()) continue;
    const auto mapped = map_record(raw.key, raw.fields, plan.mapping);
    const auto* good = std::get_if<MappedRecord>(&mapped);
    if (good != nullptr && good->record.id == record.id) out.push_back(record.key);
  }
  return out;
}

void check_counts(RedisClient& client, const RedisPlan& plan, const RedisSource& source,
                  const Walk& walk, Verification& out) {
  out.source_count = source.counts().accepted();
  out.records_proved = walk.proved.size();
  out.records_damaged = walk.damaged.size();
  // With a limit the scan says nothing about the records it did not reach.
  const std::vector<std::string> extra =
      source.complete() ? not_explained(client, plan, walk.unexpected) : std::vector<std::string>();
  out.gone_from_source = source.complete() ? walk.unexpected.size() - extra.size() : 0;
  const std::uint64_t present = out.records_proved + out.records_damaged;
  out.missing = out.source_count - std::min(out.source_count, present);
  out.count_ok = out.records_proved == out.source_count && extra.empty();
  if (!walk.damaged.empty()) {
    add_problem(out,
                count_of(walk.damaged.size(), "record") + " cannot be rebuilt as Redis gave them",
                walk.damaged);
  }
  if (out.missing > 0) {
    add_problem(out, count_of(out.missing, "record") + " read from Redis are not in the store", {});
  }
  if (!extra.empty()) {
    add_problem(out,
                count_of(extra.size(), "record") +
                    " in the store were not met in this scan of "
                    "Redis, though their keys are there",
                extra);
  }
}

// Whether vectors are equal bit for bit: == would take 0 and -0 for the same.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::optional<Record> stored_record(const Collection& collection, const std::string& id) {
  GetOptions get;
  get.ids = {id};
  get.include = {.embeddings = true, .uris = true, .origins = true};
  std::vector<Record> found = collection.get(get);
  if (found.empty()) return std::nullopt;
  return std::move(found.front());
}

struct Comparison {
  bool document = false;
  bool all = false;
  bool changed = false;
};

Comparison compare_record(const MappedRecord& expected, const RedisFields& fields,
                          const std::optional<Record>& stored) {
  Comparison result;
  if (!stored || !stored->origin) return result;
  const RedisOriginal original = rebuild_hash(*stored);
  result.changed = original.hash != expected.hash;
  result.document = stored->document == expected.record.document;
  const bool metadata =
      stored->metadata.value_or(Metadata()) == expected.record.metadata.value_or(Metadata());
  result.all = result.document && metadata && stored->embedding &&
               same_bits(*stored->embedding, *expected.record.embedding) &&
               original.key == expected.key && original.fields == fields;
  return result;
}

// The bytes RediSearch wants for a query with this vector; "" when they cannot be given.
std::string query_blob(const MappedRecord& mapped, const RedisFields& fields,
                       const RedisMapping& mapping) {
  if (!mapping.json) return *find_field(fields, mapping.vector_field);
  if (mapping.type != VectorType::float32) return "";
  const std::vector<float>& vector = *mapped.record.embedding;
  return {reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float)};
}

// Every distance from a zero vector is the same: nothing to compare.
bool has_direction(const MappedRecord& mapped) {
  const std::vector<float>& vector = *mapped.record.embedding;
  return std::any_of(vector.begin(), vector.end(), [](float c) { return c != 0; });
}

// Reads the sampled keys again, compares them, and returns those to ask with.
std::vector<OverlapQuery> check_samples(RedisClient& client, const RedisPlan& plan,
                                        const Collection& collection, const RedisSource& source,
                                        const VerifyOptions& options, Verification& out) {
  std::vector<OverlapQuery> queries;
  std::vector<std::string> different;
  std::vector<std::string> changed;
  RecordReader reader(client, plan.mapping.json);
  for (const std::string& key : source.sample()) {
    const RawRecord raw = reader.read_some({&key, 1}).front();
    if (raw.vanished || !raw.wrong_type.empty()) continue;  // expired since it was read
    const auto result = map_record(raw.key, raw.fields, plan.mapping);
    const auto* expected = std::get_if<MappedRecord>(&result);
    if (expected != nullptr && queries.size() < options.queries && has_direction(*expected)) {
      queries.push_back(
          {*expected->record.embedding, query_blob(*expected, raw.fields, plan.mapping)});
    }
    if (out.samples_checked == options.samples) continue;
    ++out.samples_checked;
    Comparison comparison;
    if (expected != nullptr) {
      comparison =
          compare_record(*expected, raw.fields, stored_record(collection, expected->record.id));
    }
    out.samples_equal += comparison.all ? 1 : 0;
    out.documents_equal += comparison.document ? 1 : 0;
    if (!comparison.all) (comparison.changed ? changed : different).push_back(key);
  }
  out.samples_changed = changed.size();
  if (!different.empty()) {
    add_problem(out, count_of(different.size(), "sampled record") + " differ from Redis",
                different);
  }
  if (!changed.empty()) {
    add_problem(out,
                count_of(changed.size(), "sampled record") +
                    " changed in Redis since they were read (run the same command again)",
                changed);
  }
  return queries;
}

void check_overlap(const VerifyOptions& options, Verification& out) {
  const AnswerOverlap& overlap = out.overlap;
  if (overlap.queries == 0 || overlap.top10_overlap >= options.least_overlap) return;
  add_problem(out,
              "the top 10 agree with the exact answer in " + std::to_string(overlap.top10_overlap) +
                  " of the places, less than " + std::to_string(options.least_overlap),
              {});
}

}  // namespace

std::string digest_of_keys(std::vector<Hash128> keys) {
  std::sort(keys.begin(), keys.end());
  return hash_bytes({reinterpret_cast<const char*>(keys.data()), keys.size() * sizeof(Hash128)})
      .hex();
}

Verification verify_import(RedisClient& client, const RedisPlan& plan, const Collection& collection,
                           const RedisSource& source, const VerifyOptions& options,
                           LineFile& keys) {
  const auto began = std::chrono::steady_clock::now();
  Verification out;
  out.poisoned = source.poisoned_keys();
  const std::vector<OverlapQuery> queries =
      check_samples(client, plan, collection, source, options, out);
  const std::vector<Neighbours> ours = ask_collection(collection, queries);
  std::vector<std::vector<float>> vectors;
  for (const OverlapQuery& query : queries) vectors.push_back(query.vector);
  ExactNeighbours exact(plan.space, plan.mapping.dim, vectors, kOverlapTop);
  const std::vector<Hash128> accepted = source.accepted_keys();
  const IndexTask task{.queries = queries,
                       .ours = ours,
                       .accepted =
                           [&](const std::string& key) {
                             return std::binary_search(accepted.begin(), accepted.end(),
                                                       hash_bytes(key));
                           },
                       .accepted_count = source.counts().accepted(),
                       .poisoned_count = out.poisoned.size()};
  std::atomic<bool> answered = false;
  WorkBeside<std::optional<AnswerOverlap>> index([&](const ProgressFunction& note) {
    const std::optional<AnswerOverlap> overlap = compare_with_index(client, plan, task, note);
    answered = overlap.has_value();  // only what is returned: rows left out cannot be got back
    return overlap;
  });
  const Walk walk = prove_records(collection, source, options, answered, exact, out, keys);
  if (walk.stopped) index.stop();
  index.wait(options.progress);
  out.stopped = index.stopped();
  if (!out.stopped) {
    if (!queries.empty()) {
      const std::optional<AnswerOverlap> overlap = index.take();
      out.overlap = overlap ? *overlap : compare_with_exact(ours, exact.finish());
    }
    check_counts(client, plan, source, walk, out);
    check_overlap(options, out);
    out.keys_digest = digest_of_keys(walk.proved);
  }
  out.passed = !out.stopped && out.problems.empty() && out.count_ok;
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return out;
}

}  // namespace vkb

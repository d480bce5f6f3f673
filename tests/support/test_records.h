// SPDX-License-Identifier: Apache-2.0
//
// Records with known contents, distances by the book, and a Source over a vector.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/vkb.h"
#include "tests/support/test_data.h"

namespace vkb {

// "<prefix><number>".
inline std::string numbered(std::string_view prefix, std::uint64_t number) {
  std::string text(prefix);
  text += std::to_string(number);
  return text;
}

inline std::vector<float> random_vector(TestRandom& random, std::size_t dim) {
  std::vector<float> vector(dim);
  for (float& value : vector) value = random.real();
  return vector;
}

inline Record test_record(std::string id, std::vector<float> vector) {
  Record record;
  record.id = std::move(id);
  record.embedding = std::move(vector);
  return record;
}

// Records "<prefix>0" .. with a document, metadata {"n": i, "group": "g<i % 10>"} and random
// vectors.
inline std::vector<Record> test_records(std::size_t count, std::size_t dim, std::uint64_t seed = 1,
                                        const std::string& prefix = "r") {
  TestRandom random(seed);
  std::vector<Record> records;
  for (std::size_t i = 0; i < count; ++i) {
    Record record = test_record(numbered(prefix, i), random_vector(random, dim));
    record.document = numbered("document ", i);
    record.metadata =
        Metadata{{"n", static_cast<std::int64_t>(i)}, {"group", numbered("g", i % 10)}};
    records.push_back(std::move(record));
  }
  return records;
}

// The `count` records "g<group>-<i>" of one group, all of one version: what a reader must never see
// mixed.
inline std::vector<Record> group_at(std::int64_t group, std::int64_t version, std::int64_t count) {
  std::vector<Record> records;
  for (std::int64_t i = 0; i < count; ++i) {
    Record record = test_record(
        numbered(numbered("g", static_cast<std::uint64_t>(group)) + "-",
                 static_cast<std::uint64_t>(i)),
        {static_cast<float>(version), static_cast<float>(i), static_cast<float>(group), 1.0F});
    record.metadata = Metadata{{"group", group}, {"version", version}};
    records.push_back(std::move(record));
  }
  return records;
}

// vkb.h's formulas in double.
inline double true_distance(Space space, std::span<const float> a, std::span<const float> b) {
  double dot = 0;
  double squared_a = 0;
  double squared_b = 0;
  double squared_l2 = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i];
    const double y = b[i];
    dot += x * y;
    squared_a += x * x;
    squared_b += y * y;
    squared_l2 += (x - y) * (x - y);
  }
  if (space == Space::l2) return squared_l2;
  if (space == Space::ip) return 1 - dot;
  const double lengths = std::sqrt(squared_a) * std::sqrt(squared_b);
  return lengths > 0 ? 1 - dot / lengths : 1;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// What a collection should hold, by id.
using Expected = std::map<std::string, Record>;

inline const Include kIncludeAll{
    .documents = true, .metadatas = true, .embeddings = true, .uris = true, .origins = true};

// What differs between a collection's records and what they should be; "" when nothing does.
inline std::string differences(const Expected& expected, std::span<const Record> actual) {
  if (actual.size() != expected.size()) {
    std::string missing;
    std::map<std::string, int> seen;
    for (const Record& record : actual) ++seen[record.id];
    for (const auto& [id, record] : expected) {
      if (!seen.contains(id)) missing += " missing " + id;
    }
    for (const auto& [id, count] : seen) {
      if (!expected.contains(id) || count > 1) missing += " surplus " + id;
    }
    return "expected " + std::to_string(expected.size()) + " records, found " +
           std::to_string(actual.size()) + ":" + missing.substr(0, 500);
  }
  for (const Record& record : actual) {
    const auto found = expected.find(record.id);
    if (found == expected.end()) return "unexpected record " + record.id;
    const Record& wanted = found->second;
    if (wanted.document != record.document) return "document of " + record.id;
    if (wanted.metadata != record.metadata) return "metadata of " + record.id;
    if (wanted.uri != record.uri) return "uri of " + record.id;
    if (!record.embedding || !wanted.embedding || !same_bits(*wanted.embedding, *record.embedding))
      return "embedding of " + record.id;
  }
  return "";
}

inline std::string differences(const Expected& expected, const Collection& collection) {
  if (collection.count() != expected.size()) {
    return "count() is " + std::to_string(collection.count()) + ", expected " +
           std::to_string(expected.size());
  }
  return differences(expected, collection.get({.ids = {}, .filter = {}, .include = kIncludeAll}));
}

inline Expected expected_of(std::span<const Record> records) {
  Expected expected;
  for (const Record& record : records) expected[record.id] = record;
  return expected;
}

// Whether `hits` is an exact answer: the right number, ascending, every distance right, and each
// as small as it has to be (equal distances may come in any order). `candidates` are the records
// that match.
inline std::string wrong_answer(Space space, std::span<const float> query, std::size_t k,
                                const Expected& candidates, const std::vector<Hit>& hits,
                                bool exact = true) {
  std::vector<double> distances;
  for (const auto& [id, record] : candidates) {
    distances.push_back(true_distance(space, query, *record.embedding));
  }
  std::sort(distances.begin(), distances.end());
  if (hits.size() != std::min(k, candidates.size())) {
    return std::to_string(hits.size()) + " hits of " + std::to_string(candidates.size()) +
           " candidates";
  }
  for (std::size_t i = 0; i < hits.size(); ++i) {
    const auto found = candidates.find(hits[i].record.id);
    if (found == candidates.end()) return "unexpected hit " + hits[i].record.id;
    const double distance = true_distance(space, query, *found->second.embedding);
    const double tolerance = 1e-4 * (1 + std::abs(distance));
    if (std::abs(distance - hits[i].distance) > tolerance) return "distance of " + found->first;
    if (i > 0 && hits[i].distance < hits[i - 1].distance) return "hits out of order";
    if (exact && std::abs(distances[i] - hits[i].distance) > tolerance) {
      return "hit " + std::to_string(i) + " is not the nearest";
    }
  }
  return "";
}

// Hands out records in batches.
class VectorSource : public Source {
 public:
  VectorSource(std::vector<Record> records, std::size_t batch)
      : records_(std::move(records)), batch_(batch) {}
  bool next(std::vector<Record>& batch) override {
    batch.clear();
    while (next_ < records_.size() && batch.size() < batch_) batch.push_back(records_[next_++]);
    return !batch.empty();
  }
  std::uint64_t size_hint() const override { return records_.size(); }

 private:
  std::vector<Record> records_;
  std::size_t batch_;
  std::size_t next_ = 0;
};

// check(deep) has nothing to say.
inline ::testing::AssertionResult is_sound(const Store& store) {
  const CheckResult result = store.check(true);
  if (result.problems.empty()) return ::testing::AssertionSuccess();
  auto failure = ::testing::AssertionFailure();
  for (const Problem& problem : result.problems) {
    failure << problem.object << ": " << problem.message << "\n";
  }
  return failure;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// A random workload that worker and verifier derive alike from (seed, number): what an operation
// does depends on nothing else, so the verifier knows every acknowledged operation's effect.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/test_records.h"

namespace vkb {

inline constexpr std::size_t kCrashDim = 4;
inline const CollectionOptions kCrashOptions{.space = Space::l2, .m = 4, .ef_construction = 20};

// How large operations are: `ids` different records in all.
struct WorkloadSize {
  std::uint64_t ids;
  std::uint64_t batch;
  std::uint64_t load;
  std::uint64_t load_batch;
};
inline constexpr WorkloadSize kSmallWorkload{300, 40, 200, 64};
inline constexpr WorkloadSize kLargeWorkload{6000, 2500, 6000, 1500};  // seals, builds graphs

struct Operation {
  // From `compact` on they change no record.
  enum class Kind { add, upsert, update, remove, remove_matches, load, compact, backup, repair };
  Kind kind = Kind::upsert;
  std::vector<Record> records;  // ids only for remove
  std::size_t load_batch = 0;
  std::string group;  // for remove_matches
};

inline Operation make_operation(std::uint64_t seed, std::uint64_t number,
                                const WorkloadSize& size) {
  TestRandom random(seed * 1'000'003 + number);
  using Kind = Operation::Kind;
  constexpr Kind kKinds[] = {Kind::add,    Kind::add,    Kind::upsert,         Kind::upsert,
                             Kind::upsert, Kind::update, Kind::remove,         Kind::remove,
                             Kind::load,   Kind::load,   Kind::remove_matches, Kind::compact,
                             Kind::backup, Kind::repair};
  Operation operation{.kind = kKinds[random.below(std::size(kKinds))],
                      .records = {},
                      .load_batch = size.load_batch,
                      .group = numbered("g", random.below(30))};
  const bool is_load = operation.kind == Kind::load;
  const std::uint64_t count = 1 + random.below(is_load ? size.load : size.batch);
  if (operation.kind >= Kind::compact || operation.kind == Kind::remove_matches) return operation;
  for (std::uint64_t i = 0; i < count; ++i) {
    Record record =
        test_record(numbered("id", random.below(size.ids)), random_vector(random, kCrashDim));
    record.document = numbered("operation ", number);
    record.metadata = Metadata{{"group", numbered("g", random.below(30))},
                               {"number", static_cast<std::int64_t>(number)}};
    operation.records.push_back(std::move(record));
  }
  return operation;
}

// Carries an operation out on the oracle. Every record has document and metadata with the same
// keys, so that to merge is to replace.
inline void apply_to(const Operation& operation, Expected& expected) {
  using Kind = Operation::Kind;
  if (operation.kind == Kind::remove_matches) {
    std::erase_if(expected, [&](const auto& entry) {
      return std::get<std::string>(entry.second.metadata->at("group")) == operation.group;
    });
  }
  for (const Record& record : operation.records) {
    const bool known = expected.contains(record.id);
    if (operation.kind == Kind::remove) {
      expected.erase(record.id);
    } else if (operation.kind == Kind::add ? !known : operation.kind != Kind::update || known) {
      expected[record.id] = record;
    }
  }
}

// The states that a store may be in when it dies inside `operation`: before it, after it, and for
// a load after each of its batches.
inline std::vector<Expected> possible_states(const Operation& operation, const Expected& before) {
  std::vector<Expected> states{before};
  if (operation.kind != Operation::Kind::load) {
    states.push_back(before);
    apply_to(operation, states.back());
    return states;
  }
  Operation batch = operation;
  for (std::size_t at = 0; at < operation.records.size(); at += operation.load_batch) {
    const auto begin = operation.records.begin() + static_cast<std::ptrdiff_t>(at);
    const std::size_t left = operation.records.size() - at;
    batch.records.assign(begin,
                         begin + static_cast<std::ptrdiff_t>(std::min(operation.load_batch, left)));
    Expected next = states.back();
    apply_to(batch, next);
    states.push_back(std::move(next));
  }
  return states;
}

// Where the store in `directory` is copied to by the operation of that number: beside it.
inline std::string backup_of(const std::string& directory, std::uint64_t number) {
  return directory + numbered("-backup", number);
}

inline void perform(const Operation& operation, std::uint64_t number, Store& store,
                    Collection& collection) {
  using Kind = Operation::Kind;
  switch (operation.kind) {
    case Kind::add:
      return collection.add(operation.records);
    case Kind::upsert:
      return collection.upsert(operation.records);
    case Kind::update:
      return collection.update(operation.records);
    case Kind::remove: {
      std::vector<std::string> ids;
      for (const Record& record : operation.records) ids.push_back(record.id);
      collection.remove(ids);
      return;
    }
    case Kind::remove_matches:
      collection.remove(Filter::compare(Filter::Op::eq, "group", operation.group));
      return;
    case Kind::load: {
      VectorSource source(operation.records, operation.load_batch);
      collection.load(source);
      return;
    }
    case Kind::compact:
      collection.compact();
      return;
    case Kind::backup:
      store.backup(backup_of(store.directory(), number));
      return;
    case Kind::repair:
      store.repair();
      return;
  }
}

}  // namespace vkb

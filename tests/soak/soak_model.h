// SPDX-License-Identifier: Apache-2.0
//
// What the processes of the soak agree on. Records come in groups; each commit makes all of one
// group's records its next generation, which says what they hold, or that there are none. The
// commits' order is in a page of memory that all processes share, and so is which of them were
// acknowledged: a reader knows every state that the store may be in, and those it may not.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/test_records.h"

namespace vkb {

inline constexpr std::uint32_t kSoakGroups = 180;
inline constexpr std::uint32_t kSoakGroupRecords = 32;
inline constexpr std::size_t kSoakDim = 128;  // the fewest that have codes
inline constexpr std::size_t kSoakReaders = 4;
inline constexpr std::uint32_t kPassingRecords = 40;
inline const CollectionOptions kSoakOptions{.space = Space::l2, .m = 8, .ef_construction = 40};

// Every eighth generation of a group is its removal; generation 0 is from before its first commit.
inline bool is_alive(std::uint32_t generation) { return generation % 8 != 0; }
// The third is an update that gives no embeddings: those of the one before stay.
inline bool keeps_embedding(std::uint32_t generation) { return generation % 8 == 3; }

// Every field of it depends on all three numbers.
inline Record soak_record(std::uint32_t group, std::uint32_t generation, std::uint32_t i) {
  const std::string name = numbered("g", group);
  const std::uint32_t embedded = generation - (keeps_embedding(generation) ? 1 : 0);
  TestRandom random((std::uint64_t{group} << 40) + (std::uint64_t{embedded} << 8) + i);
  Record record = test_record(numbered(name + "-", i), random_vector(random, kSoakDim));
  record.document = numbered("[" + name + "] holds ", i) + numbered(" at generation ", generation) +
                    std::string(50 + random.below(200), static_cast<char>('a' + i % 26));
  record.metadata = Metadata{{"group", std::int64_t{group}},
                             {"generation", std::int64_t{generation}},
                             {"name", numbered(name + ".", generation)}};
  return record;
}

inline std::vector<Record> soak_group(std::uint32_t group, std::uint32_t generation) {
  std::vector<Record> records;
  for (std::uint32_t i = 0; i < kSoakGroupRecords; ++i) {
    records.push_back(soak_record(group, generation, i));
  }
  return records;
}

// The memory that all processes share; zero at first.
struct SoakPage {
  static constexpr std::uint64_t kHistory = 1 << 20;

  std::atomic<bool> stop;
  std::atomic<std::uint64_t> begun;         // commits are numbered from 1
  std::atomic<std::uint64_t> acknowledged;  // at most two less: a load fetches ahead
  std::atomic<std::uint64_t> seen;          // the latest that any reader saw
  std::atomic<std::uint64_t> backed_up;     // acknowledged before the last complete backup began
  std::atomic<std::uint64_t> writing_calls;
  std::atomic<std::uint64_t> compactions, backups, passing_collections;
  std::atomic<std::uint64_t> reads[kSoakReaders];
  std::atomic<std::uint64_t> walks;         // over the graph, from a record's own embedding
  std::atomic<std::uint64_t> missed_walks;  // of them, those that did not find it first
  std::atomic<std::uint64_t> held_walks;    // long for_each calls that ended
  // (group << 32) + generation, of commit n at n % kHistory.
  std::atomic<std::uint64_t> history[kHistory];

  void begin(std::uint64_t commit, std::uint32_t group, std::uint32_t generation) {
    history[commit % kHistory] = (std::uint64_t{group} << 32) + generation;
    begun = commit;
  }
  void raise_seen(std::uint64_t commit) {
    std::uint64_t before = seen;
    while (before < commit && !seen.compare_exchange_weak(before, commit)) {
    }
  }
  // What a reading call that begins now must see.
  std::uint64_t least() const { return std::max(acknowledged.load(), seen.load()); }
};

inline SoakPage& share_soak_page(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof(SoakPage)) != 0) throw std::runtime_error("no page");
  void* const memory = ::mmap(nullptr, sizeof(SoakPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (memory == MAP_FAILED) throw std::runtime_error("no page");
  return *static_cast<SoakPage*>(memory);
}

// The generation of each group after a commit.
using SoakState = std::array<std::uint32_t, kSoakGroups>;

inline void apply_commit(const SoakPage& page, std::uint64_t commit, SoakState& state) {
  const std::uint64_t change = page.history[commit % SoakPage::kHistory];
  state[change >> 32] = static_cast<std::uint32_t>(change);
}

inline SoakState state_after(const SoakPage& page, std::uint64_t commit) {
  SoakState state{};
  std::array<bool, kSoakGroups> known{};
  std::size_t left = kSoakGroups;
  for (std::uint64_t at = commit; at > 0 && left > 0; --at) {
    const std::uint64_t change = page.history[at % SoakPage::kHistory];
    const auto group = static_cast<std::size_t>(change >> 32);
    if (known[group]) continue;
    known[group] = true;
    state[group] = static_cast<std::uint32_t>(change);
    --left;
  }
  return state;
}

inline std::uint64_t live_groups(const SoakState& state) {
  return static_cast<std::uint64_t>(std::count_if(state.begin(), state.end(), is_alive));
}

// What a reading call answered, held against the commits that it may have seen.
class SoakAnswer {
 public:
  // low: of the page's least() before the call; high: its `begun` after the state was taken.
  SoakAnswer(const SoakPage& page, std::uint64_t low, std::uint64_t high)
      : page_(page), low_(low), high_(high) {}

  // One of the records; "" or what is wrong with it.
  std::string add(const Record& record) {
    const auto* group = record.metadata ? find(record, "group") : nullptr;
    const auto* generation = group != nullptr ? find(record, "generation") : nullptr;
    const std::size_t dash = record.id.find('-');
    if (generation == nullptr || dash == std::string::npos) return "metadata of " + record.id;
    const auto i = static_cast<std::uint32_t>(std::atoi(record.id.c_str() + dash + 1));
    const auto g = static_cast<std::uint32_t>(*group);
    const auto at = static_cast<std::uint32_t>(*generation);
    if (g >= kSoakGroups || i >= kSoakGroupRecords || !is_alive(at)) return "ids of " + record.id;
    const Record wanted = soak_record(g, at, i);
    const std::string wrong = differences({{wanted.id, wanted}}, {&record, 1});
    if (!wrong.empty()) return wrong + numbered(" at generation ", at);
    if (counts_[g]++ > 0 && generations_[g] != at) return "half a commit at " + record.id;
    generations_[g] = at;
    return "";
  }
  std::string add(std::span<const Record> records) {
    std::string wrong;
    for (std::size_t i = 0; i < records.size() && wrong.empty(); ++i) wrong = add(records[i]);
    return wrong;
  }

  // The call asked for all records of these groups, and for no others: "" or what is wrong.
  std::string expect_whole(std::span<const std::uint32_t> groups) {
    for (const std::uint32_t group : groups) {
      if (counts_[group] != 0 && counts_[group] != kSoakGroupRecords) {
        return numbered("half a group, ", counts_[group]) + numbered(" records of g", group);
      }
    }
    return expect_state([&](const SoakState& state) {
      return std::all_of(groups.begin(), groups.end(), [&](std::uint32_t group) {
        return counts_[group] == 0 ? !is_alive(state[group]) : state[group] == generations_[group];
      });
    });
  }
  // The call asked for some records of any groups.
  std::string expect_some() {
    return expect_state([&](const SoakState& state) {
      for (std::uint32_t group = 0; group < kSoakGroups; ++group) {
        if (counts_[group] > 0 && state[group] != generations_[group]) return false;
      }
      return true;
    });
  }
  std::string expect_count(std::uint64_t records) {
    return expect_state(
        [&](const SoakState& state) { return live_groups(state) * kSoakGroupRecords == records; });
  }
  // The first commit after which the store was as the answer says, once that was expected.
  std::uint64_t commit() const { return commit_; }

 private:
  template <typename Fits>
  std::string expect_state(const Fits& fits) {
    SoakState state = state_after(page_, low_);
    for (commit_ = low_;; apply_commit(page_, ++commit_, state)) {
      if (fits(state)) return "";
      if (commit_ >= high_) break;
    }
    std::string why = numbered("no state of the store between commits ", low_) +
                      numbered(" and ", high_) + ", of generations:";
    const SoakState before = state_after(page_, low_);
    for (std::uint32_t group = 0; group < kSoakGroups; ++group) {
      const bool is_other = counts_[group] > 0 && generations_[group] != before[group];
      if (!is_other && before[group] == state[group]) continue;
      why += numbered(" g", group) + numbered(" ", before[group]) + numbered("..", state[group]) +
             numbered(" seen ", generations_[group]);
    }
    return why;
  }
  static const std::int64_t* find(const Record& record, const std::string& key) {
    const auto found = record.metadata->find(key);
    return found == record.metadata->end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  }

  const SoakPage& page_;
  std::uint64_t low_;
  std::uint64_t high_;
  std::uint64_t commit_ = 0;
  SoakState counts_{};
  SoakState generations_{};
};

inline std::vector<std::uint32_t> all_soak_groups() {
  std::vector<std::uint32_t> groups(kSoakGroups);
  for (std::uint32_t group = 0; group < kSoakGroups; ++group) groups[group] = group;
  return groups;
}

// Finds out after which commit `collection` is as it is: "" or what is wrong.
inline std::string identify_commit(const SoakPage& page, std::uint64_t low,
                                   const Collection& collection, std::uint64_t& commit) {
  const std::vector<Record> records =
      collection.get({.ids = {}, .filter = {}, .include = kIncludeAll});
  SoakAnswer answer(page, low, page.begun);
  std::string wrong = answer.add(records);
  if (wrong.empty()) wrong = answer.expect_whole(all_soak_groups());
  commit = answer.commit();
  return wrong;
}

}  // namespace vkb

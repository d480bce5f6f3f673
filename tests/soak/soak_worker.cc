// SPDX-License-Identifier: Apache-2.0
//
// soak_worker writer DIR SECONDS | soak_worker READER DIR SECONDS: one process of a soak that takes
// so long, on DIR/store, until the page in DIR/page says stop. Reader 0 also keeps a for_each open
// for long. Ends with 1 after it told what was wrong.
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "tests/soak/soak_model.h"

namespace vkb {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(SoakPage& page, const std::string& who, const std::string& what) {
  std::fprintf(stderr, "soak: anomaly, %s: %s\n", who.c_str(), what.c_str());
  page.stop = true;
  std::_Exit(1);
}

struct Change {
  std::uint32_t group;
  std::uint32_t generation;
};

// A load of some groups, a batch each. A batch is asked for while the one before is being stored.
class GroupSource : public Source {
 public:
  GroupSource(SoakPage& page, std::vector<Change> changes)
      : page_(page), changes_(std::move(changes)), before_(page.acknowledged) {}
  bool next(std::vector<Record>& batch) override {
    if (next_ > 1) page_.acknowledged = before_ + next_ - 1;
    if (next_ == changes_.size()) return false;
    const Change& change = changes_[next_++];
    page_.begin(before_ + next_, change.group, change.generation);
    batch = soak_group(change.group, change.generation);
    return true;
  }

 private:
  SoakPage& page_;
  std::vector<Change> changes_;
  std::uint64_t before_;
  std::uint64_t next_ = 0;
};

class Writer {
 public:
  // Who died before it has left no lock, and nothing but commits: those it acknowledged, those
  // that a reader saw, and at most two more.
  Writer(SoakPage& page, const std::string& directory)
      : page_(page),
        directory_(directory),
        store_(Store::open(directory + "/store", {.lock_timeout = std::chrono::milliseconds(0)})),
        collection_(store_.get_or_create_collection("soak", kSoakOptions)),
        random_(page.begun + 1) {
    std::uint64_t commit = 0;
    const std::string wrong = identify_commit(page_, page_.least(), collection_, commit);
    if (!wrong.empty()) fail(page_, "a writer that starts", wrong);
    page_.acknowledged = commit;
    page_.begun = commit;
    state_ = state_after(page_, commit);
  }

  void run() {
    std::thread keeper([this] {
      try {
        keep_house();
      } catch (const std::exception& error) {
        fail(page_, "housekeeping", error.what());
      }
    });
    while (!page_.stop) {
      write();
      ++page_.writing_calls;
      const std::scoped_lock lock(mutex_);
      ++calls_;
      called_.notify_one();
    }
    called_.notify_one();
    keeper.join();
  }

 private:
  void write() {
    const Change change = next_of(static_cast<std::uint32_t>(random_.below(kSoakGroups)));
    if (is_full(change) && random_.below(100) == 0) return load(change);
    const bool was_alive = is_alive(state_[change.group]);
    std::vector<Record> records = soak_group(change.group, change.generation);
    page_.begin(page_.begun + 1, change.group, change.generation);
    if (!is_alive(change.generation)) {
      remove(change.group);
    } else if (keeps_embedding(change.generation)) {
      for (Record& record : records) record.embedding.reset();
      collection_.update(records);
    } else if (!was_alive && random_.below(2) == 0) {
      collection_.add(records);
    } else if (was_alive && random_.below(2) == 0) {
      collection_.update(records);
    } else {
      collection_.upsert(records);
    }
    acknowledge({change});
  }

  void load(const Change& first) {
    std::vector<Change> changes{first};
    for (std::uint32_t group = 0; group < 4; ++group) {
      const Change change = next_of(group);
      if (group != first.group && is_full(change)) changes.push_back(change);
    }
    GroupSource source(page_, changes);
    collection_.load(source);
    acknowledge(changes);
  }

  void remove(std::uint32_t group) {
    std::uint64_t removed = 0;
    if (random_.below(2) == 0) {
      removed = collection_.remove(Filter::compare(Filter::Op::eq, "group", std::int64_t{group}));
    } else {
      std::vector<std::string> ids;
      for (const Record& record : soak_group(group, 1)) ids.push_back(record.id);
      removed = collection_.remove(ids);
    }
    if (removed != kSoakGroupRecords) fail(page_, "writer", numbered("removed ", removed));
  }

  void acknowledge(const std::vector<Change>& changes) {
    for (const Change& change : changes) state_[change.group] = change.generation;
    page_.acknowledged = page_.begun.load();
  }
  Change next_of(std::uint32_t group) const { return {group, state_[group] + 1}; }
  static bool is_full(const Change& change) {
    return is_alive(change.generation) && !keeps_embedding(change.generation);
  }

  // Beside the writing calls, one job after so many of them; maintenance seals and merges anyway.
  void keep_house() {
    std::uint64_t due = 0;
    for (std::uint64_t job = 0;; ++job) {
      due += 50;
      {
        std::unique_lock lock(mutex_);
        while (calls_ < due && !page_.stop) called_.wait_for(lock, std::chrono::seconds(1));
      }
      if (page_.stop) return;
      if (job % 3 == 0) {
        const std::uint64_t acknowledged = page_.acknowledged;
        store_.backup(directory_ + "/backup");
        page_.backed_up = acknowledged;
        ++page_.backups;
      } else if (job % 3 == 1) {
        collection_.compact();
        ++page_.compactions;
      } else {
        make_passing_collection(static_cast<std::uint32_t>(job));
      }
    }
  }

  void make_passing_collection(std::uint32_t version) {
    const std::vector<std::string> names = store_.collections();  // a killed writer may leave it
    if (std::find(names.begin(), names.end(), "passing") != names.end()) {
      store_.delete_collection("passing");
    }
    Collection passing = store_.create_collection("passing", kSoakOptions);
    passing.add(group_at(1, version, kPassingRecords));
    store_.delete_collection("passing");
    ++page_.passing_collections;
  }

  SoakPage& page_;
  std::string directory_;
  Store store_;
  Collection collection_;
  TestRandom random_;
  SoakState state_{};
  std::mutex mutex_;
  std::condition_variable called_;
  std::uint64_t calls_ = 0;
};

class Reader {
 public:
  Reader(SoakPage& page, const std::string& directory, std::size_t number, double seconds)
      : page_(page),
        number_(number),
        hold_for_(std::min(5.0, seconds / 10)),
        hold_every_(std::min(20.0, seconds / 5)),
        store_(Store::open(directory + "/store", {.read_only = true})),
        collection_(store_.collection("soak")),
        random_(number * 1000 + page.begun) {}

  void run() {
    auto held = Clock::now();
    while (!page_.stop) {
      if (number_ == 0 && Clock::now() - held > hold_every_) {
        walk(true);
        held = Clock::now();
      } else {
        look();
      }
    }
  }

 private:
  // One reading call of any kind.
  void look() {
    const std::uint64_t kind = random_.below(40);
    if (kind == 0) {
      walk(false);
    } else if (kind == 1) {
      get_all();
    } else if (kind < 10) {
      get_groups();
    } else if (kind < 16) {
      find_documents();
    } else if (kind < 20) {
      find_generation();
    } else if (kind < 26) {
      query_groups();
    } else if (kind < 35) {
      query_near(kind % 3 == 0);
    } else if (kind < 39) {
      count();
    } else {
      look_at_passing_collection();
    }
    ++page_.reads[number_];
  }

  void expect(const std::string& call, const std::string& wrong) {
    if (!wrong.empty()) fail(page_, numbered("reader ", number_) + " in " + call, wrong);
  }

  // call() -> records, all of those `groups` have.
  template <typename Call>
  void expect_whole(const std::string& name, const std::vector<std::uint32_t>& groups,
                    const Call& call) {
    const std::uint64_t low = page_.least();
    const std::vector<Record> records = call();
    SoakAnswer answer(page_, low, page_.begun);
    expect(name, answer.add(records));
    expect(name, answer.expect_whole(groups));
    page_.raise_seen(answer.commit());
  }

  void get_all() {
    expect_whole("get", all_soak_groups(), [&] {
      return collection_.get({.ids = {}, .filter = {}, .include = kIncludeAll});
    });
  }

  // is_long: with other calls of this process while it is open.
  void walk(bool is_long) {
    const std::uint64_t low = page_.least();
    const auto end = Clock::now() + hold_for_;
    std::optional<SoakAnswer> answer;
    std::size_t records = 0;
    collection_.for_each(kIncludeAll, [&](Record&& record) {
      if (!answer) answer.emplace(page_, low, page_.begun);
      expect("for_each", answer->add(record));
      while (is_long && records == 1000 && Clock::now() < end && !page_.stop) count();
      ++records;
      return true;
    });
    if (!answer) answer.emplace(page_, low, page_.begun);
    expect("for_each", answer->expect_whole(all_soak_groups()));
    page_.raise_seen(answer->commit());
    if (is_long) ++page_.held_walks;
  }

  std::vector<std::uint32_t> some_groups(std::size_t count) {
    std::vector<std::uint32_t> groups;
    while (groups.size() < count) {
      const auto group = static_cast<std::uint32_t>(random_.below(kSoakGroups));
      if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
    }
    return groups;
  }

  void get_groups() {
    const std::vector<std::uint32_t> groups = some_groups(2);
    std::vector<std::string> ids;
    for (const std::uint32_t group : groups) {
      for (const Record& record : soak_group(group, 1)) ids.push_back(record.id);
    }
    expect_whole("get by ids", groups, [&] {
      return collection_.get({.ids = ids, .filter = {}, .include = kIncludeAll});
    });
  }

  void find_documents() {
    const std::vector<std::uint32_t> groups = some_groups(1);
    const Filter filter =
        Filter::document(Filter::Op::document_contains, numbered("[g", groups[0]) + "] holds");
    expect_whole("get by document", groups, [&] {
      return collection_.get({.ids = {}, .filter = filter, .include = kIncludeAll});
    });
  }

  // All of a group while it is at one generation; nothing only when it is at another.
  void find_generation() {
    const std::uint64_t low = page_.least();
    const std::uint32_t group = some_groups(1)[0];
    const std::uint32_t generation = state_after(page_, low)[group];
    const Filter filter =
        Filter::compare(Filter::Op::eq, "name", numbered(numbered("g", group) + ".", generation));
    const std::vector<Record> records =
        collection_.get({.ids = {}, .filter = filter, .include = kIncludeAll});
    const std::uint64_t high = page_.begun;
    if (records.empty()) {
      if (is_alive(generation) && state_after(page_, high)[group] == generation) {
        expect("get by metadata", numbered("nothing of g", group));
      }
      return;
    }
    SoakAnswer answer(page_, low, high);
    expect("get by metadata", answer.add(records));
    expect("get by metadata", answer.expect_whole({{group}}));
  }

  void query_groups() {
    const std::vector<std::uint32_t> groups = some_groups(3);
    std::vector<Value> members;
    for (const std::uint32_t group : groups) members.emplace_back(std::int64_t{group});
    const std::vector<float> origin = random_vector(random_, kSoakDim);
    const QueryOptions options{.k = 4 * kSoakGroupRecords,
                               .exact = random_.below(2) == 0,
                               .filter = Filter::one_of(Filter::Op::in, "group", members),
                               .include = kIncludeAll};
    expect_whole("filtered query", groups,
                 [&] { return records_of(origin, collection_.query(origin, options)); });
  }

  // From the embedding of a record that is there, which is nearest, if it stays.
  void query_near(bool exact) {
    const std::uint64_t low = page_.least();
    const std::uint32_t group = some_groups(1)[0];
    const std::uint32_t generation = state_after(page_, low)[group];
    if (!is_alive(generation)) return;
    const Record wanted = soak_record(group, generation,
                                      static_cast<std::uint32_t>(random_.below(kSoakGroupRecords)));
    QueryOptions options{.exact = exact, .include = kIncludeAll};
    const bool half = random_.below(4) == 0;  // walks a graph too
    if (half) {
      const auto op = group < kSoakGroups / 2 ? Filter::Op::lt : Filter::Op::gte;
      options.filter = Filter::compare(op, "group", std::int64_t{kSoakGroups / 2});
    }
    const std::vector<Record> records =
        records_of(*wanted.embedding, collection_.query(*wanted.embedding, options));
    const std::uint64_t high = page_.begun;
    SoakAnswer answer(page_, low, high);
    expect("query", answer.add(records));
    expect("query", answer.expect_some());
    if (records.size() != options.k) expect("query", numbered("hits: ", records.size()));
    if (state_after(page_, high)[group] != generation) return;
    const bool found = records[0].id == wanted.id;
    if (exact && !found) expect("exact query", "not the nearest: " + records[0].id);
    ++page_.walks;
    page_.missed_walks += found ? 0 : 1;
  }

  std::vector<Record> records_of(std::span<const float> query, std::vector<Hit> hits) {
    std::vector<Record> records;
    float last = 0;
    for (Hit& hit : hits) {
      const double distance = true_distance(kSoakOptions.space, query, *hit.record.embedding);
      if (std::abs(distance - hit.distance) > 1e-4 * (1 + distance) || hit.distance < last) {
        expect("query", "distance of " + hit.record.id);
      }
      last = hit.distance;
      records.push_back(std::move(hit.record));
    }
    return records;
  }

  void count() {
    const std::uint64_t low = page_.least();
    const std::uint64_t records = collection_.count();
    expect("count", SoakAnswer(page_, low, page_.begun).expect_count(records));
  }

  // Not there, empty, or all of one version.
  void look_at_passing_collection() {
    std::vector<Record> records;
    const std::optional<Error> error = error_of([&] {
      records = store_.collection("passing").get({.ids = {}, .filter = {}, .include = kIncludeAll});
    });
    if (error) {
      if (error->code() != ErrorCode::not_found) expect("a passing collection", error->what());
    } else if (!records.empty()) {
      const auto version = std::get<std::int64_t>(records[0].metadata->at("version"));
      const Expected expected = expected_of(group_at(1, version, kPassingRecords));
      expect("a passing collection", differences(expected, records));
    }
  }

  SoakPage& page_;
  std::size_t number_;
  std::chrono::duration<double> hold_for_;
  std::chrono::duration<double> hold_every_;
  Store store_;
  Collection collection_;
  TestRandom random_;
};

}  // namespace
}  // namespace vkb

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string role = argv[1];
  const std::string directory = argv[2];
  vkb::SoakPage& page = vkb::share_soak_page(directory + "/page");
  try {
    if (role == "writer") {
      vkb::Writer(page, directory).run();
    } else {
      const auto number = static_cast<std::size_t>(std::atoi(argv[1]));
      vkb::Reader(page, directory, number % vkb::kSoakReaders, std::atof(argv[3])).run();
    }
  } catch (const std::exception& error) {
    vkb::fail(page, role, error.what());
  }
}

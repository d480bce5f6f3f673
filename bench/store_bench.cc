// SPDX-License-Identifier: Apache-2.0
//
// Opening a store, and queries through it: the SQL around a search, and filters. 50,000 records
// with documents and metadata, 128 dimensions, one segment, cosine.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "engine/vkb.h"
#include "tests/support/test_data.h"

namespace vkb {
namespace {

constexpr std::uint64_t kRecords = 50'000;
constexpr std::size_t kDim = 128;

std::vector<float> some_vector(TestRandom& random) {
  std::vector<float> vector(kDim);
  for (float& x : vector) x = random.real();
  return vector;
}

class Records final : public Source {
 public:
  bool next(std::vector<Record>& batch) override {
    batch.clear();
    for (; made_ < kRecords && batch.size() < 5000; ++made_) {
      Record record;
      record.id = "record " + std::to_string(made_);
      record.embedding = some_vector(random_);
      record.document = "text of number " + std::to_string(made_);
      record.metadata = Metadata{{"n", static_cast<std::int64_t>(made_)},
                                 {"tenth", static_cast<std::int64_t>(random_.below(10))}};
      batch.push_back(std::move(record));
    }
    return !batch.empty();
  }
  std::uint64_t size_hint() const override { return kRecords; }

 private:
  TestRandom random_{1};
  std::uint64_t made_ = 0;
};

// A directory with the store, made once and removed at the end.
class Directory {
 public:
  static const std::string& get() {
    static const Directory directory;
    return directory.path_;
  }

 private:
  Directory()
      : path_(std::filesystem::temp_directory_path() /
              ("vkb_store_bench_" + std::to_string(std::random_device{}()))) {
    Store store = Store::open(path_);
    Collection collection = store.create_collection("bench");
    Records records;
    collection.load(records);
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string path_;
};

// One store open all the time, as in a program that asks again and again.
Collection& collection() {
  static Store store = Store::open(Directory::get(), {.read_only = true});
  static Collection collection = store.collection("bench");
  return collection;
}

void open(benchmark::State& state) {
  const std::string& directory = Directory::get();
  for (auto _ : state) {
    const Store store = Store::open(directory, {.read_only = true});
    benchmark::DoNotOptimize(store.collection("bench").count());
  }
}

void open_and_query(benchmark::State& state) {
  const std::string& directory = Directory::get();
  TestRandom random(2);
  const std::vector<float> query = some_vector(random);
  for (auto _ : state) {
    const Store store = Store::open(directory, {.read_only = true});
    benchmark::DoNotOptimize(store.collection("bench").query(query));
  }
}

// make_filter: called for each query.
template <typename MakeFilter>
void query(benchmark::State& state, const MakeFilter& make_filter) {
  TestRandom random(2);
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 200; ++i) queries.push_back(some_vector(random));
  QueryOptions options;
  std::size_t asked = 0;
  for (auto _ : state) {
    options.filter = make_filter();
    benchmark::DoNotOptimize(collection().query(queries[asked++ % queries.size()], options));
  }
}

void unfiltered(benchmark::State& state) {
  query(state, [] { return std::optional<Filter>(); });
}

void filter_seen_before(benchmark::State& state) {
  query(state, [] { return Filter::compare(Filter::Op::eq, "tenth", std::int64_t{3}); });
}

// Half of the records, by a bound that no query had before.
void new_filter(benchmark::State& state) {
  std::int64_t bound = kRecords / 2;
  query(state,
        [&] { return Filter::compare(Filter::Op::lt, "n", bound++ % std::int64_t{kRecords}); });
}

// A text that one document has, and no query had before.
void new_document_filter(benchmark::State& state) {
  std::uint64_t number = 10'000;
  query(state, [&] {
    return Filter::document(Filter::Op::document_contains,
                            "number " + std::to_string(10'000 + number++ % 40'000));
  });
}

BENCHMARK(open)->Unit(benchmark::kMicrosecond);
BENCHMARK(open_and_query)->Unit(benchmark::kMicrosecond);
BENCHMARK(unfiltered)->Unit(benchmark::kMicrosecond);
BENCHMARK(filter_seen_before)->Unit(benchmark::kMicrosecond);
BENCHMARK(new_filter)->Unit(benchmark::kMicrosecond);
BENCHMARK(new_document_filter)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vkb

BENCHMARK_MAIN();

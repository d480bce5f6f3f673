// SPDX-License-Identifier: Apache-2.0
//
// Building a graph, beside hnswlib over the same codes, and searching one segment by graph and
// flat; each time with its recall@10 beside it. The data is clustered random vectors, or what
// VKB_DATA names: a directory with base.npy and queries.npy, float32 [n][dim], C order, compared by
// cosine. VKB_THREADS: how many threads build (default: all cores).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <stdexcept>
#include <thread>

#include "engine/bit_codes.h"
#include "engine/search.h"
#include "tests/engine/hnswlib_codes.h"
#include "tests/engine/sample_segment.h"

namespace {

using namespace vkb;

constexpr std::uint32_t kTop = 10;

struct Matrix {
  std::vector<float> values;
  std::uint32_t dim = 0;
  std::size_t rows() const { return values.size() / dim; }
  std::span<const float> row(std::size_t i) const {
    return std::span(values).subspan(i * dim, dim);
  }
};

// A float32 matrix in numpy's format, version 1.
Matrix load_npy(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  char prefix[10] = {};
  file.read(prefix, sizeof(prefix));
  std::uint16_t header_bytes = 0;
  std::memcpy(&header_bytes, prefix + 8, sizeof(header_bytes));
  std::string header(header_bytes, ' ');
  file.read(header.data(), header_bytes);
  const std::size_t shape = header.find("'shape': (");
  if (!file || header.find("'<f4'") == std::string::npos || shape == std::string::npos ||
      header.find("'fortran_order': False") == std::string::npos) {
    throw std::runtime_error(path.string() + ": expected a float32 matrix in .npy format");
  }
  std::size_t used = 0;
  const std::string counts = header.substr(shape + 10);
  const std::size_t rows = std::stoul(counts, &used);
  Matrix matrix;
  matrix.dim = static_cast<std::uint32_t>(std::stoul(counts.substr(used + 1)));
  matrix.values.resize(rows * matrix.dim);
  file.read(reinterpret_cast<char*>(matrix.values.data()),
            static_cast<std::streamsize>(matrix.values.size() * sizeof(float)));
  if (!file) throw std::runtime_error(path.string() + ": the file ends early");
  return matrix;
}

// What all benchmarks search in, made once.
class Workload {
 public:
  static const Workload& get() {
    static const Workload workload;
    return workload;
  }
  const Segment& segment() const { return *segment_; }
  std::size_t query_count() const { return queries_.size(); }
  const PreparedQuery& query(std::size_t i) const { return queries_[i]; }
  const Matrix& base() const { return base_; }
  const SampleOptions& options() const { return options_; }

  double recall(std::size_t i, const std::vector<Neighbour>& found,
                const RowSelection& selection = {}) const {
    const auto& truth = selection.accepted == nullptr ? truth_[i] : accepted_truth_[i];
    const auto hits = std::ranges::count_if(found, [&](const Neighbour& neighbour) {
      return std::ranges::find(truth, neighbour.row_id, &Neighbour::row_id) != truth.end();
    });
    return static_cast<double>(hits) / static_cast<double>(truth.size());
  }
  // One row in ten, by chance.
  const Bitmap& accepted() const { return accepted_; }

 private:
  Workload() {
    Matrix queries;
    if (const char* directory = std::getenv("VKB_DATA")) {
      base_ = load_npy(std::filesystem::path(directory) / "base.npy");
      queries = load_npy(std::filesystem::path(directory) / "queries.npy");
    } else {
      const std::uint32_t dim = 256;
      base_ = {clustered_vectors(20000, dim, 1), dim};
      queries = {clustered_vectors(20000, dim, 1), dim};
      queries.values.resize(200 * dim);
      std::mt19937_64 random(2);
      std::normal_distribution<float> normal(0.0F, 0.5F);
      for (float& x : queries.values) x += normal(random);
    }
    const char* threads = std::getenv("VKB_THREADS");
    options_.threads = threads != nullptr ? static_cast<unsigned>(std::atoi(threads))
                                          : std::thread::hardware_concurrency();
    options_.bit_codes = has_bit_codes(base_.dim) && std::getenv("VKB_NO_BIT_CODES") == nullptr;
    const auto path = std::filesystem::temp_directory_path() /
                      ("vkb_search_bench_" + std::to_string(std::random_device{}()) + ".vseg");
    segment_ = make_segment(path.string(), base_.values, base_.dim, options_);
    std::filesystem::remove(path);  // the mapping stays

    std::mt19937_64 random(3);
    accepted_ = Bitmap(segment_->row_count());
    for (std::size_t i = 0; i < accepted_.size(); ++i) {
      if (random() % 10 == 0) accepted_.set(i);
    }
    for (std::size_t i = 0; i < queries.rows(); ++i) {
      queries_.emplace_back(queries.row(i), Space::cosine);
      truth_.push_back(search_flat(*segment_, queries_[i], kTop, true, {}));
      accepted_truth_.push_back(
          search_flat(*segment_, queries_[i], kTop, true, {.accepted = &accepted_}));
    }
  }

  Matrix base_;
  SampleOptions options_;
  std::shared_ptr<const Segment> segment_;
  std::vector<PreparedQuery> queries_;
  std::vector<std::vector<Neighbour>> truth_;
  Bitmap accepted_;
  std::vector<std::vector<Neighbour>> accepted_truth_;
};

// Runs one query an iteration, in turn; the recall counter is over the queries that ran.
template <typename Search>
void run(benchmark::State& state, const RowSelection& selection, const Search& search) {
  const Workload& workload = Workload::get();
  std::size_t next = 0;
  double recall = 0;
  for (auto _ : state) {
    const auto found = search(workload.query(next));
    state.PauseTiming();
    recall += workload.recall(next, found, selection);
    next = (next + 1) % workload.query_count();
    state.ResumeTiming();
  }
  state.counters["recall"] = recall / static_cast<double>(state.iterations());
}

// Codes and graph, without the file: rows a second.
void build(benchmark::State& state) {
  const Workload& workload = Workload::get();
  for (auto _ : state) {
    build_graph(workload.base().values, workload.base().dim, workload.options());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(workload.base().rows()));
}
BENCHMARK(build)->Iterations(1)->UseRealTime()->Unit(benchmark::kSecond);

// The same by hnswlib, from the same codes with the same parameters.
void build_hnswlib(benchmark::State& state) {
  const Workload& workload = Workload::get();
  const SampleOptions& options = workload.options();
  HnswlibCodes codes(options.space, workload.base().dim);
  for (auto _ : state) {
    hnswlib::HierarchicalNSW<float> index(&codes, workload.base().rows(), options.m,
                                          options.ef_construction);
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      std::vector<std::byte> code(codes.get_data_size());
      for (std::size_t i = next++; i < workload.base().rows(); i = next++) {
        const auto vector = workload.base().row(i);
        encode_int8(vector, norm_of(vector), options.space, code.data());
        index.addPoint(code.data(), i);
      }
    };
    std::vector<std::jthread> helpers;
    for (unsigned i = 1; i < options.threads; ++i) helpers.emplace_back(work);
    work();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(workload.base().rows()));
}
BENCHMARK(build_hnswlib)->Iterations(1)->UseRealTime()->Unit(benchmark::kSecond);

void graph(benchmark::State& state) {
  run(state, {}, [&](const PreparedQuery& query) {
    return search_graph(Workload::get().segment(), query, kTop,
                        static_cast<std::uint32_t>(state.range(0)), {});
  });
}
BENCHMARK(graph)->ArgName("ef")->Arg(32)->Arg(48)->Arg(64)->Arg(96)->Arg(128)->Arg(192)->Arg(256);

void graph_filtered(benchmark::State& state) {
  const RowSelection selection{.accepted = &Workload::get().accepted()};
  run(state, selection, [&](const PreparedQuery& query) {
    return search_graph(Workload::get().segment(), query, kTop,
                        static_cast<std::uint32_t>(state.range(0)), selection);
  });
}
BENCHMARK(graph_filtered)->ArgName("ef")->Arg(64)->Arg(128);

void flat(benchmark::State& state) {
  const bool exact = state.range(0) != 0;
  run(state, {}, [&](const PreparedQuery& query) {
    return search_flat(Workload::get().segment(), query, kTop, exact, {});
  });
}
BENCHMARK(flat)->ArgName("exact")->Arg(0)->Arg(1);

void flat_filtered(benchmark::State& state) {
  const RowSelection selection{.accepted = &Workload::get().accepted()};
  const bool exact = state.range(0) != 0;
  run(state, selection, [&](const PreparedQuery& query) {
    return search_flat(Workload::get().segment(), query, kTop, exact, selection);
  });
}
BENCHMARK(flat_filtered)->ArgName("exact")->Arg(0)->Arg(1);

}  // namespace

BENCHMARK_MAIN();

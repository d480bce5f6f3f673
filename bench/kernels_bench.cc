// SPDX-License-Identifier: Apache-2.0
//
// Distances by each kernel that this CPU runs, vectors in the first-level cache.
#include <benchmark/benchmark.h>

#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/kernels.h"

namespace {

using namespace vkb;

template <typename T>
std::vector<T> random_values(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int> values(-127, 127);
  std::vector<T> result(n);
  for (T& x : result) x = static_cast<T>(values(random));
  return result;
}

void f32(benchmark::State& state, float (*kernel)(const float*, const float*, std::size_t)) {
  const auto n = static_cast<std::size_t>(state.range(0));
  const auto a = random_values<float>(n, 1);
  const auto b = random_values<float>(n, 2);
  for (auto _ : state) benchmark::DoNotOptimize(kernel(a.data(), b.data(), n));
}

void i8(benchmark::State& state, decltype(Kernels::dot_i8) kernel) {
  const auto n = static_cast<std::size_t>(state.range(0));
  const auto a = random_values<std::int8_t>(n, 1);
  const auto b = random_values<std::int8_t>(n, 2);
  const std::int32_t sum_b = std::accumulate(b.begin(), b.end(), std::int32_t{0});
  const std::vector<const std::int8_t*> rows(16, a.data());
  std::vector<std::int32_t> dots(rows.size());
  for (auto _ : state) {
    kernel(b.data(), sum_b, rows.data(), rows.size(), n, dots.data());
    benchmark::DoNotOptimize(dots.data());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(rows.size()) * state.iterations());
}

void register_all() {
  for (const Kernels* set : available_kernels()) {
    const auto add = [&](const char* name, auto function, auto kernel) {
      benchmark::RegisterBenchmark((std::string(set->name) + "/" + name).c_str(), function, kernel)
          ->ArgName("dim")
          ->Arg(100)
          ->Arg(384)
          ->Arg(768)
          ->Arg(1536);
    };
    add("dot_f32", f32, set->dot_f32);
    add("squared_l2_f32", f32, set->squared_l2_f32);
    add("dot_i8", i8, set->dot_i8);
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

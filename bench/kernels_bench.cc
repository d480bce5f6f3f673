// SPDX-License-Identifier: Apache-2.0
//
// Distances by each kernel that this CPU runs, vectors in the first-level cache.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "engine/kernels.h"
#include "storage/segment_format.h"

namespace {

using namespace vkb;

constexpr std::size_t kRows = 16;  // that a kernel of codes takes at a time

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
  const std::vector<const std::int8_t*> rows(kRows, a.data());
  std::vector<std::int32_t> dots(rows.size());
  for (auto _ : state) {
    kernel(b.data(), sum_b, rows.data(), rows.size(), n, dots.data());
    benchmark::DoNotOptimize(dots.data());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(rows.size()) * state.iterations());
}

void i4(benchmark::State& state, decltype(Kernels::dot_i4) kernel) {
  const std::size_t blocks = int4_blocks(static_cast<std::size_t>(state.range(0)));
  const auto query = random_values<std::int8_t>(2 * kInt4BlockBytes * blocks, 1);
  const std::int32_t sum = std::accumulate(query.begin(), query.end(), std::int32_t{0});
  const auto row = random_values<std::int8_t>(kInt4BlockBytes * blocks, 2);
  const std::vector<const std::byte*> rows(kRows, std::as_bytes(std::span(row)).data());
  std::vector<std::int32_t> dots(rows.size());
  for (auto _ : state) {
    kernel(query.data(), sum, rows.data(), rows.size(), blocks, dots.data());
    benchmark::DoNotOptimize(dots.data());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(rows.size()) * state.iterations());
}

// One-bit codes are as long whatever the dimension.
void bits(benchmark::State& state, decltype(Kernels::dot_bits) kernel) {
  const auto planes = random_values<std::int8_t>(4 * kBitCodeBytes, 1);
  const auto rows = random_values<std::int8_t>(kRows * kBitCodeBytes, 2);
  std::vector<std::uint32_t> numbers(kRows);
  std::iota(numbers.begin(), numbers.end(), 0U);
  std::vector<std::int32_t> dots(numbers.size());
  for (auto _ : state) {
    kernel(std::as_bytes(std::span(rows)).data(), numbers.data(), numbers.size(),
           std::as_bytes(std::span(planes)).data(), dots.data());
    benchmark::DoNotOptimize(dots.data());
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(numbers.size()) * state.iterations());
}

void register_all() {
  for (const Kernels* set : available_kernels()) {
    const auto name_of = [&](const char* name) { return std::string(set->name) + "/" + name; };
    const auto add = [&](const char* name, auto function, auto kernel) {
      benchmark::RegisterBenchmark(name_of(name).c_str(), function, kernel)
          ->ArgName("dim")
          ->Arg(100)
          ->Arg(384)
          ->Arg(768)
          ->Arg(1536);
    };
    add("dot_f32", f32, set->dot_f32);
    add("squared_l2_f32", f32, set->squared_l2_f32);
    add("dot_i8", i8, set->dot_i8);
    add("dot_i4", i4, set->dot_i4);
    benchmark::RegisterBenchmark(name_of("dot_bits").c_str(), bits, set->dot_bits);
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

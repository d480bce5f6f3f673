// SPDX-License-Identifier: Apache-2.0
#include "tools/bench.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

namespace vkb {

double percentile(std::vector<double>& samples, double fraction) {
  std::sort(samples.begin(), samples.end());
  const double rank = std::ceil(fraction * static_cast<double>(samples.size()));
  const std::size_t place = rank < 1 ? 0 : static_cast<std::size_t>(rank) - 1;
  return samples[std::min(place, samples.size() - 1)];
}

void register_bench(CLI::App& app, Context& context) {
  CLI::App* bench = app.add_subcommand("bench", "Measure queries, or opening, of this store");
  bench->require_subcommand(1);
  register_bench_query(*bench, context);
  register_bench_open(*bench, context);
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "tools/cli.h"

namespace vkb {

// The subcommands of `vkb bench`.
void register_bench_query(CLI::App& bench, Context& context);
void register_bench_open(CLI::App& bench, Context& context);

// The value that `fraction` of the samples do not exceed (nearest rank); sorts them. Samples must
// not be empty.
double percentile(std::vector<double>& samples, double fraction);

// Part of the first k true neighbours that were found; numbers below 0 in the truth are padding.
// 1 when there is nothing to find.
struct Recall {
  std::uint64_t found = 0;
  std::uint64_t wanted = 0;
  double value() const {
    return wanted == 0 ? 1.0 : static_cast<double>(found) / static_cast<double>(wanted);
  }
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Exact nearest neighbours. The yardstick for an import whose source has no index to ask.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/vkb.h"

namespace vkb {

struct RedisNeighbour {
  std::string key;
  float distance = 0;
};

// Distances of one block of vectors to all queries, [vectors][queries]. queries and vectors are
// row-major, dim floats a row. For testing; ExactNeighbours uses it.
std::vector<float> block_distances(Space space, std::uint32_t dim, std::span<const float> queries,
                                   std::span<const float> vectors);

// The nearest of vectors that are given one by one, and compared in blocks by a thread beside.
// Memory does not grow with their number. Thread safety: one thread at a time.
class ExactNeighbours {
 public:
  // queries: dim floats each.
  ExactNeighbours(Space space, std::uint32_t dim, std::span<const std::vector<float>> queries,
                  std::size_t k);
  ~ExactNeighbours();
  ExactNeighbours(const ExactNeighbours&) = delete;
  ExactNeighbours& operator=(const ExactNeighbours&) = delete;

  // vector: dim floats. A key that comes twice counts once.
  void add(const std::string& key, std::span<const float> vector);
  // For each query the k nearest, nearest first. The last call.
  std::vector<std::vector<RedisNeighbour>> finish();

 private:
  class Search;
  void compare();

  const std::unique_ptr<Search> search_;
  const std::size_t query_count_;
  std::vector<std::string> keys_;  // of the block being filled
  std::vector<float> vectors_;     // [keys_][dim]
  std::future<void> comparing_;    // last: its thread uses the search
};

}  // namespace vkb

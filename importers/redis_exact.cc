// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_exact.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/work_beside.h"

namespace vkb {
namespace {

constexpr std::size_t kLanes = 16;    // queries that are worked on side by side
constexpr std::size_t kRows = 4;      // vectors that share a load of the queries
constexpr std::size_t kBlock = 2048;  // vectors gathered while the block before is compared

// The queries in groups of kLanes, each group [dim][kLanes], so that the innermost loop runs over
// queries: it needs no reordering of sums to be vectorised.
class QueryLanes {
 public:
  QueryLanes(std::uint32_t dim, std::span<const float> queries)
      : dim_(dim),
        count_(queries.size() / dim),
        lanes_((count_ + kLanes - 1) / kLanes * dim * kLanes) {
    for (std::size_t query = 0; query < count_; ++query) {
      for (std::size_t d = 0; d < dim; ++d) {
        lanes_[(query / kLanes * dim + d) * kLanes + query % kLanes] = queries[query * dim + d];
      }
    }
  }
  std::size_t count() const noexcept { return count_; }
  std::uint32_t dim() const noexcept { return dim_; }
  const float* group(std::size_t index) const noexcept { return &lanes_[index * dim_ * kLanes]; }

 private:
  std::uint32_t dim_;
  std::size_t count_;
  std::vector<float> lanes_;
};

// sums[row][lane] += dot product, or squared distance, of kRows vectors with one group of queries.
template <bool kSquaredDistance>
inline void accumulate(const float* group, const float* const* rows, std::uint32_t dim,
                       float (&sums)[kRows][kLanes]) noexcept {
  for (std::size_t d = 0; d < dim; ++d) {
    const float* const lane = group + d * kLanes;
    for (std::size_t row = 0; row < kRows; ++row) {
      const float component = rows[row][d];
      for (std::size_t i = 0; i < kLanes; ++i) {
        if constexpr (kSquaredDistance) {
          const float difference = lane[i] - component;
          sums[row][i] += difference * difference;
        } else {
          sums[row][i] += lane[i] * component;
        }
      }
    }
  }
}

double squared_norm(std::span<const float> vector) {
  double sum = 0;
  for (const float component : vector) sum += static_cast<double>(component) * component;
  return sum;
}

}  // namespace

std::vector<float> block_distances(Space space, std::uint32_t dim, std::span<const float> queries,
                                   std::span<const float> vectors) {
  const QueryLanes lanes(dim, queries);
  const std::size_t rows = vectors.size() / dim;
  std::vector<float> distances(rows * lanes.count());
  std::vector<double> query_norms;
  for (std::size_t query = 0; query < lanes.count(); ++query) {
    query_norms.push_back(std::sqrt(squared_norm(queries.subspan(query * dim, dim))));
  }
  for (std::size_t first = 0; first < rows; first += kRows) {
    const float* pointers[kRows];
    double norms[kRows];
    for (std::size_t row = 0; row < kRows; ++row) {
      const std::size_t at = std::min(first + row, rows - 1) * dim;
      pointers[row] = &vectors[at];
      norms[row] = space == Space::cosine ? std::sqrt(squared_norm(vectors.subspan(at, dim))) : 1;
    }
    for (std::size_t group = 0; group * kLanes < lanes.count(); ++group) {
      float sums[kRows][kLanes] = {};
      if (space == Space::l2) {
        accumulate<true>(lanes.group(group), pointers, dim, sums);
      } else {
        accumulate<false>(lanes.group(group), pointers, dim, sums);
      }
      for (std::size_t row = 0; row < kRows && first + row < rows; ++row) {
        for (std::size_t i = 0; i < kLanes && group * kLanes + i < lanes.count(); ++i) {
          const std::size_t query = group * kLanes + i;
          float distance = space == Space::l2 ? sums[row][i] : 1 - sums[row][i];
          if (space == Space::cosine) {
            const double product = norms[row] * query_norms[query];
            distance = product > 0 ? static_cast<float>(1 - sums[row][i] / product) : 1.0F;
          }
          distances[(first + row) * lanes.count() + query] = distance;
        }
      }
    }
  }
  return distances;
}

class ExactNeighbours::Search {
 public:
  Search(Space space, std::uint32_t dim, std::vector<float> queries, std::size_t k)
      : space_(space),
        dim_(dim),
        k_(k),
        queries_(std::move(queries)),
        best_(queries_.size() / dim) {}

  void add(const std::vector<std::string>& keys, const std::vector<float>& vectors) {
    const std::vector<float> distances = block_distances(space_, dim_, queries_, vectors);
    for (std::size_t row = 0; row < keys.size(); ++row) {
      for (std::size_t query = 0; query < best_.size(); ++query) {
        offer(best_[query], keys[row], distances[row * best_.size() + query]);
      }
    }
  }

  std::vector<std::vector<RedisNeighbour>> take() { return std::move(best_); }

 private:
  // best is sorted, nearest first. A key that SCAN gives twice counts once.
  void offer(std::vector<RedisNeighbour>& best, const std::string& key, float distance) const {
    if (best.size() == k_ && !(distance < best.back().distance)) return;
    const auto same = [&](const RedisNeighbour& other) { return other.key == key; };
    if (std::any_of(best.begin(), best.end(), same)) return;
    const auto place =
        std::upper_bound(best.begin(), best.end(), distance,
                         [](float value, const RedisNeighbour& n) { return value < n.distance; });
    best.insert(place, {key, distance});
    if (best.size() > k_) best.pop_back();
  }

  Space space_;
  std::uint32_t dim_;
  std::size_t k_;
  std::vector<float> queries_;
  std::vector<std::vector<RedisNeighbour>> best_;
};

ExactNeighbours::ExactNeighbours(Space space, std::uint32_t dim,
                                 std::span<const std::vector<float>> queries, std::size_t k)
    : search_([&] {
        std::vector<float> flat;
        for (const std::vector<float>& query : queries) {
          flat.insert(flat.end(), query.begin(), query.end());
        }
        return std::make_unique<Search>(space, dim, std::move(flat), k);
      }()),
      query_count_(queries.size()) {}

ExactNeighbours::~ExactNeighbours() = default;

void ExactNeighbours::add(const std::string& key, std::span<const float> vector) {
  if (query_count_ == 0) return;
  keys_.push_back(key);
  vectors_.insert(vectors_.end(), vector.begin(), vector.end());
  if (keys_.size() == kBlock) compare();
}

void ExactNeighbours::compare() {
  if (comparing_.valid()) comparing_.get();
  comparing_ =
      beside_or_later([this, keys = std::exchange(keys_, {}),
                       vectors = std::exchange(vectors_, {})] { search_->add(keys, vectors); });
}

std::vector<std::vector<RedisNeighbour>> ExactNeighbours::finish() {
  compare();
  comparing_.get();
  return search_->take();
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// What graph and flat search share: a query's distances to the rows of a segment, from the cheapest
// to the exact one, and the ranking of candidates by them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/bit_codes.h"
#include "engine/candidates.h"
#include "engine/codes.h"
#include "engine/prefetch.h"
#include "engine/search.h"
#include "engine/tuning.h"
#include "storage/read_ahead.h"

namespace vkb {

// Makes a strict weak order of distances possible: nothing compares with NaN.
inline float ordered(float distance) noexcept {
  return std::isnan(distance) ? std::numeric_limits<float>::infinity() : distance;
}

// The distances of a query to rows of one segment: by four-bit codes where it has them, else by
// int8 codes; and by f32 vectors.
class RowDistances {
 public:
  RowDistances(const Segment& segment, const PreparedQuery& query, SearchCounts& counts) noexcept
      : segment_(segment), query_(query), kernels_(kernels()), counts_(counts) {}

  // Where each() reads.
  SectionKind section() const noexcept {
    return segment_.has_int4_codes() ? SectionKind::codes_int4 : SectionKind::codes_int8;
  }
  // How many of the nearest by codes must be compared by f32 to have the k nearest.
  std::size_t rerank(std::size_t k) const noexcept {
    if (segment_.dim() < kCodesMinDim) return std::numeric_limits<std::size_t>::max();
    return segment_.has_int4_codes() ? graph_rerank_int4(k) : graph_rerank(k);
  }

  // A row is some cache lines: each() asks for them, not too many at once.
  void fetch(std::uint32_t /*slot*/) const noexcept {}
  // use(slot, distance by codes) for each slot in turn.
  template <typename Use>
  void each(std::span<const std::uint32_t> slots, const Use& use) const {
    counts_.ranked += slots.size();
    const bool int4 = segment_.has_int4_codes();
    const std::size_t bytes = int4 ? int4_code_bytes(segment_.dim()) : code_bytes(segment_.dim());
    const auto raw_code = [&](std::uint32_t slot) {
      return int4 ? segment_.raw_int4_code(slot) : segment_.raw_code(slot);
    };
    in_batches<kRankBatch>(
        slots, [&](std::uint32_t slot) { prefetch(raw_code(slot), bytes); },
        [&](std::span<const std::uint32_t> batch, float* out) {
          std::array<const std::byte*, kRankBatch> codes;
          std::ranges::transform(batch, codes.begin(), [&](std::uint32_t slot) {
            const std::byte* code = raw_code(slot);
            segment_.need(code, bytes);
            return code;
          });
          const auto distances = int4 ? int4_distances : code_distances;
          distances(query_.space(), query_.code(), {codes.data(), batch.size()}, segment_.dim(),
                    kernels_, out);
        },
        use);
  }
  // The same with exact distances.
  template <typename Use>
  void exact(std::span<const std::uint32_t> slots, const Use& use) const {
    const std::size_t bytes = segment_.dim() * sizeof(float);
    counts_.compared += slots.size();
    ahead(
        slots, kVectorPrefetchAhead,
        [&](std::uint32_t slot) { prefetch(segment_.raw_vector(slot), bytes); },
        [&](std::uint32_t slot) { use(slot, exact(slot, segment_.vector(slot))); });
  }
  // The same for a few rows here and there. buffer: Segment::seldom_floats().
  template <typename Use>
  void exact_of_few(std::span<const std::uint32_t> slots, std::span<float> buffer,
                    const Use& use) const {
    const std::size_t bytes = segment_.dim() * sizeof(float);
    counts_.compared += slots.size();
    ahead(
        slots, kVectorPrefetchAhead,
        [&](std::uint32_t slot) {
          if (segment_.is_read(slot)) prefetch(segment_.raw_vector(slot), bytes);
        },
        [&](std::uint32_t slot) { use(slot, exact(slot, segment_.vector_seldom(slot, buffer))); });
  }

 private:
  float exact(std::uint32_t slot, const float* vector) const {
    return ordered(exact_distance(query_.space(), query_.vector(), query_.norm(), vector,
                                  segment_.norm(slot), segment_.dim(), kernels_));
  }

  const Segment& segment_;
  const PreparedQuery& query_;
  const Kernels& kernels_;
  SearchCounts& counts_;
};

// The same by one-bit codes: estimates that order rows as distances would, more or less.
class RowEstimates {
 public:
  RowEstimates(const Segment& segment, const PreparedQuery& query, BitQuery& bits,
               SearchCounts& counts)
      : segment_(segment), bits_(bits), kernels_(kernels()), counts_(counts) {
    bits_.prepare({segment.bit_directions(), segment.bit_centre(), segment.dim()}, query.code());
  }
  SectionKind section() const noexcept { return SectionKind::codes_1bit; }
  void fetch(std::uint32_t slot) const noexcept { __builtin_prefetch(segment_.raw_bit_code(slot)); }
  // For rows that were fetched some time ago.
  template <typename Use>
  void each(std::span<const std::uint32_t> slots, const Use& use) const {
    counts_.estimated += slots.size();
    segment_.need_bit_codes(slots);
    bits_.each(segment_.raw_bit_code(0), slots, kernels_, use);
  }

 private:
  const Segment& segment_;
  BitQuery& bits_;
  const Kernels& kernels_;
  SearchCounts& counts_;
};

// What a thread keeps between walks, so that a step of one allocates nothing.
struct Scratch {
  VisitedMarks visited;
  CandidatePool pool;
  std::vector<Candidate> ranked;
  std::vector<std::uint32_t> slots;
  std::vector<std::uint32_t> next_slots;
  std::vector<std::uint32_t> bridges;
  std::vector<std::uint32_t> coming;
  std::vector<Neighbour> neighbours;
  std::vector<float> vector;
  BitQuery bits;
};

// This thread's, for the walk `number` of those that take turns, below kWalksAtOnce.
Scratch& thread_scratch(std::size_t number = 0);

// Leaves in scratch.slots the `count` nearest of them, by codes.
void narrow(const RowDistances& distances, Scratch& scratch, std::size_t count,
            const ReadAhead& reads);

// The k nearest of scratch.slots, by f32.
std::vector<Neighbour> rerank(const Segment& segment, const RowDistances& distances,
                              Scratch& scratch, std::size_t k, const ReadAhead& reads);

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// hnswlib over int8 codes: what our graphs and walks are held against.
#pragma once

#include <hnswlib/hnswlib.h>

#include <cstddef>

#include "engine/codes.h"

namespace vkb {

struct HnswlibCodes final : hnswlib::SpaceInterface<float> {
  HnswlibCodes(Space the_space, std::uint32_t the_dim) : space(the_space), dim(the_dim) {}
  // A multiple of four: hnswlib puts the next node's u32 links right behind.
  std::size_t get_data_size() override { return (code_bytes(dim) + 3) / 4 * 4; }
  hnswlib::DISTFUNC<float> get_dist_func() override {
    return [](const void* a, const void* b, const void* self) {
      const auto& codes = *static_cast<const HnswlibCodes*>(self);
      return code_distance(codes.space, static_cast<const std::byte*>(a),
                           static_cast<const std::byte*>(b), codes.dim, kernels());
    };
  }
  void* get_dist_func_param() override { return this; }
  Space space;
  std::uint32_t dim;
};

}  // namespace vkb

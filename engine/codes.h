// SPDX-License-Identifier: Apache-2.0
//
// Compact codes: one signed byte a component with one scale a row (scalar quantization as in Qdrant
// and faiss SQ8, symmetric, scale chosen per vector as in LVQ, Aguerrebere et al. 2023). Graphs are
// built over them; large ones are walked by one-bit codes (engine/bit_codes.h) and what was found
// is ranked by four-bit codes, small ones are walked by these. The final order of an answer always
// comes from the f32 vectors. The layouts are in storage/segment_format.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/kernels.h"
#include "engine/tuning.h"
#include "engine/vkb.h"
#include "storage/segment_format.h"

namespace vkb {

constexpr std::size_t code_bytes(std::size_t dim) noexcept { return sizeof(Int8CodeHeader) + dim; }

// Chroma adds this to each length before dividing, so a zero vector has distance 1 to everything.
inline constexpr double kNormFloor = 1e-30;

// Euclidean length, accumulated in double; at most the largest finite float.
float norm_of(std::span<const float> vector) noexcept;

// Writes code_bytes(dim) bytes to `out`. `norm` is norm_of(vector); under cosine the unit vector is
// coded. A zero vector gets scale 0.
void encode_int8(std::span<const float> vector, float norm, Space space, std::byte* out) noexcept;

// The reverse, as near as the code is: out has the row's dim components.
void decode_int8(const std::byte* code, std::span<float> out) noexcept;

// Dot products of coded rows with a query coded alike: of the unit vectors under cosine. out:
// rows.size() values, which may be NaN or infinite.
void code_dots(const std::byte* query, std::span<const std::byte* const> rows, std::size_t dim,
               const Kernels& kernels, float* out) noexcept;

// Distances of the same, in the units of `space`; never NaN.
void code_distances(Space space, const std::byte* query, std::span<const std::byte* const> rows,
                    std::size_t dim, const Kernels& kernels, float* out) noexcept;

// Distance between two coded rows, in the units of `space`; never NaN.
float code_distance(Space space, const std::byte* a, const std::byte* b, std::size_t dim,
                    const Kernels& kernels) noexcept;

// Four-bit codes, cut from int8 codes: half the memory for ranking what a walk found, with one more
// factor a row that makes of them an unbiased estimate (as extended RaBitQ does, Gao et al. 2025).
// Whether rows of `dim` components get them.
constexpr bool has_int4_codes(std::size_t dim) noexcept { return dim >= kInt4MinDim; }

// Writes int4_code_bytes(dim) bytes: the four-bit code of the row with the int8 code `code`.
void encode_int4(const std::byte* code, std::size_t dim, std::byte* out) noexcept;

// Distances, in the units of `space`, of rows with four-bit codes to a query with an int8 code that
// zeros follow up to a multiple of 128 components; never NaN.
void int4_distances(Space space, const std::byte* query, std::span<const std::byte* const> rows,
                    std::size_t dim, const Kernels& kernels, float* out) noexcept;

// Exact distance by Chroma's formulas in f32; a_norm and b_norm are norm_of() each, used by cosine
// only. Where f32 would overflow or underflow, computed again in double, so that finite vectors
// never give NaN.
float exact_distance(Space space, const float* a, float a_norm, const float* b, float b_norm,
                     std::size_t dim, const Kernels& kernels) noexcept;

}  // namespace vkb

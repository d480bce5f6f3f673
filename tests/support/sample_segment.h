// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "storage/segment_writer.h"
#include "tests/support/test_data.h"

namespace vkb {

// The contents of a segment, every array as its section holds it but without row padding. The graph
// is a ring with shortcuts: it has the form of one, and is no good for searching.
struct SampleSegment {
  SegmentWriter::Shape shape;
  std::vector<std::uint64_t> row_ids;
  std::vector<std::uint64_t> sorted_row_ids;
  std::vector<std::uint32_t> sorted_slots;
  std::vector<float> vectors;
  std::vector<float> norms;
  std::vector<std::byte> codes;  // [n][16 + dim]; empty: no such section
  std::vector<std::uint32_t> links0;
  std::vector<std::uint32_t> upper_slots;
  std::vector<std::uint32_t> upper_links;
  // Since version 2 of the format; empty: no such section.
  std::vector<std::byte> bit_directions{};  // [480][16 + dim]
  std::vector<float> bit_centre{};
  std::vector<std::byte> codes_1bit{};  // [n][64]
  std::vector<std::byte> record_ids{};  // [n][64]
  std::vector<std::byte> codes_int4{};  // [n][int4_code_bytes(dim)]
};

// One-bit and four-bit codes, of numbers that are no good for searching, and ids "r" and the row's:
// the same on every platform.
inline void add_sample_version_2(SampleSegment& sample) {
  const std::size_t direction_bytes = sizeof(Int8CodeHeader) + sample.shape.dim;
  sample.bit_directions.resize(kBitCodeBits * direction_bytes);
  for (std::size_t bit = 0; bit < kBitCodeBits; ++bit) {
    std::byte* row = sample.bit_directions.data() + bit * direction_bytes;
    const Int8CodeHeader code{.scale = 0.0625F, .squared_norm = 1, .sum = 64, .reserved = 0};
    std::memcpy(row, &code, sizeof(code));
    row[sizeof(code) + bit % sample.shape.dim] = static_cast<std::byte>(64);
    sample.bit_centre.push_back(static_cast<float>(bit) / 512);
  }
  for (const std::uint64_t row_id : sample.sorted_row_ids) {
    for (std::size_t i = 0; i < kBitCodeBytes; ++i) {
      sample.codes_1bit.push_back(static_cast<std::byte>((sample.codes_1bit.size() * 7 + i) % 251));
    }
    std::string id = "r" + std::to_string(row_id);
    id.insert(id.begin(), static_cast<char>(id.size()));
    id.resize(kRecordIdBytes);
    const auto bytes = std::as_bytes(std::span(id));
    sample.record_ids.insert(sample.record_ids.end(), bytes.begin(), bytes.end());
    for (std::size_t i = 0; i < int4_code_bytes(sample.shape.dim); ++i) {
      sample.codes_int4.push_back(static_cast<std::byte>(sample.codes_int4.size() % 253));
    }
  }
}

inline void add_sample_graph(SampleSegment& sample, std::uint32_t m) {
  SegmentWriter::Shape& shape = sample.shape;
  const auto n = static_cast<std::uint32_t>(shape.row_count);
  shape.m = m;
  shape.level_count[0] = n;
  for (std::uint32_t nodes = n / 4; nodes > 0 && shape.max_level + 1 < kMaxLevels; nodes /= 4) {
    shape.level_count[++shape.max_level] = nodes;
  }
  for (std::uint32_t slot = 0; slot < n; ++slot) {
    for (std::uint32_t i = 0; i < 2 * m; ++i) {
      sample.links0.push_back(i + 1 < n && i < m ? (slot + i + 1) % n : kNoNeighbour);
    }
  }
  for (std::uint32_t i = 0; i < shape.level_count[1]; ++i) sample.upper_slots.push_back(3 * i % n);
  for (std::size_t level = 1; level <= shape.max_level; ++level) {
    const std::uint32_t nodes = shape.level_count[level];
    for (std::uint32_t node = 0; node < nodes; ++node) {
      for (std::uint32_t i = 0; i < m; ++i) {
        sample.upper_links.push_back(i + 1 < nodes ? (node + i + 1) % nodes : kNoNeighbour);
      }
    }
  }
}

// m 0: flat.
inline SampleSegment make_sample_segment(std::uint32_t n, std::uint32_t dim, std::uint32_t m,
                                         bool with_codes, std::uint64_t seed = 1) {
  SampleSegment sample;
  sample.shape = {.row_count = n, .dim = dim, .space = 1};
  TestRandom random(seed);
  for (std::uint32_t i = 0; i < n; ++i) sample.row_ids.push_back(10 + 3 * std::uint64_t{i});
  for (std::uint32_t i = n; i > 1; --i) {
    std::swap(sample.row_ids[i - 1], sample.row_ids[random.below(i)]);
  }
  sample.sorted_slots.resize(n);
  std::iota(sample.sorted_slots.begin(), sample.sorted_slots.end(), 0U);
  std::sort(
      sample.sorted_slots.begin(), sample.sorted_slots.end(),
      [&](std::uint32_t a, std::uint32_t b) { return sample.row_ids[a] < sample.row_ids[b]; });
  for (const std::uint32_t slot : sample.sorted_slots) {
    sample.sorted_row_ids.push_back(sample.row_ids[slot]);
  }
  sample.vectors = random_vectors(n, dim, seed);
  for (std::uint32_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::uint32_t d = 0; d < dim; ++d) {
      sum += double{sample.vectors[i * dim + d]} * double{sample.vectors[i * dim + d]};
    }
    sample.norms.push_back(static_cast<float>(std::sqrt(sum)));
  }
  if (with_codes) {
    for (std::size_t i = 0; i < std::size_t{n} * (sizeof(Int8CodeHeader) + dim); ++i) {
      sample.codes.push_back(static_cast<std::byte>(random.below(256)));
    }
  }
  if (m != 0) add_sample_graph(sample, m);
  return sample;
}

template <typename T>
void write_section(SegmentWriter& writer, SectionKind kind, const std::vector<T>& values) {
  writer.begin(kind);
  writer.append_values(std::span(values));
  writer.end();
}

template <typename T>
void write_rows(SegmentWriter& writer, SectionKind kind, const std::vector<T>& values,
                std::size_t row_values) {
  writer.begin(kind);
  for (std::size_t at = 0; at < values.size(); at += row_values) {
    writer.append_row(std::as_bytes(std::span(values).subspan(at, row_values)));
  }
  writer.end();
}

// All sections, in order of their kinds; not published.
inline void write_sections(SegmentWriter& writer, const SampleSegment& sample) {
  write_section(writer, SectionKind::row_ids, sample.row_ids);
  write_section(writer, SectionKind::sorted_row_ids, sample.sorted_row_ids);
  write_section(writer, SectionKind::sorted_slots, sample.sorted_slots);
  write_rows(writer, SectionKind::vectors, sample.vectors, sample.shape.dim);
  write_section(writer, SectionKind::norms, sample.norms);
  if (!sample.codes.empty()) {
    write_rows(writer, SectionKind::codes_int8, sample.codes,
               sizeof(Int8CodeHeader) + sample.shape.dim);
  }
  if (sample.shape.m != 0) {
    write_section(writer, SectionKind::links0, sample.links0);
    write_section(writer, SectionKind::upper_slots, sample.upper_slots);
    write_section(writer, SectionKind::upper_links, sample.upper_links);
  }
  if (!sample.codes_1bit.empty()) {
    write_rows(writer, SectionKind::bit_directions, sample.bit_directions,
               sizeof(Int8CodeHeader) + sample.shape.dim);
    write_section(writer, SectionKind::bit_centre, sample.bit_centre);
    write_section(writer, SectionKind::codes_1bit, sample.codes_1bit);
  }
  if (!sample.record_ids.empty()) {
    write_section(writer, SectionKind::record_ids, sample.record_ids);
  }
  if (!sample.codes_int4.empty()) {
    write_rows(writer, SectionKind::codes_int4, sample.codes_int4,
               int4_code_bytes(sample.shape.dim));
  }
}

inline SegmentWriter::Published write_sample_segment(FileSystem& files, const std::string& path,
                                                     const SampleSegment& sample) {
  SegmentWriter writer(files, path, sample.shape);
  write_sections(writer, sample);
  return writer.publish();
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "tests/engine/sample_segment.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <random>
#include <thread>

#include "engine/bit_codes.h"
#include "engine/codes.h"
#include "storage/segment_writer.h"

namespace vkb {
namespace {

std::vector<std::byte> code_of(std::span<const float> vector, Space space) {
  std::vector<std::byte> code(code_bytes(vector.size()));
  encode_int8(vector, norm_of(vector), space, code.data());
  return code;
}

std::span<const float> row(std::span<const float> vectors, std::uint32_t dim, std::size_t i) {
  return vectors.subspan(i * dim, dim);
}

void write_rows(SegmentWriter& writer, std::span<const float> vectors, std::uint32_t dim,
                const std::vector<std::uint32_t>& order, const SampleOptions& options) {
  std::vector<std::uint64_t> row_ids(order.size());
  std::ranges::transform(order, row_ids.begin(), [](auto i) { return sample_row_id(i); });
  std::vector<std::uint32_t> sorted_slots(order.size());
  std::iota(sorted_slots.begin(), sorted_slots.end(), 0U);
  std::ranges::sort(sorted_slots, {}, [&](std::uint32_t slot) { return row_ids[slot]; });
  std::vector<float> norms(order.size());
  std::ranges::transform(order, norms.begin(),
                         [&](auto i) { return norm_of(row(vectors, dim, i)); });

  writer.begin(SectionKind::row_ids);
  writer.append_values(std::span<const std::uint64_t>(row_ids));
  writer.end();
  std::ranges::sort(row_ids);
  writer.begin(SectionKind::sorted_row_ids);
  writer.append_values(std::span<const std::uint64_t>(row_ids));
  writer.end();
  writer.begin(SectionKind::sorted_slots);
  writer.append_values(std::span<const std::uint32_t>(sorted_slots));
  writer.end();
  writer.begin(SectionKind::vectors);
  for (const auto i : order) writer.append_row(std::as_bytes(row(vectors, dim, i)));
  writer.end();
  writer.begin(SectionKind::norms);
  writer.append_values(std::span<const float>(norms));
  writer.end();
  if (options.record_ids) {
    writer.begin(SectionKind::record_ids);
    for (const std::uint64_t row_id : row_ids) {
      std::string row = "r" + std::to_string(row_id);
      row.insert(row.begin(), static_cast<char>(row.size()));
      row.resize(kRecordIdBytes);
      writer.append(std::as_bytes(std::span(row)));
    }
    writer.end();
  }
  if (!options.codes) return;
  const bool int4 = options.bit_codes && has_int4_codes(dim);
  writer.begin(int4 ? SectionKind::codes_int4 : SectionKind::codes_int8);
  std::vector<std::byte> short_code(int4_code_bytes(dim));
  for (const auto i : order) {
    const auto code = code_of(row(vectors, dim, i), options.space);
    encode_int4(code.data(), dim, short_code.data());
    writer.append_row(int4 ? std::span<const std::byte>(short_code) : code);
  }
  writer.end();
  if (!options.bit_codes) return;
  BitCodeRows bits(options.space, dim, order.size(),
                   [&](std::size_t slot) { return row(vectors, dim, order[slot]).data(); });
  for (std::size_t slot = 0; slot < order.size(); ++slot) {
    bits.set(slot, code_of(row(vectors, dim, order[slot]), options.space).data());
  }
  bits.write(writer);
}

void write_graph(SegmentWriter& writer, const Graph& graph) {
  writer.begin(SectionKind::links0);
  writer.append_values(std::span<const std::uint32_t>(graph.links0));
  writer.end();
  writer.begin(SectionKind::upper_slots);
  writer.append_values(std::span<const std::uint32_t>(graph.upper_slots));
  writer.end();
  writer.begin(SectionKind::upper_links);
  writer.append_values(std::span<const std::uint32_t>(graph.upper_links));
  writer.end();
}

}  // namespace

std::vector<float> clustered_vectors(std::size_t count, std::uint32_t dim, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> centres((count / 50 + 1) * dim);
  for (float& x : centres) x = normal(random);
  std::vector<float> vectors(count * dim);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t centre = random() % (count / 50 + 1);
    for (std::size_t j = 0; j < dim; ++j) {
      vectors[i * dim + j] = centres[centre * dim + j] + 0.7F * normal(random);
    }
  }
  return vectors;
}

Graph build_graph(std::span<const float> vectors, std::uint32_t dim, const SampleOptions& options) {
  const std::size_t count = vectors.size() / dim;
  HnswBuilder builder(options.space, dim, options.m, options.ef_construction, count);
  std::atomic<std::uint32_t> next{0};
  const auto work = [&] {
    for (std::uint32_t i = next++; i < count; i = next++) {
      builder.add(i, code_of(row(vectors, dim, i), options.space).data());
    }
  };
  std::vector<std::jthread> helpers;
  for (unsigned i = 1; i < options.threads; ++i) helpers.emplace_back(work);
  work();
  helpers.clear();
  return builder.finish();
}

std::shared_ptr<const Segment> make_segment(const std::string& path, std::span<const float> vectors,
                                            std::uint32_t dim, const SampleOptions& options) {
  Graph graph;
  if (options.graph) {
    graph = build_graph(vectors, dim, options);
  } else {
    graph.order.resize(vectors.size() / dim);
    std::iota(graph.order.begin(), graph.order.end(), 0U);
  }
  FileSystem& files = posix_file_system();
  files.remove(path);
  SegmentWriter writer(files, path,
                       {.row_count = graph.order.size(),
                        .dim = dim,
                        .space = static_cast<std::uint32_t>(options.space),
                        .m = graph.m,
                        .max_level = graph.max_level,
                        .level_count = graph.level_count});
  write_rows(writer, vectors, dim, graph.order, options);
  if (options.graph) write_graph(writer, graph);
  writer.publish();
  return Segment::open(files, path);
}

}  // namespace vkb

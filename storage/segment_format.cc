// SPDX-License-Identifier: Apache-2.0
#include "storage/segment_format.h"

#include <xxhash.h>

#include <bit>
#include <new>

namespace vkb {

static_assert(std::endian::native == std::endian::little,
              "segment files are mapped as they are: little-endian machines only");
static_assert(sizeof(float) == 4);

std::string_view to_string(SectionKind kind) noexcept {
  switch (kind) {
    case SectionKind::row_ids:
      return "row_ids";
    case SectionKind::sorted_row_ids:
      return "sorted_row_ids";
    case SectionKind::sorted_slots:
      return "sorted_slots";
    case SectionKind::vectors:
      return "vectors";
    case SectionKind::norms:
      return "norms";
    case SectionKind::codes_int8:
      return "codes_int8";
    case SectionKind::links0:
      return "links0";
    case SectionKind::upper_slots:
      return "upper_slots";
    case SectionKind::upper_links:
      return "upper_links";
    case SectionKind::bit_directions:
      return "bit_directions";
    case SectionKind::bit_centre:
      return "bit_centre";
    case SectionKind::codes_1bit:
      return "codes_1bit";
    case SectionKind::record_ids:
      return "record_ids";
    case SectionKind::codes_int4:
      return "codes_int4";
    case SectionKind::page_checksums:
      return "page_checksums";
  }
  return "unknown";
}

namespace {

std::string found(const std::string& what, std::uint64_t value, const std::string& expected) {
  return what + " is " + std::to_string(value) + ", expected " + expected;
}

std::optional<std::string> levels_problem(const SegmentHeader& header) {
  if (header.level_count[0] != header.row_count) {
    return found("level_count[0]", header.level_count[0],
                 "row_count " + std::to_string(header.row_count));
  }
  for (std::size_t level = 1; level < kMaxLevels; ++level) {
    const std::uint32_t count = header.level_count[level];
    const std::string name = "level_count[" + std::to_string(level) + "]";
    if (level > header.max_level) {
      if (count != 0) {
        return found(name, count, "0 above max_level " + std::to_string(header.max_level));
      }
    } else if (count == 0 || count > header.level_count[level - 1]) {
      return found(name, count,
                   "1.." + std::to_string(header.level_count[level - 1]) + ", as below it");
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> shape_problem(const SegmentHeader& header) {
  if (header.row_count > kMaxRows) {
    return found("row_count", header.row_count, "at most " + std::to_string(kMaxRows));
  }
  if (header.dim < 1 || header.dim > kMaxDim) {
    return found("dim", header.dim, "1.." + std::to_string(kMaxDim));
  }
  if (header.space > kMaxSpace) {
    return found("space", header.space, "0.." + std::to_string(kMaxSpace));
  }
  if (header.m != 0 && (header.m < kMinM || header.m > kMaxM)) {
    return found("m", header.m, "0 or " + std::to_string(kMinM) + ".." + std::to_string(kMaxM));
  }
  if (header.m != 0 && header.row_count == 0) {
    return found("row_count", 0, "at least 1 with a graph");
  }
  if (header.max_level >= kMaxLevels) {
    return found("max_level", header.max_level, "below " + std::to_string(kMaxLevels));
  }
  if (header.m == 0 && header.max_level != 0) {
    return found("max_level", header.max_level, "0 without a graph");
  }
  return levels_problem(header);
}

std::optional<std::uint64_t> section_bytes(SectionKind kind, const SegmentHeader& header) noexcept {
  const std::uint64_t rows = header.row_count;
  switch (kind) {
    case SectionKind::row_ids:
    case SectionKind::sorted_row_ids:
      return rows * sizeof(std::uint64_t);
    case SectionKind::sorted_slots:
      return rows * sizeof(std::uint32_t);
    case SectionKind::vectors:
      return rows * row_stride(header.dim * sizeof(float));
    case SectionKind::norms:
      return rows * sizeof(float);
    case SectionKind::codes_int8:
      return rows * row_stride(sizeof(Int8CodeHeader) + header.dim);
    case SectionKind::links0:
      return rows * 2 * header.m * sizeof(std::uint32_t);
    case SectionKind::upper_slots:
      return header.level_count[1] * sizeof(std::uint32_t);
    case SectionKind::upper_links: {
      std::uint64_t nodes = 0;
      for (std::size_t level = 1; level < kMaxLevels; ++level) nodes += header.level_count[level];
      return nodes * header.m * sizeof(std::uint32_t);
    }
    case SectionKind::bit_directions:
      return kBitCodeBits * row_stride(sizeof(Int8CodeHeader) + header.dim);
    case SectionKind::bit_centre:
      return kBitCodeBits * sizeof(float);
    case SectionKind::codes_1bit:
      return rows * kBitCodeBytes;
    case SectionKind::record_ids:
      return rows * kRecordIdBytes;
    case SectionKind::codes_int4:
      return rows * row_stride(int4_code_bytes(header.dim));
    case SectionKind::page_checksums:
      for (const SectionEntry& section : header.sections) {
        if (section.kind != static_cast<std::uint32_t>(kind)) continue;
        return section.offset / kSegmentPageBytes * sizeof(std::uint32_t);
      }
      return std::nullopt;
  }
  return std::nullopt;
}

bool is_graph_section(SectionKind kind) noexcept {
  return kind == SectionKind::links0 || kind == SectionKind::upper_slots ||
         kind == SectionKind::upper_links;
}

bool is_mandatory(SectionKind kind, const SegmentHeader& header) noexcept {
  if (is_graph_section(kind)) return header.m != 0;
  if (kind == SectionKind::page_checksums) return header.format_version >= 3;
  switch (kind) {
    case SectionKind::codes_int8:
    case SectionKind::bit_directions:
    case SectionKind::bit_centre:
    case SectionKind::codes_1bit:
    case SectionKind::record_ids:
    case SectionKind::codes_int4:
      return false;
    default:
      return true;
  }
}

std::uint32_t page_checksum(std::span<const std::byte> page) noexcept {
  return static_cast<std::uint32_t>(Checksum::of(page));
}

class Checksum::State {
 public:
  State() : xxh3_(XXH3_createState()) {
    if (!xxh3_) throw std::bad_alloc();
  }
  XXH3_state_t* get() const noexcept { return xxh3_.get(); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> xxh3_;
};

Checksum::Checksum() : state_(std::make_unique<State>()) { reset(); }
Checksum::~Checksum() = default;

void Checksum::reset() noexcept { XXH3_64bits_reset(state_->get()); }

void Checksum::update(std::span<const std::byte> bytes) noexcept {
  XXH3_64bits_update(state_->get(), bytes.data(), bytes.size());
}

std::uint64_t Checksum::value() const noexcept { return XXH3_64bits_digest(state_->get()); }

std::uint64_t Checksum::of(std::span<const std::byte> bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t Checksum::of(const SegmentHeader& header) noexcept {
  return of(std::as_bytes(std::span(&header, 1)).first(offsetof(SegmentHeader, header_checksum)));
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// The layout of a segment file; docs/segment_format.md is the normative text. Little-endian. A
// 4096-byte header, then sections, each starting on a multiple of 4096 bytes. Written once, never
// changed (R2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace vkb {

inline constexpr std::array<char, 8> kSegmentMagic = {'v', 'k', 'b', 's', 'e', 'g', '\r', '\n'};
inline constexpr std::uint32_t kSegmentFormatVersion = 3;
inline constexpr std::string_view kSegmentSuffix = ".vseg";  // of a file's name
inline constexpr std::size_t kSegmentHeaderBytes = 4096;
inline constexpr std::size_t kSectionAlignment = 4096;
inline constexpr std::size_t kSegmentPageBytes = 4096;  // what a page checksum is of
inline constexpr std::size_t kRowAlignment = 64;        // vectors and codes: a cache line
inline constexpr std::size_t kMaxSections = 32;
inline constexpr std::size_t kMaxLevels = 16;
inline constexpr std::uint32_t kNoNeighbour = 0xFFFFFFFF;
inline constexpr std::uint64_t kMaxRows = 0xFFFFFFFE;  // every slot differs from kNoNeighbour
inline constexpr std::uint32_t kMaxDim = 16384;
inline constexpr std::uint32_t kMaxSpace = 2;
inline constexpr std::uint32_t kMinM = 2;
inline constexpr std::uint32_t kMaxM = 512;

// DO NOT CHANGE THESE VALUES: they are in files. n = row_count, rows are addressed by slot.
enum class SectionKind : std::uint32_t {
  row_ids = 1,         // u64[n]: slot -> row_id
  sorted_row_ids = 2,  // u64[n]: the same ids ascending
  sorted_slots = 3,    // u32[n]: the slot of sorted_row_ids[i]
  vectors = 4,         // f32[n][dim], as given, stride padded to kRowAlignment with zeros
  norms = 5,           // f32[n]: Euclidean length of each vector
  codes_int8 = 6,      // Int8CodeHeader + i8[dim] a row, stride padded to kRowAlignment
  links0 = 7,       // u32[n][2M]: neighbour slots at level 0, unused ones kNoNeighbour at the end
  upper_slots = 8,  // u32[level_count[1]]: the nodes above level 0, highest level first
  upper_links = 9,  // for level 1, 2, ..: u32[level_count[level]][M]: positions in upper_slots
  // From here on since version 2. One-bit codes (engine/bit_codes.h): all three or none.
  bit_directions = 10,  // kBitCodeBits rows as in codes_int8: what vectors are projected on
  bit_centre = 11,      // f32[kBitCodeBits]: the projection of what the bits are signs around
  codes_1bit = 12,      // kBitCodeBytes a row: two factors, then the bits
  record_ids = 13,      // kRecordIdBytes a row, in the order of sorted_row_ids: the records' ids
  codes_int4 = 14,      // int4_code_bytes(dim) a row, stride padded to kRowAlignment
  // Since version 3, and always there.
  page_checksums = 15,  // u32[offset of this section / kSegmentPageBytes]: page_checksum() of each
                        // page of the file before it; that of the first page, the header, is 0
};
inline constexpr std::uint32_t kKnownSections = 15;  // 1..15
// "links0"; "unknown" for a kind of a newer format.
std::string_view to_string(SectionKind kind) noexcept;

// Flag of a section: a reader that does not know its kind must refuse the file. Set where data is
// lost without it; a cache (codes, graph) can be rebuilt (R9).
inline constexpr std::uint32_t kSectionRequired = 1;

struct SectionEntry {
  std::uint32_t kind;
  std::uint32_t flags;  // kSectionRequired; the other bits are zero
  std::uint64_t offset;
  std::uint64_t bytes;     // without padding
  std::uint64_t checksum;  // XXH3, 64 bits, of those bytes
};
static_assert(sizeof(SectionEntry) == 32);

struct SegmentHeader {
  std::array<char, 8> magic;
  std::uint32_t format_version;
  std::uint32_t section_count;
  std::uint64_t file_bytes;
  std::uint64_t row_count;  // at most 2^32 - 2
  std::uint32_t dim;
  std::uint32_t space;                                // Space
  std::uint32_t m;                                    // 0: no graph ("flat")
  std::uint32_t max_level;                            // of the graph
  std::array<std::uint32_t, kMaxLevels> level_count;  // [l]: nodes that reach level l; [0] = n
  std::array<SectionEntry, kMaxSections> sections;    // section_count are used, rest zero
  std::array<std::byte, 4096 - 48 - 64 - 1024 - 8> reserved;  // zero
  std::uint64_t header_checksum;                              // XXH3 of all bytes before it
};
static_assert(sizeof(SegmentHeader) == kSegmentHeaderBytes);
static_assert(offsetof(SegmentHeader, level_count) == 48);
static_assert(offsetof(SegmentHeader, sections) == 112);
static_assert(offsetof(SegmentHeader, header_checksum) == 4088);

// In front of each row of codes_int8: vector[i] ~ scale * code[i], codes in -127..127. Under cosine
// the coded vector is the unit vector.
struct Int8CodeHeader {
  float scale;
  float squared_norm;      // of the coded (under cosine: unit) vector before rounding
  std::int32_t sum;        // of the codes
  std::uint32_t reserved;  // zero
};
static_assert(sizeof(Int8CodeHeader) == 16);

// A row of codes_int4 is blocks of 64 bytes, and then an Int4CodeFactors. A block has 128
// components: those of the first 64 in the lower halves of its bytes, the others in the upper
// halves; each as code + 8, codes in -7..7. The last block is filled up with zero bytes.
// vector[i] ~ factor * code[i], of the unit vector under cosine.
inline constexpr std::size_t kInt4BlockBytes = 64;
inline constexpr std::size_t kInt4BlockCodes = 2 * kInt4BlockBytes;
struct Int4CodeFactors {
  float factor;
  float squared_norm;  // as in Int8CodeHeader
};
static_assert(sizeof(Int4CodeFactors) == 8);
constexpr std::size_t int4_blocks(std::size_t dim) noexcept {
  return (dim + kInt4BlockCodes - 1) / kInt4BlockCodes;
}
constexpr std::size_t int4_code_bytes(std::size_t dim) noexcept {
  return int4_blocks(dim) * kInt4BlockBytes + sizeof(Int4CodeFactors);
}

// A row of codes_1bit is one cache line: the upper halves of two f32 factors, then the bits.
inline constexpr std::size_t kBitCodeBytes = 64;
inline constexpr std::size_t kBitCodeBits = 480;

// A row of record_ids is one cache line: the length of the id, the id, zeros. Length 0: it is too
// long.
inline constexpr std::size_t kRecordIdBytes = 64;

// Bytes of a row that holds `bytes` bytes of data, padded to a cache line.
constexpr std::size_t row_stride(std::size_t bytes) noexcept {
  return (bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
}

// No size below can leave 64 bits, whatever counts within the limits a file claims.
static_assert(row_stride(sizeof(float) * kMaxDim) < (std::uint64_t{1} << 20));
static_assert(2 * kMaxM * sizeof(std::uint32_t) * kMaxLevels < (std::uint64_t{1} << 20));
static_assert(kMaxRows < (std::uint64_t{1} << 32));

// What is wrong with the counts of a header (row_count, dim, space, m, levels): "dim is 0, expected
// 1..16384"; nothing when they agree with each other and the limits.
std::optional<std::string> shape_problem(const SegmentHeader& header);

// The exact size the counts of `header` demand of a section, without padding; nothing for a kind
// this version does not know. shape_problem(header) must be nothing. The size of page_checksums
// follows from its place.
std::optional<std::uint64_t> section_bytes(SectionKind kind, const SegmentHeader& header) noexcept;

// Whether the section belongs to the graph: present exactly when m is not 0.
bool is_graph_section(SectionKind kind) noexcept;
// Whether a segment of this shape must have the section.
bool is_mandatory(SectionKind kind, const SegmentHeader& header) noexcept;

// The lower half of XXH3, 64 bits, of kSegmentPageBytes bytes.
std::uint32_t page_checksum(std::span<const std::byte> page) noexcept;

// XXH3, 64 bits, of bytes given in pieces. Thread safety: one thread at a time.
class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void reset() noexcept;
  void update(std::span<const std::byte> bytes) noexcept;
  std::uint64_t value() const noexcept;
  // Of bytes at hand.
  static std::uint64_t of(std::span<const std::byte> bytes) noexcept;
  // What header_checksum must be.
  static std::uint64_t of(const SegmentHeader& header) noexcept;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/file.h"
#include "storage/segment_format.h"

namespace vkb {

// What ReadAhead has seen of a segment: whether the last walk, and the last ranking, had to wait
// for the disk, and how many walks had to.
struct Residency {
  std::atomic<bool> walk_is_cold{true};
  std::atomic<bool> ranking_is_cold{true};
  std::atomic<std::uint32_t> cold_walks{0};
  std::vector<std::atomic<std::uint64_t>> read_vectors;  // a bit a row: Segment::is_read()
};

// A sealed, immutable part of a collection: a mapped segment file. Opening checks the header, and
// that each section has the size that the header's counts demand, and reads nothing else. It costs
// the same whatever row_count is, but for a bit a row in memory. Addresses are base + slot *
// stride. Thread safety: immutable, but for residency().
class Segment {
 public:
  // Throws corruption (naming file, section, expected and found), unsupported for a newer format,
  // not_found when there is no such file.
  static std::shared_ptr<const Segment> open(FileSystem& files, const std::string& path);

  const std::string& path() const noexcept { return path_; }
  const SegmentHeader& header() const noexcept { return *header_; }
  std::uint32_t row_count() const noexcept { return row_count_; }
  std::uint32_t dim() const noexcept { return dim_; }
  bool has_graph() const noexcept { return links0_ != nullptr; }
  bool has_int8_codes() const noexcept { return codes_ != nullptr; }
  bool has_int4_codes() const noexcept { return int4_codes_ != nullptr; }
  bool has_bit_codes() const noexcept {
    return bit_codes_ != nullptr && !bit_directions_.empty() && !bit_centre_.empty();
  }

  std::uint64_t row_id(std::uint32_t slot) const noexcept { return row_ids_[slot]; }
  // Where a row is, if it is here. O(log n); O(1) among rows whose ids follow each other.
  std::optional<std::uint32_t> slot_of(std::uint64_t row_id) const noexcept;
  // The id of a row's record, if the row is here and its id is kept.
  std::optional<std::string_view> record_id(std::uint64_t row_id) const noexcept;
  std::span<const std::uint64_t> sorted_row_ids() const noexcept {
    return {sorted_row_ids_, row_count_};
  }
  std::span<const std::uint32_t> sorted_slots() const noexcept {
    return {sorted_slots_, row_count_};
  }

  const float* vector(std::uint32_t slot) const noexcept {
    return reinterpret_cast<const float*>(vectors_ + slot * vector_stride_);
  }
  // The same for one of the few rows that a walk ends with: the first time it is copied to
  // `buffer`, dim() components, from the second on it is mapped. A page that is mapped brings up to
  // 2 MiB around it into this process's memory.
  const float* vector_seldom(std::uint32_t slot, float* buffer) const noexcept;
  // Whether vector_seldom() will give the mapped one.
  bool is_read(std::uint32_t slot) const noexcept {
    return !has_graph() ||
           ((residency_.read_vectors[slot / 64].load(std::memory_order_relaxed) >> (slot % 64)) &
            1) != 0;
  }
  float norm(std::uint32_t slot) const noexcept { return norms_[slot]; }
  const std::byte* code(std::uint32_t slot) const noexcept { return codes_ + slot * code_stride_; }
  const std::byte* int4_code(std::uint32_t slot) const noexcept {
    return int4_codes_ + slot * int4_code_stride_;
  }

  const std::byte* bit_code(std::uint32_t slot) const noexcept {
    return bit_codes_ + slot * kBitCodeBytes;
  }
  std::span<const std::byte> bit_directions() const noexcept { return bit_directions_; }
  std::span<const float> bit_centre() const noexcept { return bit_centre_; }

  // 2M neighbour slots; the first kNoNeighbour ends the list. Not checked: a reader compares each
  // with row_count() before following it (R8).
  const std::uint32_t* links0(std::uint32_t slot) const noexcept {
    return links0_ + std::size_t{slot} * links0_width_;
  }
  std::uint32_t links0_width() const noexcept { return links0_width_; }
  // Above level 0, nodes are numbered by their position in upper_slots; position 0 is the entry
  // point.
  std::span<const std::uint32_t> upper_slots() const noexcept { return upper_slots_; }
  const std::uint32_t* upper_links(std::uint32_t level, std::uint32_t position) const noexcept {
    return upper_links_[level] + std::size_t{position} * header_->m;
  }

  // Compares one of sections() with its checksum; throws corruption. O(bytes).
  void verify(const SectionEntry& section) const;
  // Compares every section; the callback gets the bytes done so far and may stop it by returning
  // false.
  void verify_all(const std::function<bool(std::uint64_t)>& progress = {}) const;
  const MappedFile& file() const noexcept { return *file_; }
  std::span<const SectionEntry> sections() const noexcept;
  // Takes the pages of vectors and int8 codes out of this process, which leaves them
  // in the page cache: for work that passes over all of them once.
  void release_rows() const noexcept;

  // Where the rows of a section that has one for each slot lie in the file; zeros when it is not
  // there.
  struct Rows {
    std::uint64_t offset;
    std::uint64_t stride;
    std::uint64_t bytes;  // of a row, without padding
  };
  Rows rows(SectionKind kind) const noexcept;
  // Null when there is no such section.
  const SectionEntry* section(SectionKind kind) const noexcept;
  Residency& residency() const noexcept { return residency_; }  // for ReadAhead

 private:
  Segment() = default;
  void advise(SectionKind kind, MappedFile::Access access) const noexcept;
  void advise_sections() const noexcept;
  void place(const SectionEntry& section, const std::byte* base) noexcept;
  // Position in sorted_row_ids().
  std::optional<std::size_t> rank_of(std::uint64_t row_id) const noexcept;
  // Returns false when `progress` stopped it.
  bool verify(const SectionEntry& section,
              const std::function<bool(std::uint64_t)>& progress) const;

  std::string path_;
  std::unique_ptr<MappedFile> file_;
  const SegmentHeader* header_ = nullptr;
  std::uint32_t row_count_ = 0;
  std::uint32_t dim_ = 0;
  const std::uint64_t* row_ids_ = nullptr;
  const std::uint64_t* sorted_row_ids_ = nullptr;
  const std::uint32_t* sorted_slots_ = nullptr;
  const std::byte* vectors_ = nullptr;
  std::size_t vector_stride_ = 0;
  const float* norms_ = nullptr;
  const std::byte* codes_ = nullptr;  // null: none
  std::size_t code_stride_ = 0;
  const std::byte* int4_codes_ = nullptr;  // null: none
  std::size_t int4_code_stride_ = 0;
  const std::byte* bit_codes_ = nullptr;  // null: none
  std::span<const std::byte> bit_directions_;
  std::span<const float> bit_centre_;
  const std::byte* record_ids_ = nullptr;  // null: none
  const std::uint32_t* links0_ = nullptr;  // null: flat
  std::uint32_t links0_width_ = 0;
  std::span<const std::uint32_t> upper_slots_;
  std::array<const std::uint32_t*, kMaxLevels> upper_links_{};
  mutable Residency residency_;
};

}  // namespace vkb

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
// the same whatever row_count is, but for a bit a row and a bit a page in memory. Addresses are
// base + slot * stride.
// What is read is checked (R8): whoever asks for content gets it once the pages it lies in have met
// their checksums, which is looked at when they are first used; else corruption, naming the page.
// Functions whose names begin with raw_ do not look: they are for those who only prefetch, or call
// need() for many rows at once. Files of version 1 and 2 have no such checksums.
// Thread safety: immutable, but for residency() and the marks of pages, which are atomic.
class Segment {
 public:
  // Throws corruption (naming file, section, expected and found), unsupported for a newer format,
  // not_found when there is no such file.
  static std::shared_ptr<const Segment> open(FileSystem& files, const std::string& path);

  const std::string& path() const noexcept { return path_; }
  const SegmentHeader& header() const noexcept { return *header_; }
  std::uint32_t row_count() const noexcept { return row_count_; }
  std::uint32_t dim() const noexcept { return dim_; }
  bool has_page_checksums() const noexcept { return !page_checksums_.empty(); }
  bool has_graph() const noexcept { return links0_ != nullptr; }
  bool has_int8_codes() const noexcept { return codes_ != nullptr; }
  bool has_int4_codes() const noexcept { return int4_codes_ != nullptr; }
  bool has_bit_codes() const noexcept {
    return bit_codes_ != nullptr && !bit_directions_.empty() && !bit_centre_.empty();
  }

  // Throws corruption unless the pages with these bytes of the mapping match their checksums.
  void need(const void* begin, std::size_t bytes) const {
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(begin) - base_);
    const std::size_t first = offset / kSegmentPageBytes;
    const std::size_t last = (offset + bytes - 1) / kSegmentPageBytes;  // a row is in one or two
    if (last - first < 2 && (unchecked(first) | unchecked(last)) == 0) [[likely]]
      return;
    check_pages(offset, bytes);
  }
  // The same for the one-bit codes of some rows. A walk asks for thousands, so that a few dozen
  // walks have seen all pages.
  void need_bit_codes(std::span<const std::uint32_t> slots) const {
    if (unchecked_bit_pages_.load(std::memory_order_relaxed) == 0) [[likely]]
      return;
    for (const std::uint32_t slot : slots) need(raw_bit_code(slot), kBitCodeBytes);
  }

  std::uint64_t row_id(std::uint32_t slot) const { return *checked(row_ids_ + slot); }
  // Where a row is, if it is here. O(log n); O(1) among rows whose ids follow each other.
  std::optional<std::uint32_t> slot_of(std::uint64_t row_id) const;
  // The id of a row's record, if the row is here and its id is kept.
  std::optional<std::string_view> record_id(std::uint64_t row_id) const;
  std::uint64_t sorted_row_id(std::uint32_t rank) const { return *checked(sorted_row_ids_ + rank); }
  std::uint32_t sorted_slot(std::uint32_t rank) const { return *checked(sorted_slots_ + rank); }
  std::span<const std::uint64_t> sorted_row_ids() const {
    return {checked(sorted_row_ids_, row_count_), row_count_};
  }
  std::span<const std::uint32_t> sorted_slots() const {
    return {checked(sorted_slots_, row_count_), row_count_};
  }

  const float* vector(std::uint32_t slot) const { return checked(raw_vector(slot), dim_); }
  // The same for one of the few rows that a walk ends with: the first time it is copied to
  // `buffer`, seldom_floats() in size, from the second on it is mapped. A page that is mapped
  // brings up to 2 MiB around it into this process's memory.
  const float* vector_seldom(std::uint32_t slot, std::span<float> buffer) const;
  std::size_t seldom_floats() const noexcept;
  // Whether vector_seldom() will give the mapped one.
  bool is_read(std::uint32_t slot) const noexcept {
    return !has_graph() ||
           ((residency_.read_vectors[slot / 64].load(std::memory_order_relaxed) >> (slot % 64)) &
            1) != 0;
  }
  float norm(std::uint32_t slot) const { return *checked(norms_ + slot); }
  const std::byte* code(std::uint32_t slot) const {
    return checked(raw_code(slot), sizeof(Int8CodeHeader) + dim_);
  }
  const std::byte* int4_code(std::uint32_t slot) const {
    return checked(raw_int4_code(slot), int4_code_bytes(dim_));
  }
  const std::byte* bit_code(std::uint32_t slot) const {
    return checked(raw_bit_code(slot), kBitCodeBytes);
  }
  std::span<const std::byte> bit_directions() const {
    return {checked(bit_directions_.data(), bit_directions_.size()), bit_directions_.size()};
  }
  std::span<const float> bit_centre() const {
    return {checked(bit_centre_.data(), bit_centre_.size()), bit_centre_.size()};
  }

  // 2M neighbour slots; the first kNoNeighbour ends the list. A reader compares each with
  // row_count() before following it (R8): a checksum says that it is what was written.
  const std::uint32_t* links0(std::uint32_t slot) const {
    return checked(raw_links0(slot), links0_width_);
  }
  std::uint32_t links0_width() const noexcept { return links0_width_; }
  // Above level 0, nodes are numbered by their position in upper_slots; position 0 is the entry
  // point.
  std::uint32_t upper_slot(std::uint32_t position) const {
    return *checked(upper_slots_.data() + position);
  }
  std::span<const std::uint32_t> upper_slots() const {
    return {checked(upper_slots_.data(), upper_slots_.size()), upper_slots_.size()};
  }
  const std::uint32_t* upper_links(std::uint32_t level, std::uint32_t position) const {
    return checked(upper_links_[level] + std::size_t{position} * header_->m, header_->m);
  }

  const float* raw_vector(std::uint32_t slot) const noexcept {
    return reinterpret_cast<const float*>(vectors_ + slot * vector_stride_);
  }
  const std::byte* raw_code(std::uint32_t slot) const noexcept {
    return codes_ + slot * code_stride_;
  }
  const std::byte* raw_int4_code(std::uint32_t slot) const noexcept {
    return int4_codes_ + slot * int4_code_stride_;
  }
  const std::byte* raw_bit_code(std::uint32_t slot) const noexcept {
    return bit_codes_ + slot * kBitCodeBytes;
  }
  const std::uint32_t* raw_links0(std::uint32_t slot) const noexcept {
    return links0_ + std::size_t{slot} * links0_width_;
  }

  // Compares one of sections() with its checksum; throws corruption. O(bytes). Its pages need not
  // be looked at any more.
  void verify(const SectionEntry& section) const;
  // Pages, gaps behind sections included, that do not match their checksums. O(bytes).
  std::uint64_t count_damaged_pages() const noexcept;
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
  // `count` values of the mapping, once their pages are checked.
  template <typename T>
  const T* checked(const T* begin, std::size_t count = 1) const {
    if (count > 0) need(begin, count * sizeof(T));
    return begin;
  }
  // 1, or 0 when the page was found right before.
  std::uint64_t unchecked(std::size_t page) const noexcept {
    return (unchecked_pages_[page / 64].load(std::memory_order_relaxed) >> (page % 64)) & 1;
  }
  bool has_bit_code(std::size_t page) const noexcept;
  void check_pages(std::size_t offset, std::size_t bytes) const;
  std::span<const std::byte> raw_page(std::size_t page) const noexcept;
  void mark_checked(std::size_t page) const noexcept;
  // Throws, or marks the page as checked.
  void check_page(std::size_t page, std::span<const std::byte> bytes) const;
  void advise(SectionKind kind, MappedFile::Access access) const noexcept;
  void advise_sections() const noexcept;
  void place(const SectionEntry& section, const std::byte* base) noexcept;
  // Position in sorted_row_ids().
  std::optional<std::size_t> rank_of(std::uint64_t row_id) const;
  // Returns false when `progress` stopped it.
  bool verify(const SectionEntry& section,
              const std::function<bool(std::uint64_t)>& progress) const;

  std::string path_;
  std::unique_ptr<MappedFile> file_;
  const std::byte* base_ = nullptr;  // of the mapping
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
  std::span<const std::uint32_t> page_checksums_;                    // empty: none
  mutable std::vector<std::atomic<std::uint64_t>> unchecked_pages_;  // a bit a page
  mutable std::atomic<std::uint64_t> unchecked_bit_pages_{0};        // those with one-bit codes
  mutable Residency residency_;
};

}  // namespace vkb

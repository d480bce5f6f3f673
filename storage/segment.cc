// SPDX-License-Identifier: Apache-2.0
#include "storage/segment.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "storage/error.h"

namespace vkb {
namespace {

constexpr std::size_t kVerifyBytes = std::size_t{16} << 20;  // between two calls of progress

std::string name_of(const SectionEntry& section) {
  const std::string name(to_string(static_cast<SectionKind>(section.kind)));
  return "section " + name + (name == "unknown" ? " kind " + std::to_string(section.kind) : "");
}

// Holds a header against the rules of docs/segment_format.md and throws at the first it breaks.
class HeaderCheck {
 public:
  HeaderCheck(const std::string& path, std::span<const std::byte> file) : path_(path), file_(file) {
    if (file.size() < kSegmentHeaderBytes) {
      corrupt("file has " + std::to_string(file.size()) + " bytes, its header alone has " +
              std::to_string(kSegmentHeaderBytes));
    }
    header_ = reinterpret_cast<const SegmentHeader*>(file.data());
  }

  const SegmentHeader* run() const {
    check_identity();
    if (const auto problem = shape_problem(*header_)) corrupt(*problem);
    if (header_->section_count > kMaxSections) {
      corrupt("it has " + std::to_string(header_->section_count) + " sections, expected at most " +
              std::to_string(kMaxSections));
    }
    for (const SectionEntry& section : sections()) check_section(section);
    check_overlap();
    check_complete();
    // After the sections, so that a file cut short names the section that lost its end.
    if (header_->file_bytes != file_.size()) {
      corrupt("file has " + std::to_string(file_.size()) + " bytes, its header says " +
              std::to_string(header_->file_bytes));
    }
    return header_;
  }

 private:
  [[noreturn]] void fail(ErrorCode code, const std::string& problem) const {
    throw Error(code,
                "segment " + std::filesystem::path(path_).filename().string() + ": " + problem);
  }
  [[noreturn]] void corrupt(const std::string& problem) const {
    fail(ErrorCode::corruption, problem);
  }

  std::span<const SectionEntry> sections() const noexcept {
    return std::span(header_->sections).first(header_->section_count);
  }

  void check_identity() const {
    if (header_->magic != kSegmentMagic) corrupt("it does not begin as a segment file does");
    // Before the checksum, whose place and kind are a newer version's to change.
    if (header_->format_version > kSegmentFormatVersion && !was_known_version()) {
      fail(ErrorCode::unsupported, "its format is version " +
                                       std::to_string(header_->format_version) +
                                       ", this program reads up to " +
                                       std::to_string(kSegmentFormatVersion) + "; use a newer vkb");
    }
    if (Checksum::of(*header_) != header_->header_checksum) {
      corrupt("its header does not match its checksum");
    }
    if (header_->format_version == 0) {
      corrupt("its format version is 0, expected 1.." + std::to_string(kSegmentFormatVersion));
    }
  }

  // Whether the header has the checksum of one with a version that this program knows: then it is
  // damaged, and not newer.
  bool was_known_version() const {
    SegmentHeader header = *header_;
    for (header.format_version = 1; header.format_version <= kSegmentFormatVersion;
         ++header.format_version) {
      if (Checksum::of(header) == header.header_checksum) return true;
    }
    return false;
  }

  void check_section(const SectionEntry& section) const {
    const auto expected = section_bytes(static_cast<SectionKind>(section.kind), *header_);
    if ((section.flags & ~kSectionRequired) != 0 ||
        (!expected.has_value() && (section.flags & kSectionRequired) != 0)) {
      fail(ErrorCode::unsupported,
           name_of(section) + " is of a newer format and may not be skipped; use a newer vkb");
    }
    if (expected.has_value() && *expected != section.bytes) {
      corrupt(name_of(section) + " has " + std::to_string(section.bytes) + " bytes, expected " +
              std::to_string(*expected));
    }
    if (section.offset < kSegmentHeaderBytes || section.offset % kSectionAlignment != 0) {
      corrupt(name_of(section) + " begins at " + std::to_string(section.offset) +
              ", expected a multiple of " + std::to_string(kSectionAlignment) +
              " after the header");
    }
    if (section.offset > file_.size() || section.bytes > file_.size() - section.offset) {
      const bool fits = section.bytes <= UINT64_MAX - section.offset;
      corrupt(name_of(section) + " ends at " +
              (fits ? std::to_string(section.offset + section.bytes) : "more than 2^64") +
              ", file has " + std::to_string(file_.size()) + " bytes");
    }
  }

  // Also finds duplicates of sections without bytes, which overlap nothing.
  void check_overlap() const {
    std::array<const SectionEntry*, kMaxSections> by_offset{};
    const auto end = std::transform(sections().begin(), sections().end(), by_offset.begin(),
                                    [](const SectionEntry& section) { return &section; });
    std::sort(by_offset.begin(), end, [](const SectionEntry* a, const SectionEntry* b) {
      return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
    });
    for (auto next = by_offset.begin(); next != end; ++next) {
      for (auto before = by_offset.begin(); before != next; ++before) {
        if ((*before)->kind == (*next)->kind) corrupt("it has " + name_of(**next) + " twice");
        if ((*before)->offset + (*before)->bytes > (*next)->offset) {
          corrupt(name_of(**before) + " ends at " +
                  std::to_string((*before)->offset + (*before)->bytes) + ", " + name_of(**next) +
                  " begins at " + std::to_string((*next)->offset));
        }
      }
    }
  }

  void check_complete() const {
    for (std::uint32_t i = 1; i <= kKnownSections; ++i) {
      const auto kind = static_cast<SectionKind>(i);
      const bool present =
          std::any_of(sections().begin(), sections().end(),
                      [i](const SectionEntry& section) { return section.kind == i; });
      const std::string name = "section " + std::string(to_string(kind));
      if (!present && is_mandatory(kind, *header_)) corrupt(name + " is missing");
      if (present && is_graph_section(kind) && header_->m == 0) {
        corrupt("it has " + name + ", but m is 0");
      }
    }
    const auto pages =
        std::find_if(sections().begin(), sections().end(), [](const SectionEntry& section) {
          return section.kind == static_cast<std::uint32_t>(SectionKind::page_checksums);
        });
    if (pages == sections().end()) return;
    for (const SectionEntry& section : sections()) {
      if (section.kind <= kKnownSections && section.offset > pages->offset) {
        corrupt(name_of(section) + " lies behind section page_checksums, which does not cover it");
      }
    }
  }

  const std::string& path_;
  std::span<const std::byte> file_;
  const SegmentHeader* header_ = nullptr;
};

}  // namespace

std::shared_ptr<const Segment> Segment::open(FileSystem& files, const std::string& path) {
  std::shared_ptr<Segment> segment(new Segment());
  segment->path_ = path;
  segment->file_ = files.map(path);
  const std::byte* base = segment->file_->bytes().data();
  segment->base_ = base;
  const SegmentHeader* header = HeaderCheck(path, segment->file_->bytes()).run();
  segment->header_ = header;
  segment->row_count_ = static_cast<std::uint32_t>(header->row_count);
  segment->dim_ = header->dim;
  segment->vector_stride_ = row_stride(header->dim * sizeof(float));
  segment->code_stride_ = row_stride(sizeof(Int8CodeHeader) + header->dim);
  segment->int4_code_stride_ = row_stride(int4_code_bytes(header->dim));
  segment->links0_width_ = 2 * header->m;
  for (const SectionEntry& section : segment->sections()) segment->place(section, base);
  if (header->m > 0) {
    segment->residency_.read_vectors =
        std::vector<std::atomic<std::uint64_t>>((header->row_count + 63) / 64);
  }
  const std::size_t pages = segment->file_->bytes().size() / kSegmentPageBytes + 1;
  segment->unchecked_pages_ = std::vector<std::atomic<std::uint64_t>>((pages + 63) / 64);
  if (segment->has_page_checksums()) {
    for (auto& some : segment->unchecked_pages_) some.store(~std::uint64_t{0});
    const SectionEntry* bits = segment->section(SectionKind::codes_1bit);
    const std::uint64_t bytes = bits != nullptr ? bits->bytes : 0;
    segment->unchecked_bit_pages_.store((bytes + kSegmentPageBytes - 1) / kSegmentPageBytes);
  }
  segment->advise_sections();
  return segment;
}

void Segment::advise_sections() const noexcept {
  // Read here and there: without this each read would bring in its surroundings too, megabytes of
  // them with some disks.
  for (const SectionKind kind :
       {SectionKind::links0, SectionKind::upper_links, SectionKind::codes_int8,
        SectionKind::codes_int4, SectionKind::codes_1bit, SectionKind::norms,
        SectionKind::row_ids}) {
    advise(kind, MappedFile::Access::random);
  }
  advise(SectionKind::vectors, MappedFile::Access::sparse);
  // What every walk reads; of page_checksums a part, but a thousandth of all is little.
  for (const SectionKind kind : {SectionKind::bit_directions, SectionKind::bit_centre,
                                 SectionKind::upper_slots, SectionKind::page_checksums}) {
    advise(kind, MappedFile::Access::will_need);
  }
  if (header_->max_level < 2) return;
  const std::byte* begin = file_->bytes().data();
  const auto* from = reinterpret_cast<const std::byte*>(upper_links_[2]);
  std::size_t rows = 0;
  for (std::size_t level = 2; level <= header_->max_level; ++level) {
    rows += header_->level_count[level];
  }
  file_->advise(static_cast<std::size_t>(from - begin), rows * header_->m * sizeof(std::uint32_t),
                MappedFile::Access::will_need);
}

Segment::Rows Segment::rows(SectionKind kind) const noexcept {
  const SectionEntry* entry = section(kind);
  if (entry == nullptr || row_count_ == 0) return {};
  switch (kind) {
    case SectionKind::vectors:
      return {entry->offset, vector_stride_, dim_ * sizeof(float)};
    case SectionKind::codes_int8:
      return {entry->offset, code_stride_, sizeof(Int8CodeHeader) + dim_};
    case SectionKind::codes_int4:
      return {entry->offset, int4_code_stride_, int4_code_bytes(dim_)};
    default:
      return {entry->offset, entry->bytes / row_count_, entry->bytes / row_count_};
  }
}

void Segment::place(const SectionEntry& section, const std::byte* base) noexcept {
  const std::byte* data = base + section.offset;
  const auto* words = reinterpret_cast<const std::uint32_t*>(data);
  switch (static_cast<SectionKind>(section.kind)) {
    case SectionKind::row_ids:
      row_ids_ = reinterpret_cast<const std::uint64_t*>(data);
      break;
    case SectionKind::sorted_row_ids:
      sorted_row_ids_ = reinterpret_cast<const std::uint64_t*>(data);
      break;
    case SectionKind::sorted_slots:
      sorted_slots_ = words;
      break;
    case SectionKind::vectors:
      vectors_ = data;
      break;
    case SectionKind::norms:
      norms_ = reinterpret_cast<const float*>(data);
      break;
    case SectionKind::codes_int8:
      codes_ = data;
      break;
    case SectionKind::links0:
      links0_ = words;
      break;
    case SectionKind::upper_slots:
      upper_slots_ = {words, header_->level_count[1]};
      break;
    case SectionKind::upper_links:
      for (std::size_t level = 1; level <= header_->max_level; ++level) {
        upper_links_[level] = words;
        words += std::size_t{header_->level_count[level]} * header_->m;
      }
      break;
    case SectionKind::bit_directions:
      bit_directions_ = {data, section.bytes};
      break;
    case SectionKind::bit_centre:
      bit_centre_ = {reinterpret_cast<const float*>(data), kBitCodeBits};
      break;
    case SectionKind::codes_1bit:
      bit_codes_ = data;
      break;
    case SectionKind::record_ids:
      record_ids_ = data;
      break;
    case SectionKind::codes_int4:
      int4_codes_ = data;
      break;
    case SectionKind::page_checksums:
      page_checksums_ = {words, section.bytes / sizeof(std::uint32_t)};
      break;
  }
}

std::span<const std::byte> Segment::raw_page(std::size_t page) const noexcept {
  const std::span<const std::byte> file = file_->bytes();
  const std::size_t begin = page * kSegmentPageBytes;
  return file.subspan(begin, std::min(kSegmentPageBytes, file.size() - begin));
}

void Segment::check_pages(std::size_t offset, std::size_t bytes) const {
  const std::size_t end = (offset + bytes + kSegmentPageBytes - 1) / kSegmentPageBytes;
  for (std::size_t page = offset / kSegmentPageBytes; page < end && bytes > 0; ++page) {
    if (unchecked(page) != 0) check_page(page, raw_page(page));
  }
}

void Segment::check_page(std::size_t page, std::span<const std::byte> bytes) const {
  const std::size_t begin = page * kSegmentPageBytes;
  if (page >= page_checksums_.size() || page_checksum(bytes) != page_checksums_[page]) {
    const auto behind = std::find_if(
        sections().begin(), sections().end(),
        [&](const SectionEntry& section) { return begin < section.offset + section.bytes; });
    const std::string where = behind == sections().end() ? "" : " of " + name_of(*behind);
    throw Error(ErrorCode::corruption,
                "segment " + std::filesystem::path(path_).filename().string() + ": the page" +
                    where + " at byte " + std::to_string(begin) +
                    " does not match its checksum; run `vkb check --deep`, which says whether "
                    "`vkb repair` can rebuild it");
  }
  mark_checked(page);
}

void Segment::mark_checked(std::size_t page) const noexcept {
  const std::uint64_t bit = std::uint64_t{1} << (page % 64);
  const std::uint64_t before =
      unchecked_pages_[page / 64].fetch_and(~bit, std::memory_order_relaxed);
  if ((before & bit) != 0 && has_bit_code(page)) {
    unchecked_bit_pages_.fetch_sub(1, std::memory_order_relaxed);
  }
}

bool Segment::has_bit_code(std::size_t page) const noexcept {
  const SectionEntry* bits = section(SectionKind::codes_1bit);
  const std::uint64_t begin = page * kSegmentPageBytes;
  return bits != nullptr && begin >= bits->offset && begin < bits->offset + bits->bytes;
}

std::size_t Segment::seldom_floats() const noexcept {
  return (dim_ * sizeof(float) / kSegmentPageBytes + 2) * kSegmentPageBytes / sizeof(float);
}

const float* Segment::vector_seldom(std::uint32_t slot, std::span<float> buffer) const {
  if (is_read(slot)) return vector(slot);
  residency_.read_vectors[slot / 64].fetch_or(std::uint64_t{1} << (slot % 64),
                                              std::memory_order_relaxed);
  // Whole pages, as their checksums are of these.
  const std::size_t offset = section(SectionKind::vectors)->offset + slot * vector_stride_;
  const std::size_t first = offset / kSegmentPageBytes;
  const std::size_t last = (offset + dim_ * sizeof(float) - 1) / kSegmentPageBytes;
  const auto bytes = std::as_writable_bytes(buffer).first((last - first + 1) * kSegmentPageBytes);
  if (!file_->read(first * kSegmentPageBytes, bytes)) return vector(slot);
  for (std::size_t page = first; page <= last; ++page) {
    if (unchecked(page) == 0) continue;
    check_page(page, bytes.subspan((page - first) * kSegmentPageBytes, kSegmentPageBytes));
  }
  return buffer.data() + (offset - first * kSegmentPageBytes) / sizeof(float);
}

std::optional<std::size_t> Segment::rank_of(std::uint64_t row_id) const {
  const std::span<const std::uint64_t> ids(sorted_row_ids_, row_count_);
  if (ids.empty() || row_id < *checked(ids.data())) return std::nullopt;
  // Rows of one load follow each other without gaps, mostly.
  const std::uint64_t guess = row_id - ids.front();
  if (guess < ids.size() && *checked(&ids[guess]) == row_id) return static_cast<std::size_t>(guess);
  const auto at = std::partition_point(
      ids.begin(), ids.end(), [&](const std::uint64_t& id) { return *checked(&id) < row_id; });
  if (at == ids.end() || *at != row_id) return std::nullopt;
  return static_cast<std::size_t>(at - ids.begin());
}

std::optional<std::uint32_t> Segment::slot_of(std::uint64_t row_id) const {
  const std::optional<std::size_t> rank = rank_of(row_id);
  if (!rank) return std::nullopt;
  const std::uint32_t slot = *checked(sorted_slots_ + *rank);
  if (slot >= row_count_) return std::nullopt;  // R8
  return slot;
}

std::optional<std::string_view> Segment::record_id(std::uint64_t row_id) const {
  if (record_ids_ == nullptr) return std::nullopt;
  const std::optional<std::size_t> rank = rank_of(row_id);
  if (!rank) return std::nullopt;
  const std::byte* row = checked(record_ids_ + *rank * kRecordIdBytes, kRecordIdBytes);
  const auto length = std::to_integer<std::size_t>(row[0]);
  if (length == 0 || length >= kRecordIdBytes) return std::nullopt;  // R8
  return std::string_view(reinterpret_cast<const char*>(row + 1), length);
}

std::span<const SectionEntry> Segment::sections() const noexcept {
  return std::span(header_->sections).first(header_->section_count);
}

const SectionEntry* Segment::section(SectionKind kind) const noexcept {
  for (const SectionEntry& section : sections()) {
    if (section.kind == static_cast<std::uint32_t>(kind)) return &section;
  }
  return nullptr;
}

void Segment::verify(const SectionEntry& section) const {
  verify(section, [](std::uint64_t) { return true; });
}

void Segment::verify_all(const std::function<bool(std::uint64_t)>& progress) const {
  std::uint64_t before = 0;
  for (const SectionEntry& section : sections()) {
    const bool go_on =
        verify(section, [&](std::uint64_t done) { return !progress || progress(before + done); });
    if (!go_on) return;
    before += section.bytes;
  }
}

std::uint64_t Segment::count_damaged_pages() const noexcept {
  std::uint64_t count = 0;
  for (std::size_t page = 1; page < page_checksums_.size(); ++page) {
    count += page_checksum(raw_page(page)) != page_checksums_[page];
  }
  return count;
}

bool Segment::verify(const SectionEntry& section,
                     const std::function<bool(std::uint64_t)>& progress) const {
  file_->advise(section.offset, section.bytes, MappedFile::Access::sequential);
  const auto bytes = file_->bytes().subspan(section.offset, section.bytes);
  Checksum checksum;
  for (std::size_t done = 0; done < bytes.size();) {
    const std::size_t step = std::min(kVerifyBytes, bytes.size() - done);
    checksum.update(bytes.subspan(done, step));
    done += step;
    if (!progress(done)) return false;
  }
  file_->advise(section.offset, section.bytes, MappedFile::Access::normal);
  advise_sections();
  if (checksum.value() == section.checksum) {
    const std::size_t end =
        (section.offset + section.bytes + kSegmentPageBytes - 1) / kSegmentPageBytes;
    for (std::size_t page = section.offset / kSegmentPageBytes; page < end; ++page)
      mark_checked(page);
    return true;
  }
  throw Error(ErrorCode::corruption,
              "segment " + std::filesystem::path(path_).filename().string() + ": " +
                  name_of(section) + " (" + std::to_string(section.bytes) + " bytes at " +
                  std::to_string(section.offset) + ") does not match its checksum");
}

void Segment::release_rows() const noexcept {
  advise(SectionKind::vectors, MappedFile::Access::dont_need);
  advise(SectionKind::codes_int8, MappedFile::Access::dont_need);
}

void Segment::advise(SectionKind kind, MappedFile::Access access) const noexcept {
  if (const SectionEntry* entry = section(kind)) file_->advise(entry->offset, entry->bytes, access);
}

}  // namespace vkb

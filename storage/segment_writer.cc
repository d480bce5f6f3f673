// SPDX-License-Identifier: Apache-2.0
#include "storage/segment_writer.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "storage/error.h"

namespace vkb {
namespace {

constexpr std::array<std::byte, kSectionAlignment> kZeros{};

SegmentHeader make_header(const SegmentWriter::Shape& shape) {
  SegmentHeader header{};
  header.magic = kSegmentMagic;
  header.format_version = kSegmentFormatVersion;
  header.row_count = shape.row_count;
  header.dim = shape.dim;
  header.space = shape.space;
  header.m = shape.m;
  header.max_level = shape.max_level;
  header.level_count = shape.level_count;
  if (header.level_count[0] == 0) {  // more rows than fit are shape_problem's to name
    header.level_count[0] = static_cast<std::uint32_t>(std::min(shape.row_count, kMaxRows));
  }
  return header;
}

}  // namespace

class SegmentWriter::Impl {
 public:
  Impl(FileSystem& files, std::string path, const Shape& shape)
      : path_(std::move(path)), header_(make_header(shape)) {
    if (const auto problem = shape_problem(header_)) fail(*problem);
    file_ = files.create(path_);
    put(kZeros);  // where the header goes once everything is known
  }

  void begin(SectionKind kind) {
    const std::string name(to_string(kind));
    require_open();
    if (section_ != nullptr) fail("section " + name + " begins within another");
    const auto bytes = section_bytes(kind, header_);
    if (!bytes.has_value()) fail("a section begins that is unknown, or not the caller's to write");
    if (has_section(kind)) fail("section " + name + " begins twice");
    if (header_.m == 0 && is_graph_section(kind)) fail("section " + name + " begins, but m is 0");
    pad_to(kSectionAlignment);
    using Access = MappedFile::Access;
    file_->expect_reads(kind == SectionKind::vectors ? Access::sparse : Access::random);
    begin(kind, *bytes);
  }

  void append(std::span<const std::byte> bytes) {
    require_open();
    if (section_ == nullptr) fail("bytes are appended outside a section");
    if (bytes.size() > expected_bytes_ - section_->bytes) {
      fail_size(section_->bytes + bytes.size());
    }
    checksum_.update(bytes);
    put(bytes);
    section_->bytes += bytes.size();
  }

  void append_row(std::span<const std::byte> row) {
    append(row);
    append(std::span(kZeros).first(row_stride(row.size()) - row.size()));
  }

  void end() {
    require_open();
    if (section_ == nullptr) fail("a section ends that never began");
    if (section_->bytes != expected_bytes_) fail_size(section_->bytes);
    section_->checksum = checksum_.value();
    section_ = nullptr;
    ++header_.section_count;
  }

  Published publish() {
    require_open();
    if (section_ != nullptr) fail("publish() within a section");
    for (std::uint32_t i = 1; i <= kKnownSections; ++i) {
      const auto kind = static_cast<SectionKind>(i);
      if (kind != SectionKind::page_checksums && is_mandatory(kind, header_) &&
          !has_section(kind)) {
        fail("section " + std::string(to_string(kind)) + " is missing");
      }
    }
    write_page_checksums();
    header_.file_bytes = file_->size();
    header_.header_checksum = Checksum::of(header_);
    file_->write_at(0, std::as_bytes(std::span(&header_, 1)));
    file_->publish();
    file_.reset();
    return {.byte_count = header_.file_bytes, .checksum = header_.header_checksum};
  }

 private:
  void begin(SectionKind kind, std::uint64_t bytes) {
    section_ = &header_.sections[header_.section_count];
    section_->kind = static_cast<std::uint32_t>(kind);
    section_->flags = is_data(kind) ? kSectionRequired : 0;
    section_->offset = file_->size();
    expected_bytes_ = bytes;
    checksum_.reset();
  }

  void write_page_checksums() {
    pad_to(kSectionAlignment);
    std::vector<std::uint32_t> checksums = std::move(page_checksums_);
    checksums.front() = 0;  // the header is not known yet, and has a checksum of its own
    begin(SectionKind::page_checksums, checksums.size() * sizeof(std::uint32_t));
    append(std::as_bytes(std::span(checksums)));
    end();
  }

  void put(std::span<const std::byte> bytes) {
    file_->append(bytes);
    while (!bytes.empty()) {
      const std::size_t size = std::min(kSegmentPageBytes - page_.size(), bytes.size());
      if (size == kSegmentPageBytes) {
        page_checksums_.push_back(page_checksum(bytes.first(size)));
      } else {
        page_.insert(page_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      }
      if (page_.size() == kSegmentPageBytes) {
        page_checksums_.push_back(page_checksum(page_));
        page_.clear();
      }
      bytes = bytes.subspan(size);
    }
  }

  // R9: what no rebuild can bring back.
  static bool is_data(SectionKind kind) noexcept {
    return is_mandatory(kind, SegmentHeader{});  // caches are optional without a graph
  }
  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(
        ErrorCode::invalid_argument,
        "segment " + std::filesystem::path(path_).filename().string() + ", writing: " + problem);
  }
  [[noreturn]] void fail_size(std::uint64_t bytes) const {
    fail("section " + std::string(to_string(static_cast<SectionKind>(section_->kind))) + " has " +
         std::to_string(bytes) + " bytes, the shape demands " + std::to_string(expected_bytes_));
  }
  void require_open() const {
    if (file_ == nullptr) fail("it is published");
  }

  bool has_section(SectionKind kind) const noexcept {
    const auto used = std::span(header_.sections).first(header_.section_count);
    return std::any_of(used.begin(), used.end(), [kind](const SectionEntry& section) {
      return section.kind == static_cast<std::uint32_t>(kind);
    });
  }

  void pad_to(std::uint64_t alignment) {
    const std::uint64_t past = file_->size() % alignment;
    if (past != 0) put(std::span(kZeros).first(alignment - past));
  }

  std::string path_;
  SegmentHeader header_;
  std::unique_ptr<NewFile> file_;
  SectionEntry* section_ = nullptr;  // the one being written
  std::uint64_t expected_bytes_ = 0;
  Checksum checksum_;
  std::vector<std::byte> page_;                // the last one, while it is not full
  std::vector<std::uint32_t> page_checksums_;  // of those before it
};

SegmentWriter::SegmentWriter(FileSystem& files, std::string path, const Shape& shape)
    : impl_(std::make_unique<Impl>(files, std::move(path), shape)) {}
SegmentWriter::~SegmentWriter() = default;

void SegmentWriter::begin(SectionKind kind) { impl_->begin(kind); }
void SegmentWriter::append(std::span<const std::byte> bytes) { impl_->append(bytes); }
void SegmentWriter::append_row(std::span<const std::byte> row) { impl_->append_row(row); }
void SegmentWriter::end() { impl_->end(); }
SegmentWriter::Published SegmentWriter::publish() { return impl_->publish(); }

}  // namespace vkb

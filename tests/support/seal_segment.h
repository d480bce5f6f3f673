// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>

#include "storage/segment_format.h"

namespace vkb {

// Changes the bytes of a section, if there is one.
inline void change_section(std::string& bytes, SectionKind kind,
                           const std::function<void(std::span<std::byte>)>& change) {
  SegmentHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto file = std::as_writable_bytes(std::span(bytes));
  for (const SectionEntry& section : header.sections) {
    if (section.kind != static_cast<std::uint32_t>(kind)) continue;
    change(file.subspan(section.offset, section.bytes));
  }
}

// Makes all checksums of a segment file's bytes fit: what a bug, or a forger, would write. Returns
// the header's, which the manifest has.
inline std::uint64_t seal_segment(std::string& bytes) {
  SegmentHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto file = std::as_writable_bytes(std::span(bytes));
  for (SectionEntry& section : header.sections) {
    if (section.kind != static_cast<std::uint32_t>(SectionKind::page_checksums)) continue;
    const auto table = file.subspan(section.offset, section.bytes);
    for (std::size_t page = 1; page < table.size() / sizeof(std::uint32_t); ++page) {
      const std::uint32_t checksum =
          page_checksum(file.subspan(page * kSegmentPageBytes, kSegmentPageBytes));
      std::memcpy(table.data() + page * sizeof checksum, &checksum, sizeof checksum);
    }
  }
  for (SectionEntry& section : header.sections) {
    if (section.kind == 0) continue;
    section.checksum = Checksum::of(file.subspan(section.offset, section.bytes));
  }
  header.header_checksum = Checksum::of(header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return header.header_checksum;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <span>
#include <string>

#include "storage/segment_format.h"

namespace vkb {

// Makes all checksums of a segment file's bytes fit: what a bug, or a forger, would write.
inline void seal_segment(std::string& bytes) {
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
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "storage/file.h"
#include "storage/segment_format.h"

namespace vkb {

// Writes one segment file, section after section, in bounded memory. The file becomes visible under
// its name only complete, checksummed and synced, by publish() (R2); without it nothing is left
// behind. Sections come in any order, each once, but for the page checksums, which it adds itself;
// a section whose size is not what the shape demands, or a missing one, is a mistake of the caller:
// invalid_argument. Failed writes: io_error.
//
//   SegmentWriter writer(files, path, {.row_count = n, .dim = dim, .space = 0});
//   writer.begin(SectionKind::row_ids); writer.append(ids); writer.end(); ...
//   SegmentWriter::Published done = writer.publish();
//
// Thread safety: one thread at a time.
class SegmentWriter {
 public:
  struct Shape {
    std::uint64_t row_count = 0;
    std::uint32_t dim = 0;
    std::uint32_t space = 0;
    std::uint32_t m = 0;
    std::uint32_t max_level = 0;
    std::array<std::uint32_t, kMaxLevels> level_count{};  // [0] may stay 0: it is row_count
  };
  struct Published {
    std::uint64_t byte_count = 0;
    std::uint64_t checksum = 0;  // the header's; as the header holds every section's, of all
  };

  SegmentWriter(FileSystem& files, std::string path, const Shape& shape);
  ~SegmentWriter();
  SegmentWriter(const SegmentWriter&) = delete;
  SegmentWriter& operator=(const SegmentWriter&) = delete;

  void begin(SectionKind kind);
  void append(std::span<const std::byte> bytes);
  template <typename T>
  void append_values(std::span<const T> values) {
    append(std::as_bytes(values));
  }
  // Appends one row and pads it to kRowAlignment.
  void append_row(std::span<const std::byte> row);
  void end();
  Published publish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vkb

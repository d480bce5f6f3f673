// SPDX-License-Identifier: Apache-2.0
//
// R8: no byte of a damaged segment file makes the reader do anything but say what is wrong.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <utility>

#include "storage/segment.h"
#include "tests/support/sample_segment.h"
#include "tests/support/seal_segment.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

class SegmentCorrupt : public ::testing::Test {
 protected:
  // 600 rows: codes and vectors of several pages, three levels of graph, every kind of section.
  SegmentCorrupt() : sample_(make_sample_segment(600, 24, 4, true)) {
    add_sample_version_2(sample_);
    write_sample_segment(posix_file_system(), path_, sample_);
    good_ = read_whole_file(path_);
  }

  SegmentHeader header() const {
    SegmentHeader header;
    std::memcpy(&header, good_.data(), sizeof(header));
    return header;
  }

  std::shared_ptr<const Segment> open(const std::string& bytes) const {
    posix_file_system().remove(path_);  // an earlier one may be mapped still
    write_whole_file(path_, bytes);
    return Segment::open(posix_file_system(), path_);
  }

  // Opens the file with a header changed by `change`, and its checksum right again.
  std::shared_ptr<const Segment> open_with(
      const std::function<void(SegmentHeader&)>& change) const {
    SegmentHeader changed = header();
    change(changed);
    changed.header_checksum = Checksum::of(changed);
    std::string bytes = good_;
    std::memcpy(bytes.data(), &changed, sizeof(changed));
    return open(bytes);
  }

  void expect_corrupt(const std::string& text,
                      const std::function<void(SegmentHeader&)>& change) const {
    VKB_EXPECT_ERROR(open_with(change), ErrorCode::corruption, "segment s.vseg: ");
    VKB_EXPECT_ERROR(open_with(change), ErrorCode::corruption, text);
  }

  static SectionEntry& section(SegmentHeader& header, SectionKind kind) {
    for (SectionEntry& entry : header.sections) {
      if (entry.kind == static_cast<std::uint32_t>(kind)) return entry;
    }
    throw std::logic_error("no such section");
  }

  TempDirectory directory_;
  std::string path_ = directory_.file("s.vseg");
  SampleSegment sample_;
  std::string good_;
};

TEST_F(SegmentCorrupt, EveryHeaderByteFlipped) {
  posix_file_system().remove(path_);
  write_sample_segment(posix_file_system(), path_, make_sample_segment(1, 1, 0, false));
  const std::string small = read_whole_file(path_);
  for (std::size_t at = 0; at < kSegmentHeaderBytes; ++at) {
    for (const int mask : {0x01, 0x80, 0xFF}) {
      std::string bytes = small;
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
      const std::optional<Error> error = error_of([&] { open(bytes); });
      ASSERT_TRUE(error.has_value()) << "byte " << at;
      EXPECT_EQ(to_string(error->code()), to_string(ErrorCode::corruption))
          << "byte " << at << ": " << error->what();
    }
  }
}

// The same, as a forger would: the checksum is right, so every field meets its own check. Fields
// that carry no promise (checksums, space, spare bytes) may change; then all rows must be readable.
TEST_F(SegmentCorrupt, EveryHeaderByteFlippedUnderAValidChecksum) {
  TestRandom random(3);
  for (std::size_t at = 0; at < offsetof(SegmentHeader, reserved) + 16; ++at) {
    for (int round = 0; round < 4; ++round) {
      const auto mask = static_cast<unsigned char>(random.below(255) + 1);
      const auto change = [&](SegmentHeader& header) {
        reinterpret_cast<unsigned char*>(&header)[at] ^= mask;
      };
      std::shared_ptr<const Segment> segment;
      const std::optional<Error> error = error_of([&] { segment = open_with(change); });
      if (error.has_value()) {
        EXPECT_TRUE(error->code() == ErrorCode::corruption ||
                    error->code() == ErrorCode::unsupported)
            << error->what();
        continue;
      }
      ASSERT_EQ(segment->row_count(), 600U) << "byte " << at;
      ASSERT_EQ(segment->dim(), 24U) << "byte " << at;
      (void)error_of([&] { segment->verify_all(); });  // reads every section to its end
      (void)segment->slot_of(10);
    }
  }
}

TEST_F(SegmentCorrupt, CutShortAtEveryPageAndNearTheEnd) {
  for (std::size_t size = 0; size < good_.size(); size += 4096) {
    VKB_EXPECT_ERROR(open(good_.substr(0, size)), ErrorCode::corruption, "segment s.vseg: ");
  }
  for (std::size_t less = 1; less < 70; ++less) {
    VKB_EXPECT_ERROR(open(good_.substr(0, good_.size() - less)), ErrorCode::corruption,
                     "section page_checksums ends at " + std::to_string(good_.size()) +
                         ", file has " + std::to_string(good_.size() - less) + " bytes");
  }
  VKB_EXPECT_ERROR(open(good_.substr(0, 4095)), ErrorCode::corruption,
                   "file has 4095 bytes, its header alone has 4096");
  VKB_EXPECT_ERROR(open(""), ErrorCode::corruption, "file has 0 bytes");
  VKB_EXPECT_ERROR(open(good_ + "x"), ErrorCode::corruption, "its header says");
}

TEST_F(SegmentCorrupt, EverySectionCutShort) {
  SegmentHeader good = header();
  for (std::uint32_t i = 0; i < good.section_count; ++i) {
    const SectionEntry& entry = good.sections[i];
    const std::string name =
        "section " + std::string(to_string(static_cast<SectionKind>(entry.kind)));
    VKB_EXPECT_ERROR(open(good_.substr(0, entry.offset + entry.bytes - 1)), ErrorCode::corruption,
                     name + " ends at " + std::to_string(entry.offset + entry.bytes));
    expect_corrupt(name + " has " + std::to_string(entry.bytes - 1) + " bytes, expected " +
                       std::to_string(entry.bytes),
                   [&](SegmentHeader& h) { --h.sections[i].bytes; });
    expect_corrupt(name + " has", [&](SegmentHeader& h) { ++h.sections[i].bytes; });
    expect_corrupt(name + " has", [&](SegmentHeader& h) { h.sections[i].bytes = UINT64_MAX; });
  }
}

TEST_F(SegmentCorrupt, SectionsInTheWrongPlace) {
  const SegmentHeader good = header();
  expect_corrupt("section vectors begins at 0, expected a multiple of 4096 after the header",
                 [](SegmentHeader& h) { section(h, SectionKind::vectors).offset = 0; });
  expect_corrupt("section norms begins at ",
                 [](SegmentHeader& h) { section(h, SectionKind::norms).offset += 64; });
  expect_corrupt("section norms ends at ", [&](SegmentHeader& h) {
    section(h, SectionKind::norms).offset = (good.file_bytes + 4095) / 4096 * 4096;
  });
  expect_corrupt("section vectors ends at more than 2^64, file has", [](SegmentHeader& h) {
    section(h, SectionKind::vectors).offset = UINT64_MAX - 4095;
  });
  expect_corrupt("section sorted_row_ids begins at 4096", [](SegmentHeader& h) {
    section(h, SectionKind::sorted_row_ids).offset = section(h, SectionKind::row_ids).offset;
  });
  expect_corrupt("section row_ids ends at ", [](SegmentHeader& h) {
    section(h, SectionKind::sorted_slots).offset = section(h, SectionKind::row_ids).offset + 4096;
  });
}

TEST_F(SegmentCorrupt, SectionsMissingOrTwice) {
  for (const SectionKind kind :
       {SectionKind::row_ids, SectionKind::sorted_row_ids, SectionKind::sorted_slots,
        SectionKind::vectors, SectionKind::norms, SectionKind::links0, SectionKind::upper_slots,
        SectionKind::upper_links}) {
    expect_corrupt("section " + std::string(to_string(kind)) + " is missing",
                   [&](SegmentHeader& h) {
                     section(h, kind) = h.sections[h.section_count - 1];
                     --h.section_count;
                   });
  }
  expect_corrupt("it has section vectors twice", [](SegmentHeader& h) {
    h.sections[h.section_count++] = section(h, SectionKind::vectors);
  });
  expect_corrupt("it has 33 sections, expected at most 32",
                 [](SegmentHeader& h) { h.section_count = 33; });
  expect_corrupt("it has 4294967295 sections",
                 [](SegmentHeader& h) { h.section_count = UINT32_MAX; });
}

TEST_F(SegmentCorrupt, CodesAndIdsMayBeAbsent) {
  const auto open_without = [this](SectionKind kind) {
    return open_with([kind](SegmentHeader& h) {
      section(h, kind) = h.sections[h.section_count - 1];
      h.sections[--h.section_count] = {};
    });
  };
  EXPECT_TRUE(open(good_)->has_int8_codes());
  EXPECT_FALSE(open_without(SectionKind::codes_int8)->has_int8_codes());
  EXPECT_TRUE(open(good_)->has_int4_codes());
  EXPECT_FALSE(open_without(SectionKind::codes_int4)->has_int4_codes());
  EXPECT_TRUE(open(good_)->has_bit_codes());
  for (const SectionKind kind :
       {SectionKind::bit_directions, SectionKind::bit_centre, SectionKind::codes_1bit}) {
    const auto segment = open_without(kind);
    EXPECT_FALSE(segment->has_bit_codes());
    EXPECT_TRUE(segment->has_int8_codes());
    EXPECT_TRUE(segment->has_graph());
  }
  EXPECT_EQ(open(good_)->record_id(10), "r10");
  EXPECT_EQ(open_without(SectionKind::record_ids)->record_id(10), std::nullopt);
}

TEST_F(SegmentCorrupt, CountsThatContradictEachOther) {
  expect_corrupt("dim is 0, expected 1..16384", [](SegmentHeader& h) { h.dim = 0; });
  expect_corrupt("dim is 4294967295", [](SegmentHeader& h) { h.dim = UINT32_MAX; });
  expect_corrupt("section vectors has ", [](SegmentHeader& h) { h.dim = 50; });
  expect_corrupt("space is 3", [](SegmentHeader& h) { h.space = 3; });
  expect_corrupt("m is 513", [](SegmentHeader& h) { h.m = 513; });
  expect_corrupt("section links0 has ", [](SegmentHeader& h) { h.m = 5; });
  expect_corrupt("max_level is 16, expected below 16", [](SegmentHeader& h) { h.max_level = 16; });
  expect_corrupt("row_count is 4294967295", [](SegmentHeader& h) { h.row_count = UINT32_MAX; });
  expect_corrupt("row_count is 18446744073709551615",
                 [](SegmentHeader& h) { h.row_count = UINT64_MAX; });
  expect_corrupt("level_count[0] is 600, expected row_count 601",
                 [](SegmentHeader& h) { h.row_count = 601; });
  expect_corrupt("section row_ids has 4800 bytes, expected 4808", [](SegmentHeader& h) {
    h.row_count = 601;
    h.level_count[0] = 601;
  });
  expect_corrupt("level_count[2] is 151, expected 1..150",
                 [](SegmentHeader& h) { h.level_count[2] = 151; });
  expect_corrupt("level_count[9] is 1, expected 0", [](SegmentHeader& h) { h.level_count[9] = 1; });
  expect_corrupt("it has section links0, but m is 0", [](SegmentHeader& h) {
    h.m = 0;
    h.max_level = 0;
    h.level_count = {600};
    section(h, SectionKind::links0).bytes = 0;
    section(h, SectionKind::upper_slots).bytes = 0;
    section(h, SectionKind::upper_links).bytes = 0;
  });
}

TEST_F(SegmentCorrupt, NotASegment) {
  VKB_EXPECT_ERROR(open(std::string(8192, '\0')), ErrorCode::corruption,
                   "does not begin as a segment file does");
  std::string text_mode = good_;
  text_mode.replace(6, 2, "\n\n");
  VKB_EXPECT_ERROR(open(text_mode), ErrorCode::corruption, "does not begin as");
  expect_corrupt("its format version is 0, expected 1..3",
                 [](SegmentHeader& h) { h.format_version = 0; });
}

TEST_F(SegmentCorrupt, ANewerVersionIsUnsupported) {
  VKB_EXPECT_ERROR(open_with([](SegmentHeader& h) { h.format_version = 4; }),
                   ErrorCode::unsupported,
                   "segment s.vseg: its format is version 4, this program reads up to 3; use a "
                   "newer vkb");
  // Which may have its checksum elsewhere, or another one.
  SegmentHeader changed = header();
  changed.format_version = 4;
  changed.header_checksum ^= 0x1234;
  std::string bytes = good_;
  std::memcpy(bytes.data(), &changed, sizeof(changed));
  VKB_EXPECT_ERROR(open(bytes), ErrorCode::unsupported, "use a newer vkb");
}

TEST_F(SegmentCorrupt, ADamagedVersionIsNotANewerOne) {
  for (const std::uint32_t version : {4U, 32'771U, 0xFFFFFFFFU}) {
    std::string bytes = good_;
    std::memcpy(&bytes[offsetof(SegmentHeader, format_version)], &version, sizeof version);
    VKB_EXPECT_ERROR(open(bytes), ErrorCode::corruption,
                     "segment s.vseg: its header does not match its checksum");
  }
}

TEST_F(SegmentCorrupt, UnknownSections) {
  const auto add_unknown = [](std::uint32_t flags) {
    return [flags](SegmentHeader& h) {
      h.sections[h.section_count++] = {.kind = 77,
                                       .flags = flags,
                                       .offset = h.sections[14].offset + 4096 * 32,
                                       .bytes = 4,
                                       .checksum = 0};
      h.file_bytes = h.sections[h.section_count - 1].offset + 4;
    };
  };
  const std::size_t unknown_at = header().sections[14].offset + 4096 * 32;
  good_.resize(unknown_at + 4);
  const auto segment = open_with(add_unknown(0));  // optional: skipped
  expect_corrupt("section unknown kind 77 ends at", [&](SegmentHeader& h) {
    add_unknown(0)(h);
    h.sections[h.section_count - 1].bytes = 5;
  });
  EXPECT_EQ(segment->sections().size(), 16U);
  EXPECT_EQ(segment->slot_of(sample_.row_ids[5]), 5U);
  VKB_EXPECT_ERROR(open_with(add_unknown(kSectionRequired)), ErrorCode::unsupported,
                   "section unknown kind 77 is of a newer format");
  VKB_EXPECT_ERROR(open_with([](SegmentHeader& h) { h.sections[0].flags |= 2; }),
                   ErrorCode::unsupported, "section row_ids is of a newer format");
}

TEST_F(SegmentCorrupt, VerifyFindsDamageInEverySection) {
  const SegmentHeader good = header();
  for (std::uint32_t i = 0; i < good.section_count; ++i) {
    for (const std::uint64_t at : {std::uint64_t{0}, good.sections[i].bytes - 1}) {
      std::string bytes = good_;
      char& damaged = bytes[good.sections[i].offset + at];
      damaged = static_cast<char>(damaged ^ 0x10);
      const auto segment = open(bytes);  // the header is right, so it opens
      const std::string name =
          "section " + std::string(to_string(static_cast<SectionKind>(good.sections[i].kind)));
      VKB_EXPECT_ERROR(segment->verify_all(), ErrorCode::corruption, "segment s.vseg: " + name);
      VKB_EXPECT_ERROR(segment->verify(segment->sections()[i]), ErrorCode::corruption,
                       "does not match its checksum");
      segment->verify(segment->sections()[i == 0 ? 1 : 0]);  // the others are whole
    }
  }
}

// Whatever is asked for lies in pages that are looked at when they are first used (R8).
TEST_F(SegmentCorrupt, R8_ADamagedPageIsNotAnsweredFrom) {
  const SegmentHeader good = header();
  const std::uint32_t rows = 600;
  for (std::size_t page = 1; page < good_.size() / kSegmentPageBytes; ++page) {
    std::string bytes = good_;
    char& damaged = bytes[page * kSegmentPageBytes + 17];
    damaged = static_cast<char>(damaged ^ 1);
    const auto segment = open(bytes);
    const auto read_all = [&] {
      std::vector<float> buffer(segment->seldom_floats());
      for (std::uint32_t slot = 0; slot < rows; ++slot) {
        segment->vector_seldom(slot, buffer);
        segment->vector(slot);
        segment->row_id(slot);
        segment->norm(slot);
        segment->code(slot);
        segment->int4_code(slot);
        segment->bit_code(slot);
        segment->links0(slot);
        segment->record_id(segment->row_id(slot));
        segment->slot_of(segment->row_id(slot));
      }
      segment->bit_directions();
      segment->bit_centre();
      for (std::uint32_t level = 1; level <= good.max_level; ++level) {
        for (std::uint32_t position = 0; position < good.level_count[level]; ++position) {
          segment->upper_slot(position);
          segment->upper_links(level, position);
        }
      }
    };
    const bool is_used =
        std::any_of(std::begin(good.sections), std::begin(good.sections) + good.section_count,
                    [&](const SectionEntry& entry) {
                      return entry.offset <= page * kSegmentPageBytes &&
                             page * kSegmentPageBytes < entry.offset + entry.bytes;
                    });
    const std::optional<Error> error = error_of(read_all);
    ASSERT_EQ(error.has_value(), is_used) << "page " << page;
    if (!error) continue;
    EXPECT_EQ(to_string(error->code()), to_string(ErrorCode::corruption));
    EXPECT_NE(std::string(error->what()).find("does not match its checksum"), std::string::npos);
    EXPECT_TRUE(error_of(read_all).has_value()) << "the second time, page " << page;
  }
}

TEST_F(SegmentCorrupt, R8_ASlotOutsideTheSegmentCountsAsAbsent) {
  std::string bytes = good_;
  SegmentHeader good = header();
  const std::uint32_t outside = 600;
  std::memcpy(bytes.data() + section(good, SectionKind::sorted_slots).offset, &outside,
              sizeof(outside));
  seal_segment(bytes);
  const auto segment = open(bytes);
  EXPECT_FALSE(segment->slot_of(sample_.sorted_row_ids[0]).has_value());
  EXPECT_EQ(segment->slot_of(sample_.sorted_row_ids[1]), sample_.sorted_slots[1]);
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Files written by released versions open for ever. tests/golden/README.md says how they are made.
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/segment.h"
#include "tests/support/sample_segment.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

// Numbers written out or exact in binary, so that no platform's arithmetic can change them.
SampleSegment golden_flat() {
  return {.shape = {.row_count = 3, .dim = 2, .space = 2},
          .row_ids = {7, 1'000'000'000'000, 5},
          .sorted_row_ids = {5, 7, 1'000'000'000'000},
          .sorted_slots = {2, 0, 1},
          .vectors = {3, 4, 0, -0.5F, -0.0F, 0},
          .norms = {5, 0.5F, 0},
          .codes = {},
          .links0 = {},
          .upper_slots = {},
          .upper_links = {}};
}

SampleSegment golden_graph() {
  constexpr std::uint32_t kNone = kNoNeighbour;
  SampleSegment sample{
      .shape =
          {.row_count = 4, .dim = 3, .space = 0, .m = 2, .max_level = 2, .level_count = {4, 2, 1}},
      .row_ids = {40, 10, 30, 20},
      .sorted_row_ids = {10, 20, 30, 40},
      .sorted_slots = {1, 3, 2, 0},
      .vectors = {1, 0, 0, 0, 2, 0, 0, 0, -4, 2, 3, 6},
      .norms = {1, 2, 4, 7},
      .codes = {},
      .links0 = {1, 2, 3, kNone, 0, 2, kNone, kNone,  //
                 0, 1, 3, kNone, 0, 2, kNone, kNone},
      .upper_slots = {0, 2},
      .upper_links = {1, kNone, 0, kNone, kNone, kNone}};
  sample.codes.resize(4 * (sizeof(Int8CodeHeader) + 3));
  for (std::size_t slot = 0; slot < 4; ++slot) {
    std::byte* row = sample.codes.data() + slot * (sizeof(Int8CodeHeader) + 3);
    const Int8CodeHeader code{.scale = 0.0625F,
                              .squared_norm = 1,
                              .sum = static_cast<std::int32_t>(slot) - 2,
                              .reserved = 0};
    std::memcpy(row, &code, sizeof(code));
    row[sizeof(code)] = static_cast<std::byte>(0x81);  // -127
    row[sizeof(code) + 1] = static_cast<std::byte>(slot);
    row[sizeof(code) + 2] = static_cast<std::byte>(125);
  }
  return sample;
}

// What a segment with a graph got in version 2.
SampleSegment golden_graph_v2() {
  SampleSegment sample = golden_graph();
  add_sample_version_2(sample);
  return sample;
}

std::string golden_path(const std::string& name) { return VKB_GOLDEN_DIR "/" + name; }

std::shared_ptr<const Segment> open_golden(const std::string& name) {
  return Segment::open(posix_file_system(), golden_path(name));
}

// golden_flat(), whatever the version of the format it was written in.
void expect_golden_flat(const Segment& segment) {
  EXPECT_EQ(segment.header().space, 2U);
  EXPECT_EQ(segment.row_count(), 3U);
  EXPECT_EQ(segment.dim(), 2U);
  EXPECT_FALSE(segment.has_graph());
  EXPECT_FALSE(segment.has_int8_codes());
  EXPECT_FALSE(segment.has_bit_codes());
  EXPECT_EQ(segment.row_id(1), 1'000'000'000'000U);
  EXPECT_EQ(segment.slot_of(5), 2U);
  EXPECT_EQ(segment.slot_of(6), std::nullopt);
  EXPECT_EQ(segment.record_id(5), std::nullopt);
  EXPECT_EQ(segment.vector(0)[1], 4.0F);
  EXPECT_EQ(segment.vector(1)[1], -0.5F);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(segment.vector(2)[0]), 0x80000000U);
  EXPECT_EQ(segment.norm(0), 5.0F);
  segment.verify_all();
}

// golden_graph(), likewise.
void expect_golden_graph(const Segment& segment) {
  EXPECT_EQ(segment.header().space, 0U);
  EXPECT_EQ(segment.header().m, 2U);
  EXPECT_EQ(segment.header().max_level, 2U);
  EXPECT_EQ(segment.row_count(), 4U);
  EXPECT_EQ(segment.dim(), 3U);
  ASSERT_TRUE(segment.has_graph());
  ASSERT_TRUE(segment.has_int8_codes());
  EXPECT_EQ(segment.row_id(3), 20U);
  EXPECT_EQ(segment.slot_of(40), 0U);
  EXPECT_EQ(segment.vector(3)[2], 6.0F);
  EXPECT_EQ(segment.norm(3), 7.0F);
  Int8CodeHeader code;
  std::memcpy(&code, segment.code(3), sizeof(code));
  EXPECT_EQ(code.scale, 0.0625F);
  EXPECT_EQ(code.sum, 1);
  EXPECT_EQ(static_cast<std::int8_t>(segment.code(3)[sizeof(code)]), -127);
  EXPECT_EQ(segment.links0_width(), 4U);
  EXPECT_EQ(segment.links0(2)[2], 3U);
  EXPECT_EQ(segment.links0(2)[3], kNoNeighbour);
  ASSERT_EQ(segment.upper_slots().size(), 2U);
  EXPECT_EQ(segment.upper_slots()[1], 2U);
  EXPECT_EQ(segment.upper_links(1, 1)[0], 0U);
  EXPECT_EQ(segment.upper_links(2, 0)[0], kNoNeighbour);
  segment.verify_all();
}

// golden_graph_v2(), likewise.
void expect_golden_graph_v2(const Segment& segment) {
  expect_golden_graph(segment);
  ASSERT_TRUE(segment.has_bit_codes());
  EXPECT_EQ(segment.bit_directions().size(), 480U * 64);
  EXPECT_EQ(segment.bit_directions()[2 * 64 + 16 + 2], static_cast<std::byte>(64));
  ASSERT_EQ(segment.bit_centre().size(), 480U);
  EXPECT_EQ(segment.bit_centre()[256], 0.5F);
  EXPECT_EQ(segment.bit_code(1)[3], static_cast<std::byte>((67 * 7 + 3) % 251));
  ASSERT_TRUE(segment.has_int4_codes());
  EXPECT_EQ(segment.int4_code(3)[71], static_cast<std::byte>((4 * 72 - 1) % 253));
  EXPECT_EQ(segment.record_id(40), "r40");
  EXPECT_EQ(segment.record_id(10), "r10");
  EXPECT_EQ(segment.record_id(11), std::nullopt);
}

TEST(SegmentGolden, Version1FlatOpens) {
  const auto segment = open_golden("segment_v1_flat.vseg");
  EXPECT_EQ(segment->header().format_version, 1U);
  expect_golden_flat(*segment);
}

TEST(SegmentGolden, Version1GraphOpens) {
  const auto segment = open_golden("segment_v1_graph.vseg");
  EXPECT_EQ(segment->header().format_version, 1U);
  EXPECT_FALSE(segment->has_bit_codes());
  EXPECT_FALSE(segment->has_int4_codes());
  EXPECT_EQ(segment->record_id(40), std::nullopt);
  expect_golden_graph(*segment);
}

TEST(SegmentGolden, Version2FlatOpens) {
  const auto segment = open_golden("segment_v2_flat.vseg");
  EXPECT_EQ(segment->header().format_version, 2U);
  expect_golden_flat(*segment);
}

TEST(SegmentGolden, Version2GraphOpens) {
  const auto segment = open_golden("segment_v2_graph.vseg");
  EXPECT_EQ(segment->header().format_version, 2U);
  EXPECT_FALSE(segment->has_page_checksums());
  expect_golden_graph_v2(*segment);
}

TEST(SegmentGolden, Version3FlatOpens) {
  const auto segment = open_golden("segment_v3_flat.vseg");
  EXPECT_EQ(segment->header().format_version, 3U);
  EXPECT_TRUE(segment->has_page_checksums());
  expect_golden_flat(*segment);
}

TEST(SegmentGolden, Version3GraphOpens) {
  const auto segment = open_golden("segment_v3_graph.vseg");
  EXPECT_EQ(segment->header().format_version, 3U);
  EXPECT_TRUE(segment->has_page_checksums());
  expect_golden_graph_v2(*segment);
}

// Holds as long as version 3 is the current one: the same contents give the same bytes. With
// VKB_WRITE_GOLDEN=1 in the environment it writes the files instead.
TEST(SegmentGolden, TodaysWriterMakesTheSameBytes) {
  const std::vector<std::pair<std::string, SampleSegment>> golden = {
      {"segment_v3_flat.vseg", golden_flat()}, {"segment_v3_graph.vseg", golden_graph_v2()}};
  for (const auto& [name, sample] : golden) {
    const TempDirectory directory;
    write_sample_segment(posix_file_system(), directory.file(name), sample);
    const std::string bytes = read_whole_file(directory.file(name));
    if (std::getenv("VKB_WRITE_GOLDEN") != nullptr) write_whole_file(golden_path(name), bytes);
    EXPECT_TRUE(bytes == read_whole_file(golden_path(name))) << name;
  }
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/segment.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "storage/segment_writer.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/sample_segment.h"
#include "tests/support/system_call_faults.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

FileSystem& files() { return posix_file_system(); }

void expect_same_rows(const Segment& segment, const SampleSegment& sample) {
  const std::size_t dim = sample.shape.dim;
  for (std::uint32_t slot = 0; slot < segment.row_count(); ++slot) {
    EXPECT_EQ(segment.row_id(slot), sample.row_ids[slot]);
    EXPECT_EQ(segment.norm(slot), sample.norms[slot]);
    EXPECT_EQ(segment.slot_of(sample.row_ids[slot]), slot);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(segment.vector(slot)) % kRowAlignment, 0U);
    EXPECT_EQ(std::memcmp(segment.vector(slot), &sample.vectors[slot * dim], dim * sizeof(float)),
              0);
    if (segment.has_int8_codes()) {
      const std::size_t bytes = sizeof(Int8CodeHeader) + dim;
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(segment.code(slot)) % kRowAlignment, 0U);
      EXPECT_EQ(std::memcmp(segment.code(slot), &sample.codes[slot * bytes], bytes), 0);
    }
  }
  EXPECT_TRUE(std::ranges::equal(segment.sorted_row_ids(), sample.sorted_row_ids));
  EXPECT_TRUE(std::ranges::equal(segment.sorted_slots(), sample.sorted_slots));
  EXPECT_FALSE(segment.slot_of(0).has_value());
  EXPECT_FALSE(segment.slot_of(11).has_value());  // the ids are 10, 13, 16, ..
  EXPECT_FALSE(segment.slot_of(UINT64_MAX).has_value());
}

void expect_same_graph(const Segment& segment, const SampleSegment& sample) {
  const std::uint32_t m = sample.shape.m;
  ASSERT_EQ(segment.links0_width(), 2 * m);
  for (std::uint32_t slot = 0; slot < segment.row_count(); ++slot) {
    EXPECT_TRUE(std::equal(segment.links0(slot), segment.links0(slot) + 2 * m,
                           sample.links0.begin() + std::ptrdiff_t{slot} * 2 * m));
  }
  EXPECT_TRUE(std::ranges::equal(segment.upper_slots(), sample.upper_slots));
  auto expected = sample.upper_links.begin();
  for (std::uint32_t level = 1; level <= segment.header().max_level; ++level) {
    for (std::uint32_t node = 0; node < segment.header().level_count[level]; ++node) {
      const std::uint32_t* links = segment.upper_links(level, node);
      EXPECT_TRUE(std::equal(links, links + m, expected));
      expected += m;
    }
  }
  EXPECT_EQ(expected, sample.upper_links.end());
}

TEST(Segment, RoundTrip) {
  struct Case {
    std::uint32_t rows, dim, m;
    bool codes;
  };
  for (const Case& c : {Case{0, 3, 0, false}, Case{0, 3, 0, true}, Case{1, 1, 0, false},
                        Case{1, 1, 2, true}, Case{100, 1, 0, true}, Case{100, 3, 16, true},
                        Case{57, 16, 512, false}, Case{300, 17, 4, true}, Case{40, 768, 16, true},
                        Case{40, 768, 0, false}, Case{2, kMaxDim, 2, true}}) {
    SCOPED_TRACE(std::to_string(c.rows) + " rows, dim " + std::to_string(c.dim) + ", m " +
                 std::to_string(c.m));
    const TempDirectory directory;
    const std::string path = directory.file("s.vseg");
    const SampleSegment sample = make_sample_segment(c.rows, c.dim, c.m, c.codes);
    const SegmentWriter::Published published = write_sample_segment(files(), path, sample);
    const auto segment = Segment::open(files(), path);
    EXPECT_EQ(published.byte_count, files().file_size(path));
    EXPECT_EQ(published.byte_count, segment->header().file_bytes);
    EXPECT_EQ(published.checksum, segment->header().header_checksum);
    EXPECT_EQ(segment->path(), path);
    EXPECT_EQ(segment->row_count(), c.rows);
    EXPECT_EQ(segment->dim(), c.dim);
    EXPECT_EQ(segment->header().space, 1U);
    EXPECT_EQ(segment->has_graph(), c.m != 0);
    EXPECT_EQ(segment->has_int8_codes(), c.codes && c.rows > 0);
    expect_same_rows(*segment, sample);
    if (c.m != 0) expect_same_graph(*segment, sample);
    segment->release_rows();
    segment->verify_all();
    for (const SectionEntry& section : segment->sections()) segment->verify(section);
  }
}

// Floats are bytes to a segment: NaN payloads, -0 and denormals come back as they went in (R9).
TEST(Segment, R9_VectorsComeBackBitForBit) {
  const TempDirectory directory;
  SampleSegment sample = make_sample_segment(4, 4, 0, false);
  TestRandom random(9);
  for (float& value : sample.vectors) {
    value = std::bit_cast<float>(static_cast<std::uint32_t>(random.next()) | 0x7F800001U);
  }
  sample.vectors[1] = -0.0F;
  sample.vectors[2] = std::bit_cast<float>(1U);
  write_sample_segment(files(), directory.file("s.vseg"), sample);
  expect_same_rows(*Segment::open(files(), directory.file("s.vseg")), sample);
}

TEST(Segment, StaysReadableAfterUnlink) {
  const TempDirectory directory;
  const std::string path = directory.file("s.vseg");
  const SampleSegment sample = make_sample_segment(100, 8, 4, true);
  write_sample_segment(files(), path, sample);
  const auto segment = Segment::open(files(), path);
  files().remove(path);
  expect_same_rows(*segment, sample);
  VKB_EXPECT_ERROR(Segment::open(files(), path), ErrorCode::not_found, path);
}

// Lets a segment's header be read and nothing behind it: a touch of any section ends the program.
class HeaderOnlyFileSystem final : public FaultyFileSystem {
 public:
  std::unique_ptr<MappedFile> map(const std::string& path) override {
    std::unique_ptr<MappedFile> file = FaultyFileSystem::map(path);
    const std::span<const std::byte> rest = file->bytes().subspan(kSegmentHeaderBytes);
    if (::mprotect(const_cast<std::byte*>(rest.data()), rest.size(), PROT_NONE) != 0) {
      throw Error(ErrorCode::io_error, "mprotect");
    }
    return file;
  }
};

TEST(Segment, OpeningReadsTheHeaderAndNothingElse) {
  std::vector<std::vector<std::string>> logs;
  for (const std::uint32_t rows : {50U, 5000U}) {
    const TempDirectory directory;
    const std::string path = directory.file("s.vseg");
    write_sample_segment(files(), path, make_sample_segment(rows, 8, 8, true));
    HeaderOnlyFileSystem header_only;
    const auto segment = Segment::open(header_only, path);
    EXPECT_EQ(segment->row_count(), rows);
    logs.push_back(header_only.log());
  }
  EXPECT_EQ(logs[0], std::vector<std::string>{"map s.vseg"});
  EXPECT_EQ(logs[0], logs[1]);
}

TEST(Segment, VerifyAllTellsProgressAndCanBeStopped) {
  const TempDirectory directory;
  const SampleSegment sample = make_sample_segment(100, 8, 4, true);
  write_sample_segment(files(), directory.file("s.vseg"), sample);
  const auto segment = Segment::open(files(), directory.file("s.vseg"));
  std::uint64_t total = 0;
  for (const SectionEntry& section : segment->sections()) total += section.bytes;
  std::vector<std::uint64_t> steps;
  segment->verify_all([&](std::uint64_t done) {
    steps.push_back(done);
    return true;
  });
  EXPECT_TRUE(std::ranges::is_sorted(steps));
  EXPECT_EQ(steps.size(), segment->sections().size());
  EXPECT_EQ(steps.back(), total);
  steps.clear();
  segment->verify_all([&](std::uint64_t done) {
    steps.push_back(done);
    return steps.size() < 2;
  });
  EXPECT_EQ(steps.size(), 2U);
}

TEST(SegmentWriter, R2_WritesTheHeaderLastThenSyncsFileAndDirectory) {
  const TempDirectory directory;
  FaultyFileSystem faulty;
  const SystemCallFaults system_calls;
  write_sample_segment(faulty, directory.file("s.vseg"), make_sample_segment(20, 8, 4, true));
  const std::vector<std::string> log = faulty.log();
  ASSERT_GT(log.size(), 4U);
  EXPECT_EQ(log.front(), "create s.vseg");
  EXPECT_TRUE(std::all_of(log.begin() + 1, log.end() - 2,
                          [](const std::string& call) { return call == "append s.vseg"; }));
  EXPECT_EQ(*(log.end() - 2), "write_at s.vseg");
  EXPECT_EQ(log.back(), "publish s.vseg");
  EXPECT_EQ(system_calls.calls, (std::vector<std::string>{"write", "sync file", "sync directory"}));
}

// Vectors in small pieces, so that the kernel does not keep them in huge pages; the rest, before
// them and after, in large ones, so that it may.
TEST(SegmentWriter, WritesVectorsInSmallPiecesOnly) {
  const TempDirectory directory;
  const SystemCallFaults system_calls;
  const std::string path = directory.file("s.vseg");
  write_sample_segment(files(), path, make_sample_segment(6000, 300, 4, true));
  const auto segment = Segment::open(files(), path);
  const SectionEntry vectors = *segment->section(SectionKind::vectors);
  const std::uint64_t end = vectors.offset + vectors.bytes;
  bool large_before = false;
  bool large_after = false;
  for (const auto& [offset, size] : system_calls.writes) {
    const bool is_large = size > (64 << 10);
    if (offset + size <= vectors.offset) {
      large_before |= is_large;
    } else if (offset >= end) {
      large_after |= is_large;
    } else {
      EXPECT_FALSE(is_large) << offset << " " << size;
    }
  }
  EXPECT_TRUE(large_before);
  EXPECT_TRUE(large_after);
}

TEST(SegmentWriter, R2_NothingIsLeftWhicheverCallFails) {
  const SampleSegment sample = make_sample_segment(20, 8, 4, true);
  FaultyFileSystem counting;
  {
    const TempDirectory directory;
    write_sample_segment(counting, directory.file("s.vseg"), sample);
  }
  for (const FileCall call :
       {FileCall::create, FileCall::append, FileCall::write_at, FileCall::publish}) {
    ASSERT_GT(counting.count(call), 0U);
    for (std::uint64_t nth = 1; nth <= counting.count(call); ++nth) {
      const TempDirectory directory;
      FaultyFileSystem faulty;
      faulty.fail(call, nth);
      VKB_EXPECT_ERROR(write_sample_segment(faulty, directory.file("s.vseg"), sample),
                       ErrorCode::io_error, "injected fault");
      EXPECT_TRUE(files().list(directory.path()).empty()) << to_string(call) << " " << nth;
    }
  }
}

TEST(SegmentWriter, R2_AFailedSyncRemovesTheFile) {
  for (const bool of_directory : {false, true}) {
    const TempDirectory directory;
    SystemCallFaults system_calls;
    (of_directory ? system_calls.directory_sync_error : system_calls.file_sync_error) = EIO;
    VKB_EXPECT_ERROR(write_sample_segment(files(), directory.file("s.vseg"),
                                          make_sample_segment(20, 8, 4, true)),
                     ErrorCode::io_error, "cannot sync");
    EXPECT_TRUE(files().list(directory.path()).empty());
  }
}

TEST(SegmentWriter, R2_WithoutPublishNothingIsLeft) {
  const TempDirectory directory;
  const SampleSegment sample = make_sample_segment(20, 8, 4, true);
  {
    SegmentWriter writer(files(), directory.file("s.vseg"), sample.shape);
    write_sections(writer, sample);
  }
  EXPECT_TRUE(files().list(directory.path()).empty());
}

TEST(SegmentWriter, RefusesShapesOutsideTheLimits) {
  const TempDirectory directory;
  using Shape = SegmentWriter::Shape;
  const auto expect_refused = [&](const Shape& shape, const std::string& text) {
    VKB_EXPECT_ERROR(SegmentWriter(files(), directory.file("s.vseg"), shape),
                     ErrorCode::invalid_argument, text);
  };
  expect_refused({.row_count = 1, .dim = 0}, "dim is 0, expected 1..16384");
  expect_refused({.row_count = 1, .dim = 16385}, "dim is 16385");
  expect_refused({.row_count = kMaxRows + 1, .dim = 1}, "row_count is 4294967295");
  expect_refused({.row_count = UINT64_MAX, .dim = 1}, "row_count is");
  expect_refused({.row_count = 1, .dim = 1, .space = 3}, "space is 3");
  expect_refused({.row_count = 1, .dim = 1, .m = 1}, "m is 1");
  expect_refused({.row_count = 1, .dim = 1, .m = 513}, "m is 513");
  expect_refused({.row_count = 0, .dim = 1, .m = 4}, "row_count is 0");
  expect_refused({.row_count = 9, .dim = 1, .m = 4, .max_level = 16}, "max_level is 16");
  expect_refused({.row_count = 9, .dim = 1, .max_level = 1, .level_count = {9, 1}},
                 "max_level is 1");
  expect_refused({.row_count = 9, .dim = 1, .level_count = {8}}, "level_count[0] is 8");
  expect_refused({.row_count = 9, .dim = 1, .m = 4, .level_count = {9, 1}}, "level_count[1] is 1");
  expect_refused({.row_count = 9, .dim = 1, .m = 4, .max_level = 2, .level_count = {9, 2, 3}},
                 "level_count[2] is 3, expected 1..2");
  expect_refused({.row_count = 9, .dim = 1, .m = 4, .max_level = 2, .level_count = {9, 2, 0}},
                 "level_count[2] is 0");
  EXPECT_TRUE(files().list(directory.path()).empty());
}

TEST(SegmentWriter, RefusesSectionsThatDoNotFitTheShape) {
  const TempDirectory directory;
  const auto expect_refused = [&](const std::string& text, auto&& action) {
    SegmentWriter writer(files(), directory.file("s.vseg"), {.row_count = 2, .dim = 3});
    VKB_EXPECT_ERROR(action(writer), ErrorCode::invalid_argument, text);
  };
  const std::vector<std::uint64_t> ids = {1, 2, 3};
  expect_refused("section row_ids has 24 bytes, the shape demands 16",
                 [&](SegmentWriter& writer) { write_section(writer, SectionKind::row_ids, ids); });
  expect_refused("section row_ids has 0 bytes, the shape demands 16", [&](SegmentWriter& writer) {
    writer.begin(SectionKind::row_ids);
    writer.end();
  });
  expect_refused("section sorted_row_ids begins within another", [&](SegmentWriter& writer) {
    writer.begin(SectionKind::row_ids);
    writer.begin(SectionKind::sorted_row_ids);
  });
  expect_refused("section row_ids begins twice", [&](SegmentWriter& writer) {
    writer.begin(SectionKind::row_ids);
    writer.append_values(std::span(ids).first(2));
    writer.end();
    writer.begin(SectionKind::row_ids);
  });
  expect_refused("section links0 begins, but m is 0",
                 [&](SegmentWriter& writer) { writer.begin(SectionKind::links0); });
  expect_refused("a section begins that is unknown",
                 [&](SegmentWriter& writer) { writer.begin(static_cast<SectionKind>(99)); });
  expect_refused("not the caller's to write",
                 [&](SegmentWriter& writer) { writer.begin(SectionKind::page_checksums); });
  expect_refused("outside a section",
                 [&](SegmentWriter& writer) { writer.append_values(std::span(ids)); });
  expect_refused("never began", [&](SegmentWriter& writer) { writer.end(); });
  expect_refused("section row_ids is missing", [&](SegmentWriter& writer) { writer.publish(); });
  expect_refused("publish() within a section", [&](SegmentWriter& writer) {
    writer.begin(SectionKind::row_ids);
    writer.publish();
  });
  EXPECT_TRUE(files().list(directory.path()).empty());
}

TEST(SegmentWriter, IsFinishedByPublish) {
  const TempDirectory directory;
  const SampleSegment sample = make_sample_segment(5, 3, 0, false);
  SegmentWriter writer(files(), directory.file("s.vseg"), sample.shape);
  write_sections(writer, sample);
  writer.publish();
  VKB_EXPECT_ERROR(writer.publish(), ErrorCode::invalid_argument, "it is published");
  VKB_EXPECT_ERROR(writer.begin(SectionKind::row_ids), ErrorCode::invalid_argument,
                   "it is published");
}

// A vector comes by a copy once, then from the mapping; where the file has lost its name meanwhile,
// as a merged segment's, from the mapping at once.
TEST(SegmentTest, VectorsThatAreSeldomWantedAreCopiedOnce) {
  const TempDirectory directory;
  const SampleSegment sample = make_sample_segment(200, 10, 4, false);
  for (const bool removed : {false, true}) {
    const std::string path = directory.file(removed ? "removed" : "there");
    write_sample_segment(files(), path, sample);
    const auto segment = Segment::open(files(), path);
    if (removed) std::filesystem::remove(path);
    for (const std::uint32_t slot : {0U, 63U, 64U, 199U}) {
      std::vector<float> buffer(segment->seldom_floats());
      EXPECT_FALSE(segment->is_read(slot));
      const float* first = segment->vector_seldom(slot, buffer);
      const bool is_copy = first >= buffer.data() && first < buffer.data() + buffer.size();
      EXPECT_EQ(is_copy, !removed);
      EXPECT_EQ(std::memcmp(first, segment->vector(slot), 10 * sizeof(float)), 0);
      EXPECT_TRUE(segment->is_read(slot));
      EXPECT_EQ(segment->vector_seldom(slot, buffer), segment->vector(slot));
    }
    EXPECT_FALSE(segment->is_read(1));
  }
}

}  // namespace
}  // namespace vkb

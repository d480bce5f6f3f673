// SPDX-License-Identifier: Apache-2.0
#include "storage/read_ahead.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "tests/support/faulty_file_system.h"
#include "tests/support/sample_segment.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

constexpr std::size_t kPage = 4096;

// A mapping that keeps what it was advised, and passes it on.
class NotedFile final : public MappedFile {
 public:
  struct Advice {
    std::size_t offset, size;
    Access access;
  };
  NotedFile(std::unique_ptr<MappedFile> inner, std::vector<Advice>& advice)
      : inner_(std::move(inner)), advice_(advice) {}
  std::span<const std::byte> bytes() const noexcept override { return inner_->bytes(); }
  void advise(std::size_t offset, std::size_t size, Access access) const noexcept override {
    advice_.push_back({offset, size, access});
    inner_->advise(offset, size, access);
  }
  bool read(std::size_t offset, std::span<std::byte> out) const noexcept override {
    return inner_->read(offset, out);
  }
  std::uint64_t resident_bytes() const override { return inner_->resident_bytes(); }

 private:
  std::unique_ptr<MappedFile> inner_;
  std::vector<Advice>& advice_;
};

class NotingFileSystem final : public FaultyFileSystem {
 public:
  std::unique_ptr<MappedFile> map(const std::string& path) override {
    return std::make_unique<NotedFile>(FaultyFileSystem::map(path), advice);
  }
  std::vector<NotedFile::Advice> advice;
};

// A segment with a graph and codes, opened so that its advice is seen.
class ReadAheadTest : public testing::Test {
 protected:
  ReadAheadTest() {
    write_sample_segment(files_, directory_.file("s.vseg"),
                         make_sample_segment(5000, 256, 16, true));
    segment_ = Segment::open(files_, directory_.file("s.vseg"));
  }
  // The pages asked for since the last call.
  std::set<std::size_t> asked() {
    std::set<std::size_t> pages;
    for (const auto& [offset, size, access] : files_.advice) {
      if (access != MappedFile::Access::will_need) continue;
      for (std::size_t at = offset / kPage; at * kPage < offset + size; ++at) pages.insert(at);
    }
    files_.advice.clear();
    return pages;
  }
  std::set<std::size_t> pages_of(SectionKind kind) const {
    std::set<std::size_t> pages;
    const SectionEntry* section = segment_->section(kind);
    for (std::size_t at = section->offset; at < section->offset + section->bytes; at += kPage) {
      pages.insert(at / kPage);
    }
    return pages;
  }
  // Takes the file out of memory. False where files live in memory only.
  bool drop() const {
    segment_->file().advise(0, segment_->file().bytes().size(), MappedFile::Access::dont_need);
    const int fd = ::open(segment_->path().c_str(), O_RDONLY | O_CLOEXEC);
    bool dropped = false;
    // What the kernel is still busy with stays at first.
    for (int attempt = 0; attempt < 100 && !dropped; ++attempt) {
      dropped = ::fsync(fd) == 0 && ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0 &&
                segment_->file().resident_bytes() == 0;
    }
    ::close(fd);
    return dropped;
  }
  // Reads links here and there, as a walk does.
  std::uint64_t read_links() const {
    std::uint64_t sum = 0;
    for (std::uint32_t slot = 0; slot < segment_->row_count(); slot += 500) {
      sum += *segment_->links0(slot);
    }
    return sum;
  }

  TempDirectory directory_;
  NotingFileSystem files_;
  std::shared_ptr<const Segment> segment_;
};

TEST_F(ReadAheadTest, AsksForThePagesOfTheRowsAndNoOthers) {
  const ReadAhead reads(*segment_, ReadAhead::Part::ranking);
  ASSERT_TRUE(reads.is_cold());  // nothing is known yet
  asked();
  const std::vector<std::uint32_t> slots = {4999, 0, 17, 18, 17, 4000};
  for (const SectionKind kind : {SectionKind::links0, SectionKind::codes_int8, SectionKind::vectors,
                                 SectionKind::norms, SectionKind::row_ids}) {
    reads.ask(kind, slots);
    std::set<std::size_t> expected;
    for (const std::uint32_t slot : slots) {
      const auto* base = segment_->file().bytes().data();
      const auto range = [&](const void* row, std::size_t bytes) {
        const auto begin = static_cast<std::size_t>(static_cast<const std::byte*>(row) - base);
        for (std::size_t page = begin / kPage; page * kPage < begin + bytes; ++page) {
          expected.insert(page);
        }
      };
      if (kind == SectionKind::links0) range(segment_->links0(slot), 4 * segment_->links0_width());
      if (kind == SectionKind::codes_int8) range(segment_->code(slot), 16 + segment_->dim());
      if (kind == SectionKind::vectors) range(segment_->vector(slot), 4 * segment_->dim());
    }
    if (kind == SectionKind::norms || kind == SectionKind::row_ids) {
      const SectionEntry* section = segment_->section(kind);
      for (const std::uint32_t slot : slots) {
        expected.insert((section->offset + slot * (section->bytes / 5000)) / kPage);
      }
    }
    EXPECT_EQ(asked(), expected) << to_string(kind);
  }
}

// R8: slots come from the graph, which may be damaged.
TEST_F(ReadAheadTest, R8_LeavesOutWhatIsNotThere) {
  const ReadAhead reads(*segment_, ReadAhead::Part::walk);
  asked();
  reads.ask(SectionKind::links0, std::vector<std::uint32_t>{5000, kNoNeighbour});
  reads.ask(SectionKind::codes_1bit, std::vector<std::uint32_t>{1, 2});  // no such section
  EXPECT_EQ(asked(), std::set<std::size_t>{});
}

TEST_F(ReadAheadTest, AsksNothingOnceAllIsInMemory) {
  std::uint64_t sum = read_links();
  {
    const ReadAhead first(*segment_, ReadAhead::Part::walk);
    EXPECT_TRUE(first.is_cold());
    sum += read_links();
  }
  const ReadAhead second(*segment_, ReadAhead::Part::walk);
  EXPECT_FALSE(second.is_cold());
  asked();
  second.ask(SectionKind::links0, std::vector<std::uint32_t>{1, 2, 3});
  EXPECT_EQ(asked(), std::set<std::size_t>{});
  EXPECT_TRUE(
      ReadAhead(*segment_, ReadAhead::Part::ranking).is_cold());  // of which it says nothing
  EXPECT_GT(sum, 0U);
}

TEST_F(ReadAheadTest, FromTheSecondColdWalkOnAllThatWalksUseIsAskedForOnce) {
  std::set<std::size_t> expected = pages_of(SectionKind::links0);
  expected.merge(pages_of(SectionKind::upper_links));
  { const ReadAhead warm(*segment_, ReadAhead::Part::walk); }
  std::set<std::size_t> further;
  for (int walk = 0; walk < 4; ++walk) {
    if (!drop()) GTEST_SKIP() << "files cannot be dropped from memory here";
    asked();
    {
      const ReadAhead reads(*segment_, ReadAhead::Part::walk);
      EXPECT_EQ(reads.is_cold(), walk > 0);
      EXPECT_GT(read_links(), 0U);
    }
    EXPECT_EQ(asked(), walk == 1 ? expected : std::set<std::size_t>{}) << walk;
  }
}

}  // namespace
}  // namespace vkb

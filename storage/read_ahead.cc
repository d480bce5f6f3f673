// SPDX-License-Identifier: Apache-2.0
#include "storage/read_ahead.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <vector>

namespace vkb {
namespace {

constexpr std::uint64_t kPage = 4096;

// Asking for a row that is in memory takes 0.2 microseconds, waiting for one that is not 60: so
// many of the latter take as long as all that a walk asks for.
constexpr std::uint64_t kColdPages = 4;

// What all walks read, in the order in which it is worth having.
constexpr std::array kWalkSections = {SectionKind::upper_links, SectionKind::codes_1bit,
                                      SectionKind::links0};
// Of these, what a walk asks the kernel for beyond its own reads: some 8 milliseconds of a disk.
constexpr std::uint64_t kTurnBytes = std::uint64_t{8} << 20;
// More at once, some kernels would read a part only.
constexpr std::uint64_t kRequestBytes = std::uint64_t{128} << 10;

// Pages that this thread has had read so far: those that it ran into, and those that it asked for.
std::uint64_t pages_read() noexcept {
  struct ::rusage usage {};
  if (::getrusage(RUSAGE_THREAD, &usage) != 0) return 0;
  return static_cast<std::uint64_t>(usage.ru_inblock) * 512 / kPage +
         static_cast<std::uint64_t>(usage.ru_majflt);
}

void request(const Segment& segment, std::uint64_t offset, std::uint64_t bytes) noexcept {
  for (std::uint64_t done = 0; done < bytes; done += kRequestBytes) {
    segment.file().advise(offset + done, std::min(kRequestBytes, bytes - done),
                          MappedFile::Access::will_need);
  }
}

// Has the kernel read more of what walks use, in the background, until it has been asked for all of
// it, once. The first walk leaves that: a process may end with it.
void read_further(const Segment& segment) noexcept {
  const std::uint64_t turn = segment.residency().cold_walks.fetch_add(1, std::memory_order_relaxed);
  if (turn == 0) return;
  std::uint64_t skip = (turn - 1) * kTurnBytes;
  std::uint64_t left = kTurnBytes;
  for (const SectionKind kind : kWalkSections) {
    const SectionEntry* section = segment.section(kind);
    if (section == nullptr) continue;
    if (skip < section->bytes && left > 0) {
      const std::uint64_t bytes = std::min(left, section->bytes - skip);
      request(segment, section->offset + skip, bytes);
      left -= bytes;
    }
    skip -= std::min(skip, section->bytes);
  }
  if (left == 0 || left == kTurnBytes) return;
  // That was the last of it. Where memory is short the kernel keeps what is used again and again,
  // if it may look at the uses: with `random` it does not.
  for (const SectionKind kind : kWalkSections) {
    const SectionEntry* section = segment.section(kind);
    if (section == nullptr) continue;
    segment.file().advise(section->offset, section->bytes, MappedFile::Access::normal);
  }
}

}  // namespace

ReadAhead::ReadAhead(const Segment& segment, Part part) noexcept
    : segment_(segment),
      part_(part),
      cold_(noted().load(std::memory_order_relaxed)),
      pages_before_(pages_read()) {}

ReadAhead::~ReadAhead() {
  const bool cold = pages_read() - pages_before_ >= kColdPages;
  if (cold != cold_) noted().store(cold, std::memory_order_relaxed);
  if (cold && part_ == Part::walk) read_further(segment_);
}

std::atomic<bool>& ReadAhead::noted() const noexcept {
  Residency& residency = segment_.residency();
  return part_ == Part::walk ? residency.walk_is_cold : residency.ranking_is_cold;
}

void ReadAhead::ask(SectionKind kind, std::span<const std::uint32_t> slots) const {
  if (!cold_) return;
  const Segment::Rows rows = segment_.rows(kind);
  if (rows.bytes == 0) return;
  std::vector<std::uint64_t> pages;
  pages.reserve(2 * slots.size());
  for (const std::uint32_t slot : slots) {
    if (slot >= segment_.row_count()) continue;
    const std::uint64_t begin = rows.offset + slot * rows.stride;
    const std::uint64_t last = (begin + rows.bytes - 1) / kPage;
    for (std::uint64_t page = begin / kPage; page <= last; ++page) pages.push_back(page);
  }
  std::sort(pages.begin(), pages.end());
  for (std::size_t i = 0; i < pages.size();) {
    std::size_t next = i + 1;
    while (next < pages.size() && pages[next] <= pages[next - 1] + 1) ++next;
    request(segment_, pages[i] * kPage, (pages[next - 1] - pages[i] + 1) * kPage);
    i = next;
  }
}

}  // namespace vkb

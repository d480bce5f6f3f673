// SPDX-License-Identifier: Apache-2.0
#include "engine/check_graph.h"

#include <algorithm>
#include <random>
#include <span>

#include "engine/ranking.h"
#include "engine/tuning.h"

namespace vkb {
namespace {

constexpr std::uint32_t kTickRows = 10'000;

class GraphChecker {
 public:
  GraphChecker(const Segment& segment, const Bitmap& dead, std::uint32_t ef,
               const std::function<void()>& tick)
      : segment_(segment),
        header_(segment.header()),
        dead_(dead),
        ef_(ef),
        tick_(tick),
        reached_(segment.row_count()) {}

  GraphFindings run() && {
    check_lists();
    check_upper_slots();
    if (!findings_.problems.empty()) return std::move(findings_);  // a walk would end at an error
    check_reach();
    check_sample();
    return std::move(findings_);
  }

 private:
  void report(std::uint64_t number, const std::string& what) {
    if (number > 0) findings_.problems.push_back(std::to_string(number) + " " + what);
  }

  void check_lists() {
    for (std::uint32_t slot = 0; slot < segment_.row_count(); ++slot) {
      if (slot % kTickRows == 0) tick_();
      check_list({segment_.links0(slot), segment_.links0_width()}, slot, segment_.row_count());
    }
    for (std::uint32_t level = 1; level <= header_.max_level; ++level) {
      const std::uint32_t nodes = header_.level_count[level];
      for (std::uint32_t position = 0; position < nodes; ++position) {
        check_list({segment_.upper_links(level, position), header_.m}, position, nodes);
      }
    }
    report(nowhere_, "links that lead nowhere");
    report(repeated_, "links that are twice in their list");
    report(behind_, "links behind the end of their list");
  }

  // The list of `node`, one of `count`.
  void check_list(std::span<const std::uint32_t> list, std::uint32_t node, std::uint32_t count) {
    const auto end = std::ranges::find(list, kNoNeighbour);
    behind_ += static_cast<std::uint64_t>(
        std::count_if(end, list.end(), [](std::uint32_t link) { return link != kNoNeighbour; }));
    sorted_.assign(list.begin(), end);
    std::ranges::sort(sorted_);
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
      nowhere_ += sorted_[i] >= count || sorted_[i] == node;
      repeated_ += i > 0 && sorted_[i] == sorted_[i - 1];
    }
  }

  void check_upper_slots() {
    Bitmap met(segment_.row_count());
    std::uint64_t outside = 0;
    std::uint64_t again = 0;
    for (const std::uint32_t slot : segment_.upper_slots()) {
      if (slot >= segment_.row_count()) {
        ++outside;
        continue;
      }
      again += met.test(slot);
      met.set(slot);
    }
    report(outside, "upper nodes that are not rows");
    report(again, "rows that are upper nodes twice");
  }

  std::span<const std::uint32_t> neighbours(std::uint32_t slot) const {
    const std::span list(segment_.links0(slot), segment_.links0_width());
    return {list.begin(), std::ranges::find(list, kNoNeighbour)};
  }

  // Whoever is not reached, the builder links from one of its neighbours, or of theirs, as long as
  // one that is reached has room in its list. That is what must be true of a sound graph.
  void check_reach() {
    reach_from(header_.max_level > 0 ? segment_.upper_slot(0) : 0);
    std::uint64_t unreached = 0;
    bool is_sound = true;
    for (std::uint32_t slot = 0; slot < segment_.row_count(); ++slot) {
      if (slot % kTickRows == 0) tick_();
      if (reached_.test(slot) || dead_.test(slot)) continue;
      ++unreached;
      is_sound = is_sound && !has_host(slot);
    }
    if (!is_sound) report(unreached, "live rows that no walk from the entry point reaches");
  }

  void reach_from(std::uint32_t entry) {
    std::vector<std::uint32_t> queue{entry};
    reached_.set(entry);
    std::uint32_t visited = 0;
    while (!queue.empty()) {
      if (++visited % kTickRows == 0) tick_();
      const std::uint32_t slot = queue.back();
      queue.pop_back();
      for (const std::uint32_t neighbour : neighbours(slot)) {
        if (reached_.test(neighbour)) continue;
        reached_.set(neighbour);
        queue.push_back(neighbour);
      }
    }
  }

  bool has_host(std::uint32_t slot) const {
    const auto is_host = [&](std::uint32_t other) {
      return reached_.test(other) &&
             segment_.links0(other)[segment_.links0_width() - 1] == kNoNeighbour;
    };
    return std::ranges::any_of(neighbours(slot), [&](std::uint32_t neighbour) {
      return is_host(neighbour) || std::ranges::any_of(neighbours(neighbour), is_host);
    });
  }

  // Some live rows, evenly spread.
  void check_sample() {
    const std::uint32_t rows = segment_.row_count();
    const auto step = std::max<std::uint32_t>(1, rows / kCheckedRows);
    const bool has_dead = dead_.count() > 0;
    for (std::uint32_t slot = 0; slot < rows; slot += step) {
      if (dead_.test(slot)) continue;
      tick_();
      const PreparedQuery query({segment_.vector(slot), segment_.dim()},
                                static_cast<Space>(header_.space));
      if (has_codes(segment_)) {  // else no search walks
        ++findings_.asked;
        findings_.found += is_found(query, slot, has_dead);
      }
      compare_links(query, slot);
    }
    // Of a graph with hardly more rows than places in a list all rows are near; and inner products
    // lead to long vectors, or past them, rather than to near ones.
    if (rows < kCheckedListShare * segment_.links0_width() ||
        static_cast<Space>(header_.space) == Space::ip ||
        static_cast<double>(near_links_) >= kLeastNearLinks * static_cast<double>(links_)) {
      return;
    }
    report(links_ - near_links_,
           "of " + std::to_string(links_) + " links in a sample lead to rows no nearer than any; " +
               std::to_string(findings_.found) + " of " + std::to_string(findings_.asked) +
               " records are found by their own vectors");
  }

  // Whether the row, or one as near, is what a query with its vector finds: others may be equal,
  // and with ip nearer.
  bool is_found(const PreparedQuery& query, std::uint32_t slot, bool has_dead) const {
    const RowSelection live{.dead = has_dead ? &dead_ : nullptr, .accepted = nullptr};
    const std::vector<Neighbour> nearest = search_graph(segment_, query, 1, ef_, live);
    return !nearest.empty() && nearest.front().distance <= distances(query, {&slot, 1}).front();
  }

  // Each link of the row with one to any other row.
  void compare_links(const PreparedQuery& query, std::uint32_t slot) {
    const std::vector<float> linked = distances(query, neighbours(slot));
    std::vector<std::uint32_t> others(linked.size());
    std::ranges::generate(others, [&] { return random_() % segment_.row_count(); });
    const std::vector<float> random = distances(query, others);
    for (std::size_t i = 0; i < linked.size(); ++i) near_links_ += linked[i] <= random[i];
    links_ += linked.size();
  }

  std::vector<float> distances(const PreparedQuery& query,
                               std::span<const std::uint32_t> slots) const {
    std::vector<float> found;
    SearchCounts unasked;
    RowDistances(segment_, query, unasked).exact(slots, [&](std::uint32_t, float distance) {
      found.push_back(distance);
    });
    return found;
  }

  const Segment& segment_;
  const SegmentHeader& header_;
  const Bitmap& dead_;
  const std::uint32_t ef_;
  const std::function<void()>& tick_;
  GraphFindings findings_;
  Bitmap reached_;
  std::mt19937 random_;  // the same each time
  std::vector<std::uint32_t> sorted_;
  std::uint64_t nowhere_ = 0;
  std::uint64_t repeated_ = 0;
  std::uint64_t behind_ = 0;
  std::uint64_t links_ = 0;
  std::uint64_t near_links_ = 0;
};

}  // namespace

GraphFindings check_graph(const Segment& segment, const Bitmap& dead, std::uint32_t ef,
                          const std::function<void()>& tick) {
  return GraphChecker(segment, dead, ef, tick).run();
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "engine/memtable.h"

#include <algorithm>

#include "engine/codes.h"

namespace vkb {

std::size_t MemtableView::live_count() const noexcept {
  std::size_t live = 0;
  for (std::size_t entry = 0; entry < count_; ++entry) live += is_live(entry);
  return live;
}

std::optional<std::size_t> MemtableView::find(std::int64_t row_id) const noexcept {
  for (std::size_t entry = count_; entry-- > 0;) {
    if (this->row_id(entry) == row_id && is_live(entry)) return entry;
  }
  return std::nullopt;
}

std::vector<Neighbour> MemtableView::search(const PreparedQuery& query, std::uint32_t k,
                                            const Selection* accepted) const {
  std::vector<Neighbour> nearest;  // a heap, the farthest on top
  for (std::size_t entry = 0; entry < count_; ++entry) {
    if (!is_live(entry)) continue;
    const std::int64_t row = row_id(entry);
    if (accepted && !accepted->contains(row)) continue;
    const Block& in = block(entry);
    const Neighbour found{
        exact_distance(query.space(), query.vector(), query.norm(), vector(entry).data(),
                       in.norms[entry % kBlockRows], dim_, kernels()),
        static_cast<std::uint64_t>(row)};
    if (nearest.size() == k) {
      if (!(found < nearest.front())) continue;
      std::pop_heap(nearest.begin(), nearest.end());
      nearest.pop_back();
    }
    nearest.push_back(found);
    std::push_heap(nearest.begin(), nearest.end());
  }
  std::sort_heap(nearest.begin(), nearest.end());
  return nearest;
}

void Memtable::apply(std::int64_t seq, std::int64_t row_id, std::span<const float> vector) {
  constexpr std::size_t kBlockRows = MemtableView::kBlockRows;
  if (auto older = live_.find(row_id); older != live_.end()) {
    const std::size_t entry = older->second;
    newest_.blocks_[entry / kBlockRows]->dead_seqs[entry % kBlockRows].store(
        seq, std::memory_order_relaxed);
    live_.erase(older);
  }
  if (vector.empty()) return;
  const std::size_t entry = newest_.count_;
  if (entry % kBlockRows == 0) {
    newest_.blocks_.push_back(std::make_shared<MemtableView::Block>(newest_.dim_));
  }
  MemtableView::Block& block = *newest_.blocks_.back();
  std::copy(vector.begin(), vector.end(), block.vectors.get() + entry % kBlockRows * newest_.dim_);
  block.norms[entry % kBlockRows] = norm_of(vector);
  block.row_ids[entry % kBlockRows] = row_id;
  live_[row_id] = entry;
  ++newest_.count_;
}

MemtableView Memtable::view(std::int64_t last_seq) const {
  MemtableView view = newest_;
  view.last_seq_ = last_seq;
  return view;
}

}  // namespace vkb

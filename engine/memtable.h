// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/search.h"
#include "storage/filter_eval.h"

namespace vkb {

// What one snapshot sees of the vectors that are in no segment yet: the first `count` entries of an
// append-only table, of which those are live that no entry up to last_seq has replaced or removed.
// Thread safety: immutable, though it shares its blocks with a Memtable that goes on appending.
class MemtableView {
 public:
  static constexpr std::size_t kBlockRows = 256;

  struct Block {
    // Not filled: a process may hold a thousand collections of a few rows each, and memory that was
    // never written takes no room.
    explicit Block(std::size_t dim)
        : vectors(std::make_unique_for_overwrite<float[]>(dim * kBlockRows)) {}
    std::unique_ptr<float[]> vectors;  // [kBlockRows][dim]
    std::array<float, kBlockRows> norms{};
    std::array<std::int64_t, kBlockRows> row_ids{};
    // seq of the entry that ended this one's life. Set once, by the appender, while readers look: a
    // reader compares it with its own last_seq, so what it sees does not depend on when it looks.
    std::array<std::atomic<std::int64_t>, kBlockRows> dead_seqs{};
  };

  std::size_t entry_count() const noexcept { return count_; }
  std::int64_t row_id(std::size_t entry) const noexcept {
    return block(entry).row_ids[entry % kBlockRows];
  }
  bool is_live(std::size_t entry) const noexcept {
    const std::int64_t dead =
        block(entry).dead_seqs[entry % kBlockRows].load(std::memory_order_relaxed);
    return dead == 0 || dead > last_seq_;
  }
  std::span<const float> vector(std::size_t entry) const noexcept {
    return {block(entry).vectors.get() + entry % kBlockRows * dim_, dim_};
  }
  std::size_t live_count() const noexcept;
  // The live entry of a row. O(entries).
  std::optional<std::size_t> find(std::int64_t row_id) const noexcept;

  // The k nearest live rows, ascending; among `accepted` when given.
  std::vector<Neighbour> search(const PreparedQuery& query, std::uint32_t k,
                                const Selection* accepted) const;

 private:
  friend class Memtable;
  const Block& block(std::size_t entry) const noexcept { return *blocks_[entry / kBlockRows]; }

  std::size_t dim_ = 0;
  std::size_t count_ = 0;
  std::int64_t last_seq_ = 0;
  std::vector<std::shared_ptr<Block>> blocks_;
};

// The appending side. Thread safety: one thread at a time.
class Memtable {
 public:
  Memtable() = default;
  explicit Memtable(std::size_t dim) { newest_.dim_ = dim; }

  // An entry of the vector log, in seq order: a row's vector, or (empty) its removal.
  void apply(std::int64_t seq, std::int64_t row_id, std::span<const float> vector);
  // Everything applied so far, as a snapshot at last_seq sees it.
  MemtableView view(std::int64_t last_seq) const;

 private:
  MemtableView newest_;
  std::unordered_map<std::int64_t, std::size_t> live_;  // row_id -> entry
};

}  // namespace vkb

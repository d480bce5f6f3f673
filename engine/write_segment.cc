// SPDX-License-Identifier: Apache-2.0
#include "engine/write_segment.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <optional>

#include "engine/bit_codes.h"
#include "engine/codes.h"
#include "engine/tuning.h"
#include "storage/catalog.h"
#include "storage/records.h"
#include "storage/segment_writer.h"

namespace vkb {
namespace {

// Rows of a section that are made while those before them are written, and then taken out of
// memory: each row read brings in what the kernel maps with it, from 64 KiB around it to the two
// megabytes of a large page of its cache, half a megabyte on average (Linux 6.18, ext4).
constexpr std::size_t kCopyRows = 256;
// Of them, what a thread does in one task: a part for each of 16.
constexpr std::size_t kCopyTaskRows = 16;

// Waits, in the end, for tasks that use what is about to go.
class SettledPool {
 public:
  explicit SettledPool(ThreadPool* pool) : pool_(pool) {}
  ~SettledPool() {
    try {
      wait();
    } catch (...) {
      // Its error came second: another one is on its way already.
    }
  }
  SettledPool(const SettledPool&) = delete;
  SettledPool& operator=(const SettledPool&) = delete;

  // Begins work(slot) for first <= slot < last; without a pool, does it.
  template <typename Work>
  void begin(std::size_t first, std::size_t last, const Work& work) {
    for (std::size_t from = first; from < last; from += kCopyTaskRows) {
      const auto task = [&work, from, to = std::min(from + kCopyTaskRows, last)] {
        for (std::size_t slot = from; slot < to; ++slot) work(slot);
      };
      pool_ ? pool_->run(task) : task();
    }
  }
  void wait() {
    if (pool_) pool_->wait();
  }

 private:
  ThreadPool* pool_;
};

// One segment on its way into its file.
class NewSegment {
 public:
  NewSegment(OpenStore& store, const CollectionRow& collection, const SegmentRows& rows,
             ThreadPool* pool, const std::function<void(std::size_t)>& tick)
      : store_(store),
        collection_id_(collection.collection_id),
        dim_(*collection.dim),
        space_(static_cast<Space>(collection.space)),
        graph_(rows.graph),
        row_count_(rows.count),
        row_at_(rows.row_at),
        pool_(pool),
        tick_(tick),
        name_(make_uuid() + std::string(kSegmentSuffix)),
        writer_(store.files(), store.segment_directory() + "/" + name_,
                shape_of(collection, rows.graph, rows.count)) {}

  SegmentRow write() {
    write_ids();
    if (graph_.m > 0) {
      section(SectionKind::upper_slots, graph_.upper_slots);
      section(SectionKind::upper_links, graph_.upper_links);
      section(SectionKind::links0, graph_.links0);
    }
    write_codes();
    write_rows(SectionKind::vectors, dim_ * sizeof(float), 2,
               [&](std::size_t slot, std::byte* out) {
                 std::memcpy(out, row_at_(slot).vector, dim_ * sizeof(float));
               });
    const SegmentWriter::Published published = writer_.publish();
    store_.files().reached("segment_published");
    return {.segment_id = 0,
            .file = name_,
            .row_count = row_count_,
            .byte_count = published.byte_count,
            .checksum = published.checksum,
            .has_graph = graph_.m > 0};
  }

 private:
  static SegmentWriter::Shape shape_of(const CollectionRow& collection, const Graph& graph,
                                       std::size_t row_count) {
    SegmentWriter::Shape shape{.row_count = row_count,
                               .dim = *collection.dim,
                               .space = collection.space,
                               .m = graph.m,
                               .max_level = graph.max_level,
                               .level_count = graph.level_count};
    shape.level_count[0] = static_cast<std::uint32_t>(row_count);
    return shape;
  }

  template <typename Values>
  void section(SectionKind kind, const Values& values) {
    writer_.begin(kind);
    writer_.append_values(std::span(values));
    writer_.end();
  }

  void write_ids() {
    std::vector<std::uint64_t> row_ids(row_count_);
    norms_.resize(row_count_);
    const auto look = [&](std::size_t slot) {
      const RowSource row = row_at_(slot);
      row_ids[slot] = static_cast<std::uint64_t>(row.row_id);
      norms_[slot] = row.coded ? row.coded->norm(row.slot) : norm_of({row.vector, dim_});
    };
    SettledPool pool(pool_);
    for (std::size_t first = 0; first < row_count_; first += kCopyRows) {
      pool.begin(first, std::min(first + kCopyRows, row_count_), look);
      pool.wait();
      if (tick_) tick_(first / 3);
    }
    std::vector<std::uint32_t> sorted_slots(row_count_);
    std::iota(sorted_slots.begin(), sorted_slots.end(), 0U);
    std::sort(sorted_slots.begin(), sorted_slots.end(),
              [&](std::uint32_t a, std::uint32_t b) { return row_ids[a] < row_ids[b]; });
    section(SectionKind::row_ids, row_ids);
    std::vector<std::uint64_t> sorted_ids(row_count_);
    std::transform(sorted_slots.begin(), sorted_slots.end(), sorted_ids.begin(),
                   [&](std::uint32_t slot) { return row_ids[slot]; });
    section(SectionKind::sorted_row_ids, sorted_ids);
    section(SectionKind::sorted_slots, sorted_slots);
    // A flat segment of many is merged soon, and its rows may not be committed yet.
    if (graph_.m > 0) write_record_ids(sorted_ids);
    section(SectionKind::norms, norms_);
  }

  // The records' ids: a cache (R9), which spares queries from asking SQLite for each row they
  // answer with. Rows that are gone by now have none.
  void write_record_ids(std::span<const std::uint64_t> row_ids) {
    using Row = std::array<std::byte, kRecordIdBytes>;
    std::vector<Row> rows(row_ids.size());
    const auto put = [](std::string_view id, Row& row) {
      if (id.size() >= row.size()) return;
      row[0] = static_cast<std::byte>(id.size());
      std::memcpy(&row[1], id.data(), id.size());
    };
    store_.read([&](Database& db) {
      Records records(db, collection_id_);
      const std::optional<CollectionRow> collection = find_collection(db, collection_id_);
      if (!collection || row_ids.size() < collection->record_count / kIdScanShare) {
        for (std::size_t i = 0; i < row_ids.size(); ++i) {
          put(records.id_of(static_cast<std::int64_t>(row_ids[i])).value_or(""), rows[i]);
        }
        return;
      }
      records.for_each_id([&](std::int64_t row_id, std::string_view id) {
        const auto key = static_cast<std::uint64_t>(row_id);
        const auto found = std::lower_bound(row_ids.begin(), row_ids.end(), key);
        if (found == row_ids.end() || *found != key) return;
        put(id, rows[static_cast<std::size_t>(found - row_ids.begin())]);
      });
    });
    writer_.begin(SectionKind::record_ids);
    for (const Row& row : rows) writer_.append(row);
    writer_.end();
  }

  void write_codes() {
    std::optional<BitCodeRows> bits;
    if (graph_.m > 0 && row_count_ >= kBitCodesMinRows && has_bit_codes(dim_)) {
      std::size_t sampled = 0;
      bits.emplace(space_, dim_, row_count_, [&](std::size_t slot) {
        if (++sampled % kCopyRows == 0 && tick_) tick_(row_count_ / 3);
        return row_at_(slot).vector;
      });
    }
    const auto write_int8 = [&](std::size_t slot, std::byte* out) {
      const RowSource row = row_at_(slot);
      if (row.coded) {
        std::memcpy(out, row.coded->code(row.slot), code_bytes(dim_));
      } else {
        encode_int8({row.vector, dim_}, norms_[slot], space_, out);
      }
      if (bits) bits->set(slot, out);
    };
    if (bits && has_int4_codes(dim_)) {
      write_rows(SectionKind::codes_int4, int4_code_bytes(dim_), 1,
                 [&](std::size_t slot, std::byte* out) {
                   thread_local std::vector<std::byte> code;
                   code.resize(code_bytes(dim_));
                   write_int8(slot, code.data());
                   encode_int4(code.data(), dim_, out);
                 });
    } else {
      write_rows(SectionKind::codes_int8, code_bytes(dim_), 1, write_int8);
    }
    if (bits) bits->write(writer_);
  }

  // A section of rows, each made by fill(slot, where it goes), some while those before are written.
  template <typename Fill>
  void write_rows(SectionKind kind, std::size_t row_bytes, std::size_t thirds_done,
                  const Fill& fill) {
    const std::size_t stride = row_stride(row_bytes);  // padding stays zero
    std::array<std::vector<std::byte>, 2> buffers;
    for (auto& buffer : buffers) buffer.resize(std::min(kCopyRows, row_count_) * stride);
    const auto place = [&](std::size_t slot) {
      return buffers[slot / kCopyRows % 2].data() + slot % kCopyRows * stride;
    };
    const auto work = [&](std::size_t slot) { fill(slot, place(slot)); };
    const auto end_of = [&](std::size_t first) { return std::min(first + kCopyRows, row_count_); };
    SettledPool pool(pool_);
    writer_.begin(kind);
    pool.begin(0, end_of(0), work);
    for (std::size_t first = 0; first < row_count_; first += kCopyRows) {
      pool.wait();
      const std::size_t next = end_of(first);
      pool.begin(next, end_of(next), work);
      writer_.append({place(first), (next - first) * stride});
      if (tick_) tick_((thirds_done * row_count_ + first) / 3);
    }
    writer_.end();
  }

  OpenStore& store_;
  const std::int64_t collection_id_;
  const std::uint32_t dim_;
  const Space space_;
  const Graph& graph_;
  const std::size_t row_count_;
  const RowAt& row_at_;
  ThreadPool* const pool_;
  const std::function<void(std::size_t)>& tick_;
  const std::string name_;
  SegmentWriter writer_;
  std::vector<float> norms_;
};

}  // namespace

SegmentRow write_segment(OpenStore& store, const CollectionRow& collection, const SegmentRows& rows,
                         ThreadPool* pool, const std::function<void(std::size_t)>& tick) {
  return NewSegment(store, collection, rows, pool, tick).write();
}

}  // namespace vkb

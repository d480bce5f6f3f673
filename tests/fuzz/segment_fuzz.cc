// SPDX-License-Identifier: Apache-2.0
//
// Segment files. The first byte chooses what is changed: one of the segments below, by the edits
// that follow, or a whole file that follows. The second tells which checksums are left wrong; the
// others are set right, so that what they protect is looked at too. The file belongs to a store,
// which is checked and asked everything: each answer is one, or an Error.
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/vkb.h"
#include "storage/segment_format.h"
#include "storage/sqlite.h"
#include "tests/engine/sample_segment.h"
#include "tests/fuzz/input.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/test_data.h"

namespace {

using namespace vkb;

struct Base {
  std::uint32_t rows;
  std::uint32_t dim;
  SampleOptions options;
};
const std::array<Base, 4> kBases = {
    {{.rows = 6, .dim = 3, .options = {.space = Space::ip, .codes = false, .graph = false}},
     {.rows = 60,
      .dim = 8,
      .options = {.space = Space::l2, .m = 3, .ef_construction = 20, .record_ids = true}},
     {.rows = 24,
      .dim = 128,
      .options = {.m = 4, .ef_construction = 20, .bit_codes = true, .record_ids = true}},
     {.rows = 16,
      .dim = 384,
      .options = {.m = 2, .ef_construction = 20, .bit_codes = true, .record_ids = true}}}};
constexpr std::size_t kWhole = kBases.size();  // the whole file follows
constexpr std::uint32_t kHits = 5;
constexpr std::size_t kLargest = 1'000'000;  // bytes that edits make of a file

// A file in memory that ends where its bytes do, so that whatever reads behind them is seen.
class MemoryFile final : public MappedFile {
 public:
  explicit MemoryFile(std::string_view content) : size_(content.size()) {
    void* data = nullptr;
    require(posix_memalign(&data, kSectionAlignment, std::max<std::size_t>(size_, 1)) == 0);
    data_.reset(static_cast<std::byte*>(data));
    std::memcpy(data_.get(), content.data(), size_);
  }
  std::span<const std::byte> bytes() const noexcept override { return {data_.get(), size_}; }
  void advise(std::size_t, std::size_t, Access) const noexcept override {}
  bool read(std::size_t offset, std::span<std::byte> out) const noexcept override {
    if (offset > size_ || out.size() > size_ - offset) return false;
    std::memcpy(out.data(), data_.get() + offset, out.size());
    return true;
  }
  std::uint64_t resident_bytes() const override { return size_; }

 private:
  struct Free {
    void operator()(std::byte* data) const noexcept { std::free(data); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> data_;
};

class MemoryFiles final : public FaultyFileSystem {
 public:
  std::unique_ptr<MappedFile> map(const std::string&) override {
    clear();  // its log would grow for ever
    return std::make_unique<MemoryFile>(content);
  }
  std::string content;
};

// A store whose only segment is whatever content it is given.
class SegmentStore {
 public:
  explicit SegmentStore(const Base& base) : base_(base) {
    create();
    const std::string path = directory_.path() + "/segments/base.vseg";
    make_segment(path, clustered_vectors(base.rows, base.dim, 1), base.dim, base.options);
    pristine_ = read_whole_file(path);
    db_.emplace(directory_.path() + "/vkb.sqlite3", Database::Mode::copy);
    db_->execute(
        "PRAGMA synchronous=OFF; DELETE FROM vector_log;"
        "INSERT INTO segment(collection_id, file, row_count, byte_count, checksum, has_graph)"
        " SELECT collection_id, 'base.vseg', 0, 0, 0, 1 FROM collection");
    // In two steps: no row may take the number of another on the way.
    db_->execute("UPDATE record SET row_id=-row_id");
    db_->execute("UPDATE record SET row_id=5+3*(-row_id-1)");
    store_.emplace(Store::open(directory_.path(), {.read_only = true, .file_system = &files_}));
    use(pristine_);
    require(ask());
  }

  const std::string& pristine() const noexcept { return pristine_; }

  // Puts `content` in the place of the segment, with what SQLite knows of it.
  void use(const std::string& content) {
    SegmentHeader header{};
    std::memcpy(&header, content.data(), std::min(content.size(), sizeof(header)));
    files_.content = content;
    dim_ = header.dim >= 1 && header.dim <= kMaxDim ? header.dim : base_.dim;
    Statement(*db_,
              "UPDATE segment SET segment_id=segment_id+1, row_count=?, byte_count=?, checksum=?,"
              " has_graph=?")
        .bind(header.row_count, content.size(), header.header_checksum, header.m > 0 ? 1 : 0)
        .run();
    Statement(*db_, "UPDATE collection SET manifest_version=manifest_version+1, dim=?")
        .bind(dim_)
        .run();
  }

  // Whether check() has nothing to say; then nothing else may have.
  bool ask() {
    const bool sound = store_->check(true).problems.empty();
    const auto attempt = [&](const auto& question) {
      try {
        question(store_->collection("fuzzed"));
      } catch (const Error& error) {
        require(!sound);
        require(error.code() == ErrorCode::corruption || error.code() == ErrorCode::unsupported);
      }
    };
    std::vector<float> query(dim_);
    for (std::size_t i = 0; i < dim_; ++i) query[i] = std::sin(static_cast<float>(i));
    const auto search = [&](const QueryOptions& options) {
      attempt([&](const Collection& collection) {
        const std::vector<Hit> hits = collection.query(query, options);
        require(hits.size() <= kHits && (!sound || hits.size() == kHits));
        for (std::size_t i = 0; i < hits.size(); ++i) {
          require(!std::isnan(hits[i].distance));
          require(i == 0 || hits[i - 1].distance <= hits[i].distance);
        }
      });
    };
    const std::vector<std::string> some = {"r5", "r8", "r11", "r14", "r17"};
    search({.k = kHits, .ef = 8});
    search({.k = kHits, .exact = true});
    search({.k = kHits, .include = {.documents = false, .metadatas = false}});
    search({.k = kHits, .ids = some, .include = {.embeddings = true}});
    attempt([&](const Collection& collection) {
      const auto records = collection.get({.include = {.embeddings = true}});
      require(records.size() == base_.rows);
      for (const Record& record : records) require(record.embedding->size() == dim_);
    });
    attempt([](const Collection& collection) { collection.info(); });
    return sound;
  }

 private:
  void create() {
    const std::vector<float> vectors = clustered_vectors(base_.rows, base_.dim, 1);
    std::vector<Record> records;
    for (std::size_t i = 0; i < base_.rows; ++i) {
      const auto begin = vectors.begin() + static_cast<std::ptrdiff_t>(i * base_.dim);
      records.push_back({.id = "r" + std::to_string(sample_row_id(i)),
                         .embedding = std::vector<float>(begin, begin + base_.dim)});
    }
    Store::open(directory_.path())
        .create_collection("fuzzed", {.space = base_.options.space})
        .add(records);
  }

  const Base& base_;
  FuzzDirectory directory_;
  MemoryFiles files_;
  std::string pristine_;
  std::optional<Database> db_;  // closed after the store
  std::optional<Store> store_;
  std::uint32_t dim_ = 0;
};

// The bytes that an edit may change: of a section, or the header.
std::span<char> place_of(std::string& content, std::size_t number) {
  if (content.size() < kSegmentHeaderBytes) return content;
  SegmentHeader header;
  std::memcpy(&header, content.data(), sizeof(header));
  if (number >= kMaxSections) return std::span(content).first(kSegmentHeaderBytes);
  const std::size_t count = std::clamp<std::size_t>(header.section_count, 1, kMaxSections);
  const SectionEntry& section = header.sections[number % count];
  if (section.offset > content.size()) return content;
  return std::span(content).subspan(
      section.offset, std::min<std::uint64_t>(section.bytes, content.size() - section.offset));
}

void edit(std::string& content, Input& input) {
  const std::uint8_t what = input.byte();
  if (what >= 0xC0) {
    const std::size_t most = std::min(2 * content.size(), kLargest);
    content.resize(input.number<std::uint32_t>() % (most + 1));
    return;
  }
  const std::span<char> place = place_of(content, what % (2 * kMaxSections));
  const auto at = input.number<std::uint16_t>();
  const auto room = place.subspan(place.empty() ? 0 : at % place.size());
  if (what >= 0x80) {  // a value all over
    const auto count = std::min<std::size_t>(input.number<std::uint16_t>(), room.size());
    std::fill_n(room.begin(), count, static_cast<char>(input.byte()));
    return;
  }
  const std::string_view bytes = input.short_text();
  std::memcpy(room.data(), bytes.data(), std::min(bytes.size(), room.size()));
}

enum LeftWrong : std::uint8_t { kFileBytes = 1, kSections = 2, kHeader = 4, kPages = 8 };

void set_pages_right(const SegmentHeader& header, std::span<std::byte> file) {
  for (std::size_t i = 0; i < std::min<std::size_t>(header.section_count, kMaxSections); ++i) {
    const SectionEntry& section = header.sections[i];
    const bool has_pages = section.kind == static_cast<std::uint32_t>(SectionKind::page_checksums);
    if (!has_pages || section.offset > file.size()) continue;
    for (std::uint64_t page = 1; page < section.bytes / sizeof(std::uint32_t); ++page) {
      const std::uint64_t at = section.offset + page * sizeof(std::uint32_t);
      if (at + sizeof(std::uint32_t) > file.size()) break;
      if ((page + 1) * kSegmentPageBytes > file.size()) break;
      const std::uint32_t checksum =
          page_checksum(file.subspan(page * kSegmentPageBytes, kSegmentPageBytes));
      std::memcpy(&file[at], &checksum, sizeof(checksum));
    }
  }
}

void set_right(std::string& content, std::uint8_t left_wrong) {
  if (content.size() < sizeof(SegmentHeader)) return;
  SegmentHeader header;
  std::memcpy(&header, content.data(), sizeof(header));
  if ((left_wrong & kFileBytes) == 0) header.file_bytes = content.size();
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(content));
  if ((left_wrong & kPages) == 0) set_pages_right(header, bytes);
  for (std::size_t i = 0; i < std::min<std::size_t>(header.section_count, kMaxSections); ++i) {
    SectionEntry& section = header.sections[i];
    const bool fits =
        section.offset <= bytes.size() && section.bytes <= bytes.size() - section.offset;
    if ((left_wrong & kSections) != 0 || !fits) continue;
    section.checksum = Checksum::of(bytes.subspan(section.offset, section.bytes));
  }
  if ((left_wrong & kHeader) == 0) header.header_checksum = Checksum::of(header);
  std::memcpy(content.data(), &header, sizeof(header));
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static std::array<std::optional<SegmentStore>, kBases.size()> stores;
  Input input(data, size);
  const std::size_t chosen = input.byte() % (kBases.size() + 1);
  const std::uint8_t left_wrong = input.byte();
  const std::size_t number = chosen == kWhole ? 0 : chosen;
  std::optional<SegmentStore>& store = stores[number];
  if (!store) store.emplace(kBases[number]);
  std::string content;
  if (chosen == kWhole) {
    content = input.rest();
  } else {
    content = store->pristine();
    while (!input.empty()) edit(content, input);
  }
  set_right(content, left_wrong);
  store->use(content);
  store->ask();
  return 0;
}

// SPDX-License-Identifier: Apache-2.0
#include "server/chroma_records.h"

#include <cmath>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "server/api_error.h"
#include "server/json_text.h"
#include "storage/start_thread.h"

namespace vkb {
namespace {

constexpr std::string_view kHiddenPrefix = "chroma:";

template <typename Column>
void check_length(const Column& column, std::size_t ids) {
  if (column && column->size() != ids) {
    throw ApiError(400, "Inconsistent number of IDs, embeddings, documents, URIs and metadatas");
  }
}

void check_embeddings(const RecordBatch& batch, bool needed) {
  if (!batch.embeddings) {
    if (needed && !batch.ids.empty()) {
      refuse_shape("", "missing field `embeddings`");
    }
    return;
  }
  std::size_t dim = 0;
  for (const std::optional<std::vector<float>>& embedding : *batch.embeddings) {
    if (!embedding) {
      if (!needed) continue;
      refuse_shape("embeddings", "invalid type: null, expected an embedding");
    }
    if (embedding->empty()) {
      throw ApiError(400,
                     "Validation error: embeddings: Each embedding must have at least 1 dimension");
    }
    for (const float component : *embedding) {
      if (!std::isfinite(component)) {
        throw ApiError(400,
                       "Validation error: embeddings: Embeddings must not contain NaN or Infinity "
                       "values");
      }
    }
    if (dim != 0 && embedding->size() != dim) {
      throw ApiError(400, "Inconsistent dimensions in provided embeddings");
    }
    dim = embedding->size();
  }
}

void check_metadata(const std::optional<Metadata>& metadata, std::size_t index) {
  if (!metadata) return;
  for (const auto& [key, value] : *metadata) {
    if (key.empty() || key.front() == '#' || key.front() == '$') {
      throw ApiError(
          400, "Validation error: metadatas: Invalid metadata at index " + std::to_string(index));
    }
  }
}

// Moves a text that was given under one of Chroma's reserved keys to where it belongs.
void take_hidden(Metadata& metadata, std::string_view key, std::optional<std::string>& to) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return;
  if (auto* text = std::get_if<std::string>(&found->second); text && !to) to = std::move(*text);
  metadata.erase(found);
}

// The records of a collection, as a Source: for_each runs on a thread of its own, one batch ahead.
class CollectionSource : public Source {
 public:
  explicit CollectionSource(const Collection& from)
      : size_(from.count()), reader_(start_thread("fork of a collection", [this, &from] {
          return std::thread([this, from] { read(from); });
        })) {}
  ~CollectionSource() override {
    {
      const std::scoped_lock lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    reader_.join();
  }
  CollectionSource(const CollectionSource&) = delete;
  CollectionSource& operator=(const CollectionSource&) = delete;

  bool next(std::vector<Record>& batch) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ready_ || done_; });
    if (error_) std::rethrow_exception(error_);
    if (!ready_) return false;
    batch = std::move(batch_);
    batch_.clear();
    ready_ = false;
    changed_.notify_all();
    return true;
  }
  std::uint64_t size_hint() const override { return size_; }

 private:
  static constexpr std::size_t kBatch = 1000;

  void read(const Collection& from) {
    std::vector<Record> batch;
    std::exception_ptr error;
    try {
      from.for_each(
          {.documents = true, .metadatas = true, .embeddings = true, .uris = true, .origins = true},
          [&](Record&& record) {
            batch.push_back(std::move(record));
            return batch.size() < kBatch || hand_over(batch);
          });
      if (!batch.empty()) hand_over(batch);
    } catch (...) {
      error = std::current_exception();
    }
    const std::scoped_lock lock(mutex_);
    error_ = error;
    done_ = true;
    changed_.notify_all();
  }

  // Returns false when nobody wants more.
  bool hand_over(std::vector<Record>& batch) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !ready_ || stopped_; });
    if (stopped_) return false;
    batch_ = std::move(batch);
    batch.clear();
    ready_ = true;
    changed_.notify_all();
    return true;
  }

  const std::uint64_t size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Record> batch_;  // this and the next four are guarded by mutex_
  bool ready_ = false;
  bool done_ = false;
  bool stopped_ = false;
  std::exception_ptr error_;
  std::thread reader_;
};

}  // namespace

std::vector<Record> records_of(RecordBatch&& batch, bool needs_embeddings) {
  const std::size_t count = batch.ids.size();
  check_length(batch.embeddings, count);
  check_length(batch.documents, count);
  check_length(batch.uris, count);
  check_length(batch.metadatas, count);
  check_embeddings(batch, needs_embeddings);
  std::vector<Record> records;
  records.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Record record{.id = std::move(batch.ids[i])};
    if (batch.embeddings) record.embedding = std::move((*batch.embeddings)[i]);
    if (batch.documents) record.document = std::move((*batch.documents)[i]);
    if (batch.uris) record.uri = std::move((*batch.uris)[i]);
    if (batch.metadatas) {
      check_metadata((*batch.metadatas)[i], i);
      record.metadata = std::move((*batch.metadatas)[i]);
    }
    if (record.metadata) {
      take_hidden(*record.metadata, "chroma:document", record.document);
      take_hidden(*record.metadata, "chroma:uri", record.uri);
    }
    records.push_back(std::move(record));
  }
  return records;
}

Include with_hidden_columns(Include include) {
  if (include.metadatas) include.uris = true;
  return include;
}

void show_as_chroma(Record& record, const Include& include) {
  if (!include.metadatas) return;
  if (record.metadata) {
    std::erase_if(*record.metadata,
                  [](const auto& entry) { return entry.first.starts_with(kHiddenPrefix); });
  } else if (record.uri) {
    record.metadata.emplace();
  }
  if (!include.uris) record.uri.reset();
}

Collection copy_collection(Store& store, const Collection& from, const std::string& name,
                           const std::string& database, const std::string& tenant) {
  Collection copy =
      store.create_collection(name, from.info(InfoDetail::records).options, database, tenant);
  try {
    CollectionSource source(from);
    copy.load(source);
  } catch (...) {
    store.delete_collection(name, database, tenant);
    throw;
  }
  return copy;
}

}  // namespace vkb

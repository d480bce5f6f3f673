// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_source.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace vkb {
namespace {

using Json = nlohmann::json;

// A batch ends early at this size, so that records of megabytes do not add up to gigabytes.
constexpr std::size_t kBatchBytes = std::size_t{32} << 20;

Json bytes_for_people(const std::string& bytes) {
  if (valid_utf8(bytes)) return bytes;
  return Json{{"base64", base64_encode(bytes)}};
}

std::size_t bytes_of(const MappedRecord& mapped) {
  const Record& record = mapped.record;
  std::size_t bytes = record.embedding->size() * sizeof(float) + record.origin->size();
  if (record.document) bytes += record.document->size();
  if (const auto* node = record.metadata ? &*record.metadata : nullptr) {
    for (const auto& [key, value] : *node) {
      const auto* text = std::get_if<std::string>(&value);
      bytes += key.size() + (text == nullptr ? 8 : text->size());
    }
  }
  return bytes;
}

}  // namespace

void RejectLog::create() {
  std::error_code failure;  // LineFile reports what this cannot
  std::filesystem::create_directories(std::filesystem::absolute(path_).parent_path(), failure);
  file_ = std::make_unique<LineFile>(path_);
}

void RejectLog::add(const RawRecord& raw, const Rejection& rejection) {
  if (!file_) create();
  Json fields = Json::object();
  for (const auto& [name, value] : raw.fields) fields[escape_bytes(name)] = bytes_for_people(value);
  Json line = {{"key", valid_utf8(raw.key) ? raw.key : escape_bytes(raw.key)},
               {"reason", rejection.reason},
               {"message", rejection.message},
               {"found", rejection.found},
               {"fields", std::move(fields)}};
  if (!valid_utf8(raw.key)) line["key_base64"] = base64_encode(raw.key);
  // Types and field names may be no UTF-8, nor what is cut short of it.
  file_->write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n');
}

void RejectLog::close() {
  if (file_) file_->close();
}

std::uint64_t SourceCounts::with_text() const noexcept {
  return texts[static_cast<std::size_t>(TextSource::field)] +
         texts[static_cast<std::size_t>(TextSource::node_text)] +
         texts[static_cast<std::size_t>(TextSource::node_text_resource)];
}

RedisSource::RedisSource(RedisClient& client, const RedisPlan& plan, const Collection& collection,
                         RejectLog& rejects, RedisSourceOptions options)
    : client_(client),
      plan_(plan),
      collection_(collection),
      rejects_(rejects),
      options_(std::move(options)),
      store_was_empty_(collection.count() == 0),
      scan_(client, plan.scan_prefixes),
      reader_(client, plan.mapping.json),
      random_(options_.seed) {
  // Either may be far off (an index counts keys without a vector, DBSIZE counts all keys).
  if (plan_.index) {
    size_hint_ = plan_.index->num_docs;
  } else {
    size_hint_ =
        static_cast<std::uint64_t>(std::max<std::int64_t>(0, client_.ask({"DBSIZE"}).integer));
  }
  if (options_.limit) size_hint_ = std::min(size_hint_, *options_.limit);
}

bool RedisSource::accepted(std::string_view id, std::string_view key) const {
  const auto found = accepted_.find(hash_bytes(id));
  return found != accepted_.end() && found->second == hash_bytes(key);
}

std::vector<Hash128> RedisSource::accepted_keys() const {
  std::vector<Hash128> keys;
  keys.reserve(accepted_.size());
  for (const auto& [id, key] : accepted_) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

bool RedisSource::read_batch(std::vector<MappedRecord>& mapped) {
  mapped.clear();
  batch_bytes_ = 0;
  while (mapped.size() < options_.batch_size && batch_bytes_ < kBatchBytes) {
    if (keys_read_ == keys_.size()) {
      keys_read_ = 0;
      if (!scan_.next(keys_)) return !mapped.empty();
      continue;
    }
    const std::size_t room = options_.batch_size - mapped.size();
    const std::span<const std::string> left = std::span(keys_).subspan(keys_read_);
    std::vector<RawRecord> read = reader_.read_some(left.first(std::min(room, left.size())));
    keys_read_ += read.size();
    for (RawRecord& raw : read) sort_in(std::move(raw), mapped);
  }
  return true;
}

void RedisSource::sort_in(RawRecord&& raw, std::vector<MappedRecord>& mapped) {
  if (raw.vanished) {
    ++counts_.vanished;
    return;
  }
  const RedisMapping& mapping = plan_.mapping;
  const bool ours = mapping.key_prefix.empty() || raw.key.starts_with(mapping.key_prefix);
  if (!ours && (!raw.wrong_type.empty() || !has_layout_field(raw.fields, mapping))) {
    if (left_out_.insert(hash_bytes(raw.key)).second) ++counts_.other_keys;
    return;
  }
  if (!raw.wrong_type.empty()) {
    const std::string expected = mapping.json ? "JSON document" : "hash";
    reject(raw, {"wrong_type", "The key is not a " + expected + '.', raw.wrong_type});
    return;
  }
  auto result = map_record(raw.key, raw.fields, mapping);
  if (const auto* rejection = std::get_if<Rejection>(&result)) {
    reject(raw, *rejection);
    return;
  }
  mapped.push_back(std::move(std::get<MappedRecord>(result)));
  batch_bytes_ += bytes_of(mapped.back());
}

bool RedisSource::next(std::vector<Record>& batch) {
  batch.clear();
  while (batch.empty()) {
    if (options_.stopped && options_.stopped()) return false;
    if (options_.limit && counts_.accepted() >= *options_.limit) return false;
    std::vector<MappedRecord> mapped;
    if (!read_batch(mapped)) {
      complete_ = true;
      return false;
    }
    admit(std::move(mapped), batch);
  }
  counts_.bytes_read = reader_.bytes_read();
  return true;
}

void RedisSource::admit(std::vector<MappedRecord>&& candidates, std::vector<Record>& batch) {
  const std::unordered_map<std::string, RedisOriginal> stored = stored_origins(candidates);
  for (MappedRecord& mapped : candidates) {
    const std::string& id = mapped.record.id;
    if (const auto earlier = accepted_.find(hash_bytes(id)); earlier != accepted_.end()) {
      // The same key again is SCAN repeating itself.
      if (earlier->second != hash_bytes(mapped.key)) reject_duplicate(mapped, first_key_of(id));
      continue;
    }
    const auto found = stored.find(id);
    const bool known = found != stored.end();
    if (known && found->second.key != mapped.key && still_at(found->second.key, id)) {
      reject_duplicate(mapped, found->second.key);  // the other key will be met in this scan, too
      continue;
    }
    const bool unchanged =
        known && found->second.key == mapped.key && found->second.hash == mapped.hash;
    accept(std::move(mapped), unchanged, batch);
    if (options_.limit && counts_.accepted() >= *options_.limit) return;
  }
}

// Key and hash of those of the records that the collection holds already.
std::unordered_map<std::string, RedisOriginal> RedisSource::stored_origins(
    const std::vector<MappedRecord>& mapped) const {
  std::unordered_map<std::string, RedisOriginal> stored;
  if (store_was_empty_ || mapped.empty()) return stored;
  GetOptions options;
  options.ids.emplace();
  for (const MappedRecord& one : mapped) options.ids->push_back(one.record.id);
  options.include = {.documents = false, .metadatas = false, .origins = true};
  for (const Record& record : collection_.get(options)) {
    // Without an origin it was not imported: this import replaces it.
    if (record.origin) stored.emplace(record.id, read_origin(record));
  }
  return stored;
}

void RedisSource::accept(MappedRecord&& mapped, bool unchanged, std::vector<Record>& batch) {
  ++counts_.keys;
  ++(unchanged ? counts_.unchanged : counts_.imported);
  ++counts_.texts[static_cast<std::size_t>(mapped.text)];
  counts_.metadata_from_fields += mapped.metadata_from_fields ? 1 : 0;
  accepted_.emplace(hash_bytes(mapped.record.id), hash_bytes(mapped.key));
  const std::vector<float>& vector = *mapped.record.embedding;
  const bool zero = std::all_of(vector.begin(), vector.end(), [](float c) { return c == 0; });
  if (zero && plan_.space == Space::cosine) poisoned_keys_.push_back(mapped.key);
  if (recent_keys_.size() > 4 * options_.batch_size) recent_keys_.clear();
  recent_keys_.insert_or_assign(mapped.record.id, mapped.key);

  // Reservoir sampling (Vitter 1985, algorithm R): every accepted key is equally likely.
  if (sample_.size() < options_.samples) {
    sample_.push_back(mapped.key);
  } else if (options_.samples > 0) {
    std::uniform_int_distribution<std::uint64_t> place(0, counts_.accepted() - 1);
    if (const std::uint64_t at = place(random_); at < sample_.size()) sample_[at] = mapped.key;
  }
  if (!unchanged) batch.push_back(std::move(mapped.record));
}

void RedisSource::reject(const RawRecord& raw, const Rejection& rejection) {
  if (!left_out_.insert(hash_bytes(raw.key)).second) return;
  ++counts_.keys;
  ++counts_.rejected;
  ++counts_.reasons[rejection.reason];
  if (rejection.reason == "not_finite") poisoned_keys_.push_back(raw.key);
  rejects_.add(raw, rejection);
}

void RedisSource::reject_duplicate(const MappedRecord& mapped, const std::string& first_key) {
  RawRecord raw;
  raw.key = mapped.key;
  raw.fields = rebuild_hash(mapped.record).fields;
  const std::string other =
      first_key.empty() ? "another key" : "the key " + escape_bytes(first_key);
  reject(raw, {"duplicate_id", "The node id is that of " + other + ", which was there first.",
               "id " + escape_bytes(mapped.record.id)});
}

// The key under which an id was accepted earlier, "" when it cannot be told any more.
std::string RedisSource::first_key_of(const std::string& id) const {
  if (const auto recent = recent_keys_.find(id); recent != recent_keys_.end()) {
    return recent->second;
  }
  const std::string usual = plan_.mapping.key_prefix + id;
  if (accepted(id, usual)) return usual;
  GetOptions options;
  options.ids = {id};
  options.include = {.documents = false, .metadatas = false, .origins = true};
  const std::vector<Record> stored = collection_.get(options);
  return stored.empty() || !stored.front().origin ? "" : read_origin(stored.front()).key;
}

bool RedisSource::still_at(const std::string& key, const std::string& id) {
  const RawRecord raw = RecordReader(client_, plan_.mapping.json).read_all({&key, 1}).front();
  if (raw.vanished || !raw.wrong_type.empty()) return false;
  const auto mapped = map_record(key, raw.fields, plan_.mapping);
  const auto* record = std::get_if<MappedRecord>(&mapped);
  return record != nullptr && record->record.id == id;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_schema.h"

#include <algorithm>
#include <cctype>

#include "importers/bytes.h"
#include "importers/redis_index.h"
#include "importers/redis_read.h"
#include "importers/redis_record.h"

namespace vkb {
namespace {

constexpr std::size_t kSampleKeys = 1000;
constexpr std::size_t kSearchedKeys = 20000;  // looked through when nothing says where the keys are

using Samples = std::vector<RawRecord>;

std::size_t count_with(const Samples& samples, std::string_view name) {
  return static_cast<std::size_t>(std::count_if(
      samples.begin(), samples.end(),
      [&](const RawRecord& sample) { return find_field(sample.fields, name) != nullptr; }));
}

// The text attribute that holds most bytes in the samples.
std::string largest_text(const IndexInfo& index, const Samples& samples) {
  std::string best;
  std::size_t most = 0;
  for (const IndexAttribute& attribute : index.attributes) {
    if (attribute.type != "TEXT") continue;
    const std::string name = field_of(attribute, index.json);
    std::size_t bytes = 1;
    for (const RawRecord& sample : samples) {
      const std::string* value = find_field(sample.fields, name);
      bytes += value == nullptr ? 0 : value->size();
    }
    if (bytes > most) best = name;
    most = std::max(most, bytes);
  }
  return best;
}

bool has_attribute(const std::optional<IndexInfo>& index, std::string_view field) {
  return index && std::any_of(index->attributes.begin(), index->attributes.end(),
                              [&](const IndexAttribute& attribute) {
                                return field_of(attribute, index->json) == field;
                              });
}

// Decides by what the records hold, not by what keys or index are called. The fields a layout
// fixes are the defaults; what index or caller said stays.
void tell_layout(RedisPlan& plan, const Samples& samples) {
  RedisMapping& mapping = plan.mapping;
  const auto set = [](std::string& field, const char* name) {
    if (field.empty()) field = name;
  };
  const auto present = [&](const char* name) {
    return count_with(samples, name) > 0 || has_attribute(plan.index, name);
  };
  if (count_with(samples, "_node_content") * 10 > samples.size()) {
    mapping.layout = Layout::llama_index;
    mapping.metadata_field = "_node_content";
    set(mapping.vector_field, "vector");
    set(mapping.text_field, "text");
    set(mapping.id_field, "id");
  } else if (present("_metadata_json") ||
             (mapping.vector_field.empty() && present("text") && present("embedding"))) {
    mapping.layout = Layout::langchain;
    mapping.metadata_field = "_metadata_json";
    set(mapping.vector_field, "embedding");
    set(mapping.text_field, "text");
  } else if (present("content_vector") && present("content")) {
    mapping.layout = Layout::langchain_community;
    mapping.metadata_field = "metadata";
    set(mapping.vector_field, "content_vector");
    set(mapping.text_field, "content");
  } else if (mapping.json || count_with(samples, "metadata") > 0) {
    mapping.metadata_field = "metadata";
  }
  if (mapping.layout == Layout::other && mapping.vector_field == "embedding" &&
      has_attribute(plan.index, "text")) {
    mapping.layout = Layout::langchain;
  }
  if (mapping.text_field.empty() && plan.index) {
    mapping.text_field = largest_text(*plan.index, samples);
  }
}

// The element that comes most often, when that is in 9 of 10 cases.
std::string common_one(const std::vector<std::string>& strings) {
  std::map<std::string, std::size_t> counts;
  for (const std::string& string : strings) ++counts[string];
  for (const auto& [string, count] : counts) {
    if (count * 10 >= strings.size() * 9) return string;
  }
  return "";
}

bool ends_in_punctuation(std::string_view text) {
  return !text.empty() && std::ispunct(static_cast<unsigned char>(text.back())) != 0;
}

// What stands before the ids in the keys. A scanned prefix and the separator behind it, where there
// is one: a rule that ids do not take part in, so that a record without an id of its own has the
// same fallback id in every run, whatever else was sampled.
std::string find_key_prefix(const RedisPlan& plan, const std::vector<MappedRecord>& good) {
  const std::vector<std::string>& prefixes = plan.scan_prefixes;
  const bool one = prefixes.size() == 1 && !prefixes[0].empty();
  if (one && ends_in_punctuation(prefixes[0])) return prefixes[0];
  std::vector<std::string> candidates;
  for (const MappedRecord& mapped : good) {
    const std::string& key = mapped.key;
    const std::string& id = mapped.record.id;
    if (one) {
      const std::string longer = key.substr(0, prefixes[0].size() + 1);
      candidates.push_back(ends_in_punctuation(longer) ? longer : "");
    } else if (key.size() > id.size() && key.ends_with(id)) {
      candidates.push_back(key.substr(0, key.size() - id.size()));
    }
  }
  return common_one(candidates);
}

// The most common length of the vectors, for indexes that do not tell and for no index.
std::uint32_t common_dim(const Samples& samples, const RedisMapping& mapping) {
  std::map<std::size_t, std::size_t> counts;
  for (const RawRecord& sample : samples) {
    if (mapping.json) {
      const std::size_t size = json_vector_size(sample.fields, mapping.vector_field);
      if (size > 0) ++counts[size];
      continue;
    }
    const std::string* vector = find_field(sample.fields, mapping.vector_field);
    if (vector != nullptr && vector->size() % byte_size(mapping.type) == 0 && !vector->empty()) {
      ++counts[vector->size() / byte_size(mapping.type)];
    }
  }
  const auto most =
      std::max_element(counts.begin(), counts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == counts.end() ? 0 : static_cast<std::uint32_t>(most->first);
}

std::string fields_seen(const RedisSample& sample) {
  std::string out;
  for (const auto& [name, count] : sample.fields) {
    if (out.size() > 300) return out + ", …";
    out += (out.empty() ? "" : ", ") + escape_bytes(name) + " (" + grouped(count) + ')';
  }
  return out.empty() ? "none" : out;
}

RedisSample count_fields(const Samples& samples, bool json) {
  RedisSample out;
  out.keys = samples.size();
  for (const RawRecord& sample : samples) {
    for (const auto& [name, value] : sample.fields) out.fields[name] += json ? 0 : 1;
    for (const std::string& name :
         json ? json_members(sample.fields) : std::vector<std::string>()) {
      ++out.fields[name];
    }
  }
  if (json) out.fields.erase(std::string(kJsonField));
  return out;
}

// Maps the samples as an import would.
void try_samples(RedisPlan& plan, const Samples& samples) {
  std::vector<MappedRecord> good;
  std::vector<std::pair<const RawRecord*, std::string>> rejected;
  for (const RawRecord& raw : samples) {
    if (raw.vanished || !raw.wrong_type.empty()) continue;
    auto mapped = map_record(raw.key, raw.fields, plan.mapping);
    if (const auto* rejection = std::get_if<Rejection>(&mapped)) {
      rejected.emplace_back(&raw, rejection->reason);
      continue;
    }
    good.push_back(std::move(std::get<MappedRecord>(mapped)));
    plan.sample.with_text += good.back().record.document.value_or("").empty() ? 0 : 1;
  }
  plan.sample.good = good.size();
  plan.mapping.key_prefix = find_key_prefix(plan, good);
  for (const auto& [raw, reason] : rejected) {
    // Keys of others under the same prefix are none of the knowledge base's.
    const bool ours = raw->key.starts_with(plan.mapping.key_prefix) ||
                      has_layout_field(raw->fields, plan.mapping);
    if (ours) ++plan.sample.rejected[reason];
  }
}

// Where the nodes of LlamaIndex are, when nothing says it: by the records' own ids.
std::vector<std::string> search_prefixes(RedisClient& client,
                                         std::map<std::string, std::size_t>& beginnings) {
  const std::vector<std::string> keys = sample_keys(client, {""}, kSearchedKeys);
  std::vector<RedisCommand> commands;
  for (const std::string& key : keys) {
    commands.push_back({"HMGET", key, "id", "_node_type", "vector"});
    ++beginnings[key.substr(0, std::min(key.find_first_of(":_/") + 1, key.size()))];
  }
  std::map<std::string, std::size_t> found;
  const std::vector<Reply> replies = client.pipeline(commands);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (replies[i].elements.size() != 3) continue;
    const auto& fields = replies[i].elements;
    const auto is_text = [](const Reply& field) { return field.type == Reply::Type::text; };
    if (!std::all_of(fields.begin(), fields.end(), is_text)) continue;
    const std::string& id = fields[0].text;
    if (keys[i].size() > id.size() && keys[i].ends_with(id)) {
      ++found[keys[i].substr(0, keys[i].size() - id.size())];
    }
  }
  std::vector<std::string> prefixes;
  for (const auto& [prefix, count] : found) prefixes.push_back(prefix);
  return prefixes;
}

void choose_prefixes(RedisClient& client, const RedisSelection& selection, RedisPlan& plan) {
  if (selection.prefix) {
    plan.scan_prefixes = {*selection.prefix};
    return;
  }
  if (plan.index) {
    plan.scan_prefixes = plan.index->prefixes;
    return;
  }
  std::map<std::string, std::size_t> beginnings;
  plan.scan_prefixes = search_prefixes(client, beginnings);
  if (plan.scan_prefixes.size() == 1) {
    plan.notes.push_back("no index; LlamaIndex records found under \"" +
                         escape_bytes(plan.scan_prefixes.front()) + '"');
    return;
  }
  std::vector<std::string> names = plan.scan_prefixes;
  if (!names.empty()) {
    throw Error(ErrorCode::invalid_argument,
                client.url().name() +
                    " has no vector index, and LlamaIndex records under several "
                    "prefixes; choose one with --prefix: " +
                    quoted_list(names));
  }
  for (const auto& [beginning, count] : beginnings) {
    if (names.size() < 20) names.push_back(beginning + "… (" + grouped(count) + ')');
  }
  throw Error(
      ErrorCode::not_found,
      client.url().name() +
          " has no vector index and, in the keys looked through, no "
          "LlamaIndex records; pass --prefix, and --vector-field and --text-field unless the "
          "layout is LlamaIndex's or LangChain's. Keys begin with: " +
          quoted_list(names));
}

constexpr std::uint32_t kMaxDim = 16384;  // of a collection

[[noreturn]] void throw_no_keys(const RedisClient& client, const RedisPlan& plan) {
  const std::string hint =
      client.url().db == 0 ? "" : "; RediSearch indexes only database 0, so try the URL with /0";
  throw Error(ErrorCode::not_found, client.url().name() + ": no key begins with " +
                                        quoted_list(plan.scan_prefixes) + hint);
}

void check_mapping(const RedisClient& client, const RedisPlan& plan) {
  if (plan.mapping.dim > kMaxDim) {
    throw Error(ErrorCode::unsupported,
                client.url().name() + ": vectors of " + std::to_string(plan.mapping.dim) +
                    " dimensions; a collection takes up to " + std::to_string(kMaxDim));
  }
  const std::string where = client.url().name() + ", keys under " + quoted_list(plan.scan_prefixes);
  if (plan.mapping.vector_field.empty()) {
    throw Error(ErrorCode::invalid_argument,
                where +
                    ": the layout is not known; pass --vector-field and --text-field. Fields in " +
                    count_of(plan.sample.keys, "sampled key") + ": " + fields_seen(plan.sample));
  }
  if (plan.mapping.dim == 0 || plan.sample.good == 0) {
    std::string reasons;
    for (const auto& [reason, count] : plan.sample.rejected) {
      reasons += (reasons.empty() ? "" : ", ") + reason + ' ' + grouped(count);
    }
    throw Error(ErrorCode::invalid_argument,
                where + ": none of " + count_of(plan.sample.keys, "sampled key") +
                    " is a record with a vector in \"" + escape_bytes(plan.mapping.vector_field) +
                    "\" (" + (reasons.empty() ? "other types" : reasons) +
                    "); pass --vector-field. Fields seen: " + fields_seen(plan.sample));
  }
}

}  // namespace

std::string_view to_string(VectorType type) noexcept {
  constexpr std::string_view kNames[] = {"float32", "float64", "float16", "bfloat16"};
  return kNames[static_cast<std::size_t>(type)];
}

std::size_t byte_size(VectorType type) noexcept {
  constexpr std::size_t kSizes[] = {4, 8, 2, 2};
  return kSizes[static_cast<std::size_t>(type)];
}

std::string_view to_string(Layout layout) noexcept {
  constexpr std::string_view kNames[] = {"LlamaIndex", "LangChain", "LangChain community", "other"};
  return kNames[static_cast<std::size_t>(layout)];
}

std::vector<std::string> sample_keys(RedisClient& client, const std::vector<std::string>& prefixes,
                                     std::size_t limit) {
  std::vector<std::string> sample;
  for (const std::string& prefix : prefixes) {
    KeyScan scan(client, {prefix});
    const std::size_t enough = sample.size() + limit / prefixes.size() + 1;
    std::vector<std::string> keys;
    while (sample.size() < enough && scan.next(keys)) {
      for (std::string& key : keys) sample.push_back(std::move(key));
    }
  }
  std::sort(sample.begin(), sample.end());
  sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
  return sample;
}

RedisPlan plan_redis_import(RedisClient& client, const RedisSelection& selection) {
  RedisPlan plan;
  plan.index = choose_index(client, selection, plan.notes);
  RedisMapping& mapping = plan.mapping;
  if (plan.index) {
    apply_index(plan, selection);
    plan.notes.push_back("index " + describe(*plan.index));
  }
  // With an index its attribute was chosen already, perhaps by its alias.
  if (!plan.index) mapping.vector_field = selection.vector_field.value_or("");
  mapping.text_field = selection.text_field.value_or("");
  mapping.id_field = selection.id_field.value_or("");
  choose_prefixes(client, selection, plan);

  const std::vector<std::string> keys = sample_keys(client, plan.scan_prefixes, kSampleKeys);
  if (keys.empty()) throw_no_keys(client, plan);
  Samples samples = RecordReader(client, mapping.json).read_all(keys);
  const auto is_json = [](const RawRecord& raw) { return raw.wrong_type == "ReJSON-RL"; };
  if (!plan.index &&
      std::count_if(samples.begin(), samples.end(), is_json) * 2 > std::ssize(keys)) {
    mapping.json = true;
    samples = RecordReader(client, true).read_all(keys);
  }
  if (mapping.json) {
    for (std::string* field : {&mapping.vector_field, &mapping.text_field, &mapping.id_field}) {
      *field = strip_json_path(std::move(*field));
    }
  }
  plan.sample = count_fields(samples, mapping.json);
  tell_layout(plan, samples);
  if (mapping.dim == 0) mapping.dim = common_dim(samples, mapping);
  try_samples(plan, samples);
  check_mapping(client, plan);

  if (selection.space) {
    plan.space = *selection.space;
  } else if (!plan.space_known) {
    plan.notes.push_back("nothing tells the distance metric: cosine is assumed (--space)");
  }
  if (mapping.type != VectorType::float32) {
    plan.notes.push_back("vectors are " + std::string(to_string(mapping.type)) +
                         " in Redis and are stored as float32; the original bytes are kept beside");
  }
  return plan;
}

}  // namespace vkb

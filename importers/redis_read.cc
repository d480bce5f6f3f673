// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_read.h"

#include <algorithm>

namespace vkb {
namespace {

// Pipelines hold about this many bytes of replies, and never more than this many commands, which
// is where longer ones stop being faster.
constexpr std::size_t kPipelineBytes = std::size_t{8} << 20;
constexpr std::size_t kPipelineCommands = 256;

std::size_t bytes_of(const RawRecord& record) {
  std::size_t bytes = record.key.size();
  for (const auto& [name, value] : record.fields) bytes += name.size() + value.size();
  return bytes;
}

// Asks for the type of each key in `which`: an error said that it is another one.
void name_types(RedisClient& client, std::vector<RawRecord>& records,
                const std::vector<std::size_t>& which) {
  std::vector<RedisCommand> commands;
  for (const std::size_t at : which) commands.push_back({"TYPE", records[at].key});
  const std::vector<Reply> replies = client.pipeline(commands);
  for (std::size_t i = 0; i < which.size(); ++i) {
    RawRecord& record = records[which[i]];
    if (replies[i].is_error()) client.fail(replies[i], "TYPE");
    record.vanished = replies[i].text == "none";
    if (!record.vanished) record.wrong_type = replies[i].text;
  }
}

}  // namespace

KeyScan::KeyScan(RedisClient& client, std::vector<std::string> prefixes)
    : client_(&client), prefixes_(std::move(prefixes)), instance_(client.instance()) {}

bool KeyScan::next(std::vector<std::string>& keys) {
  keys.clear();
  if (prefix_ == prefixes_.size()) return false;
  const std::string& prefix = prefixes_[prefix_];
  RedisCommand command = {"SCAN", cursor_, "COUNT", "1000"};
  if (!prefix.empty()) command.insert(command.end(), {"MATCH", glob_for_prefix(prefix)});
  Reply reply = client_->command(command);
  if (client_->instance() != instance_) {
    instance_ = client_->instance();
    prefix_ = 0;
    cursor_.assign(1, '0');
    return true;
  }
  if (reply.elements.size() != 2) client_->fail(reply, "SCAN");
  cursor_ = reply.elements[0].text;
  for (Reply& key : reply.elements[1].elements) keys.push_back(std::move(key.text));
  if (cursor_ == "0") ++prefix_;
  return true;
}

std::vector<RawRecord> RecordReader::read_some(std::span<const std::string> keys) {
  const std::size_t count = std::min(keys.size(), chunk_);
  std::vector<RedisCommand> commands;
  commands.reserve(count);
  for (const std::string& key : keys.first(count)) {
    if (json_) {
      commands.push_back({"JSON.GET", key, "$"});
    } else {
      commands.push_back({"HGETALL", key});
    }
  }
  std::vector<Reply> replies = client_->pipeline(commands);
  std::vector<RawRecord> records(count);
  std::vector<std::size_t> other_types;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Reply& reply = replies[i];
    records[i].key = keys[i];
    if (reply.error_starts_with("WRONGTYPE") ||
        (reply.is_error() && reply.text.find("wrong Redis type") != std::string::npos)) {
      other_types.push_back(i);
    } else if (reply.is_error()) {
      client_->fail(reply, commands[i].front());
    } else if (json_ && reply.type == Reply::Type::text) {
      records[i].fields.emplace_back(kJsonField, std::move(reply.text));
    } else {
      records[i].fields = fields_of_hash(std::move(reply));
      records[i].vanished = records[i].fields.empty();
    }
    bytes += bytes_of(records[i]);
  }
  if (!other_types.empty()) name_types(*client_, records, other_types);
  bytes_read_ += bytes;
  const std::size_t average = std::max<std::size_t>(bytes / count, 1);
  // Growing at most fourfold: the next records may be larger than these.
  chunk_ =
      std::clamp<std::size_t>(kPipelineBytes / average, 1, std::min(chunk_ * 4, kPipelineCommands));
  return records;
}

std::vector<RawRecord> RecordReader::read_all(std::span<const std::string> keys) {
  std::vector<RawRecord> all;
  while (all.size() < keys.size()) {
    for (RawRecord& record : read_some(keys.subspan(all.size()))) all.push_back(std::move(record));
  }
  return all;
}

}  // namespace vkb

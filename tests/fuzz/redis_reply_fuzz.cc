// SPDX-License-Identifier: Apache-2.0
//
// What a Redis answers. The first byte chooses between one reply, which is given to all that read
// one, and everything a server says on a connection, to which an import and its verification
// listen; the second what the import is told beforehand.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmath>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "importers/redis_index.h"
#include "importers/redis_record.h"
#include "importers/redis_source.h"
#include "importers/redis_verify.h"
#include "tests/fuzz/input.h"

namespace {

using namespace vkb;

constexpr std::uint32_t kDim = 8;

RedisMapping llama_index() {
  RedisMapping mapping;
  mapping.layout = Layout::llama_index;
  mapping.vector_field = "vector";
  mapping.text_field = "text";
  mapping.id_field = "id";
  mapping.metadata_field = "_node_content";
  mapping.dim = kDim;
  mapping.key_prefix = "doc:";
  return mapping;
}

// A server that says the same to everyone, whatever it is asked.
class TalkingServer {
 public:
  TalkingServer() : socket_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = directory_.path() + "/socket";
    require(socket_ >= 0 && path.size() < sizeof(address.sun_path));
    path.copy(address.sun_path, path.size());
    require(bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
    require(listen(socket_, 16) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~TalkingServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }

  void say(std::string text) {
    const std::scoped_lock lock(mutex_);
    text_ = std::move(text);
  }
  RedisUrl url() const {
    RedisUrl url;
    url.path = directory_.path() + "/socket";
    return url;
  }
  std::string file(const char* name) const { return directory_.path() + "/" + name; }

 private:
  void serve() {
    for (int client = 0; (client = accept(socket_, nullptr, nullptr)) >= 0; close(client)) {
      std::string text;
      {
        const std::scoped_lock lock(mutex_);
        text = text_;
      }
      std::string_view left = text;
      while (!left.empty()) {
        const ssize_t sent = send(client, left.data(), left.size(), MSG_NOSIGNAL);
        if (sent <= 0) break;
        left.remove_prefix(static_cast<std::size_t>(sent));
      }
      shutdown(client, SHUT_WR);
      char asked[4096];
      while (read(client, asked, sizeof(asked)) > 0) {
      }
    }
  }

  FuzzDirectory directory_;
  int socket_;
  std::mutex mutex_;
  std::string text_;  // guarded by mutex_
  std::thread thread_;
};

// A store with records of an earlier import, and one that is none of Redis'.
class ImportedStore {
 public:
  ImportedStore() {
    std::vector<Record> records;
    for (int i = 0; i < 3; ++i) {
      const std::string number = std::to_string(i);
      const std::vector<float> vector(kDim, static_cast<float>(i) + 0.5F);
      const RedisFields fields = {
          {"_node_content", R"({"id_":"n)" + number + R"(","metadata":{"number":1}})"},
          {"id", "n" + number},
          {"text", "text " + number},
          {"vector", std::string(reinterpret_cast<const char*>(vector.data()), kDim * 4)}};
      auto mapped = map_record("doc:n" + number, fields, llama_index());
      records.push_back(std::move(std::get<MappedRecord>(mapped).record));
    }
    records.push_back({.id = "own", .embedding = std::vector<float>(kDim, 1.0F)});
    collection_->add(records);
  }
  const Collection& collection() const { return *collection_; }

 private:
  FuzzDirectory directory_;
  std::optional<Collection> collection_ =
      Store::open(directory_.path()).create_collection("imported");
};

void read_one(std::string_view bytes) {
  const Reply reply = parse_reply(bytes);
  reply.number();
  info_value(reply.text, "redis_version");
  try {
    const IndexInfo index = parse_ft_info(reply);
    describe(index);
    RedisPlan plan;
    plan.index = index;
    apply_index(plan, {});
    require(plan.m >= 2 && plan.m <= 512 && plan.ef_construction >= 1);
  } catch (const Error&) {
  }
  const RedisFields fields = fields_of_hash(Reply(reply));
  if (!fields.empty()) map_record("doc:1", fields, llama_index());
}

void expect_storable(const Record& record, const RedisMapping& mapping) {
  require(!record.id.empty() && valid_utf8(record.id) && record.origin);
  require(valid_utf8(record.document.value_or("")));
  require(record.embedding && record.embedding->size() == mapping.dim);
  for (const float component : *record.embedding) require(std::isfinite(component));
  if (record.metadata) to_json(*record.metadata);
}

void import(TalkingServer& server, const RedisSelection& selection) {
  static const ImportedStore store;
  using std::chrono::milliseconds;
  RedisClient client(server.url(), {.connect_timeout = milliseconds(10'000),
                                    .reply_timeout = milliseconds(10'000),
                                    .retry_for = milliseconds(0)});
  const RedisPlan plan = plan_redis_import(client, selection);
  require(plan.mapping.dim > 0 && plan.mapping.dim <= 16'384 && plan.m >= 2 && plan.m <= 512);
  RejectLog rejects(server.file("rejects"));
  RedisSource source(client, plan, store.collection(), rejects,
                     {.batch_size = 100, .limit = {}, .samples = 3, .seed = 0, .stopped = {}});
  std::vector<Record> batch;
  while (source.next(batch)) {
    for (const Record& record : batch) expect_storable(record, plan.mapping);
  }
  LineFile keys(server.file("keys"));
  const Verification result =
      verify_import(client, plan, store.collection(), source,
                    {.samples = 2, .queries = 2, .least_overlap = 0.95, .progress = {}}, keys);
  require(!result.passed || result.records_proved == result.source_count);
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static TalkingServer server;
  Input input(data, size);
  const std::uint8_t kind = input.byte() % 4;
  const std::uint8_t told = input.byte();
  try {
    if (kind < 2) {
      read_one(input.rest());
      return 0;
    }
    RedisSelection selection;
    if ((told & 1) != 0) selection.index = "index";
    if ((told & 2) != 0) selection.prefix = "doc:";
    if ((told & 4) != 0) selection.vector_field = "vector";
    if ((told & 8) != 0) selection.text_field = "text";
    if ((told & 16) != 0) selection.id_field = "id";
    // What every server says first, or what this one does.
    const std::string_view hello =
        "+PONG\r\n$46\r\nredis_version:7.2.0\r\nrun_id:0123456789abcdef"
        "\r\n\r\n+OK\r\n";
    server.say(std::string(kind == 2 ? hello : "") + std::string(input.rest()));
    import(server, selection);
  } catch (const Error&) {
  }
  return 0;
}

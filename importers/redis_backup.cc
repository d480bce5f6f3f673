// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_backup.h"

#include <cstdlib>
#include <thread>

#include "engine/vkb.h"

namespace vkb {
namespace {

using std::chrono::steady_clock;

struct SaveState {
  bool running = false;
  bool ok = false;
  std::int64_t last_save = 0;
};

std::int64_t to_number(const std::string& text) {
  return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10);
}

SaveState save_state(RedisClient& client) {
  const std::string info = client.command({"INFO", "persistence"}).text;
  return {info_value(info, "rdb_bgsave_in_progress") == "1" ||
              info_value(info, "aof_rewrite_in_progress") == "1",
          info_value(info, "rdb_last_bgsave_status") == "ok",
          to_number(info_value(info, "rdb_last_save_time"))};
}

std::int64_t server_seconds(RedisClient& client) {
  const Reply time = client.ask({"TIME"});  // 0 when denied: then any save counts as ours
  return time.elements.empty() ? 0 : to_number(time.elements.front().text);
}

void wait_until_idle(RedisClient& client, const std::function<bool()>& stopped) {
  while (save_state(client).running) {
    if (stopped && stopped()) {
      throw Error(ErrorCode::io_error, client.url().name() +
                                           ": stopped while waiting for the backup; the server "
                                           "goes on saving");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// dir/dbfilename, "" when the server does not tell.
std::string rdb_file(RedisClient& client) {
  const Reply dir = client.ask({"CONFIG", "GET", "dir"});
  const Reply name = client.ask({"CONFIG", "GET", "dbfilename"});
  if (dir.elements.size() != 2 || name.elements.size() != 2) return "";
  return dir.elements[1].text + '/' + name.elements[1].text;
}

}  // namespace

RedisBackup back_up_redis(RedisClient& client, const std::function<bool()>& stopped) {
  const auto began = steady_clock::now();
  wait_until_idle(client, stopped);
  const std::int64_t asked_at = server_seconds(client);
  const Reply reply = client.ask({"BGSAVE"});
  if (reply.error_starts_with("NOPERM") || reply.error_starts_with("ERR unknown command")) {
    throw Error(ErrorCode::invalid_argument,
                client.url().name() + ": this user may not save (" + reply.text +
                    "); take a snapshot with your provider's means, then go on without --backup");
  }
  if (reply.is_error()) client.fail(reply, "BGSAVE");
  wait_until_idle(client, stopped);
  const SaveState state = save_state(client);
  if (!state.ok || state.last_save < asked_at) {
    throw Error(ErrorCode::io_error,
                client.url().name() +
                    ": the server could not write its backup; its log says why "
                    "(often a full disk, or no memory to fork)");
  }
  RedisBackup backup;
  backup.saved_at = state.last_save;
  backup.seconds = std::chrono::duration<double>(steady_clock::now() - began).count();
  backup.file = rdb_file(client);
  backup.note = backup.file.empty()
                    ? "the server saved; where its file is only its administrator knows"
                    : "the server wrote " + backup.file + " on its own disk; copy it elsewhere";
  return backup;
}

}  // namespace vkb

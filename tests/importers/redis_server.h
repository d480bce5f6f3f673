// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "importers/redis_client.h"

namespace vkb {

// A real redis-server of its own, on a unix socket in a directory of its own; stopped and removed
// at the end. Tests skip themselves where redis-server is not installed:
//   VKB_NEEDS_REDIS();
class RedisServer {
 public:
  explicit RedisServer(std::vector<std::string> arguments = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  static bool installed();

  RedisUrl url() const;
  std::string directory() const { return directory_; }
  // As SIGKILL: nothing is saved.
  void kill_now();
  // Starts it again on the same socket; it loads its dump file, if there is one.
  void start();
  void stop();

 private:
  std::vector<std::string> arguments_;
  std::string directory_;
  pid_t pid_ = 0;
};

// A client that gives up soon.
RedisClient client_of(const RedisServer& server,
                      std::chrono::milliseconds retry_for = std::chrono::seconds(5));

}  // namespace vkb

#define VKB_NEEDS_REDIS() \
  if (!vkb::RedisServer::installed()) GTEST_SKIP() << "redis-server is not installed"

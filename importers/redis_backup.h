// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "importers/redis_client.h"

namespace vkb {

struct RedisBackup {
  std::string file;           // on the server's disk; "" when the server does not tell
  std::string note;           // a sentence: where the file is, or who knows
  std::int64_t saved_at = 0;  // Unix seconds, the server's clock
  double seconds = 0;
};

// Has the server write its RDB file (BGSAVE) and waits until it is there. A save that runs already
// is waited for, and then another is made, because that one may have begun before the last write.
// Throws invalid_argument when the server does not let this user save, io_error when saving failed
// or `stopped`.
RedisBackup back_up_redis(RedisClient& client, const std::function<bool()>& stopped = {});

}  // namespace vkb

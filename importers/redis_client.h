// SPDX-License-Identifier: Apache-2.0
//
// A connection to one Redis server: URL, commands by argument, pipelines, and what to do when the
// server is away for a while. Speaks RESP2 through hiredis, which only redis_client.cc includes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vkb {

// Where a Redis is and as whom to speak to it.
struct RedisUrl {
  std::string host;  // empty for a unix socket
  std::uint16_t port = 6379;
  std::string path;  // of the unix socket
  std::string user;
  std::string password;
  int db = 0;
  bool tls = false;

  // As a URL again, without the password: for messages and reports.
  std::string name() const;
};

// redis://[user:password@]host[:port][/db], rediss://…, unix://[user:password@]/path[?db=n], with
// percent-escapes in user and password. A password the URL lacks is taken from the environment
// variable VKB_REDIS_PASSWORD. Throws invalid_argument, never repeating a password.
RedisUrl parse_redis_url(std::string_view url);

// One answer of Redis. RESP2: null, number, text (status or bulk), array, error.
struct Reply {
  enum class Type { nil, integer, text, array, error };
  Type type = Type::nil;
  std::int64_t integer = 0;
  std::string text;  // of text and error
  std::vector<Reply> elements;

  bool is_error() const noexcept { return type == Type::error; }
  bool error_starts_with(std::string_view word) const noexcept;
  // The number this is, whether sent as integer or as text; "nan" is none.
  std::optional<double> number() const;
};

// A command: its name and arguments, any bytes.
using RedisCommand = std::vector<std::string>;

struct RedisOptions {
  std::chrono::milliseconds connect_timeout{5000};
  std::chrono::milliseconds reply_timeout{
      120000};                                 // an index being built can hold a server so long
  std::chrono::milliseconds retry_for{30000};  // how long to wait for a server that went away
  // Answers true: give up waiting. Called from the thread that uses the client, in an import one of
  // its own too: it must be safe to call from any thread.
  std::function<bool()> stopped{};
};

// Errors: io_error when the server cannot be reached or went away for longer than `retry_for`;
// invalid_argument for a wrong password or missing rights; unsupported for TLS in a build without
// it, for a cluster, and for what is not a Redis. A lost connection, and LOADING, BUSY and
// MASTERDOWN answers, are waited out and the commands sent again, so send only what may be
// repeated. Thread safety: one thread at a time.
class RedisClient {
 public:
  // Connects. A server that refuses right away is an error at once: only one that was there before,
  // or says that it is loading, is waited for.
  explicit RedisClient(RedisUrl url, RedisOptions options = {});
  ~RedisClient();
  RedisClient(RedisClient&&) noexcept;
  RedisClient& operator=(RedisClient&&) noexcept;

  // The reply; an error reply is thrown as Error with what to do about it.
  Reply command(const RedisCommand& command);
  // The reply, errors included.
  Reply ask(const RedisCommand& command);
  // One reply for each command, in order, errors included.
  std::vector<Reply> pipeline(std::span<const RedisCommand> commands);

  // The exception for an error reply to `what` ("FT.INFO llama_index").
  [[noreturn]] void fail(const Reply& error, std::string_view what) const;

  const RedisUrl& url() const noexcept;
  // "redis_version" of INFO, "" when INFO is denied.
  const std::string& version() const noexcept;
  // Changes when the server was restarted, or when a reconnection could not rule that out: a SCAN
  // cursor from before means nothing then.
  const std::string& instance() const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Reads one reply from its bytes (RESP2), as recorded from a server. Throws unsupported when they
// are not a whole reply.
Reply parse_reply(std::string_view bytes);

// The value of `name` in the text INFO answers, "" when it is not there.
std::string info_value(std::string_view info, std::string_view name);

}  // namespace vkb

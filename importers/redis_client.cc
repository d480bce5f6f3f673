// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_client.h"

#include <hiredis/hiredis.h>
#ifdef VKB_HIREDIS_TLS
#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <thread>

#include "engine/vkb.h"

namespace vkb {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The connection broke, or the server asks for patience: worth another attempt.
struct Away {
  std::string reason;
};

constexpr std::array<std::string_view, 4> kTransient = {"LOADING", "BUSY ", "MASTERDOWN",
                                                        "TRYAGAIN"};

// hiredis makes room for an array before it has the elements, of which a server may announce any
// number. No reply to what is asked here has as many.
constexpr auto kMostElements = 1 << 22;

redisReplyObjectFunctions usual_functions;  // hiredis' own

void limit_arrays(redisReader& reader) {
  static redisReplyObjectFunctions limited = [&] {
    usual_functions = *reader.fn;
    redisReplyObjectFunctions functions = usual_functions;
    functions.createArray = [](const redisReadTask* task, auto elements) -> void* {
      return elements > kMostElements ? nullptr : usual_functions.createArray(task, elements);
    };
    return functions;
  }();
  reader.fn = &limited;
}

Reply reply_from(const redisReply& raw) {
  Reply reply;
  switch (raw.type) {
    case REDIS_REPLY_INTEGER:
      reply.type = Reply::Type::integer;
      reply.integer = raw.integer;
      break;
    case REDIS_REPLY_ARRAY:
      reply.type = Reply::Type::array;
      reply.elements.reserve(raw.elements);
      for (std::size_t i = 0; i < raw.elements; ++i) {
        reply.elements.push_back(reply_from(*raw.element[i]));
      }
      break;
    case REDIS_REPLY_ERROR:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_STRING:
      reply.type = raw.type == REDIS_REPLY_ERROR ? Reply::Type::error : Reply::Type::text;
      reply.text.assign(raw.str, raw.len);
      break;
    default:
      break;
  }
  return reply;
}

timeval to_timeval(milliseconds time) {
  return {static_cast<time_t>(time.count() / 1000),
          static_cast<suseconds_t>(time.count() % 1000 * 1000)};
}

struct ContextCloser {
  void operator()(redisContext* context) const noexcept { redisFree(context); }
};

}  // namespace

bool Reply::error_starts_with(std::string_view word) const noexcept {
  return is_error() && text.starts_with(word);
}

std::optional<double> Reply::number() const {
  if (type == Type::integer) return static_cast<double>(integer);
  if (type != Type::text) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value != value) {
    return std::nullopt;
  }
  return value;
}

std::string info_value(std::string_view info, std::string_view name) {
  for (std::size_t at = 0; at < info.size();) {
    const std::size_t end = std::min(info.find('\n', at), info.size());
    std::string_view line = info.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with(name) && line.substr(name.size()).starts_with(':')) {
      return std::string(line.substr(name.size() + 1));
    }
  }
  return "";
}

Reply parse_reply(std::string_view bytes) {
  struct Closer {
    void operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
  };
  const std::unique_ptr<redisReader, Closer> reader(redisReaderCreate());
  if (!reader) throw std::bad_alloc();
  limit_arrays(*reader);
  void* raw = nullptr;
  if (redisReaderFeed(reader.get(), bytes.data(), bytes.size()) != REDIS_OK ||
      redisReaderGetReply(reader.get(), &raw) != REDIS_OK || raw == nullptr) {
    throw Error(ErrorCode::unsupported, "these bytes are not a whole RESP2 reply");
  }
  const std::unique_ptr<redisReply, Closer> owned(static_cast<redisReply*>(raw));
  return reply_from(*owned);
}

class RedisClient::Impl {
 public:
  Impl(RedisUrl url, RedisOptions options) : url_(std::move(url)), options_(std::move(options)) {
#ifndef VKB_HIREDIS_TLS
    if (url_.tls) {
      throw Error(ErrorCode::unsupported,
                  url_.name() +
                      ": this build's hiredis has no TLS. Open a tunnel and use redis:// to its "
                      "local end (stunnel, or ssh -L 6380:localhost:6379 HOST), or build vkb with "
                      "hiredis 1.0 or newer and its hiredis_ssl library");
    }
#endif
    with_retries([this] { connect(); }, /*refused_is_final=*/true);
  }

  std::vector<Reply> pipeline(std::span<const RedisCommand> commands) {
    std::vector<Reply> replies;
    with_retries(
        [&] {
          if (!context_) connect();
          replies = exchange(commands);
        },
        /*refused_is_final=*/false);
    return replies;
  }

  [[noreturn]] void fail(const Reply& error, std::string_view what) const {
    const std::string where = url_.name() + ": " + std::string(what) + ": ";
    if (error.error_starts_with("NOAUTH")) {
      throw Error(ErrorCode::invalid_argument,
                  where +
                      "the server wants a password; give it as redis://user:password@… or in "
                      "VKB_REDIS_PASSWORD");
    }
    if (error.error_starts_with("NOPERM")) {
      throw Error(ErrorCode::invalid_argument,
                  where + "this user has not the right (" + error.text +
                      "); docs/redis_import.md lists the rights an import needs");
    }
    if (error.error_starts_with("MOVED") || error.error_starts_with("ASK ")) refuse_cluster();
    throw Error(ErrorCode::io_error, where + "Redis answers \"" + error.text + '"');
  }

  RedisUrl url_;
  std::string version_;
  std::string instance_;

 private:
  [[noreturn]] void refuse_cluster() const {
    throw Error(ErrorCode::unsupported,
                url_.name() +
                    " is a node of a Redis Cluster, whose keys lie on several servers; "
                    "vkb reads single servers (a replica or a restored RDB file will do)");
  }

  template <typename Work>
  void with_retries(const Work& work, bool refused_is_final) {
    const auto give_up = steady_clock::now() + options_.retry_for;
    for (milliseconds pause{100};; pause = std::min(pause * 2, milliseconds{3000})) {
      Away away;
      try {
        return work();
      } catch (Away& problem) {
        away = std::move(problem);
      }
      const bool loading = away.reason.starts_with("LOADING");
      context_.reset();
      if (stop_asked() || (refused_is_final && !loading) || steady_clock::now() + pause > give_up) {
        const auto waited = std::chrono::duration_cast<std::chrono::seconds>(options_.retry_for);
        throw Error(ErrorCode::io_error,
                    refused_is_final && !loading
                        ? "cannot reach Redis at " + url_.name() + ": " + away.reason
                        : "Redis at " + url_.name() +
                              " went away and did not answer again within " +
                              std::to_string(waited.count()) + " s (last: " + away.reason + ')');
      }
      wait(pause);
    }
  }

  bool stop_asked() const { return options_.stopped && options_.stopped(); }

  // Back-off between attempts, cut short by the stop flag.
  void wait(milliseconds pause) const {
    const auto until = steady_clock::now() + pause;
    while (steady_clock::now() < until && !stop_asked()) {
      std::this_thread::sleep_for(std::min(pause, milliseconds{50}));
    }
  }

  void connect() {
    const timeval timeout = to_timeval(options_.connect_timeout);
    context_.reset(url_.path.empty()
                       ? redisConnectWithTimeout(url_.host.c_str(), url_.port, timeout)
                       : redisConnectUnixWithTimeout(url_.path.c_str(), timeout));
    if (!context_) throw Away{"out of memory"};
    if (context_->err != 0) throw Away{context_->errstr};
    limit_arrays(*context_->reader);
    redisSetTimeout(context_.get(), timeout);
    if (url_.path.empty()) redisEnableKeepAlive(context_.get());
#ifdef VKB_HIREDIS_TLS
    if (url_.tls) start_tls();
#endif
    redisSetTimeout(context_.get(), to_timeval(options_.reply_timeout));
    log_in();
    look_at_server();
  }

#ifdef VKB_HIREDIS_TLS
  // The server's certificate must come from an authority of the system's (or of SSL_CERT_FILE) and
  // name the host. hiredis' own way to set TLS up does not compare the name, hence OpenSSL here.
  void start_tls() {
    struct Closer {
      void operator()(SSL_CTX* settings) const noexcept { SSL_CTX_free(settings); }
      void operator()(SSL* session) const noexcept { SSL_free(session); }
    };
    const std::unique_ptr<SSL_CTX, Closer> settings(SSL_CTX_new(TLS_client_method()));
    if (!settings) throw Error(ErrorCode::io_error, url_.name() + ": TLS cannot start");
    SSL_CTX_set_default_verify_paths(settings.get());
    SSL_CTX_set_verify(settings.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_min_proto_version(settings.get(), TLS1_2_VERSION);
    std::unique_ptr<SSL, Closer> session(SSL_new(settings.get()));
    const char* const host = url_.host.c_str();
    const bool is_address =
        session && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session.get()), host) == 1;
    if (!session || (!is_address && (SSL_set1_host(session.get(), host) != 1 ||
                                     SSL_set_tlsext_host_name(session.get(), host) != 1))) {
      throw Error(ErrorCode::io_error, url_.name() + ": TLS cannot start for this host name");
    }
    if (redisInitiateSSL(context_.get(), session.get()) != REDIS_OK) {
      const long verdict = SSL_get_verify_result(session.get());
      if (verdict == X509_V_OK) throw Away{std::string("TLS: ") + context_->errstr};
      throw Error(ErrorCode::io_error, url_.name() + ": the server's certificate is refused: " +
                                           X509_verify_cert_error_string(verdict) +
                                           " (SSL_CERT_FILE names the authorities to trust)");
    }
    session.release();  // the connection owns it now
  }
#endif

  Reply one(RedisCommand command) {
    return std::move(exchange(std::span<const RedisCommand>(&command, 1)).front());
  }

  void log_in() {
    if (!url_.password.empty()) {
      RedisCommand login = {"AUTH"};
      if (!url_.user.empty()) login.push_back(url_.user);
      login.push_back(url_.password);
      const Reply reply = one(std::move(login));
      if (reply.error_starts_with("WRONGPASS") || reply.error_starts_with("ERR invalid password")) {
        throw Error(ErrorCode::invalid_argument,
                    url_.name() + ": Redis refuses the user or the password");
      }
      if (reply.is_error() && reply.text.find("without any password") != std::string::npos) {
        throw Error(ErrorCode::invalid_argument,
                    url_.name() +
                        ": a password was given, but the server has none for this user; "
                        "leave it out");
      }
      if (reply.is_error()) fail(reply, "AUTH");
    }
    // PING first: it tells "needs a password" and "is no Redis" apart from everything else.
    const Reply pong = one({"PING"});
    if (pong.is_error() && !pong.error_starts_with("NOPERM")) fail(pong, "PING");
    if (url_.db != 0) {
      const Reply reply = one({"SELECT", std::to_string(url_.db)});
      if (reply.is_error()) fail(reply, "SELECT " + std::to_string(url_.db));
    }
  }

  void look_at_server() {
    const Reply info = one({"INFO", "server"});
    ++connections_;
    if (info.is_error()) {
      instance_ = "connection " + std::to_string(connections_);
      return;
    }
    if (info_value(info.text, "redis_mode") == "cluster") refuse_cluster();
    version_ = info_value(info.text, "redis_version");
    instance_ = info_value(info.text, "run_id");
    // Reading everything once must not look like use to an evicting server (Redis 7.2 and newer;
    // an older one answers with an error, which is fine).
    one({"CLIENT", "NO-TOUCH", "ON"});
  }

  std::vector<Reply> exchange(std::span<const RedisCommand> commands) {
    for (const RedisCommand& command : commands) {
      arguments_.clear();
      lengths_.clear();
      for (const std::string& argument : command) {
        arguments_.push_back(argument.data());
        lengths_.push_back(argument.size());
      }
      if (redisAppendCommandArgv(context_.get(), static_cast<int>(command.size()),
                                 arguments_.data(), lengths_.data()) != REDIS_OK) {
        throw_broken();
      }
    }
    std::vector<Reply> replies;
    replies.reserve(commands.size());
    for (std::size_t i = 0; i < commands.size(); ++i) {
      void* raw = nullptr;
      if (redisGetReply(context_.get(), &raw) != REDIS_OK || raw == nullptr) throw_broken();
      struct Freer {
        void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
      };
      const std::unique_ptr<redisReply, Freer> owned(static_cast<redisReply*>(raw));
      replies.push_back(reply_from(*owned));
      const auto transient = [&](std::string_view word) {
        return replies.back().error_starts_with(word);
      };
      if (std::any_of(kTransient.begin(), kTransient.end(), transient)) {
        throw Away{replies.back().text};
      }
    }
    return replies;
  }

  [[noreturn]] void throw_broken() const {
    if (context_->err == REDIS_ERR_PROTOCOL) {
      throw Error(ErrorCode::unsupported, url_.name() + " answers, but is not a Redis server: " +
                                              std::string(context_->errstr));
    }
    // hiredis reports its reply timeout as EAGAIN.
    const bool timeout = context_->err == REDIS_ERR_IO && errno == EAGAIN;
    throw Away{timeout ? "no reply in time" : context_->errstr};
  }

  RedisOptions options_;
  std::unique_ptr<redisContext, ContextCloser> context_;
  std::vector<const char*> arguments_;
  std::vector<std::size_t> lengths_;
  std::uint64_t connections_ = 0;
};

RedisClient::RedisClient(RedisUrl url, RedisOptions options)
    : impl_(std::make_unique<Impl>(std::move(url), std::move(options))) {}
RedisClient::~RedisClient() = default;
RedisClient::RedisClient(RedisClient&&) noexcept = default;
RedisClient& RedisClient::operator=(RedisClient&&) noexcept = default;

Reply RedisClient::ask(const RedisCommand& command) {
  return std::move(pipeline(std::span<const RedisCommand>(&command, 1)).front());
}

Reply RedisClient::command(const RedisCommand& command) {
  Reply reply = ask(command);
  if (reply.is_error()) fail(reply, command.front());
  return reply;
}

std::vector<Reply> RedisClient::pipeline(std::span<const RedisCommand> commands) {
  return impl_->pipeline(commands);
}

void RedisClient::fail(const Reply& error, std::string_view what) const {
  impl_->fail(error, what);
}

const RedisUrl& RedisClient::url() const noexcept { return impl_->url_; }
const std::string& RedisClient::version() const noexcept { return impl_->version_; }
const std::string& RedisClient::instance() const noexcept { return impl_->instance_; }

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "server/access_log.h"
#include "server/auth.h"
#include "server/chroma_routes.h"
#include "server/chroma_service.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/store_health.h"
#include "storage/start_thread.h"
#include "tools/serve.h"

namespace vkb {
namespace {

// Larger blocks go back to the system as soon as a request is done, so that what a few large bodies
// took does not stay.
constexpr int kLargeBlock = 1 << 20;

// SIGINT and SIGTERM wait, in this and every later thread, until they are asked for.
class HeldSignals {
 public:
  HeldSignals() {
    stop_at_safe_points();
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~HeldSignals() { release(); }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  void wait_for_one() const {
    while (!stop_requested()) sigsuspend(&before_);
  }
  // From here on a second signal ends the program at once.
  void release() const { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_ = {};
};

// Every connection is a descriptor, and so is every segment.
void raise_descriptor_limit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

StoreGauges collect_gauges(const Store& store) {
  const StoreInfo info = store.info();
  StoreGauges gauges{.database_bytes = info.database_bytes, .segment_bytes = info.segment_bytes};
  const std::vector<Collection> collections = store.all_collections();
  gauges.collection_count = collections.size();
  for (const Collection& collection : collections) {
    if (gauges.collections.size() == StoreGauges::kMostCollections) break;
    try {
      const CollectionInfo of = collection.info(InfoDetail::segments);
      StoreGauges::OfCollection each{.tenant = of.tenant,
                                     .database = of.database,
                                     .name = of.name,
                                     .records = of.record_count,
                                     .unsealed = of.unsealed_count,
                                     .tombstones = of.tombstone_count,
                                     .segments = of.segments.size()};
      for (const CollectionInfo::Segment& segment : of.segments) each.bytes += segment.byte_count;
      gauges.collections.push_back(std::move(each));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;  // deleted meanwhile
    }
  }
  return gauges;
}

// Who may ask; null when everybody may.
std::unique_ptr<Authenticator> make_authenticator(const ServeFlags& flags) {
  const auto token = environment("VKB_AUTH_TOKEN");
  if (!token && flags.token_file.empty() && flags.password_file.empty()) return nullptr;
  auto authenticator = std::make_unique<Authenticator>();
  try {
    if (token) authenticator->add_token(*token);
  } catch (const Error& error) {
    throw Error(error.code(), std::string("VKB_AUTH_TOKEN: ") + error.what());
  }
  if (!flags.token_file.empty()) authenticator->read_token_file(flags.token_file);
  if (!flags.password_file.empty()) authenticator->read_password_file(flags.password_file);
  return authenticator;
}

// What the flags say, and where they are silent the configuration file.
ServeFlags with_config(ServeFlags flags, const Config::Server& config) {
  const auto fill = [](std::string& flag, const std::optional<std::string>& value) {
    if (flag.empty() && value) flag = *value;
  };
  fill(flags.host, config.host);
  fill(flags.token_file, config.auth_token_file);
  fill(flags.password_file, config.auth_basic_file);
  fill(flags.tls_certificate, config.tls_cert);
  fill(flags.tls_key, config.tls_key);
  fill(flags.access_log, config.access_log);
  if (!flags.port) flags.port = config.port;
  if (flags.cors_origins.empty()) flags.cors_origins = config.cors_allow_origins;
  flags.allow_reset = flags.allow_reset || config.allow_reset.value_or(false);
  flags.read_only = flags.read_only || config.read_only.value_or(false);
  return flags;
}

HttpOptions make_options(const ServeFlags& flags) {
  HttpOptions options;
  if (!flags.host.empty()) options.host = flags.host;
  if (flags.port) options.port = *flags.port;
  options.workers = flags.threads.value_or(std::max(std::thread::hardware_concurrency(), 4U));
  if (flags.max_body) options.max_body_bytes = *flags.max_body;
  if (flags.max_connections) options.max_connections = *flags.max_connections;
  options.cors.origins = flags.cors_origins;
  options.tls_certificate = flags.tls_certificate;
  options.tls_key = flags.tls_key;
  return options;
}

// Serves until a signal comes.
void serve(Context& context, HttpServer& server, const HeldSignals& signals,
           const std::string& directory) {
  context.out().write("vkb: serving " + directory + " at " + server.address() + "\n");
  context.out().flush();
  const std::jthread runner = start_thread(
      "the server", [&server] { return std::jthread([&server] { server.run(); }); });
  signals.wait_for_one();
  signals.release();
  server.stop();
}

}  // namespace

int run_serve(Context& context, const ServeFlags& given) {
  const ServeFlags flags = with_config(given, context.config().server);
  const HeldSignals signals;
  raise_descriptor_limit();
  mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  const std::unique_ptr<Authenticator> authenticator = make_authenticator(flags);
  std::unique_ptr<AccessLog> access_log;
  if (!flags.access_log.empty()) access_log = std::make_unique<AccessLog>(flags.access_log);
  ChromaService service(flags.read_only ? context.open_to_read() : context.open_to_write(true),
                        {.allow_reset = flags.allow_reset, .read_only = flags.read_only});
  const double open_seconds =
      milliseconds(context.started, std::chrono::steady_clock::now()) / 1000;
  Metrics metrics({.version = VKB_VERSION, .open_seconds = open_seconds},
                  [&service] { return collect_gauges(service.store()); });
  HttpOptions options = make_options(flags);
  options.authenticator = authenticator.get();
  options.cors.authorization = authenticator != nullptr;
  options.metrics = &metrics;
  options.access_log = access_log.get();
  StoreHealth health(service.store().directory());
  HttpServer server(options,
                    make_chroma_handler(service, {.metrics = &metrics, .health = &health}));
  if (!authenticator && !server.is_loopback()) {
    context.note("vkb: warning: whoever reaches " + server.address() +
                 " may read and change everything: set VKB_AUTH_TOKEN, --auth-token-file or "
                 "--auth-basic-file");
  }
  if (const std::string damage = health.damage(); !damage.empty()) {
    context.note(safe_message("vkb: warning: " + damage));
  }
  serve(context, server, signals, service.store().directory());
  return context.stopped("what was acknowledged is stored; `vkb serve` goes on with it");
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "tools/serve.h"

#include <CLI/CLI.hpp>
#include <memory>

namespace vkb {
namespace {

void add_options(CLI::App& verb, ServeFlags& flags) {
  verb.add_option("--host", flags.host, "Address or name to listen on [127.0.0.1]")
      ->type_name("HOST");
  verb.add_option("--port", flags.port, "Port, 0 for any that is free [8000]")->type_name("PORT");
  verb.add_flag("--allow-reset", flags.allow_reset, "POST /api/v2/reset may delete everything");
  verb.add_flag("--read-only", flags.read_only, "Refuse what would change the store");
  verb.add_option("--cors-origin", flags.cors_origins,
                  "Web pages of this origin may ask, '*' for all; may be given again")
      ->allow_extra_args(false)
      ->type_name("ORIGIN");
  verb.add_option("--auth-token-file", flags.token_file,
                  "Only who sends one of its tokens may ask: lines TOKEN or USER TOKEN")
      ->type_name("FILE");
  verb.add_option("--auth-basic-file", flags.password_file,
                  "Only these users may ask: lines USER:PASSWORD, or as htpasswd -B writes them")
      ->type_name("FILE");
  verb.add_option("--tls-cert", flags.tls_certificate, "Speak TLS with this certificate (PEM)")
      ->type_name("FILE");
  verb.add_option("--tls-key", flags.tls_key, "The certificate's private key (PEM)")
      ->type_name("FILE");
  verb.add_option("--access-log", flags.access_log, "A line of JSON for each request, - for stderr")
      ->type_name("FILE");
  verb.add_option("--threads", flags.threads,
                  "Requests worked on at the same time, of reads and of writes [cores, 4 or more]")
      ->check(CLI::Range(1, 1024).description(""))
      ->type_name("N");
  verb.add_option("--max-body", flags.max_body, "Largest body of a request, in bytes [41943040]")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 30).description(""))
      ->type_name("BYTES");
  verb.add_option("--max-connections", flags.max_connections, "Connections at the same time [4096]")
      ->check(CLI::Range(1, 1'000'000).description(""))
      ->type_name("N");
}

}  // namespace

void register_serve(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("serve", "Serve the store over Chroma's HTTP API");
  verb->footer(
      "Chroma's Python and JavaScript clients need nothing but the address. A store that is not\n"
      "there is made. VKB_AUTH_TOKEN is a token as in --auth-token-file. GET /metrics is for\n"
      "Prometheus. SIGTERM and SIGINT finish the requests in progress first.");
  auto flags = std::make_shared<ServeFlags>();
  add_options(*verb, *flags);
  verb->callback([&context, flags] {
    context.run = [&context, flags] { return run_serve(context, *flags); };
  });
}

}  // namespace vkb

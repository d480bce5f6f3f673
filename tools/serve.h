// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/cli.h"

namespace vkb {

// The options of `vkb serve`. What is empty was not given; docs/cli.md has the defaults.
struct ServeFlags {
  std::string host;
  std::optional<std::uint16_t> port;
  bool allow_reset = false;
  bool read_only = false;
  std::vector<std::string> cors_origins;
  std::string token_file;
  std::string password_file;
  std::string tls_certificate;
  std::string tls_key;
  std::string access_log;
  std::optional<std::size_t> threads;
  std::optional<std::uint64_t> max_body;
  std::optional<std::size_t> max_connections;
};

// Serves until SIGINT or SIGTERM; returns the exit code. Two programs have this function:
// `vkb-serve` (serve_run.cc) does it, and `vkb` (serve_exec.cc) becomes `vkb-serve`, so that its
// other verbs start without OpenSSL and what else only a server needs.
int run_serve(Context& context, const ServeFlags& flags);

}  // namespace vkb

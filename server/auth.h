// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace vkb {

// Knows who may ask: by token (`Authorization: Bearer …` or `X-Chroma-Token: …`) or by name and
// password (`Authorization: Basic …`). Secrets are kept as keyed digests and compared in constant
// time. Thread safety: both checks from any thread, once everything was added.
class Authenticator {
 public:
  Authenticator();  // knows nobody: everything is refused

  // A user without a name is "anonymous", as in Chroma. Throws invalid_argument for a token that is
  // empty or holds anything but visible ASCII.
  void add_token(std::string_view token, std::string_view user = "anonymous");
  // Lines `TOKEN` or `USER TOKEN`; empty ones and those that begin with '#' are skipped.
  // Throws not_found, or invalid_argument that names file and line.
  void read_token_file(const std::string& file);
  // Lines `USER:PASSWORD` or, as htpasswd -B writes them, `USER:HASH` with any hash that begins
  // with '$' and that the system's crypt(3) knows. Throws as above.
  void read_password_file(const std::string& file);

  enum class Verdict { accepted, refused, undecided };
  struct Answer {
    Verdict verdict = Verdict::refused;
    std::string user{};
  };
  // Takes microseconds; undecided when a password has to be hashed.
  Answer check(const HttpRequest& request) const;
  // Decides what check() could not; takes as long as the hash was made to take. A password that was
  // right is remembered.
  Answer check_password(const HttpRequest& request);

 private:
  using Digest = std::array<unsigned char, 32>;
  struct Token {
    Digest digest;
    std::string user;
  };
  struct Password {
    std::string hash;                // empty when `digest` came from the file
    std::optional<Digest> digest{};  // of the password, once known
  };
  Digest digest_of(std::string_view secret) const;
  Answer check_token(std::string_view token) const;
  void add_password_line(const std::string& line);

  Digest key_{};
  std::vector<Token> tokens_;
  mutable std::mutex mutex_;  // passwords_[].digest
  std::map<std::string, Password, std::less<>> passwords_;
  std::string any_hash_;  // hashed with for unknown users, so that they take as long as known ones
};

}  // namespace vkb

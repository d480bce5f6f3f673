// SPDX-License-Identifier: Apache-2.0
#include "server/auth.h"

#include <crypt.h>
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <memory>

#include "storage/error.h"

namespace vkb {
namespace {

// crypt_r of the system, loaded when a file holds hashes: linked, it would cost every start of the
// program.
std::string hash_password(const std::string& password, const std::string& setting) {
  static const auto function = [] {
    void* library = dlopen("libcrypt.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) library = dlopen("libcrypt.so.2", RTLD_NOW | RTLD_LOCAL);
    auto* found = library == nullptr ? nullptr : dlsym(library, "crypt_r");
    return reinterpret_cast<decltype(&crypt_r)>(found);
  }();
  if (function == nullptr) {
    throw Error(ErrorCode::unsupported,
                "hashed passwords need libcrypt.so.1, which is not installed here (Debian: apt "
                "install libcrypt1)");
  }
  const auto data = std::make_unique<crypt_data>();  // 32 KiB
  const char* hash = function(password.c_str(), setting.c_str(), data.get());
  const std::string result = hash == nullptr ? "" : hash;
  OPENSSL_cleanse(data.get(), sizeof *data);
  return result.starts_with('*') ? "" : result;
}

bool is_visible_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

// The rest of a header's value after its scheme, "Bearer" say, which has no case.
std::optional<std::string_view> after_scheme(std::string_view value, std::string_view scheme) {
  const bool starts = value.size() > scheme.size() && value[scheme.size()] == ' ' &&
                      std::equal(scheme.begin(), scheme.end(), value.begin(),
                                 [](char a, char b) { return (a | 0x20) == (b | 0x20); });
  if (!starts) return std::nullopt;
  value.remove_prefix(scheme.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  return value;
}

struct Login {
  std::string user;
  std::string password;
};

// What an `Authorization: Basic` header says, if it is one.
std::optional<Login> parse_login(std::string_view authorization) {
  const auto encoded = after_scheme(authorization, "basic");
  if (!encoded || encoded->empty() || encoded->size() % 4 != 0 || !is_visible_ascii(*encoded)) {
    return std::nullopt;
  }
  std::string text(encoded->size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(encoded->data()),
                                   static_cast<int>(encoded->size()));
  if (size < 0) return std::nullopt;
  const std::size_t padding = encoded->ends_with("==") ? 2 : encoded->ends_with('=') ? 1 : 0;
  text.resize(static_cast<std::size_t>(size) - padding);
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || text.find('\0') != std::string::npos) return std::nullopt;
  return Login{text.substr(0, colon), text.substr(colon + 1)};
}

// Calls `add` with each line that says something; what it throws then names the line.
void read_lines(const std::string& file, const std::function<void(const std::string&)>& add) {
  std::ifstream stream(file);
  if (!stream) throw Error(ErrorCode::not_found, file + ": cannot read this file");
  std::string line;
  for (int number = 1; std::getline(stream, line); ++number) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (line.empty() || line.starts_with('#')) continue;
    try {
      add(line);
    } catch (const Error& error) {
      throw Error(error.code(), file + " line " + std::to_string(number) + ": " + error.what());
    }
  }
  if (stream.bad()) throw Error(ErrorCode::io_error, file + ": cannot read this file to its end");
}

}  // namespace

Authenticator::Authenticator() {
  if (RAND_bytes(key_.data(), static_cast<int>(key_.size())) != 1) {
    throw Error(ErrorCode::io_error, "the system gives no random bytes");
  }
}

Authenticator::Digest Authenticator::digest_of(std::string_view secret) const {
  Digest digest{};
  unsigned size = 0;
  if (HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
           reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), digest.data(),
           &size) == nullptr) {
    throw Error(ErrorCode::io_error, "OpenSSL cannot compute a SHA-256");
  }
  return digest;
}

void Authenticator::add_token(std::string_view token, std::string_view user) {
  if (token.empty() || !is_visible_ascii(token)) {
    throw Error(ErrorCode::invalid_argument,
                "a token must be one or more visible ASCII characters, without spaces");
  }
  tokens_.push_back({digest_of(token), std::string(user)});
}

void Authenticator::read_token_file(const std::string& file) {
  const std::size_t before = tokens_.size();
  read_lines(file, [this](const std::string& line) {
    const std::size_t space = line.find(' ');
    if (space == std::string::npos) {
      add_token(line);
    } else {
      add_token(std::string_view(line).substr(line.find_first_not_of(' ', space)),
                line.substr(0, space));
    }
  });
  if (tokens_.size() == before) {
    throw Error(ErrorCode::invalid_argument, file + ": there is no token in this file");
  }
}

void Authenticator::read_password_file(const std::string& file) {
  read_lines(file, [this](const std::string& line) { add_password_line(line); });
  if (passwords_.empty()) {
    throw Error(ErrorCode::invalid_argument, file + ": there is no USER:PASSWORD in this file");
  }
}

void Authenticator::add_password_line(const std::string& line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == line.size()) {
    throw Error(ErrorCode::invalid_argument, "expected USER:PASSWORD");
  }
  const std::string secret = line.substr(colon + 1);
  Password password;
  if (secret.starts_with("{SHA}")) {
    throw Error(ErrorCode::invalid_argument,
                "{SHA} is no safe way to keep a password; use `htpasswd -B`");
  }
  if (!secret.starts_with('$')) {
    password.digest = digest_of(secret);
  } else if (hash_password("", secret).size() != secret.size()) {
    throw Error(ErrorCode::invalid_argument,
                "crypt(3) does not know this kind of hash; use `htpasswd -B`");
  } else {
    password.hash = secret;
    any_hash_ = secret;
  }
  if (!passwords_.emplace(line.substr(0, colon), std::move(password)).second) {
    throw Error(ErrorCode::invalid_argument, "the user is there already");
  }
}

Authenticator::Answer Authenticator::check_token(std::string_view token) const {
  const Digest digest = digest_of(token);
  Answer answer;
  for (const Token& known : tokens_) {  // to the end: which one it was shows in no time
    if (CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0) {
      answer = {Verdict::accepted, known.user};
    }
  }
  return answer;
}

Authenticator::Answer Authenticator::check(const HttpRequest& request) const {
  if (!request.token.empty()) {
    // Chroma's own clients put "Bearer " before the token in Authorization only.
    return check_token(request.token);
  }
  if (const auto token = after_scheme(request.authorization, "bearer")) return check_token(*token);
  const std::optional<Login> login = parse_login(request.authorization);
  if (!login || passwords_.empty()) return {};
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = passwords_.find(login->user);
  if (found == passwords_.end()) {
    return {any_hash_.empty() ? Verdict::refused : Verdict::undecided, {}};
  }
  const Password& password = found->second;
  const Digest digest = digest_of(login->password);
  if (password.digest &&
      CRYPTO_memcmp(password.digest->data(), digest.data(), digest.size()) == 0) {
    return {Verdict::accepted, login->user};
  }
  return {password.hash.empty() ? Verdict::refused : Verdict::undecided, {}};
}

Authenticator::Answer Authenticator::check_password(const HttpRequest& request) {
  Answer answer = check(request);  // another request may have brought the same password
  if (answer.verdict != Verdict::undecided) return answer;
  const std::optional<Login> login = parse_login(request.authorization);
  const auto found = passwords_.find(login->user);
  const bool known = found != passwords_.end() && !found->second.hash.empty();
  const std::string& expected = known ? found->second.hash : any_hash_;
  const std::string hash = hash_password(login->password, expected);
  const bool equal = hash.size() == expected.size() &&
                     CRYPTO_memcmp(hash.data(), expected.data(), hash.size()) == 0;
  if (!equal || !known) return {};
  const std::lock_guard<std::mutex> lock(mutex_);
  found->second.digest = digest_of(login->password);
  return {Verdict::accepted, login->user};
}

}  // namespace vkb

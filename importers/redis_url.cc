// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstdlib>

#include "engine/vkb.h"
#include "importers/redis_client.h"

namespace vkb {
namespace {

constexpr std::string_view kForms =
    "expected redis://[user:password@]host[:port][/db], rediss://… or unix:///path[?db=n]";

[[noreturn]] void refuse(const std::string& why) {
  // The URL itself is not repeated: it may hold a password.
  throw Error(ErrorCode::invalid_argument, "Redis URL: " + why + "; " + std::string(kForms));
}

std::string percent_decoded(std::string_view text, std::string_view part) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    unsigned byte = 0;
    const std::string_view digits = text.substr(at + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (error != std::errc{} || digits.size() != 2 || end != digits.data() + 2) {
      refuse("the " + std::string(part) +
             " has a % that is not followed by two hex digits (write % itself as %25)");
    }
    out += static_cast<char>(byte);
    at += 2;
  }
  return out;
}

int parse_number(std::string_view text, int least, int most, std::string_view part) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < least || number > most) {
    refuse("the " + std::string(part) + " is not a number from " + std::to_string(least) + " to " +
           std::to_string(most));
  }
  return number;
}

// Takes "user:password@" off the front of `rest`.
void take_login(std::string_view& rest, RedisUrl& url) {
  const std::size_t at = rest.rfind('@');
  if (at == std::string_view::npos) return;
  const std::string_view login = rest.substr(0, at);
  rest.remove_prefix(at + 1);
  const std::size_t colon = login.find(':');
  url.user = percent_decoded(login.substr(0, colon), "user");
  if (colon != std::string_view::npos) {
    url.password = percent_decoded(login.substr(colon + 1), "password");
  }
}

// "name=value&…": only db is known.
void take_query(std::string_view query, RedisUrl& url) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view item = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    if (!item.starts_with("db=")) refuse("the only option after ? is db=n");
    url.db = parse_number(item.substr(3), 0, 1 << 20, "database");
  }
}

void take_host(std::string_view address, RedisUrl& url) {
  std::string_view port;
  if (address.starts_with('[')) {
    const std::size_t close = address.find(']');
    if (close == std::string_view::npos) refuse("an IPv6 address needs its closing ]");
    url.host = address.substr(1, close - 1);
    port = address.substr(close + 1);
  } else {
    const std::size_t colon = std::min(address.find(':'), address.size());
    url.host = address.substr(0, colon);
    port = address.substr(colon);
  }
  if (url.host.empty()) url.host = "localhost";
  if (port.starts_with(':')) {
    url.port = static_cast<std::uint16_t>(parse_number(port.substr(1), 1, 65535, "port"));
  } else if (!port.empty()) {
    refuse("there is something between the host and the port");
  }
}

}  // namespace

std::string RedisUrl::name() const {
  const std::string who = user.empty() ? "" : user + '@';
  if (!path.empty()) {
    return "unix://" + who + path + (db == 0 ? "" : "?db=" + std::to_string(db));
  }
  const bool ipv6 = host.find(':') != std::string::npos;
  return (tls ? "rediss://" : "redis://") + who + (ipv6 ? '[' + host + ']' : host) + ':' +
         std::to_string(port) + '/' + std::to_string(db);
}

RedisUrl parse_redis_url(std::string_view text) {
  RedisUrl url;
  std::string_view rest = text;
  const std::size_t scheme_end = rest.find("://");
  if (scheme_end == std::string_view::npos) refuse("there is no scheme");
  const std::string_view scheme = rest.substr(0, scheme_end);
  rest.remove_prefix(scheme_end + 3);
  const bool unix_socket = scheme == "unix" || scheme == "redis+unix" || scheme == "redis+socket";
  if (!unix_socket && scheme != "redis" && scheme != "rediss") refuse("unknown scheme");
  url.tls = scheme == "rediss";

  take_login(rest, url);
  if (const std::size_t mark = rest.find('?'); mark != std::string_view::npos) {
    take_query(rest.substr(mark + 1), url);
    rest = rest.substr(0, mark);
  }
  if (unix_socket) {
    url.path = percent_decoded(rest, "path");
    if (url.path.empty()) refuse("there is no path of a socket");
  } else {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    take_host(rest.substr(0, slash), url);
    const std::string_view db = rest.substr(std::min(slash + 1, rest.size()));
    if (!db.empty()) url.db = parse_number(db, 0, 1 << 20, "database");
  }
  if (const char* secret = std::getenv("VKB_REDIS_PASSWORD");
      url.password.empty() && secret != nullptr) {
    url.password = secret;
  }
  return url;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "server/auth.h"

#include <gtest/gtest.h>

#include "storage/error.h"
#include "tests/server/http_client.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

using Verdict = Authenticator::Verdict;

// What `htpasswd -B` writes for "secret".
constexpr const char* kBcrypt = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

std::string base64(const std::string& text) {
  static constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    unsigned block = 0;
    for (std::size_t j = 0; j < 3; ++j) {
      block = block << 8 | (i + j < text.size() ? static_cast<unsigned char>(text[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += i + j <= text.size() ? kAlphabet[block >> (18 - 6 * j) & 63U] : '=';
    }
  }
  return out;
}

HttpRequest bearer(const std::string& token) { return {.authorization = "Bearer " + token}; }
HttpRequest basic(const std::string& login) { return {.authorization = "Basic " + base64(login)}; }

class AuthTest : public ::testing::Test {
 protected:
  std::string file(const std::string& text) { return directory_.write("secrets", text); }
  std::string error_of(void (Authenticator::*read)(const std::string&), const std::string& text) {
    Authenticator authenticator;
    try {
      (authenticator.*read)(file(text));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    ADD_FAILURE() << "no error for: " << text;
    return "";
  }
  TempDirectory directory_;
};

TEST_F(AuthTest, TokensAreTakenFromEitherHeader) {
  Authenticator authenticator;
  authenticator.read_token_file(file("# comment\n\nplain-token\nann  ann's-token\r\nbob other\n"));
  EXPECT_EQ(authenticator.check(bearer("plain-token")).verdict, Verdict::accepted);
  EXPECT_EQ(authenticator.check(bearer("plain-token")).user, "anonymous");
  EXPECT_EQ(authenticator.check({.token = "ann's-token"}).user, "ann");
  EXPECT_EQ(authenticator.check({.authorization = "bearer  other"}).user, "bob");
}

TEST_F(AuthTest, NothingElseIsAToken) {
  Authenticator authenticator;
  authenticator.read_token_file(file("ann token\n"));
  for (const char* each :
       {"", "toke", "tokens", "token ", "TOKEN", "ann", "ann token", "# comment"}) {
    EXPECT_EQ(authenticator.check(bearer(each)).verdict, Verdict::refused) << each;
    EXPECT_EQ(authenticator.check({.token = each}).verdict, Verdict::refused) << each;
  }
  EXPECT_EQ(authenticator.check({.authorization = "token"}).verdict, Verdict::refused);
  EXPECT_EQ(authenticator.check({.authorization = "Basic token"}).verdict, Verdict::refused);
  EXPECT_EQ(authenticator.check(basic("ann:token")).verdict, Verdict::refused);
  EXPECT_EQ(Authenticator().check(bearer("")).verdict, Verdict::refused);
}

TEST_F(AuthTest, PlainPasswordsMayHoldColonsAndUnicode) {
  Authenticator authenticator;
  authenticator.read_password_file(file("ann:a:b\nbob:p\u00E4ss\n"));
  EXPECT_EQ(authenticator.check(basic("ann:a:b")).user, "ann");
  EXPECT_EQ(authenticator.check(basic("bob:p\u00E4ss")).user, "bob");
  for (const char* each : {"ann:a", "ann:", "bob:a:b", "eve:a:b", "ann", ":a:b", ""}) {
    EXPECT_EQ(authenticator.check(basic(each)).verdict, Verdict::refused) << each;
  }
  for (const char* each : {"Basic", "Basic ", "Basic !!!!", "Basic YQ", "Basic YW5uOmE6Yg"}) {
    EXPECT_EQ(authenticator.check({.authorization = each}).verdict, Verdict::refused) << each;
  }
}

TEST_F(AuthTest, HashedPasswordsAreCheckedSlowlyOnce) {
  Authenticator authenticator;
  authenticator.read_password_file(file("ann:" + std::string(kBcrypt) + "\nbob:plain\n"));
  EXPECT_EQ(authenticator.check(basic("ann:secret")).verdict, Verdict::undecided);
  EXPECT_EQ(authenticator.check_password(basic("ann:wrong")).verdict, Verdict::refused);
  EXPECT_EQ(authenticator.check_password(basic("ann:secret")).user, "ann");
  EXPECT_EQ(authenticator.check(basic("ann:secret")).verdict, Verdict::accepted);
  EXPECT_EQ(authenticator.check_password(basic("ann:wrong")).verdict, Verdict::refused);
  // Whether a user exists does not show in the time it takes.
  EXPECT_EQ(authenticator.check(basic("eve:x")).verdict, Verdict::undecided);
  EXPECT_EQ(authenticator.check_password(basic("eve:secret")).verdict, Verdict::refused);
  EXPECT_EQ(authenticator.check(basic("bob:" + std::string(kBcrypt))).verdict, Verdict::refused);
}

TEST_F(AuthTest, MistakesInAFileAreNamedWithTheirLine) {
  const auto tokens = &Authenticator::read_token_file;
  const auto passwords = &Authenticator::read_password_file;
  EXPECT_NE(error_of(tokens, "ok\nann t\u00F6ken\n").find("line 2"), std::string::npos);
  EXPECT_NE(error_of(tokens, "# nothing\n").find("no token"), std::string::npos);
  EXPECT_NE(error_of(passwords, "ann:x\nann\n").find("line 2: expected USER:PASSWORD"),
            std::string::npos);
  EXPECT_NE(error_of(passwords, ":x\n").find("expected"), std::string::npos);
  EXPECT_NE(error_of(passwords, "ann:x\nann:y\n").find("already"), std::string::npos);
  EXPECT_NE(error_of(passwords, "ann:$apr1$x$y\n").find("htpasswd -B"), std::string::npos);
  EXPECT_NE(error_of(passwords, "ann:{SHA}xyz\n").find("htpasswd -B"), std::string::npos);
  EXPECT_NE(error_of(passwords, "").find("no USER:PASSWORD"), std::string::npos);
  Authenticator authenticator;
  EXPECT_THROW(authenticator.read_token_file(directory_.file("absent")), Error);
}

class AuthServerTest : public AuthTest {
 protected:
  AuthServerTest() {
    authenticator_.add_token("token", "ann");
    authenticator_.read_password_file(file("bob:" + std::string(kBcrypt) + "\n"));
    options_.authenticator = &authenticator_;
  }
  Authenticator authenticator_;
  HttpOptions options_;
};

TEST_F(AuthServerTest, WhoAsksReachesTheHandler) {
  RunningServer server(options_, echo);
  RawClient client(server.port());
  EXPECT_EQ(client.ask(get_request("/a", "Authorization: Bearer token\r\n")).body,
            "GET [a] ? ann ");
  EXPECT_EQ(client.ask(get_request("/a", "X-Chroma-Token: token\r\n")).body, "GET [a] ? ann ");
  const std::string login = "Authorization: Basic " + base64("bob:secret") + "\r\n";
  EXPECT_EQ(client.ask(get_request("/a", login)).body, "GET [a] ? bob ");
  EXPECT_EQ(client.ask(post_request("/a", "x", login)).body, "POST [a] ? bob x");
}

TEST_F(AuthServerTest, OthersAreRefusedAsTheClientsUnderstand) {
  RunningServer server(options_, echo);
  for (const std::string& headers : {std::string(), std::string("Authorization: Bearer no\r\n"),
                                     "Authorization: Basic " + base64("bob:no") + "\r\n",
                                     std::string("X-Chroma-Token: x\r\n")}) {
    RawClient client(server.port());
    const Reply reply = client.ask(get_request("/api/v2/auth/identity", headers));
    EXPECT_EQ(reply.status, 401) << headers;
    EXPECT_EQ(reply.body,
              R"({"error":"AuthError","message":"Unauthorized: a valid token or password is )"
              R"(needed"})");
    EXPECT_NE(reply.header("www-authenticate"), "");
  }
}

TEST_F(AuthServerTest, BodiesOfTheRefusedAreNotRead) {
  RunningServer server(options_, echo);
  RawClient client(server.port());
  client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\n");
  EXPECT_EQ(client.receive().status, 401);
}

TEST_F(AuthServerTest, ProbesAreOpenAndMetricsAreNot) {
  RunningServer server(options_, echo);
  for (const char* each : {"/api/v2", "/api/v2/heartbeat", "/api/v2/version", "/healthcheck"}) {
    EXPECT_EQ(RawClient(server.port()).ask(get_request(each)).status, 200) << each;
  }
  EXPECT_EQ(RawClient(server.port()).ask(get_request("/metrics")).status, 401);
}

TEST_F(AuthServerTest, PreflightsCarryNoCredentials) {
  options_.cors = {.origins = {"https://app.example"}, .authorization = true};
  RunningServer server(options_, echo);
  RawClient client(server.port());
  const Reply preflight = client.ask(
      "OPTIONS /api/v2/tenants HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n");
  EXPECT_EQ(preflight.status, 200);
  EXPECT_EQ(preflight.body, "");
  EXPECT_EQ(preflight.header("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(preflight.header("access-control-allow-headers"), "*, authorization");
  // The page has to be able to read why it was refused.
  const Reply refused = client.ask(get_request("/a", "Origin: https://app.example\r\n"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.header("access-control-allow-origin"), "https://app.example");
}

TEST(CorsServerTest, WithoutOriginsOptionsGoToTheHandler) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  const Reply reply =
      client.ask("OPTIONS /a HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\n\r\n");
  EXPECT_EQ(reply.body, "OPTIONS [a] ?  ");
  EXPECT_EQ(reply.header("access-control-allow-origin"), "");
  EXPECT_EQ(reply.header("vary"), "");
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <cstdlib>
#include <fstream>
#include <memory>

#include "storage/error.h"
#include "tests/server/http_client.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

// A certificate for localhost, made once.
class TlsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_directory = std::make_unique<TempDirectory>();
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout " +
        shared_directory->file("key.pem") + " -out " + shared_directory->file("cert.pem") + " 2>" +
        shared_directory->file("log");
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  static void TearDownTestSuite() { shared_directory.reset(); }

  static HttpOptions options() {
    HttpOptions options;
    options.tls_certificate = shared_directory->file("cert.pem");
    options.tls_key = shared_directory->file("key.pem");
    return options;
  }
  static inline std::unique_ptr<TempDirectory> shared_directory;
};

// Speaks TLS over a RawClient's socket; trusts the test's certificate only.
class TlsClient {
 public:
  TlsClient(std::uint16_t port, const std::string& certificate, int newest = 0)
      : raw_(port), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
    SSL_CTX_load_verify_file(context_.get(), certificate.c_str());
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    if (newest != 0) SSL_CTX_set_max_proto_version(context_.get(), newest);
    ssl_ = {SSL_new(context_.get()), SSL_free};
    SSL_set1_host(ssl_.get(), "localhost");
    SSL_set_fd(ssl_.get(), raw_.fd());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }
  bool connected() const { return connected_; }
  std::string ask(const std::string& request, std::size_t wanted) {
    SSL_write(ssl_.get(), request.data(), static_cast<int>(request.size()));
    std::string text;
    char buffer[16384];
    while (text.size() < wanted) {
      const int count = SSL_read(ssl_.get(), buffer, sizeof buffer);
      if (count <= 0) break;
      text.append(buffer, static_cast<std::size_t>(count));
    }
    return text;
  }
  // True when the server ends the TLS session in order.
  bool is_closed() {
    char byte = 0;
    const int count = SSL_read(ssl_.get(), &byte, 1);
    return count <= 0 && SSL_get_error(ssl_.get(), count) == SSL_ERROR_ZERO_RETURN;
  }

 private:
  RawClient raw_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, SSL_free};
  bool connected_ = false;
};

TEST_F(TlsTest, RequestsAreServed) {
  RunningServer server(options(), echo);
  EXPECT_TRUE(server.server().address().starts_with("https://"));
  TlsClient client(server.port(), options().tls_certificate);
  ASSERT_TRUE(client.connected());
  for (int i = 0; i < 3; ++i) {
    const std::string reply = client.ask(post_request("/a", "body"), 100);
    EXPECT_TRUE(reply.ends_with("POST [a] ?  body")) << reply;
  }
  const std::string body(3'000'000, 'x');
  EXPECT_TRUE(client.ask(post_request("/a", body), body.size()).ends_with(body));
  const std::string last = client.ask(get_request("/a", "Connection: close\r\n"), 100);
  EXPECT_TRUE(last.ends_with("GET [a] ?  "));
  EXPECT_TRUE(client.is_closed());
}

TEST_F(TlsTest, OldVersionsAreRefused) {
  RunningServer server(options(), echo);
  EXPECT_TRUE(TlsClient(server.port(), options().tls_certificate, TLS1_2_VERSION).connected());
  EXPECT_FALSE(TlsClient(server.port(), options().tls_certificate, TLS1_1_VERSION).connected());
}

TEST_F(TlsTest, PlainRequestsAndSilentClientsEnd) {
  HttpOptions strict = options();
  strict.header_timeout = std::chrono::milliseconds(100);
  RunningServer server(strict, echo);
  RawClient plain(server.port());
  plain.send(get_request("/a"));
  RawClient silent(server.port());
  EXPECT_TRUE(plain.is_closed_after_anything());
  EXPECT_TRUE(silent.is_closed());
}

TEST_F(TlsTest, FilesThatAreNoneAreNamed) {
  const auto error_of = [](const std::string& certificate, const std::string& key) {
    HttpOptions wrong;
    wrong.port = 0;
    wrong.tls_certificate = certificate;
    wrong.tls_key = key;
    try {
      const HttpServer server(wrong, echo);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const HttpOptions right = options();
  EXPECT_TRUE(error_of("/absent.pem", right.tls_key).starts_with("/absent.pem: no certificate"));
  EXPECT_TRUE(error_of(right.tls_key, right.tls_key).starts_with(right.tls_key));
  EXPECT_TRUE(error_of(right.tls_certificate, right.tls_certificate)
                  .starts_with(right.tls_certificate + ": no private key"));
  EXPECT_EQ(error_of(right.tls_certificate, ""), "TLS needs a certificate and a key");
}

}  // namespace
}  // namespace vkb

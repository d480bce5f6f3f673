// SPDX-License-Identifier: Apache-2.0
#include "importers/redis_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "engine/vkb.h"
#include "tests/importers/redis_server.h"

namespace vkb {
namespace {

using std::chrono::milliseconds;

// The message of the error `work` throws, with its code.
template <typename Work>
std::pair<ErrorCode, std::string> error_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "no error";
  return {};
}

bool says(const std::string& message, const std::string& part) {
  return message.find(part) != std::string::npos;
}

TEST(RedisClientTest, BytesGoThereAndBack) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  std::string bytes(1000, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  client.command({"SET", bytes, bytes});
  EXPECT_EQ(client.command({"GET", bytes}).text, bytes);
  EXPECT_EQ(client.command({"GET", "none"}).type, Reply::Type::nil);
  EXPECT_EQ(client.command({"STRLEN", bytes}).integer, 1000);
  EXPECT_FALSE(client.version().empty());
  EXPECT_FALSE(client.instance().empty());
}

TEST(RedisClientTest, PipelinesAnswerInOrderErrorsIncluded) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  const std::vector<RedisCommand> commands = {
      {"RPUSH", "list", "a", "b"}, {"HGETALL", "list"}, {"LRANGE", "list", "0", "-1"}};
  const std::vector<Reply> replies = client.pipeline(commands);
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(replies[0].number(), 2.0);
  EXPECT_TRUE(replies[1].error_starts_with("WRONGTYPE"));
  ASSERT_EQ(replies[2].elements.size(), 2u);
  EXPECT_EQ(replies[2].elements[1].text, "b");
}

TEST(RedisClientTest, NumbersComeInAllForms) {
  EXPECT_EQ(parse_reply(":12\r\n").number(), 12.0);
  EXPECT_EQ(parse_reply("$3\r\n1.5\r\n").number(), 1.5);
  EXPECT_EQ(parse_reply("+1\r\n").number(), 1.0);
  EXPECT_FALSE(parse_reply("$3\r\nnan\r\n").number());
  EXPECT_FALSE(parse_reply("+one\r\n").number());
}

TEST(RedisClientTest, PasswordsAreCheckedAndNeverRepeated) {
  VKB_NEEDS_REDIS();
  const RedisServer server({"--requirepass", "right-secret"});
  RedisUrl url = server.url();
  auto [code, message] = error_of([&] { RedisClient client(url); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_TRUE(says(message, "VKB_REDIS_PASSWORD")) << message;
  url.password = "wrong-secret";
  std::tie(code, message) = error_of([&] { RedisClient client(url); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_TRUE(says(message, "refuses")) << message;
  EXPECT_FALSE(says(message, "secret")) << message;
  url.password = "right-secret";
  EXPECT_EQ(RedisClient(url).command({"PING"}).text, "PONG");
}

TEST(RedisClientTest, APasswordForAServerWithoutOneIsSaid) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisUrl url = server.url();
  url.password = "superfluous";
  const auto [code, message] = error_of([&] { RedisClient client(url); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_TRUE(says(message, "leave it out")) << message;
}

TEST(RedisClientTest, MissingRightsAreNamed) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  client_of(server).command({"ACL", "SETUSER", "imp", "on", ">pw", "~doc:*", "-@all", "+hgetall"});
  RedisUrl url = server.url();
  url.user = "imp";
  url.password = "pw";
  RedisClient client(url);  // PING, INFO and CLIENT are denied: no reason to fail
  EXPECT_EQ(client.version(), "");
  EXPECT_EQ(client.command({"HGETALL", "doc:1"}).elements.size(), 0u);
  const auto [code, message] = error_of([&] { client.command({"SCAN", "0"}); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_TRUE(says(message, "SCAN") && says(message, "right")) << message;
}

TEST(RedisClientTest, WhatCannotBeReachedIsSaidAtOnce) {
  RedisUrl url;
  url.path = "/tmp/vkb-no-such.sock";
  auto [code, message] = error_of([&] { RedisClient client(url); });
  EXPECT_EQ(code, ErrorCode::io_error);
  EXPECT_TRUE(says(message, "cannot reach") && says(message, url.path)) << message;
  url = parse_redis_url("redis://127.0.0.1:1");
  std::tie(code, message) = error_of([&] { RedisClient client(url); });
  EXPECT_TRUE(says(message, "refused")) << message;
}

TEST(RedisClientTest, AServerThatIsNoRedisIsSaid) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  socklen_t length = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  std::thread web([&] {
    const int peer = accept(listener, nullptr, nullptr);
    char request[256];
    ASSERT_GT(read(peer, request, sizeof request), 0);
    const std::string answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
    ASSERT_GT(write(peer, answer.data(), answer.size()), 0);
    close(peer);
  });
  const RedisUrl url =
      parse_redis_url("redis://127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
  const auto [code, message] = error_of([&] { RedisClient client(url); });
  web.join();
  close(listener);
  EXPECT_EQ(code, ErrorCode::unsupported);
  EXPECT_TRUE(says(message, "not a Redis")) << message;
}

TEST(RedisClientTest, ADatabaseThatIsNotThereIsSaid) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisUrl url = server.url();
  url.db = 99;
  const auto [code, message] = error_of([&] { RedisClient client(url); });
  EXPECT_TRUE(says(message, "SELECT 99")) << message;
}

TEST(RedisClientTest, AClusterIsRefused) {
  VKB_NEEDS_REDIS();
  const RedisServer server({"--cluster-enabled", "yes"});
  const auto [code, message] = error_of([&] { RedisClient client(server.url()); });
  EXPECT_EQ(code, ErrorCode::unsupported);
  EXPECT_TRUE(says(message, "Cluster")) << message;
}

#ifndef VKB_HIREDIS_TLS
TEST(RedisClientTest, TlsWithoutTheLibraryIsSaid) {
  const auto [code, message] =
      error_of([] { RedisClient client(parse_redis_url("rediss://:secret@localhost")); });
  EXPECT_EQ(code, ErrorCode::unsupported);
  EXPECT_TRUE(says(message, "TLS") && !says(message, "secret")) << message;
}
#endif

TEST(RedisClientTest, ALostConnectionIsMadeAgain) {
  VKB_NEEDS_REDIS();
  const RedisServer server;
  RedisClient client = client_of(server);
  const std::string instance = client.instance();
  client_of(server).command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  EXPECT_EQ(client.command({"PING"}).text, "PONG");
  EXPECT_EQ(client.instance(), instance);
}

TEST(RedisClientTest, ARestartedServerIsWaitedForAndNoticed) {
  VKB_NEEDS_REDIS();
  RedisServer server;
  RedisClient client = client_of(server, std::chrono::seconds(20));
  const std::string instance = client.instance();
  server.kill_now();
  std::thread restart([&] { server.start(); });
  EXPECT_EQ(client.command({"PING"}).text, "PONG");
  restart.join();
  EXPECT_NE(client.instance(), instance);
}

TEST(RedisClientTest, AServerThatStaysAwayIsGivenUp) {
  VKB_NEEDS_REDIS();
  RedisServer server;
  RedisClient client = client_of(server, milliseconds(250));
  server.kill_now();
  const auto [code, message] = error_of([&] { client.command({"PING"}); });
  EXPECT_EQ(code, ErrorCode::io_error);
  EXPECT_TRUE(says(message, "went away")) << message;
}

TEST(RedisClientTest, WaitingEndsWhenAskedToStop) {
  VKB_NEEDS_REDIS();
  RedisServer server;
  RedisClient client(server.url(),
                     {.retry_for = std::chrono::hours(1), .stopped = [] { return true; }});
  server.kill_now();
  EXPECT_EQ(error_of([&] { client.command({"PING"}); }).first, ErrorCode::io_error);
}

}  // namespace
}  // namespace vkb

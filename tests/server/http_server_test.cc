// SPDX-License-Identifier: Apache-2.0
#include "server/http_server.h"

#include <gtest/gtest.h>

#include <latch>
#include <semaphore>

#include "storage/error.h"
#include "tests/server/http_client.h"

namespace vkb {
namespace {

TEST(HttpServerTest, AnswersWithWhatTheHandlerGives) {
  RunningServer server({}, [](const HttpRequest& request) {
    EXPECT_EQ(request.content_type, "application/json");
    return HttpResponse{.status = 201, .body = "{}", .headers = {{"x-mine", "1"}}};
  });
  RawClient client(server.port());
  const Reply reply = client.ask(post_request("/a", "{}", "Content-Type: application/json\r\n"));
  EXPECT_EQ(reply.status, 201);
  EXPECT_EQ(reply.body, "{}");
  EXPECT_EQ(reply.header("content-type"), "application/json");
  EXPECT_EQ(reply.header("x-mine"), "1");
  EXPECT_NE(reply.header("date"), "");
  EXPECT_EQ(server.server().address(), "http://127.0.0.1:" + std::to_string(server.port()));
  EXPECT_TRUE(server.server().is_loopback());
}

TEST(HttpServerTest, PathQueryAndBodyReachTheHandler) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  EXPECT_EQ(client.ask(post_request("/a%20b/..%2f/?x=%41", "body")).body,
            "POST [a b] [../] [] ?x=%41  body");
}

TEST(HttpServerTest, AConnectionServesManyRequests) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  for (int i = 0; i < 50; ++i) {
    const std::string body(static_cast<std::size_t>(i * 1000), 'x');
    EXPECT_EQ(client.ask(post_request("/" + std::to_string(i), body)).body,
              "POST [" + std::to_string(i) + "] ?  " + body);
  }
}

TEST(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  std::string all;
  for (int i = 0; i < 20; ++i) {
    all += i % 2 == 0 ? get_request("/" + std::to_string(i))
                      : post_request("/" + std::to_string(i), std::string(10, 'b'));
  }
  client.send(all);
  for (int i = 0; i < 20; ++i) {
    EXPECT_NE(client.receive().body.find("[" + std::to_string(i) + "]"), std::string::npos);
  }
}

TEST(HttpServerTest, ARequestMayArriveByteByByte) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  for (const char c : post_request("/a", "slowly")) client.send({&c, 1});
  EXPECT_EQ(client.receive().body, "POST [a] ?  slowly");
}

TEST(HttpServerTest, ChunkedBodiesAreJoined) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  const std::string head = "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(client.ask(head + "3\r\nabc\r\n5;ext=1\r\ndefgh\r\n0\r\n\r\n").body,
            "POST [a] ?  abcdefgh");
  // A trailer is read and dropped, and the connection goes on.
  EXPECT_EQ(client.ask(head + "1\r\nx\r\n0\r\nAuthorization: Bearer no\r\n\r\n").body,
            "POST [a] ?  x");
  for (const char c : head + "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n") client.send({&c, 1});
  EXPECT_EQ(client.receive().body, "POST [a] ?  abc");
}

TEST(HttpServerTest, Http10ClosesUnlessAskedNotTo) {
  RunningServer server({}, echo);
  RawClient once(server.port());
  EXPECT_EQ(once.ask("GET /a HTTP/1.0\r\n\r\n").body, "GET [a] ?  ");
  EXPECT_TRUE(once.is_closed());
  RawClient kept(server.port());
  EXPECT_EQ(kept.ask("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").header("connection"),
            "keep-alive");
  EXPECT_EQ(kept.ask("GET /b HTTP/1.0\r\n\r\n").status, 200);
}

TEST(HttpServerTest, ConnectionCloseIsObeyed) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  EXPECT_EQ(client.ask(get_request("/a", "Connection: close\r\n")).header("connection"), "close");
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpServerTest, HeadHasTheLengthAndNoBody) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + get_request("/b"));
  EXPECT_EQ(client.receive(true).header("content-length"), "11");
  EXPECT_EQ(client.receive().body, "GET [b] ?  ");
}

TEST(HttpServerTest, ContinueIsSentBeforeTheBody) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  const std::string request = post_request("/a", "body", "Expect: 100-continue\r\n");
  EXPECT_EQ(client.ask(request.substr(0, request.size() - 4)).status, 100);
  EXPECT_EQ(client.ask("body").body, "POST [a] ?  body");
  EXPECT_EQ(client.ask(post_request("/a", "x", "Expect: miracles\r\n")).status, 417);
}

TEST(HttpServerTest, WhatAHandlerThrowsIsAnswered) {
  RunningServer server({}, [](const HttpRequest& request) -> HttpResponse {
    if (request.path[0] == "missing") throw Error(ErrorCode::not_found, "no \xFF such");
    if (request.path[0] == "refused") throw ApiError(403, "Reset is disabled by config");
    if (request.path[0] == "busy") throw Error(ErrorCode::busy, "held");
    throw std::out_of_range("surprise");
  });
  RawClient client(server.port());
  const Reply missing = client.ask(get_request("/missing"));
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.body, "{\"error\":\"NotFoundError\",\"message\":\"no \xEF\xBF\xBD such\"}");
  EXPECT_EQ(missing.header("chroma-trace-id"), "00000000000000000000000000000000");
  EXPECT_EQ(client.ask(get_request("/refused")).body,
            R"({"error":"ChromaError","message":"Reset is disabled by config"})");
  EXPECT_EQ(client.ask(get_request("/busy")).status, 503);
  const Reply other = client.ask(get_request("/other"));
  EXPECT_EQ(other.status, 500);
  EXPECT_EQ(other.body, R"({"error":"InternalError","message":"surprise"})");
}

TEST(HttpServerTest, AnEmptyAnswerHasNoContentType) {
  RunningServer server({}, [](const HttpRequest&) { return HttpResponse{.status = 404}; });
  RawClient client(server.port());
  const Reply reply = client.ask(get_request("/a"));
  EXPECT_EQ(reply.header("content-type"), "");
  EXPECT_EQ(reply.header("content-length"), "0");
  EXPECT_EQ(reply.header("chroma-trace-id").size(), 32U);
}

TEST(HttpServerTest, LargeBodiesGoBothWays) {
  RunningServer server(
      {}, [](const HttpRequest& request) { return HttpResponse{.body = request.body}; });
  std::string body = filler(30'000'000);
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>('a' + i % 23);
  RawClient client(server.port());
  std::jthread sender([&] { client.send(post_request("/a", body)); });
  EXPECT_TRUE(client.receive().body == body);
}

TEST(HttpServerTest, AClientThatHalfClosesGetsItsAnswer) {
  RunningServer server({}, echo);
  RawClient client(server.port());
  client.send(get_request("/a"));
  client.finish_sending();
  EXPECT_EQ(client.receive().body, "GET [a] ?  ");
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpServerTest, AFullLaneIsRefusedAndProbesGoOn) {
  std::counting_semaphore<> entered(0);
  std::counting_semaphore<> leave(0);
  HttpOptions options;
  options.workers = 1;
  options.queue_limit = 1;
  RunningServer server(options, [&](const HttpRequest& request) {
    if (request.path.back() == "add") {
      entered.release();
      leave.acquire();
    }
    return HttpResponse{.body = "done"};
  });
  RawClient working(server.port());
  working.send(post_request("/c/add", "{}"));
  entered.acquire();
  // One of these waits in the queue, the others find it full.
  std::vector<RawClient> others;
  for (int i = 0; i < 4; ++i) {
    others.emplace_back(server.port());
    others.back().send(post_request("/c/add", "{}"));
  }
  RawClient probe(server.port());
  EXPECT_EQ(probe.ask(get_request("/api/v2/heartbeat")).body, "done");
  RawClient reader(server.port());
  EXPECT_EQ(reader.ask(post_request("/c/query", "{}")).body, "done");
  leave.release(2);
  EXPECT_EQ(working.receive().body, "done");
  int refused = 0;
  for (RawClient& other : others) {
    const Reply reply = other.receive();
    if (reply.status == 503) {
      ++refused;
      EXPECT_EQ(reply.body,
                R"({"error":"ChromaError","message":"too many requests are waiting; try again"})");
      EXPECT_EQ(reply.header("retry-after"), "1");
    }
  }
  EXPECT_EQ(refused, 3);
}

TEST(HttpServerTest, StoppingFinishesRequestsInProgressAndClosesIdleConnections) {
  std::latch entered(1);
  std::latch leave(1);
  auto server = std::make_unique<RunningServer>(HttpOptions{}, [&](const HttpRequest& request) {
    if (request.path[0] == "slow") {
      entered.count_down();
      leave.wait();
    }
    return HttpResponse{.body = "finished"};
  });
  RawClient idle(server->port());
  EXPECT_EQ(idle.ask(get_request("/a")).body, "finished");
  RawClient silent(server->port());
  RawClient half(server->port());
  half.send("GET /a HT");
  RawClient slow(server->port());
  slow.send(get_request("/slow"));
  entered.wait();
  const std::uint16_t port = server->port();
  std::jthread stopper([&] { server->stop(); });
  EXPECT_TRUE(idle.is_closed());
  EXPECT_TRUE(silent.is_closed());
  EXPECT_TRUE(half.is_closed());
  EXPECT_THROW(RawClient late(port), std::runtime_error);
  leave.count_down();
  const Reply reply = slow.receive();
  EXPECT_EQ(reply.body, "finished");
  EXPECT_EQ(reply.header("connection"), "close");
  EXPECT_TRUE(slow.is_closed());
}

TEST(HttpServerTest, StoppingCutsOffWhatTakesTooLong) {
  HttpOptions options;
  options.stop_timeout = std::chrono::milliseconds(50);
  RunningServer server(options, echo);
  RawClient client(server.port());
  const std::string request = post_request("/a", "0123456789", "Expect: 100-continue\r\n");
  EXPECT_EQ(client.ask(request.substr(0, request.size() - 10)).status, 100);  // in progress
  server.stop();
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpServerTest, AnAddressThatIsTakenIsNamed) {
  RunningServer server({}, echo);
  HttpOptions options;
  options.port = server.port();
  try {
    const HttpServer second(options, echo);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io_error);
    EXPECT_EQ(std::string(error.what()), "cannot listen on 127.0.0.1 port " +
                                             std::to_string(options.port) +
                                             ": Address already in use");
  }
  options.host = "no.such.host.invalid";
  EXPECT_THROW(HttpServer(options, echo), Error);
}

}  // namespace
}  // namespace vkb

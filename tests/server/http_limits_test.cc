// SPDX-License-Identifier: Apache-2.0
//
// What does not keep to the limits ends, and does not stand in the way of others.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>

#include "server/metrics.h"
#include "tests/server/http_client.h"

namespace vkb {
namespace {

using std::chrono::milliseconds;

// Times are only made short where a test waits for their end: others must not depend on a machine's
// speed.
HttpOptions small_limits() {
  HttpOptions options;
  options.max_body_bytes = 1000;
  options.max_header_bytes = 2000;
  return options;
}

const std::string kAdd = "/api/v2/tenants/t/databases/d/collections/c/add";
const std::string kGet = "/api/v2/tenants/t/databases/d/collections/c/get";

// Counts what reaches the handler.
struct Counting {
  std::atomic<int> calls{0};
  HttpHandler handler() {
    return [this](const HttpRequest& request) {
      ++calls;
      return echo(request);
    };
  }
};

TEST(HttpLimitsTest, AnAnnouncedLargeBodyIsRefusedBeforeItIsRead) {
  Counting counting;
  RunningServer server(small_limits(), counting.handler());
  const std::string head = " HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n";
  RawClient add(server.port());
  const Reply plain = add.ask("POST " + kAdd + head);
  EXPECT_EQ(plain.status, 413);
  EXPECT_EQ(plain.body, "Payload too large");
  EXPECT_EQ(plain.header("content-type"), "");
  EXPECT_EQ(plain.header("connection"), "close");
  EXPECT_EQ(plain.header("chroma-trace-id").size(), 32U);
  RawClient get(server.port());
  EXPECT_EQ(get.ask("POST " + kGet + head).body,
            R"({"error":"ChromaError","message":"Failed to buffer the request body: length limit )"
            R"(exceeded"})");
  RawClient huge(server.port());
  EXPECT_EQ(huge.ask("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n")
                .status,
            413);
  EXPECT_EQ(counting.calls, 0);
}

TEST(HttpLimitsTest, ABodyAtTheLimitIsTaken) {
  RunningServer server(small_limits(), echo);
  RawClient client(server.port());
  EXPECT_EQ(client.ask(post_request("/a", std::string(1000, 'x'))).status, 200);
  EXPECT_EQ(client.ask(post_request("/a", std::string(1001, 'x'))).status, 413);
}

TEST(HttpLimitsTest, AClientThatSendsAllFirstStillReadsItsRefusal) {
  RunningServer server(small_limits(), echo);
  RawClient client(server.port());
  EXPECT_TRUE(client.send(post_request(kAdd, filler(20'000'000))));
  EXPECT_EQ(client.receive().status, 413);
}

TEST(HttpLimitsTest, AChunkedBodyIsCutOffAtTheLimit) {
  Counting counting;
  RunningServer server(small_limits(), counting.handler());
  const std::string head =
      "POST " + kAdd + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  RawClient announced(server.port());
  EXPECT_EQ(announced.ask(head + "3e9\r\n").status, 413);
  RawClient in_pieces(server.port());
  std::string pieces = head;
  for (int i = 0; i < 11; ++i) pieces += "64\r\n" + std::string(100, 'x') + "\r\n";
  EXPECT_EQ(in_pieces.ask(pieces).body, "Payload too large");
  RawClient endless_extension(server.port());
  EXPECT_EQ(endless_extension.ask(head + "1;" + std::string(100'000, 'x')).status, 400);
  RawClient endless_trailer(server.port());
  EXPECT_EQ(endless_trailer.ask(head + "0\r\na: " + std::string(100'000, 'x')).status, 400);
  EXPECT_EQ(counting.calls, 0);
}

TEST(HttpLimitsTest, ALongHeaderIsRefused) {
  RunningServer server(small_limits(), echo);
  RawClient one(server.port());
  EXPECT_EQ(one.ask(get_request("/a", "X: " + std::string(3000, 'x') + "\r\n")).status, 431);
  RawClient many(server.port());
  std::string headers;
  for (int i = 0; i < 500; ++i) headers += "X" + std::to_string(i) + ": y\r\n";
  EXPECT_EQ(many.ask(get_request("/a", headers)).status, 431);
  RawClient target(server.port());
  EXPECT_EQ(target.ask(get_request("/" + std::string(3000, 'x'))).status, 431);
  RawClient endless(server.port());
  EXPECT_EQ(endless.ask("GET /" + std::string(100'000, 'x')).status, 431);
  EXPECT_TRUE(endless.is_closed());
}

TEST(HttpLimitsTest, AHeaderThatDripsIsCutOff) {
  Counting counting;
  HttpOptions options = small_limits();
  options.header_timeout = milliseconds(100);
  options.max_header_bytes = 100'000'000;
  RunningServer server(options, counting.handler());
  RawClient client(server.port());
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n");
  // Each byte would renew a limit that is not absolute.
  std::jthread dripping([&client](const std::stop_token& stop) {
    while (!stop.stop_requested() && client.send("x")) std::this_thread::yield();
  });
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(counting.calls, 0);
}

TEST(HttpLimitsTest, ABodyThatDoesNotComeIsCutOff) {
  HttpOptions options = small_limits();
  options.body_timeout = milliseconds(100);
  RunningServer server(options, echo);
  RawClient length(server.port());
  length.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123");
  RawClient chunked(server.port());
  chunked.send("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12");
  EXPECT_TRUE(length.is_closed());
  EXPECT_TRUE(chunked.is_closed());
}

TEST(HttpLimitsTest, IdleConnectionsEnd) {
  HttpOptions options;
  options.idle_timeout = milliseconds(500);
  RunningServer server(options, echo);
  RawClient used(server.port());
  EXPECT_EQ(used.ask(get_request("/a")).status, 200);
  RawClient silent(server.port());
  EXPECT_TRUE(used.is_closed());
  EXPECT_TRUE(silent.is_closed());
}

TEST(HttpLimitsTest, AReaderThatDoesNotReadIsCutOff) {
  Metrics metrics({}, [] { return StoreGauges{}; });
  HttpOptions options = small_limits();
  options.body_timeout = milliseconds(100);
  options.slowest_bytes_per_second = 1'000'000'000;
  options.metrics = &metrics;
  RunningServer server(options, [](const HttpRequest&) {
    return HttpResponse{.body = filler(50'000'000)};  // fits into no socket's buffer
  });
  RawClient client(server.port());
  client.send(get_request("/a"));
  const auto has = [&metrics](const char* line) {
    return metrics.text().find(line) != std::string::npos;
  };
  while (!has("vkb_requests_total{operation=\"other\",status=\"200\"} 1\n")) {
    std::this_thread::yield();
  }
  while (!has("vkb_connections 0\n")) std::this_thread::yield();
}

TEST(HttpLimitsTest, MoreConnectionsThanAllowedAreToldSo) {
  HttpOptions options;
  options.max_connections = 2;
  RunningServer server(options, echo);
  RawClient first(server.port());
  RawClient second(server.port());
  EXPECT_EQ(first.ask(get_request("/a")).status, 200);
  EXPECT_EQ(second.ask(get_request("/a")).status, 200);
  RawClient third(server.port());
  const Reply reply = third.ask(get_request("/a"));
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.body, R"({"error":"ChromaError","message":"too many connections; retry"})");
  EXPECT_TRUE(third.is_closed());
  EXPECT_EQ(first.ask(get_request("/b")).status, 200);
}

TEST(HttpLimitsTest, BodiesInFlightAreBounded) {
  HttpOptions options;
  options.max_bytes_in_flight = 1'000'000;
  RunningServer server(options, [](const HttpRequest& request) {
    return HttpResponse{.body = request.path[0] == "large" ? std::string(2'000'000, 'x') : "small"};
  });
  RawClient writer(server.port());
  EXPECT_EQ(writer.ask(post_request("/a", std::string(1'000'001, 'x'))).status, 503);
  RawClient reader(server.port());
  EXPECT_EQ(reader.ask(get_request("/large")).status, 503);
  // What was held is given back.
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(reader.ask(post_request("/a", std::string(900'000, 'x'))).body, "small");
  }
}

TEST(HttpLimitsTest, IdleConnectionsByTheThousandAreServedBesideBusyOnes) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  ASSERT_GT(limit.rlim_cur, 3000U);
  RunningServer server({}, echo);
  std::vector<RawClient> idle;
  for (int i = 0; i < 1200; ++i) {
    idle.emplace_back(server.port());
    ASSERT_EQ(idle.back().ask(get_request("/idle")).status, 200);
  }
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> busy;
    busy.reserve(8);
    for (int i = 0; i < 8; ++i) {
      busy.emplace_back([&] {
        RawClient client(server.port());
        for (int j = 0; j < 100; ++j) {
          if (client.ask(post_request("/busy", "x")).body == "POST [busy] ?  x") ++right;
        }
      });
    }
  }
  EXPECT_EQ(right, 800);
  for (RawClient& client : idle) ASSERT_EQ(client.ask(get_request("/again")).status, 200);
}

struct Malformed {
  const char* name;
  std::string bytes;
  int status;
};
std::ostream& operator<<(std::ostream& out, const Malformed& malformed) {
  return out << malformed.name;
}

class MalformedTest : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedTest, IsRefusedAndTheConnectionEnds) {
  Counting counting;
  RunningServer server(small_limits(), counting.handler());
  RawClient client(server.port());
  client.send(GetParam().bytes + get_request("/smuggled"));
  EXPECT_EQ(client.receive().status, GetParam().status);
  client.finish_sending();
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(counting.calls, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Http, MalformedTest,
    ::testing::Values(
        Malformed{"NoHttp", "hello\r\n\r\n", 400},
        Malformed{"Binary", std::string("\x16\x03\x01\x00\xf0\x01\x00", 7) + "\r\n\r\n", 400},
        Malformed{"Http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
        Malformed{"Http09", "GET /\r\n\r\n", 400},
        Malformed{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        Malformed{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        Malformed{"SpaceBeforeColon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
        Malformed{"HeaderWithNul", std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 28), 400},
        Malformed{"BadLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400},
        Malformed{"NegativeLength", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                  400},
        Malformed{"TwoLengths",
                  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                  400},
        Malformed{
            "LengthAndChunked",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            "0\r\n\r\n",
            400},
        Malformed{
            "ChunkedAndLength",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
            "0\r\n\r\n",
            400},
        Malformed{"OtherCoding",
                  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400},
        Malformed{"HiddenCoding",
                  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400},
        Malformed{"ChunkedIn10", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                  400},
        Malformed{"BadChunk",
                  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
        Malformed{"ChunkTooLong",
                  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "2\r\nabc\r\n0\r\n\r\n",
                  400},
        Malformed{"HugeChunk",
                  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "fffffffffffffffff\r\n",
                  400},
        Malformed{"TwoCredentials",
                  "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n"
                  "Content-Length: 1\r\n\r\n",
                  400},
        Malformed{"BadEscape", "POST /%zz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", 400}),
    [](const auto& each) { return each.param.name; });

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// A server on a free loopback port, and a client that sends bytes as they are given.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "server/http_server.h"

namespace vkb {

// Serves until it is destroyed.
class RunningServer {
 public:
  RunningServer(HttpOptions options, HttpHandler handler)
      : server_(on_free_port(std::move(options)), std::move(handler)),
        thread_([this] { server_.run(); }) {}
  ~RunningServer() { server_.stop(); }
  RunningServer(const RunningServer&) = delete;
  RunningServer& operator=(const RunningServer&) = delete;
  std::uint16_t port() const { return server_.port(); }
  HttpServer& server() { return server_; }
  // Returns when the server has ended.
  void stop() {
    server_.stop();
    thread_.join();
  }

 private:
  static HttpOptions on_free_port(HttpOptions options) {
    options.port = 0;
    return options;
  }
  HttpServer server_;
  std::jthread thread_;
};

struct Reply {
  int status = 0;
  std::string head;  // with lower-case names
  std::string body;
  // The value of a header, "" when it is not there.
  std::string header(std::string_view name) const {
    const std::string wanted = "\r\n" + std::string(name) + ": ";
    const std::size_t at = head.find(wanted);
    if (at == std::string::npos) return "";
    const std::size_t begin = at + wanted.size();
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

// Every receiving call gives up after 20 s, so that a server that hangs fails a test.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("cannot connect");
    }
  }
  ~RawClient() {
    if (fd_ >= 0) close(fd_);
  }
  RawClient(RawClient&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), text_(std::move(other.text_)) {}
  RawClient& operator=(RawClient&&) = delete;

  int fd() const { return fd_; }
  // Returns whether all was sent: a server may close before.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  void finish_sending() { shutdown(fd_, SHUT_WR); }
  // The next reply; status 0 when the connection ended before.
  Reply receive(bool is_head = false) {
    Reply reply;
    std::size_t end = 0;
    while ((end = text_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return reply;
    }
    reply.head = text_.substr(0, end + 2);
    text_.erase(0, end + 4);
    if (reply.head.size() < 12) throw std::runtime_error("no HTTP reply: " + reply.head);
    reply.status = std::stoi(reply.head.substr(9, 3));
    lower_names(reply.head);
    if (is_head || reply.status == 100) return reply;
    const std::string length = reply.header("content-length");
    if (length.empty()) throw std::runtime_error("no length: " + reply.head);
    while (text_.size() < std::stoul(length)) {
      if (!fill()) throw std::runtime_error("the body ended early");
    }
    reply.body = text_.substr(0, std::stoul(length));
    text_.erase(0, std::stoul(length));
    return reply;
  }
  Reply ask(std::string_view bytes) {
    send(bytes);
    return receive();
  }
  // True when the server closes the connection and sends nothing more.
  bool is_closed() {
    if (!text_.empty()) return false;
    return !fill() && !timed_out_;
  }
  // True when the server closes the connection, whatever it sends before.
  bool is_closed_after_anything() {
    while (fill()) {
    }
    return !timed_out_;
  }

 private:
  bool fill() {
    char buffer[65536];
    const ssize_t count = recv(fd_, buffer, sizeof buffer, 0);
    timed_out_ = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (count <= 0) return false;
    text_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }
  static void lower_names(std::string& head) {
    bool in_name = true;
    for (char& c : head) {
      if (c == '\n') in_name = true;
      if (c == ':') in_name = false;
      if (in_name && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
  }
  int fd_;
  bool timed_out_ = false;
  std::string text_;  // received, not yet given out
};

inline std::string get_request(std::string_view target, std::string_view headers = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(headers) +
         "\r\n";
}
inline std::string post_request(std::string_view target, std::string_view body,
                                std::string_view headers = "") {
  return "POST " + std::string(target) +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(headers) + "\r\n" + std::string(body);
}

inline std::string filler(std::size_t size) { return std::string(size, 'x'); }

// A handler that tells what it was asked.
inline HttpResponse echo(const HttpRequest& request) {
  std::string text = request.method;
  for (const std::string& segment : request.path) text += " [" + segment + "]";
  text += " ?" + request.query + " " + request.user + " " + request.body;
  return {.body = text, .content_type = "text/plain", .operation = "echo"};
}

}  // namespace vkb

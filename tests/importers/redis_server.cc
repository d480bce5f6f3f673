// SPDX-License-Identifier: Apache-2.0
#include "tests/importers/redis_server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "engine/vkb.h"

extern char** environ;

namespace vkb {
namespace {

std::string find_program() {
  for (const char* path : {"/usr/bin/redis-server", "/usr/local/bin/redis-server"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return "";
}

}  // namespace

bool RedisServer::installed() { return !find_program().empty(); }

RedisServer::RedisServer(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {
  signal(SIGPIPE, SIG_IGN);
  std::string pattern = "/tmp/vkb-redis-XXXXXX";  // short: a socket's path has at most 107 bytes
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  directory_ = pattern;
  start();
}

RedisServer::~RedisServer() {
  stop();
  std::filesystem::remove_all(directory_);
}

RedisUrl RedisServer::url() const {
  RedisUrl url;
  url.path = directory_ + "/redis.sock";
  return url;
}

void RedisServer::start() {
  std::vector<std::string> words = {
      find_program(), "--port", "0", "--unixsocket", directory_ + "/redis.sock", "--dir",
      directory_,     "--save", "",  "--logfile",    directory_ + "/redis.log"};
  words.insert(words.end(), arguments_.begin(), arguments_.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  // Its output goes to its log: were it ours, a server left by a crashed test would keep whoever
  // reads our output waiting.
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
  }
  const int failure = posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) throw std::runtime_error("redis-server cannot be started");
  // Another process: that it answers is all there is to wait for. Its socket is there before.
  for (int i = 0; i < 1000; ++i) {
    try {
      RedisClient(url(), {.retry_for = std::chrono::milliseconds(0)});
      return;
    } catch (const Error& error) {
      // One that wants a password, or refuses what a client asks first, answers too.
      if (std::string_view(error.what()).find("cannot reach") == std::string_view::npos) return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void RedisServer::kill_now() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
  std::filesystem::remove(url().path);
}

void RedisServer::stop() {
  if (pid_ == 0) return;
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

RedisClient client_of(const RedisServer& server, std::chrono::milliseconds retry_for) {
  return RedisClient(server.url(), {.retry_for = retry_for});
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/crash/workload.h"

namespace vkb {

// What a worker told before it died.
struct Told {
  std::uint64_t begun = 0;
  std::uint64_t done = 0;
  std::string outcomes{};  // 'a' or 'e' for each operation that ended
  int status = 0;
  bool killed_from_outside = false;
};

// Runs crash_worker.cc's program, which dies by itself at the `nth` `point`, or is killed when
// is_time(told) after something it told. last: as the program's argument, when given.
template <typename IsTime>
Told run_worker(const char* program, const std::string& directory, std::uint64_t seed,
                std::uint64_t first, const WorkloadSize& size, const std::string& point,
                std::uint64_t nth, const IsTime& is_time, const std::string& last = {}) {
  const std::string seed_text = std::to_string(seed);
  const std::string first_text = std::to_string(first);
  const std::string nth_text = std::to_string(nth);
  const char* const size_text = size.ids == kLargeWorkload.ids ? "large" : "small";
  std::vector<const char*> arguments = {
      program,   directory.c_str(), seed_text.c_str(), first_text.c_str(),
      size_text, point.c_str(),     nth_text.c_str()};
  if (!last.empty()) arguments.push_back(last.c_str());
  arguments.push_back(nullptr);
  std::array<int, 2> pipe{};
  if (::pipe(pipe.data()) != 0) throw std::runtime_error("no pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addclose(&actions, pipe[0]);
  ::posix_spawn_file_actions_addclose(&actions, pipe[1]);
  ::pid_t worker = 0;
  const int error = ::posix_spawn(&worker, program, &actions, nullptr,
                                  const_cast<char* const*>(arguments.data()), ::environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(pipe[1]);
  if (error != 0) throw std::runtime_error("cannot start the worker");
  Told told;
  char what = 0;
  while (::read(pipe[0], &what, 1) == 1) {
    if (what == 'b') {
      ++told.begun;
    } else {
      ++told.done;
      told.outcomes += what;
    }
    if (told.killed_from_outside || !is_time(told)) continue;
    ::kill(worker, SIGKILL);
    told.killed_from_outside = true;
  }
  ::close(pipe[0]);
  ::waitpid(worker, &told.status, 0);
  return told;
}

}  // namespace vkb

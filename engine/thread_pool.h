// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vkb {

// Threads that run tasks in the order they came. The destructor drops tasks not yet begun.
// Thread safety: all methods.
class ThreadPool {
 public:
  // As many threads as the machine runs at once, or as the system has; none is started before the
  // first task. Where there is none, run() does the task itself.
  ThreadPool();
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void run(std::function<void()> task);
  // Tasks queued or running.
  std::size_t unfinished() const;
  // Waits until at most `count` tasks are unfinished, or `milliseconds` have passed; returns
  // whether they are. Rethrows the first error of a task; the tasks behind it are dropped.
  bool wait(std::size_t count = 0, int milliseconds = -1);

 private:
  void start_threads();
  void work();
  // Takes the first task and does it, without the lock meanwhile.
  void do_task(std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;
  std::condition_variable wakes_;
  std::condition_variable rests_;
  std::deque<std::function<void()>> tasks_;  // guarded by mutex_, as all below
  std::size_t running_ = 0;
  bool closing_ = false;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "server/http_message.h"

namespace vkb {

// Threads that run what may block, by lane: one for probes and one for passwords, `threads` each
// for reads and for writes. A lane that is full does not hold up the others.
// Thread safety: submit() from any thread.
class WorkerPool {
 public:
  using Task = std::function<void()>;  // must not throw
  WorkerPool(std::size_t threads, std::size_t queue_limit);
  // Runs what is queued, then ends.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Returns false, without keeping the task, when `queue_limit` tasks of the lane are waiting.
  bool submit(Lane lane, Task task);

 private:
  struct Queue {
    std::mutex mutex;
    std::condition_variable filled;
    std::deque<Task> tasks;
    bool closed = false;
  };
  void add_threads(Lane lane, std::size_t count);
  void close() noexcept;
  static void run(Queue& queue);

  std::size_t queue_limit_;
  std::array<Queue, kLaneCount> queues_;
  std::vector<std::jthread> threads_;
};

}  // namespace vkb

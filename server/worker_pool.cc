// SPDX-License-Identifier: Apache-2.0
#include "server/worker_pool.h"

#include <utility>

#include "storage/start_thread.h"

namespace vkb {

WorkerPool::WorkerPool(std::size_t threads, std::size_t queue_limit) : queue_limit_(queue_limit) {
  try {
    add_threads(Lane::probe, 1);
    add_threads(Lane::password, 1);
    add_threads(Lane::read, threads);
    add_threads(Lane::write, threads);
  } catch (...) {
    close();
    throw;
  }
}

WorkerPool::~WorkerPool() { close(); }

void WorkerPool::add_threads(Lane lane, std::size_t count) {
  Queue& queue = queues_[static_cast<std::size_t>(lane)];
  for (std::size_t i = 0; i < count; ++i) {
    threads_.push_back(start_thread("a server with so many workers", [&queue] {
      return std::jthread([&queue] { run(queue); });
    }));
  }
}

void WorkerPool::close() noexcept {
  for (Queue& queue : queues_) {
    const std::lock_guard<std::mutex> lock(queue.mutex);
    queue.closed = true;
    queue.filled.notify_all();
  }
  threads_.clear();  // joins
}

bool WorkerPool::submit(Lane lane, Task task) {
  Queue& queue = queues_[static_cast<std::size_t>(lane)];
  const std::lock_guard<std::mutex> lock(queue.mutex);
  if (queue.tasks.size() >= queue_limit_) return false;
  queue.tasks.push_back(std::move(task));
  queue.filled.notify_one();
  return true;
}

void WorkerPool::run(Queue& queue) {
  for (;;) {
    Task task;
    {
      std::unique_lock<std::mutex> lock(queue.mutex);
      queue.filled.wait(lock, [&queue] { return queue.closed || !queue.tasks.empty(); });
      if (queue.tasks.empty()) return;
      task = std::move(queue.tasks.front());
      queue.tasks.pop_front();
    }
    task();
  }
}

}  // namespace vkb

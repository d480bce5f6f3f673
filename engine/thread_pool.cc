// SPDX-License-Identifier: Apache-2.0
#include "engine/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace vkb {

ThreadPool::ThreadPool() = default;

ThreadPool::~ThreadPool() {
  {
    const std::scoped_lock lock(mutex_);
    closing_ = true;
    tasks_.clear();
  }
  wakes_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::run(std::function<void()> task) {
  const std::scoped_lock lock(mutex_);
  if (error_) return;
  if (threads_.empty()) {
    const unsigned count = std::max(1U, std::thread::hardware_concurrency());
    threads_.reserve(count);
    for (unsigned i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
  }
  tasks_.push_back(std::move(task));
  wakes_.notify_one();
}

std::size_t ThreadPool::unfinished() const {
  const std::scoped_lock lock(mutex_);
  return tasks_.size() + running_;
}

bool ThreadPool::wait(std::size_t count, int milliseconds) {
  std::unique_lock lock(mutex_);
  const auto rested = [&] { return tasks_.size() + running_ <= count; };
  if (milliseconds < 0) {
    rests_.wait(lock, rested);
  } else {
    rests_.wait_for(lock, std::chrono::milliseconds(milliseconds), rested);
  }
  if (error_ && running_ == 0) std::rethrow_exception(std::exchange(error_, nullptr));
  return rested();
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wakes_.wait(lock, [this] { return closing_ || !tasks_.empty(); });
    if (closing_) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    ++running_;
    lock.unlock();
    std::exception_ptr error;
    try {
      task();
    } catch (...) {
      error = std::current_exception();
    }
    task = nullptr;
    lock.lock();
    --running_;
    if (error) {
      if (!error_) error_ = error;
      tasks_.clear();
    }
    rests_.notify_all();
  }
}

}  // namespace vkb

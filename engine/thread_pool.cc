// SPDX-License-Identifier: Apache-2.0
#include "engine/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>
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
  std::unique_lock lock(mutex_);
  if (error_) return;
  if (threads_.empty()) start_threads();
  tasks_.push_back(std::move(task));
  if (threads_.empty()) {
    do_task(lock);
  } else {
    wakes_.notify_one();
  }
}

void ThreadPool::start_threads() {
  const unsigned count = std::max(1U, std::thread::hardware_concurrency());
  threads_.reserve(count);
  try {
    while (threads_.size() < count) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // The system has no more: the work takes longer, and that is all.
  }
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
    do_task(lock);
  }
}

void ThreadPool::do_task(std::unique_lock<std::mutex>& lock) {
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

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// Long work in a thread of its own, while the thread that began it does something else.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <utility>

#include "engine/vkb.h"

namespace vkb {

// Progress is called by the thread that asked for work (vkb.h), so what the work says of itself is
// kept until that thread waits for it. Thread safety: all but the work belongs to one thread.
template <typename Result>
class WorkBeside {
 public:
  // Begins `work`. The function it is given returns false when it is to stop.
  explicit WorkBeside(std::function<Result(const ProgressFunction&)> work)
      : result_(std::async(std::launch::async, [this, work = std::move(work)] {
          return work([this](const Progress& at) { return note(at); });
        })) {}
  ~WorkBeside() { stop(); }  // and waits, as a future of async() does
  WorkBeside(const WorkBeside&) = delete;
  WorkBeside& operator=(const WorkBeside&) = delete;

  void stop() {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
  }
  // Whether it was asked to stop, here or by a progress function.
  bool stopped() const {
    const std::scoped_lock lock(mutex_);
    return stopped_;
  }
  // Tells `progress` how far the work is, unless it has not said so yet or was asked to stop.
  void tell(const ProgressFunction& progress) {
    std::unique_lock lock(mutex_);
    if (!progress || !at_ || stopped_) return;
    const Progress at = *at_;
    lock.unlock();
    if (!progress(at)) stop();
  }
  // Waits for the end of the work, telling of it meanwhile.
  void wait(const ProgressFunction& progress) {
    while (result_.wait_for(kTellEvery) != std::future_status::ready) tell(progress);
  }
  // What the work returned, or threw. Once.
  Result take() { return result_.get(); }

 private:
  static constexpr std::chrono::milliseconds kTellEvery{200};

  bool note(const Progress& at) {
    const std::scoped_lock lock(mutex_);
    at_ = at;
    return !stopped_;
  }

  mutable std::mutex mutex_;
  std::optional<Progress> at_;  // guarded by mutex_, as below
  bool stopped_ = false;
  std::future<Result> result_;  // last: its thread uses the members above
};

}  // namespace vkb

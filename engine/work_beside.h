// SPDX-License-Identifier: Apache-2.0
//
// Long work in a thread of its own, while the thread that began it does something else.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "engine/vkb.h"

namespace vkb {

// std::async in a thread of its own; or, where the system has none, when its result is asked for.
// Not by both of its flags: libstdc++ has moved the work away when it turns to the second.
template <typename Work>
auto beside_or_later(Work work) {
  const auto kept = std::make_shared<Work>(std::move(work));
  const auto call = [kept] { return (*kept)(); };
  try {
    return std::async(std::launch::async, call);
  } catch (const std::system_error&) {
    return std::async(std::launch::deferred, call);
  }
}

// Progress is called by the thread that asked for work (vkb.h), so what the work says of itself is
// kept until that thread waits for it. Thread safety: all but the work belongs to one thread.
// Where the system has no thread for it, take() does the work.
template <typename Result>
class WorkBeside {
 public:
  // Begins `work`. The function it is given returns false when it is to stop.
  explicit WorkBeside(std::function<Result(const ProgressFunction&)> work)
      : result_(beside_or_later([this, work = std::move(work)] {
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
    while (result_.wait_for(kTellEvery) == std::future_status::timeout) tell(progress);
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

// SPDX-License-Identifier: Apache-2.0
#include "server/store_health.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/vkb.h"

namespace vkb {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLongest{1};
// A collection that was opened keeps its log in memory until its store is closed. So that many do
// not add up, the store is opened by itself, and anew after so many of them.
constexpr std::size_t kBatch = 100;

// Opens the collections from the one at `begin` on; returns where to go on, 0 after the last one.
std::size_t open_batch(const std::string& directory, std::size_t begin,
                       Clock::time_point deadline) {
  const Store store = Store::open(directory, {.read_only = true, .create = false});
  const std::vector<Collection> collections = store.all_collections();
  const std::size_t end = std::min(begin + kBatch, collections.size());
  for (std::size_t i = begin; i < end; ++i) {
    if (Clock::now() > deadline) return 0;
    try {
      collections[i].info(InfoDetail::segments);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;  // deleted meanwhile
    }
  }
  return end < collections.size() ? end : 0;
}

}  // namespace

StoreHealth::StoreHealth(std::string directory)
    : directory_(std::move(directory)), damage_(look()) {}

std::string StoreHealth::damage() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!damage_.empty()) damage_ = look();
  return damage_;
}

std::string StoreHealth::look() const {
  const Clock::time_point deadline = Clock::now() + kLongest;
  try {
    std::size_t next = 0;
    do {
      next = open_batch(directory_, next, deadline);
    } while (next != 0);
  } catch (const std::exception& error) {
    return std::string("the store is damaged or cannot be read: ") + error.what() +
           "; `vkb check` says more";
  }
  return "";
}

}  // namespace vkb

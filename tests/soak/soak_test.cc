// SPDX-License-Identifier: Apache-2.0
//
// One writer and four readers, each a process, at full speed for VKB_SOAK_SECONDS (5): every answer
// is one committed state, no older than what was acknowledged or seen before the call, through
// kills of either (R2, R3, R5-R7), and memory, descriptors, mappings, disk and log stay flat.
#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>

#include "engine/backup.h"
#include "tests/soak/soak_model.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kMegabyte = 1e6;
// Of ids, documents and embeddings: the store has codes, links and the indexes besides.
constexpr double kMostDiskFactor = 3;

struct Sample {
  double memory = 0;  // anonymous, in bytes
  double descriptors = 0;
  double mappings = 0;
};

Sample sample_of(::pid_t process) {
  const std::string proc = "/proc/" + std::to_string(process);
  Sample sample;
  std::ifstream status(proc + "/status");
  for (std::string word; status >> word;) {
    if (word == "RssAnon:" && status >> sample.memory) sample.memory *= 1024;
  }
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) ++sample.mappings;
  if (::DIR* folder = ::opendir((proc + "/fd").c_str())) {
    while (const ::dirent* entry = ::readdir(folder)) {
      if (entry->d_name[0] != '.') ++sample.descriptors;
    }
    ::closedir(folder);
  }
  return sample;
}

double disk_bytes(const std::string& directory) {
  double bytes = 0;
  std::error_code gone;  // files come and go
  for (std::filesystem::recursive_directory_iterator at(directory, gone), end; !gone && at != end;
       at.increment(gone)) {
    struct ::stat info {};
    if (::stat(at->path().c_str(), &info) == 0)
      bytes += 512.0 * static_cast<double>(info.st_blocks);
  }
  return bytes;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

// A process of the soak, and what it used as long as it lived.
class Worker {
 public:
  Worker(std::string role, const std::string& directory, const std::string& seconds)
      : role_(std::move(role)) {
    std::array<const char*, 5> arguments = {VKB_SOAK_WORKER, role_.c_str(), directory.c_str(),
                                            seconds.c_str(), nullptr};
    if (::posix_spawn(&process_, arguments[0], nullptr, nullptr,
                      const_cast<char* const*>(arguments.data()), ::environ) != 0) {
      throw std::runtime_error("cannot start a worker");
    }
  }
  ~Worker() { kill(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void sample() { samples_.push_back(sample_of(process_)); }
  const std::vector<Sample>& samples() const { return samples_; }
  void kill() {
    if (process_ == 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }
  void expect_success() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = 0;
    EXPECT_EQ(status, 0) << role_ << " failed; what it says is above";
  }
  // Whether it still runs, as it must until it is told to stop.
  bool runs() const {
    ::siginfo_t info{};
    return ::waitid(P_PID, static_cast<::id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) ==
               0 &&
           info.si_pid == 0;
  }

 private:
  std::string role_;
  ::pid_t process_ = 0;
  std::vector<Sample> samples_;
};

class Soak : public ::testing::Test {
 protected:
  Soak() {
    const char* asked = std::getenv("VKB_SOAK_SECONDS");
    if (asked != nullptr) seconds_ = std::atof(asked);
    start(kWriter);
  }

  void start(std::size_t i) {
    workers_[i] = std::make_unique<Worker>(i == kWriter ? "writer" : std::to_string(i),
                                           directory_.path(), std::to_string(seconds_));
  }
  bool all_run() const {
    return !page_.stop && std::all_of(workers_.begin(), workers_.end(), [](const auto& worker) {
      return worker == nullptr || worker->runs();
    });
  }
  static void wait(double seconds) { ::poll(nullptr, 0, static_cast<int>(seconds * 1000)); }

  void run() {
    while (page_.acknowledged < 2 * kSoakGroups && all_run()) wait(0.01);
    for (std::size_t i = 0; i < kSoakReaders; ++i) start(i);
    const auto begin = Clock::now();
    double next_kill = 0;
    double now = 0;
    for (; now < seconds_ && all_run(); now = since(begin)) {
      wait(std::min(1.0, seconds_ / 50));
      for (const auto& worker : workers_) worker->sample();
      disk_.push_back(disk_bytes(store_));
      struct ::stat log {};
      ::stat((store_ + "/vkb.sqlite3-wal").c_str(), &log);
      log_.push_back(static_cast<double>(log.st_size));
      if (now < next_kill || !all_run()) continue;
      next_kill = now + std::max(0.5, seconds_ / 60) * (1 + random_.real() / 2.0);
      // Readers 0 and 1 live all along, and the writer in the second half: to be measured.
      restart(2 + random_.below(2));
      if (now < seconds_ / 2) restart(kWriter);
    }
    page_.stop = true;
    for (const auto& worker : workers_) worker->expect_success();
    seconds_ = now;
  }

  void restart(std::size_t i) {
    workers_[i]->kill();
    ++kills_;
    start(i);
  }

  static double since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

  // In less there is nothing but the warm-up.
  bool is_measured() const { return seconds_ >= 100; }

  // After a warm-up of a fifth of the time: medians of the next fifth and of the last one.
  std::string expect_flat(const std::string& what, const std::vector<double>& values,
                          double most_growth, double unit) {
    const auto fifth = static_cast<std::ptrdiff_t>(values.size() / 5);
    if (fifth == 0) return what + " not measured";
    const double early = median({values.begin() + fifth, values.begin() + 2 * fifth});
    const double late = median({values.end() - fifth, values.end()});
    if (is_measured()) {
      EXPECT_LE(late, early * 1.1 + most_growth) << what;
    }
    std::array<char, 100> text{};
    std::snprintf(text.data(), text.size(), " %.1f -> %.1f", early / unit, late / unit);
    return what + text.data();
  }
  std::string expect_flat(std::size_t worker) {
    const auto of = [&](double Sample::*value) {
      std::vector<double> values;
      for (const Sample& sample : workers_[worker]->samples()) values.push_back(sample.*value);
      return values;
    };
    return expect_flat("memory, MB", of(&Sample::memory), 4 * kMegabyte, kMegabyte) +
           expect_flat(", descriptors", of(&Sample::descriptors), 4, 1) +
           expect_flat(", mappings", of(&Sample::mappings), 12, 1);
  }

  static constexpr std::size_t kWriter = kSoakReaders;
  double seconds_ = 5;
  TestRandom random_{other_seed(1)};
  const TempDirectory directory_;
  const std::string store_ = directory_.file("store");
  SoakPage& page_ = share_soak_page(directory_.file("page"));
  std::array<std::unique_ptr<Worker>, kSoakReaders + 1> workers_;
  int kills_ = 0;
  std::vector<double> disk_;
  std::vector<double> log_;
};

double bytes_of(const SoakState& state) {
  double bytes = 0;
  for (std::uint32_t group = 0; group < kSoakGroups; ++group) {
    if (!is_alive(state[group])) continue;
    for (const Record& record : soak_group(group, state[group])) {
      bytes += static_cast<double>(record.id.size() + record.document->size() +
                                   4 * record.embedding->size());
    }
  }
  return bytes;
}

TEST_F(Soak, EveryAnswerIsACommittedStateAndNothingGrows) {
  run();
  const std::string flat = "\nsoak: reader 0: " + expect_flat(0) +
                           "\nsoak: reader 1: " + expect_flat(1) +
                           "\nsoak: writer: " + expect_flat(kWriter) +
                           "\nsoak: " + expect_flat("disk, MB", disk_, 10 * kMegabyte, kMegabyte) +
                           expect_flat(", log, MB", log_, 10 * kMegabyte, kMegabyte);
  // What is there at the end is what was acknowledged, and takes no more than that needs.
  Store store = Store::open(store_);
  Collection collection = store.collection("soak");
  std::uint64_t commit = 0;
  EXPECT_EQ(identify_commit(page_, page_.acknowledged, collection, commit), "");
  collection.compact();
  EXPECT_TRUE(is_sound(store));
  const double live = bytes_of(state_after(page_, commit));
  const double disk = disk_bytes(store_);
  EXPECT_LE(disk, kMostDiskFactor * live);
  // So is the backup, of a state since its last completion.
  if (page_.backups > 0) {
    restore(directory_.file("backup"), directory_.file("restored"));
    const Store restored = Store::open(directory_.file("restored"));
    EXPECT_EQ(identify_commit(page_, page_.backed_up, restored.collection("soak"), commit), "");
    EXPECT_TRUE(is_sound(restored));
  }
  if (is_measured()) {
    for (const auto* count : {&page_.compactions, &page_.held_walks, &page_.passing_collections}) {
      EXPECT_GT(*count, 0u);
    }
  }
  EXPECT_LE(page_.missed_walks * 20, page_.walks + 100);
  std::uint64_t reads = 0;
  for (const auto& each : page_.reads) reads += each;
  std::cout << std::fixed << std::setprecision(1) << "soak: " << seconds_ / 60 << " minutes, "
            << page_.writing_calls << " writing calls, " << reads << " reads of " << kSoakReaders
            << " readers, " << kills_ << " kills, " << page_.compactions << " compactions, "
            << page_.backups << " backups, " << page_.held_walks << " long reads, "
            << (HasFailure() ? "ANOMALIES" : "0 anomalies") << flat << "\nsoak: after compaction "
            << disk / kMegabyte << " MB of disk for " << live / kMegabyte
            << " MB of live data\nsoak: " << page_.missed_walks << " of " << page_.walks
            << " walks did not begin with the nearest" << std::endl;
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
//
// crash_worker DIR SEED FIRST large|small POINT N [LAST]
// Carries out operations FIRST, FIRST + 1, ... writing "b" and "a" to standard output before and
// after each, until it kills itself at the Nth file operation whose name is POINT (a point given to
// FileSystem::reached, or a method of it; "any": all of them; "never": not at all), or is killed.
// With LAST it ends before that operation, and meets errors on its way: it writes "e" instead of
// "a" and goes on, after every second error in a row with the store opened anew, until there were
// too many.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "tests/crash/workload.h"
#include "tests/support/faulty_file_system.h"

namespace {

constexpr int kMostErrors = 4;

void say(char what) {
  if (::write(STDOUT_FILENO, &what, 1) != 1) std::_Exit(3);
}

struct Task {
  std::string directory;
  std::uint64_t seed;
  std::uint64_t first;
  std::uint64_t last;
  const vkb::WorkloadSize& size;
  bool expects_errors;
};

int work(const Task& task, vkb::FileSystem& files) {
  std::optional<vkb::Store> store;
  std::optional<vkb::Collection> collection;
  int errors = 0;
  int errors_in_a_row = 0;
  for (std::uint64_t number = task.first; number < task.last;) {
    bool begun = false;
    try {
      if (!collection) {
        store.emplace(vkb::Store::open(task.directory, {.file_system = &files}));
        collection.emplace(store->get_or_create_collection("crash", vkb::kCrashOptions));
      }
      const vkb::Operation operation = vkb::make_operation(task.seed, number, task.size);
      say('b');
      begun = true;
      vkb::perform(operation, number, *store, *collection);
      say('a');
      errors_in_a_row = 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "crash_worker: %s\n", error.what());
      if (!task.expects_errors) return 1;
      if (begun) say('e');
      if (++errors == kMostErrors) return 0;
      if (++errors_in_a_row % 2 == 0 || !begun) {
        collection.reset();
        store.reset();
      }
    }
    if (begun) ++number;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7 && argc != 8) return 2;
  const auto number = [&](int i) { return static_cast<std::uint64_t>(std::atoll(argv[i])); };
  const std::string point = argv[5];
  std::atomic<std::int64_t> left = std::atoll(argv[6]);
  vkb::FaultyFileSystem files;
  files.set_hook([&](vkb::FileCall call, const std::string& path) {
    const std::string name =
        call == vkb::FileCall::reached ? path : std::string(vkb::to_string(call));
    if (point != "any" && point != name) return;
    if (--left == 0) ::raise(SIGKILL);
  });
  return work({argv[1], number(2), number(3), argc == 8 ? number(7) : UINT64_MAX,
               argv[4][0] == 'l' ? vkb::kLargeWorkload : vkb::kSmallWorkload, argc == 8},
              files);
}

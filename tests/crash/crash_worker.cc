// SPDX-License-Identifier: Apache-2.0
//
// crash_worker DIR SEED FIRST large|small POINT N
// Carries out operations FIRST, FIRST + 1, ... without end, writing "b" and "a" to standard output
// before and after each, until it kills itself at the Nth file operation whose name is POINT (a
// point given to FileSystem::reached, or a method of it; "any": all of them; "never": not at all),
// or is killed.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/crash/workload.h"
#include "tests/support/faulty_file_system.h"

namespace {

void say(char what) {
  if (::write(STDOUT_FILENO, &what, 1) != 1) std::_Exit(3);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  const std::string point = argv[5];
  std::atomic<std::int64_t> left = std::atoll(argv[6]);
  vkb::FaultyFileSystem files;
  files.set_hook([&](vkb::FileCall call, const std::string& path) {
    const std::string name =
        call == vkb::FileCall::reached ? path : std::string(vkb::to_string(call));
    if (point != "any" && point != name) return;
    if (--left == 0) ::raise(SIGKILL);
  });
  try {
    vkb::Store store = vkb::Store::open(argv[1], {.file_system = &files});
    vkb::Collection collection = store.get_or_create_collection("crash", vkb::kCrashOptions);
    const auto seed = static_cast<std::uint64_t>(std::atoll(argv[2]));
    const vkb::WorkloadSize& size = argv[4][0] == 'l' ? vkb::kLargeWorkload : vkb::kSmallWorkload;
    for (auto number = static_cast<std::uint64_t>(std::atoll(argv[3]));; ++number) {
      const vkb::Operation operation = vkb::make_operation(seed, number, size);
      say('b');
      vkb::perform(operation, collection);
      say('a');
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "crash_worker: %s\n", error.what());
    return 1;
  }
}

// SPDX-License-Identifier: Apache-2.0
//
// process_helper writer|reader DIR: obeys commands, one a line, and answers each with a line.
//   writer: batch V    one upsert of a whole group of records, at version V
//           load V     a load of several groups, a batch each
//           remove V   removes a group and adds it anew at version V, two batches
//           compact, settle (wait for the background maintenance)
//           hold       answers from inside a load, which goes on with the next line
//           fork       what a forked child may do with the store: "unsupported"
//   reader: look       "sound VERSION...", the version of each group, or what is wrong
//           watch      looks again and again until the next line; "sound" or what is wrong
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>

#include "tests/support/test_records.h"

namespace vkb {
namespace {

constexpr std::int64_t kGroups = 5;
constexpr std::int64_t kGroupRecords = 50;

void say(const std::string& line) { std::cout << line << std::endl; }

class Holding : public Source {
 public:
  bool next(std::vector<Record>&) override {
    say("holding");
    std::string line;
    std::getline(std::cin, line);
    return false;
  }
};

std::string forked_child(Store& store, Collection& collection) {
  std::cout.flush();
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // a child that hangs dies
    int supported = 0;
    for (const std::function<void()>& use : std::initializer_list<std::function<void()>>{
             [&] { collection.count(); }, [&] { collection.upsert(group_at(0, 0, kGroupRecords)); },
             [&] { store.info(); }, [&] { collection.wait_for_maintenance(); },
             [&] { Store::open(store.directory()); }}) {
      const std::optional<Error> error = error_of(use);
      supported += !error || error->code() != ErrorCode::unsupported;
    }
    {
      // The child's last handles go, and it may still not open what its parent has open.
      const std::string directory = std::filesystem::absolute(store.directory());
      {
        Store store_here = std::move(store);
        Collection collection_here = std::move(collection);
      }
      const std::optional<Error> error = error_of([&] { Store::open(directory); });
      supported += !error || error->code() != ErrorCode::unsupported;
    }
    std::_Exit(supported);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "unsupported";
  return "child ended with status " + std::to_string(status);
}

void write_commands(const std::string& directory) {
  // By a relative path, and before it is there: a forked child must know it in any spelling.
  const std::filesystem::path path(directory);
  std::filesystem::current_path(path.parent_path());
  Store store = Store::open(path.filename());
  Collection collection =
      store.get_or_create_collection("shared", {.space = Space::l2, .m = 4, .ef_construction = 20});
  say("ready");
  std::string command;
  while (std::cin >> command) {
    std::int64_t version = 0;
    if (command == "batch") {
      std::cin >> version;
      collection.upsert(group_at(version % kGroups, version, kGroupRecords));
    } else if (command == "load") {
      std::cin >> version;
      std::vector<Record> records;
      for (std::int64_t group = 0; group < kGroups; ++group) {
        for (Record& record : group_at(group, version, kGroupRecords))
          records.push_back(std::move(record));
      }
      VectorSource source(std::move(records), kGroupRecords);
      collection.load(source);
    } else if (command == "remove") {
      std::cin >> version;
      collection.remove(Filter::compare(Filter::Op::eq, "group", version % kGroups));
      collection.add(group_at(version % kGroups, version, kGroupRecords));
    } else if (command == "compact") {
      collection.compact();
    } else if (command == "settle") {
      collection.wait_for_maintenance();
    } else if (command == "hold") {
      std::cin.ignore();
      Holding source;
      collection.load(source);
    } else if (command == "fork") {
      say(forked_child(store, collection));
      continue;
    }
    say("ok");
  }
}

// What one reader has seen so far: versions never go back.
class Watcher {
 public:
  explicit Watcher(const std::string& directory)
      : store_(Store::open(directory, {.read_only = true})),
        collection_(store_.collection("shared")) {}

  // "" or what is wrong.
  std::string look() {
    const std::vector<Record> records =
        collection_.get({.ids = {}, .filter = {}, .include = kIncludeAll});
    std::array<std::int64_t, kGroups> versions{};
    std::array<std::int64_t, kGroups> counts{};
    for (const Record& record : records) {
      const auto group =
          static_cast<std::size_t>(std::get<std::int64_t>(record.metadata->at("group")));
      const auto version = std::get<std::int64_t>(record.metadata->at("version"));
      if (static_cast<float>(version) != record.embedding->at(0)) return "vector of " + record.id;
      if (counts[group]++ > 0 && versions[group] != version) return "half a batch: " + record.id;
      versions[group] = version;
    }
    for (std::size_t group = 0; group < kGroups; ++group) {
      if (counts[group] == 0) continue;  // removed just now
      if (counts[group] != kGroupRecords) return "half a group";
      if (versions[group] < versions_[group]) return "went back in time";
      versions_[group] = versions[group];
    }
    return wrong_query();
  }

  std::string versions() const {
    std::string text;
    for (const std::int64_t version : versions_)
      text += numbered(" ", static_cast<std::uint64_t>(version));
    return text;
  }

 private:
  // Each hit's distance must be that of the vector its own snapshot holds.
  std::string wrong_query() {
    const std::vector<float> origin(4, 0.0F);
    for (const bool exact : {false, true}) {
      for (const Hit& hit :
           collection_.query(origin, {.k = 30, .exact = exact, .include = kIncludeAll})) {
        const auto version =
            static_cast<float>(std::get<std::int64_t>(hit.record.metadata->at("version")));
        if (version != hit.record.embedding->at(0)) return "query saw two states";
        const double distance = true_distance(Space::l2, origin, *hit.record.embedding);
        if (std::abs(distance - hit.distance) > 1e-3 * distance) return "distance of a hit";
      }
    }
    return "";
  }

  Store store_;
  Collection collection_;
  std::array<std::int64_t, kGroups> versions_{};
};

void read_commands(const std::string& directory) {
  Watcher watcher(directory);
  say("ready");
  std::string command;
  while (std::getline(std::cin, command)) {
    std::string wrong = watcher.look();
    ::pollfd input{STDIN_FILENO, POLLIN, 0};
    while (command == "watch" && wrong.empty() && ::poll(&input, 1, 0) == 0) {
      wrong = watcher.look();
    }
    say(wrong.empty() ? "sound" + watcher.versions() : wrong);
  }
}

}  // namespace
}  // namespace vkb

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    std::string(argv[1]) == "writer" ? vkb::write_commands(argv[2]) : vkb::read_commands(argv[2]);
  } catch (const std::exception& error) {
    std::cout << "error: " << error.what() << std::endl;
    return 1;
  }
}

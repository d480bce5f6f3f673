// SPDX-License-Identifier: Apache-2.0
//
// Long jobs that are killed at a file operation, at a named point or at any time: restore, purge,
// repair of a damaged segment, import-redis. Whatever comes of it is as it was or as it should
// become, never in between, and the same job, begun again, ends (R1-R4, R9).
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "engine/backup.h"
#include "engine/tuning.h"
#include "importers/redis_import.h"
#include "storage/segment_format.h"
#include "tests/importers/llama_index_data.h"
#include "tests/importers/redis_server.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_records.h"

namespace vkb {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

const CollectionOptions kOptions{.space = Space::l2, .m = 4, .ef_construction = 20};

class JobKill : public ::testing::Test {
 protected:
  using Job = std::function<void(FileSystem&)>;

  // Kills `job` again and again, each time after reset(), and has verify() look at what is left.
  // First once at each of `points`, which it must come to, then at any call and at any time.
  void torture(const char* name, const std::vector<std::string>& points, const Job& job,
               const std::function<void()>& reset, const std::function<void()>& verify) {
    const char* asked = std::getenv("VKB_CRASH_ROUNDS");
    const int rounds = asked == nullptr ? kUsualRounds : std::atoi(asked) / 16;
    reset();
    measure(job);
    int kills = 0;
    std::set<std::string> met;
    for (int round = 0; round < rounds; ++round) {
      Death death;
      const auto kind = static_cast<std::size_t>(round);
      if (kind < points.size()) {
        death.point = points[kind];
        death.nth = 1;
      } else if (kind % 2 == 0) {
        death.nth = 1 + random_.below(calls_);
      } else {
        death.after = std::chrono::microseconds(random_.below(duration_));
      }
      SCOPED_TRACE(::testing::Message() << "round " << round << " at " << death.point << " "
                                        << death.nth << " after " << death.after.count());
      reset();
      if (dies(job, death)) {
        ++kills;
        met.insert(death.point);
      }
      ASSERT_NO_FATAL_FAILURE(verify());
    }
    for (const std::string& point : points) {
      EXPECT_TRUE(rounds < kUsualRounds || met.contains(point)) << "it never came to " << point;
    }
    std::printf("torture: %d kills of %s\n", kills, name);
  }

  void expect_records(const std::string& directory, const Expected& expected) {
    const Store store = Store::open(directory, {.read_only = true, .create = false});
    EXPECT_EQ(differences(expected, store.collection("killed")), "");
    EXPECT_TRUE(is_sound(store));
  }

  static constexpr int kUsualRounds = 12;
  TestRandom random_{other_seed(5)};
  const TempDirectory directory_;
  const std::string pristine_ = directory_.file("pristine");
  const std::string place_ = directory_.file("store");

  void copy_pristine() {
    fs::remove_all(place_);
    fs::copy(pristine_, place_, fs::copy_options::recursive);
  }

 private:
  struct Death {
    std::string point = "any";  // a point given to FileSystem::reached, or a method of it
    std::uint64_t nth = 0;      // 0: by time
    std::chrono::microseconds after{};
  };

  void measure(const Job& job) {
    FaultyFileSystem files;
    const auto begin = Clock::now();
    job(files);
    using std::chrono::microseconds;
    duration_ = static_cast<std::uint64_t>(
        std::chrono::duration_cast<microseconds>(Clock::now() - begin).count());
    calls_ = files.count();
  }

  // In a child of this process, which has no store open. False when the job ended before.
  bool dies(const Job& job, const Death& death) {
    const ::pid_t child = ::fork();
    if (child == 0) {
      std::atomic<std::uint64_t> left = death.nth;
      FaultyFileSystem files;
      files.set_hook([&](FileCall call, const std::string& path) {
        const std::string name = call == FileCall::reached ? path : std::string(to_string(call));
        if ((death.point == "any" || death.point == name) && left > 0 && --left == 0) {
          ::raise(SIGKILL);
        }
      });
      const std::optional<Error> error = error_of([&] { job(files); });
      if (error) std::fprintf(stderr, "job: %s\n", error->what());
      std::_Exit(error ? 1 : 0);
    }
    if (death.nth == 0) {
      const ::timespec wait{death.after.count() / 1'000'000,
                            death.after.count() % 1'000'000 * 1000};
      ::pollfd none{};
      ::ppoll(&none, 0, &wait, nullptr);
      ::kill(child, SIGKILL);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "the job failed";
    return WIFSIGNALED(status);
  }

  std::uint64_t calls_ = 0;
  std::uint64_t duration_ = 0;
};

// The whole backup or what was there, in one step (R2).
TEST_F(JobKill, RestoreReplacesTheStoreOrDoesNot) {
  const Expected backed_up = expected_of(test_records(300, 4, 1, "new"));
  const Expected before = expected_of(test_records(100, 4, 2, "old"));
  const auto fill = [](const std::string& directory, const Expected& expected) {
    Collection collection = Store::open(directory).create_collection("killed", kOptions);
    std::vector<Record> records;
    for (const auto& [id, record] : expected) records.push_back(record);
    VectorSource source(records, 70);
    collection.load(source);
  };
  const std::string backup = directory_.file("backup");
  fill(directory_.file("source"), backed_up);
  Store::open(directory_.file("source")).backup(backup);
  fill(pristine_, before);
  fs::create_directories(pristine_ + "/reports/1");
  write_whole_file(pristine_ + "/reports/1/report.json", "of an import");
  bool was_there = true;
  torture(
      "restore", {"restore_placed", "rename", "publish", "sync_directory"},
      [&](FileSystem& files) { restore(backup, place_, {.replace = true, .file_system = &files}); },
      [&] {
        copy_pristine();
        was_there = random_.below(4) > 0;
        if (!was_there) fs::remove_all(place_);
      },
      [&] {
        const bool is_there = fs::exists(place_);
        EXPECT_TRUE(is_there || !was_there);
        if (is_there) {
          const std::uint64_t count =
              Store::open(place_, {.read_only = true}).collection("killed").count();
          expect_records(place_, count == before.size() && was_there ? before : backed_up);
        }
        EXPECT_EQ(restore(backup, place_, {.replace = true}).kept, std::vector<std::string>{});
        expect_records(place_, backed_up);
        if (was_there) {
          EXPECT_EQ(read_whole_file(place_ + "/reports/1/report.json"), "of an import");
        }
        EXPECT_EQ(posix_file_system().list(directory_.path()),
                  (std::vector<std::string>{"backup", "pristine", "source", "store"}));
      });
}

// Nothing that stays is lost, and a second purge ends what the first began.
TEST_F(JobKill, PurgeLosesNothingAndEndsTheNextTime) {
  Expected expected;
  {
    Collection collection = Store::open(pristine_).create_collection("killed", kOptions);
    std::vector<Record> records = test_records(kGraphMinRows + 300, 4);
    std::vector<Record> secrets;
    for (std::size_t i = 0; i < records.size(); i += 4) {
      records[i].id = numbered("secret-id-", i);
      records[i].document = numbered("secret document ", i);
      secrets.push_back(records[i]);
    }
    VectorSource source(records, 1000);
    collection.load(source);
    expected = expected_of(records);
    std::vector<std::string> ids;
    for (const Record& record : secrets) ids.push_back(record.id);
    for (const std::string& id : ids) expected.erase(id);
    collection.remove(ids);
    collection.wait_for_maintenance();
  }
  torture(
      "purge",
      {"purge_vacuumed", "segment_published", "merge_before_commit", "merge_committed", "remove"},
      [&](FileSystem& files) {
        EXPECT_TRUE(Store::open(place_, {.file_system = &files}).collection("killed").purge());
      },
      [&] { copy_pristine(); },
      [&] {
        expect_records(place_, expected);
        EXPECT_TRUE(Store::open(place_).collection("killed").purge());
        expect_records(place_, expected);
        for (const auto& entry : fs::recursive_directory_iterator(place_)) {
          if (!entry.is_regular_file()) continue;
          EXPECT_EQ(read_whole_file(entry.path()).find("secret"), std::string::npos)
              << entry.path();
        }
      });
}

// The vectors stay the truth (R9): a second repair rebuilds what the first did not come to.
TEST_F(JobKill, RepairIsEndedByTheNext) {
  const std::vector<Record> records = test_records(kGraphMinRows + 300, 4);
  const Expected expected = expected_of(records);
  std::string file;
  {
    Collection collection = Store::open(pristine_).create_collection("killed", kOptions);
    VectorSource source(records, 2500);
    collection.load(source);
    file = pristine_ + "/segments/" + collection.info().segments.at(0).file;
  }
  std::string bytes = read_whole_file(file);
  SegmentHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  for (const SectionEntry& section : header.sections) {
    if (section.kind != static_cast<std::uint32_t>(SectionKind::links0)) continue;
    for (int i = 0; i < 50; ++i) bytes[section.offset + random_.below(section.bytes)] ^= '\xA5';
  }
  write_whole_file(file, bytes);
  ASSERT_FALSE(is_sound(Store::open(pristine_)));
  torture(
      "repair", {"segment_published", "merge_before_commit", "merge_committed", "remove"},
      [&](FileSystem& files) { Store::open(place_, {.file_system = &files}).repair(); },
      [&] { copy_pristine(); },
      [&] {
        {
          Store store = Store::open(place_);
          EXPECT_EQ(differences(expected, store.collection("killed")), "");
          EXPECT_TRUE(store.repair().problems.empty());
        }
        expect_records(place_, expected);
      });
}

// Whole batches at any time, and all of Redis when it was begun once more.
TEST_F(JobKill, ImportGoesOnWhereItWas) {
  VKB_NEEDS_REDIS();
  constexpr std::size_t kNodes = 1200;
  constexpr std::size_t kBatch = 100;
  RedisServer server;
  std::vector<RedisCommand> commands;
  Expected expected;
  for (Record& record : test_records(kNodes, 8, 3, "node-")) {
    const auto number = static_cast<int>(std::get<std::int64_t>(record.metadata->at("n")));
    commands.push_back(hset("doc:" + record.id,
                            make_node(record.id, *record.document, *record.embedding, number)));
    expected[record.id] = std::move(record);
  }
  client_of(server).pipeline(commands);
  const auto import = [&](FileSystem* files) {
    RedisImportOptions options;
    options.url = server.url();
    options.selection.prefix = "doc";
    options.store = place_;
    options.collection = "killed";
    options.batch_size = kBatch;
    options.verify_samples = options.verify_queries = 20;
    options.seed = 1;
    options.file_system = files;
    return import_redis(options);
  };
  // The records in the store are Redis' own; returns how many.
  const auto count_imported = [&] {
    const Store store = Store::open(place_, {.read_only = true});
    EXPECT_TRUE(is_sound(store));
    const std::vector<Record> records = store.collection("killed").get(
        {.ids = {}, .filter = {}, .include = {.documents = true, .embeddings = true}});
    for (const Record& record : records) {
      const Record& wanted = expected.at(record.id);
      EXPECT_EQ(record.document, wanted.document);
      EXPECT_TRUE(same_bits(*record.embedding, *wanted.embedding));
    }
    return records.size();
  };
  torture(
      "import-redis",
      {"batch_before_commit", "batch_committed", "segment_published", "merge_before_commit",
       "merge_committed"},
      [&](FileSystem& files) { import(&files); }, [&] { fs::remove_all(place_); },
      [&] {
        std::size_t found = 0;
        const std::optional<Error> error = error_of([&] { found = count_imported(); });
        if (error) {
          EXPECT_EQ(to_string(error->code()), to_string(ErrorCode::not_found)) << error->what();
        }
        EXPECT_EQ(found % kBatch, 0u);
        const RedisImportResult result = import(nullptr);
        EXPECT_EQ(result.counts.unchanged, found);
        EXPECT_EQ(result.counts.imported, kNodes - found);
        EXPECT_TRUE(result.verification->passed);
        EXPECT_EQ(count_imported(), kNodes);
      });
}

}  // namespace
}  // namespace vkb

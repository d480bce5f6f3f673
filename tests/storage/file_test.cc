// SPDX-License-Identifier: Apache-2.0
#include "storage/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <vector>

#include "storage/database_file.h"
#include "storage/error.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/system_call_faults.h"
#include "tests/support/temp_directory.h"
#include "tests/support/test_data.h"

namespace vkb {
namespace {

FileSystem& files() { return posix_file_system(); }

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::string pattern(std::size_t size) {
  TestRandom random(size);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random.next());
  return text;
}

TEST(Error, CodesHaveNames) {
  EXPECT_EQ(to_string(ErrorCode::corruption), "corruption");
  EXPECT_EQ(to_string(ErrorCode::io_error), "io_error");
}

constexpr std::size_t kHugePage = std::size_t{2} << 20;

TEST(NewFile, HoldsWhatWasAppendedOnBothSidesOfTheBuffer) {
  const TempDirectory directory;
  std::string expected;
  const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{4095}, kHugePage - 4096, std::size_t{1}, 3 * kHugePage,
        std::size_t{0}, kHugePage, std::size_t{777}}) {
    const std::string part = pattern(size);
    file->append(bytes_of(part));
    expected += part;
    EXPECT_EQ(file->size(), expected.size());
  }
  file->publish();
  EXPECT_EQ(read_whole_file(directory.file("a")), expected);
  EXPECT_EQ(files().file_size(directory.file("a")), expected.size());
}

// Each write that fills a piece ends where one does, so that the kernel can keep it in one page.
TEST(NewFile, WritesInPiecesOfHugePagesOrOfSmallOnesWhereReadsWillBeSparse) {
  using Access = MappedFile::Access;
  const TempDirectory directory;
  SystemCallFaults faults;
  std::string expected;
  const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
  const auto append = [&](std::size_t size) {
    const std::string part = pattern(size);
    file->append(bytes_of(part));
    expected += part;
  };
  const auto expect_within = [&](std::size_t piece) {
    EXPECT_FALSE(faults.writes.empty());
    for (const auto& [offset, size] : faults.writes) {
      EXPECT_EQ(offset / piece, (offset + size - 1) / piece) << offset << " " << size;
    }
    faults.writes.clear();
  };
  append(5000);
  append(3 * kHugePage);
  expect_within(kHugePage);
  file->expect_reads(Access::sparse);
  expect_within(kHugePage);  // what was in the buffer
  append(kHugePage + 70'000);
  file->write_at(4990, bytes_of("0123456789"));
  expected.replace(4990, 10, "0123456789");
  append(kHugePage);
  expect_within(64 << 10);
  file->expect_reads(Access::random);
  faults.writes.clear();
  append(3 * kHugePage);
  expect_within(kHugePage);
  file->publish();
  EXPECT_EQ(read_whole_file(directory.file("a")), expected);
}

TEST(NewFile, WriteAtReachesDiskAndBuffer) {
  const TempDirectory directory;
  std::string expected = pattern((2 << 20) + 100);
  const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
  const std::string first = expected.substr(0, 2 << 20);
  file->append(bytes_of(first));                     // on disk
  file->append(bytes_of(expected.substr(2 << 20)));  // in the buffer
  for (const std::size_t at : {std::size_t{0}, (std::size_t{2} << 20) - 5,
                               (std::size_t{2} << 20) + 50, expected.size() - 10}) {
    file->write_at(at, bytes_of("0123456789"));
    expected.replace(at, 10, "0123456789");
  }
  VKB_EXPECT_ERROR(file->write_at(expected.size() - 9, bytes_of("0123456789")),
                   ErrorCode::invalid_argument, "it has only 2097252 bytes");
  VKB_EXPECT_ERROR(file->write_at(UINT64_MAX, bytes_of("0123456789")), ErrorCode::invalid_argument,
                   "it has only");
  file->publish();
  EXPECT_EQ(read_whole_file(directory.file("a")), expected);
}

TEST(NewFile, R2_PublishSyncsTheFileThenItsDirectory) {
  const TempDirectory directory;
  const SystemCallFaults faults;
  const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
  file->append(bytes_of("abc"));
  EXPECT_TRUE(faults.calls.empty());
  file->publish();
  EXPECT_EQ(faults.calls, (std::vector<std::string>{"write", "sync file", "sync directory"}));
}

TEST(NewFile, R2_LeavesNothingUnlessPublished) {
  const TempDirectory directory;
  {
    const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
    file->append(bytes_of(pattern(3 << 20)));
    EXPECT_TRUE(files().exists(directory.file("a")));
  }
  EXPECT_FALSE(files().exists(directory.file("a")));
}

TEST(NewFile, R2_AFailedSyncRemovesTheFileAndIsNeverRetried) {
  for (const bool of_directory : {false, true}) {
    const TempDirectory directory;
    SystemCallFaults faults;
    (of_directory ? faults.directory_sync_error : faults.file_sync_error) = EIO;
    const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
    file->append(bytes_of("abc"));
    VKB_EXPECT_ERROR(file->publish(), ErrorCode::io_error,
                     of_directory
                         ? "cannot sync directory " + directory.path() + ": Input/output error"
                         : "cannot sync " + directory.file("a") + ": Input/output error");
    EXPECT_FALSE(files().exists(directory.file("a")));
    const std::vector<std::string> calls = faults.calls;
    VKB_EXPECT_ERROR(file->publish(), ErrorCode::io_error, "failed before");
    VKB_EXPECT_ERROR(file->append(bytes_of("x")), ErrorCode::io_error, "failed before");
    EXPECT_EQ(faults.calls, calls);
    EXPECT_EQ(std::count(calls.begin(), calls.end(), "sync file"), 1);
  }
}

TEST(NewFile, ShortAndInterruptedWritesGoOn) {
  const TempDirectory directory;
  const std::string expected = pattern(50'000);
  SystemCallFaults faults;
  faults.most_bytes_a_write = 999;
  faults.interrupt_writes = true;
  const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
  file->append(bytes_of(expected));
  file->publish();
  EXPECT_EQ(read_whole_file(directory.file("a")), expected);
}

TEST(NewFile, AFullDiskSaysHowFarItCame) {
  const TempDirectory directory;
  {
    SystemCallFaults faults;
    faults.disk_space = 1000;
    const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
    file->append(bytes_of(pattern(1500)));
    VKB_EXPECT_ERROR(file->publish(), ErrorCode::io_error,
                     "cannot write " + directory.file("a") +
                         ": No space left on device (wrote 1000 of 1500 bytes)");
    faults.disk_space = UINT64_MAX;
    VKB_EXPECT_ERROR(file->publish(), ErrorCode::io_error, "failed before");
  }
  EXPECT_TRUE(files().list(directory.path()).empty());
}

TEST(NewFile, TakesNoNameThatExists) {
  const TempDirectory directory;
  write_whole_file(directory.file("a"), "kept");
  VKB_EXPECT_ERROR(files().create(directory.file("a")), ErrorCode::io_error,
                   "cannot create " + directory.file("a") + ": File exists");
  EXPECT_EQ(read_whole_file(directory.file("a")), "kept");
  VKB_EXPECT_ERROR(files().create(directory.file("no/b")), ErrorCode::io_error,
                   "No such file or directory");
}

TEST(NewFile, IsFinishedByPublish) {
  const TempDirectory directory;
  const std::unique_ptr<NewFile> file = files().create(directory.file("a"));
  file->publish();
  VKB_EXPECT_ERROR(file->append(bytes_of("x")), ErrorCode::invalid_argument, "it is published");
  VKB_EXPECT_ERROR(file->publish(), ErrorCode::invalid_argument, "it is published");
}

TEST(MappedFile, ShowsAFileThatStaysReadableAfterUnlink) {
  const TempDirectory directory;
  const std::string text = pattern(100'001);
  write_whole_file(directory.file("a"), text);
  const std::unique_ptr<MappedFile> file = files().map(directory.file("a"));
  files().remove(directory.file("a"));
  EXPECT_EQ(text_of(*file), text);
  EXPECT_EQ(file->resident_bytes(), text.size());  // just read, every page of it
}

TEST(MappedFile, AdviceIsOnlyAHint) {
  const TempDirectory directory;
  write_whole_file(directory.file("a"), pattern(20'000));
  const std::unique_ptr<MappedFile> file = files().map(directory.file("a"));
  using Access = MappedFile::Access;
  for (const Access access :
       {Access::will_need, Access::random, Access::sequential, Access::normal}) {
    file->advise(0, 20'000, access);
    file->advise(4097, 1, access);
    file->advise(19'999, SIZE_MAX, access);
    file->advise(20'000, 1, access);
    file->advise(SIZE_MAX, SIZE_MAX, access);
  }
  EXPECT_EQ(file->bytes().size(), 20'000U);
}

TEST(MappedFile, ReadsWithoutMappingWhatItMapsAndNothingElse) {
  const TempDirectory directory;
  const std::string text = pattern(10'000);
  std::string read(100, '\0');
  const auto out = std::as_writable_bytes(std::span(read));
  write_whole_file(directory.file("a"), text);
  {
    const std::unique_ptr<MappedFile> file = files().map(directory.file("a"));
    EXPECT_TRUE(file->read(5000, out));
    EXPECT_EQ(read, text.substr(5000, 100));
    EXPECT_TRUE(file->read(9900, out));
    EXPECT_EQ(read, text.substr(9900));
    EXPECT_FALSE(file->read(9901, out));
    EXPECT_FALSE(file->read(SIZE_MAX, out));
    files().remove(directory.file("a"));
    EXPECT_TRUE(file->read(0, out));  // opened before
    EXPECT_EQ(read, text.substr(0, 100));
  }
  write_whole_file(directory.file("a"), text);
  const std::unique_ptr<MappedFile> replaced = files().map(directory.file("a"));
  files().rename(directory.file("a"), directory.file("b"));
  EXPECT_FALSE(replaced->read(0, out));
  write_whole_file(directory.file("c"), text);
  const std::unique_ptr<MappedFile> other = files().map(directory.file("c"));
  write_whole_file(directory.file("d"), pattern(20'000));
  files().rename(directory.file("d"), directory.file("c"));
  EXPECT_FALSE(other->read(0, out));
}

// A store may have more segments than a process may have descriptors.
TEST(MappedFile, KeepsDescriptorsForSomeFilesOnly) {
  const TempDirectory directory;
  write_whole_file(directory.file("a"), "text");
  std::array<std::byte, 4> out{};
  for (int round = 0; round < 2; ++round) {
    std::vector<std::unique_ptr<MappedFile>> mapped;
    int read = 0;
    for (int i = 0; i < 400; ++i) {
      mapped.push_back(files().map(directory.file("a")));
      read += mapped.back()->read(0, out) ? 1 : 0;
    }
    EXPECT_EQ(read, 256);
  }
}

TEST(MappedFile, MayBeEmpty) {
  const TempDirectory directory;
  write_whole_file(directory.file("a"), "");
  const std::unique_ptr<MappedFile> file = files().map(directory.file("a"));
  EXPECT_TRUE(file->bytes().empty());
  EXPECT_EQ(file->resident_bytes(), 0U);
  file->advise(0, 1, MappedFile::Access::will_need);
}

TEST(MappedFile, NamesWhatCannotBeMapped) {
  const TempDirectory directory;
  VKB_EXPECT_ERROR(files().map(directory.file("a")), ErrorCode::not_found,
                   "cannot open " + directory.file("a") + ": No such file or directory");
  VKB_EXPECT_ERROR(files().map(directory.path()), ErrorCode::io_error, "not a regular file");
}

TEST(FileLock, ExcludesASecondOpenInThisProcessAndNamesTheHolder) {
  const TempDirectory directory;
  const std::string path = directory.file("writer.lock");
  EXPECT_EQ(files().lock_holder(path), "");
  std::unique_ptr<FileLock> lock = files().try_lock(path, "pid 123 (vkb import-redis)");
  ASSERT_NE(lock, nullptr);
  EXPECT_EQ(files().try_lock(path, "another"), nullptr);
  EXPECT_EQ(files().lock_holder(path), "pid 123 (vkb import-redis)");
  EXPECT_EQ(files().try_lock(path, "another"), nullptr);  // asking did not drop it
  lock.reset();
  EXPECT_EQ(files().lock_holder(path), "");
  EXPECT_EQ(files().file_size(path), 0U);
  lock = files().try_lock(path, "b");
  ASSERT_NE(lock, nullptr);
  EXPECT_EQ(files().lock_holder(path), "b");
}

TEST(FileLock, AHolderWithoutTextIsStillAHolder) {
  const TempDirectory directory;
  const std::unique_ptr<FileLock> lock = files().try_lock(directory.file("writer.lock"), "");
  EXPECT_EQ(files().lock_holder(directory.file("writer.lock")), "another process");
}

TEST(FileLock, IsFreeOnceItsProcessWasKilled) {
  const TempDirectory directory;
  const std::string path = directory.file("writer.lock");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const ::pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto lock = files().try_lock(path, "the child");
    const char answer = lock ? 'y' : 'n';
    if (::write(ready[1], &answer, 1) == 1) ::pause();
    ::_exit(1);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  EXPECT_EQ(files().try_lock(path, "the parent"), nullptr);
  EXPECT_EQ(files().lock_holder(path), "the child");
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_EQ(files().lock_holder(path), "");  // though its text is still there
  EXPECT_GT(files().file_size(path), 0U);
  const auto lock = files().try_lock(path, "me");
  ASSERT_NE(lock, nullptr);
  EXPECT_EQ(files().lock_holder(path), "me");
}

TEST(FileLock, AForkedChildDoesNotReleaseItsParentsLock) {
  const TempDirectory directory;
  const std::string path = directory.file("writer.lock");
  std::unique_ptr<FileLock> lock = files().try_lock(path, "the parent");
  const ::pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    lock.reset();
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_EQ(files().lock_holder(path), "the parent");
  EXPECT_EQ(files().try_lock(path, "x"), nullptr);
}

TEST(FileSystem, MakesDirectoriesWithTheirParentsDurably) {
  const TempDirectory directory;
  const std::string deep = directory.file("a/b/c/");
  const SystemCallFaults faults;
  files().make_directory(deep);
  EXPECT_TRUE(files().exists(directory.file("a/b/c")));
  EXPECT_EQ(faults.calls, (std::vector<std::string>(3, "sync directory")));
  files().make_directory(deep);
  EXPECT_EQ(faults.calls.size(), 3U);
  write_whole_file(directory.file("file"), "");
  VKB_EXPECT_ERROR(files().make_directory(directory.file("file")), ErrorCode::io_error,
                   "cannot create directory " + directory.file("file") + ": File exists");
  VKB_EXPECT_ERROR(files().make_directory(directory.file("file/x")), ErrorCode::io_error,
                   "cannot create directory " + directory.file("file"));
}

TEST(FileSystem, ListsSortedNamesAndTellsSizes) {
  const TempDirectory directory;
  EXPECT_TRUE(files().list(directory.path()).empty());
  write_whole_file(directory.file("b"), "12345");
  write_whole_file(directory.file("a"), "");
  EXPECT_EQ(files().list(directory.path()), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(files().file_size(directory.file("b")), 5U);
  EXPECT_EQ(files().file_size(directory.file("c")), 0U);
  EXPECT_TRUE(files().is_writable(directory.path()));
  EXPECT_FALSE(files().is_writable(directory.file("c")));
  EXPECT_FALSE(files().exists(directory.file("b/x")));
  VKB_EXPECT_ERROR(files().list(directory.file("c")), ErrorCode::not_found, "cannot list");
}

TEST(FileSystem, RemovesAndRenames) {
  const TempDirectory directory;
  write_whole_file(directory.file("a"), "1");
  files().rename(directory.file("a"), directory.file("b"));
  files().sync_directory(directory.path());
  EXPECT_FALSE(files().exists(directory.file("a")));
  EXPECT_EQ(read_whole_file(directory.file("b")), "1");
  files().remove(directory.file("b"));
  files().remove(directory.file("b"));  // fine if missing
  VKB_EXPECT_ERROR(files().rename(directory.file("a"), directory.file("b")), ErrorCode::io_error,
                   "cannot rename");
  VKB_EXPECT_ERROR(files().remove(directory.path()), ErrorCode::io_error, "cannot remove");
  VKB_EXPECT_ERROR(files().sync_directory(directory.file("a")), ErrorCode::io_error,
                   "cannot sync directory");
}

TEST(FileSystem, ExchangesFilesAndDirectories) {
  const TempDirectory directory;
  files().make_directory(directory.file("one"));
  files().make_directory(directory.file("other"));
  write_whole_file(directory.file("one/a"), "1");
  files().exchange(directory.file("one"), directory.file("other"));
  EXPECT_TRUE(files().list(directory.file("one")).empty());
  EXPECT_EQ(read_whole_file(directory.file("other/a")), "1");
  write_whole_file(directory.file("file"), "2");
  files().exchange(directory.file("file"), directory.file("other"));
  EXPECT_EQ(read_whole_file(directory.file("other")), "2");
  EXPECT_EQ(read_whole_file(directory.file("file/a")), "1");
  VKB_EXPECT_ERROR(files().exchange(directory.file("one"), directory.file("none")),
                   ErrorCode::io_error, "cannot exchange");
  VKB_EXPECT_ERROR(files().exchange("/proc", directory.file("one")), ErrorCode::unsupported,
                   "move the old one away");
}

TEST(FileSystem, LinksWhereItCan) {
  const TempDirectory directory;
  write_whole_file(directory.file("a"), "123");
  files().hard_link_or_copy(directory.file("a"), directory.file("b"));
  struct ::stat a {};
  struct ::stat b {};
  ASSERT_EQ(::stat(directory.file("a").c_str(), &a), 0);
  ASSERT_EQ(::stat(directory.file("b").c_str(), &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  VKB_EXPECT_ERROR(files().hard_link_or_copy(directory.file("a"), directory.file("b")),
                   ErrorCode::io_error, "File exists");
  VKB_EXPECT_ERROR(files().hard_link_or_copy(directory.file("x"), directory.file("c")),
                   ErrorCode::io_error, "No such file");
}

TEST(FileSystem, CopiesAndSyncsWhereItCannotLink) {
  const TempDirectory directory;
  const std::string text = pattern((2 << 20) + 17);
  write_whole_file(directory.file("a"), text);
  SystemCallFaults faults;
  faults.link_error = EXDEV;
  files().hard_link_or_copy(directory.file("a"), directory.file("b"));
  EXPECT_EQ(read_whole_file(directory.file("b")), text);
  EXPECT_EQ(faults.calls,
            (std::vector<std::string>{"link", "write", "sync file", "sync directory"}));
  faults.disk_space = 100;
  VKB_EXPECT_ERROR(files().hard_link_or_copy(directory.file("a"), directory.file("c")),
                   ErrorCode::io_error, "No space left on device (wrote 100 of ");
  EXPECT_FALSE(files().exists(directory.file("c")));
}

TEST(FaultyFileSystem, CountsFailsAndCallsItsHook) {
  const TempDirectory directory;
  FaultyFileSystem faulty;
  std::vector<std::string> points;
  faulty.set_hook([&](FileCall call, const std::string& path) {
    if (call == FileCall::reached) points.push_back(path);
  });
  faulty.fail(FileCall::append, 2);
  {
    const std::unique_ptr<NewFile> file = faulty.create(directory.file("a"));
    file->append(bytes_of("1"));
    VKB_EXPECT_ERROR(file->append(bytes_of("2")), ErrorCode::io_error, "injected fault");
    faulty.reached("half_way");
    faulty.fail(FileCall::publish);
    VKB_EXPECT_ERROR(file->publish(), ErrorCode::io_error, "injected fault");
    EXPECT_FALSE(files().exists(directory.file("a")));
    VKB_EXPECT_ERROR(file->publish(), ErrorCode::io_error, "failed before");
  }
  EXPECT_EQ(points, std::vector<std::string>{"half_way"});
  EXPECT_EQ(faulty.count(FileCall::append), 2U);
  EXPECT_EQ(faulty.log(), (std::vector<std::string>{"create a", "append a", "append a",
                                                    "reached half_way", "publish a", "publish a"}));
}

TEST(PosixFileSystem, ALocalDirectoryIsOnNoNetwork) {
  const TempDirectory directory;
  for (const std::string& path : {directory.path(), directory.file("not/there/yet"),
                                  std::string("."), std::string("/proc"), std::string("/")}) {
    EXPECT_EQ(posix_file_system().network_file_system(path), "") << path;
  }
}

// Whoever opens a pipe waits for somebody at its other end.
TEST(PosixFileSystem, PipesHoldNothingUp) {
  const TempDirectory directory;
  const std::string pipe = directory.file("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  FileSystem& files = posix_file_system();
  VKB_EXPECT_ERROR(files.map(pipe), ErrorCode::io_error, "not a regular file");
  EXPECT_TRUE(files.try_lock(pipe, "me"));
  EXPECT_EQ(files.lock_holder(pipe), "");
  VKB_EXPECT_ERROR(DatabaseFile{pipe}, ErrorCode::io_error, "not a regular file");
}

}  // namespace
}  // namespace vkb

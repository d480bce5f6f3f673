// SPDX-License-Identifier: Apache-2.0
#include "storage/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>

#include "storage/error.h"
#include "storage/system_advice.h"

namespace vkb {
namespace {

// Files are written in pieces of a huge page that begin where one does: then the kernel can keep
// them in huge pages, and map them so, which spares a walk over a graph most of its waits for the
// page table (of 545,177 rows: 137 microseconds a query without, 116 with).
constexpr std::size_t kBufferBytes = std::size_t{2} << 20;
// A touch of what is in a huge page maps all of it; of what was written in such pieces, no more
// than the kernel maps around a touch anyway.
constexpr std::size_t kSmallPieceBytes = std::size_t{64} << 10;
// A process may often have no more than 1,024 descriptors, and a store more files.
constexpr int kMostReadFiles = 256;
constexpr ::mode_t kFileMode = 0644;  // the umask narrows it
constexpr ::mode_t kDirectoryMode = 0755;

[[noreturn]] void throw_system(int error, const std::string& action, const std::string& more = "") {
  throw Error(ErrorCode::io_error, action + ": " + std::generic_category().message(error) + more +
                                       std::string(advice_for(error)));
}

// As throw_system, for what is only read: its absence is the caller's to judge.
[[noreturn]] void throw_unreadable(int error, const std::string& action) {
  if (error != ENOENT) throw_system(error, action);
  throw Error(ErrorCode::not_found, action + ": " + std::generic_category().message(error));
}

// An open file descriptor, closed by the destructor.
class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() { close(); }
  int get() const noexcept { return fd_; }
  bool is_open() const noexcept { return fd_ >= 0; }
  // Returns the error number, 0 for none. Never repeated: Linux frees the number either way.
  int close() noexcept {
    if (fd_ < 0) return 0;
    return ::close(std::exchange(fd_, -1)) == 0 || errno == EINTR ? 0 : errno;
  }

 private:
  int fd_;
};

Descriptor open_descriptor(const std::string& path, int flags) {
  int fd = -1;
  do {
    // A pipe in place of a file would hold the opening up; files do not know O_NONBLOCK.
    fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, kFileMode);
  } while (fd < 0 && errno == EINTR);
  return Descriptor(fd);
}

Descriptor open_to_read(const std::string& path) {
  Descriptor file = open_descriptor(path, O_RDONLY);
  if (!file.is_open()) throw_unreadable(errno, "cannot open " + path);
  struct ::stat status {};
  if (::fstat(file.get(), &status) != 0) throw_system(errno, "cannot read " + path);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::io_error, "cannot open " + path + ": not a regular file");
  }
  return file;
}

// Reads until `buffer` is full or the file ends; returns the bytes read, or -1 with errno set.
::ssize_t read_fully(int fd, std::span<std::byte> buffer) noexcept {
  std::size_t done = 0;
  while (done < buffer.size()) {
    const ::ssize_t got = ::read(fd, buffer.data() + done, buffer.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return static_cast<::ssize_t>(done);
}

// Writes as much as the system takes and returns how much that was; errno says why it is less.
std::size_t write_fully(int fd, std::uint64_t offset, std::span<const std::byte> data) noexcept {
  std::size_t done = 0;
  while (done < data.size()) {
    const ::ssize_t wrote =
        ::pwrite(fd, data.data() + done, data.size() - done, static_cast<::off_t>(offset + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      if (wrote == 0) errno = ENOSPC;
      break;
    }
    done += static_cast<std::size_t>(wrote);
  }
  return done;
}

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

void sync_directory_at(const std::string& path) {
  const Descriptor directory = open_descriptor(path, O_RDONLY | O_DIRECTORY);
  if (!directory.is_open()) throw_system(errno, "cannot sync directory " + path);
  if (::fsync(directory.get()) != 0) throw_system(errno, "cannot sync directory " + path);
}

class PosixMappedFile final : public MappedFile {
 public:
  explicit PosixMappedFile(const std::string& path) : path_(path) {
    const Descriptor file = open_to_read(path);
    struct ::stat status {};
    if (::fstat(file.get(), &status) != 0) throw_system(errno, "cannot read " + path);
    size_ = static_cast<std::size_t>(status.st_size);
    device_ = status.st_dev;
    inode_ = status.st_ino;
    if (size_ == 0) return;  // mmap takes no empty range
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
    if (address == MAP_FAILED) throw_system(errno, "cannot map " + path);
    data_ = static_cast<std::byte*>(address);
  }
  ~PosixMappedFile() override {
    if (data_ != nullptr) ::munmap(data_, size_);
    if (file_) --read_files_;
  }
  PosixMappedFile(const PosixMappedFile&) = delete;
  PosixMappedFile& operator=(const PosixMappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept override { return {data_, size_}; }

  void advise(std::size_t offset, std::size_t size, Access access) const noexcept override {
    if (offset >= size_ || size == 0) return;
    const std::size_t begin = offset / page_bytes() * page_bytes();
    const std::size_t end = offset + std::min(size, size_ - offset);
    // Hints: failing changes nothing.
    ::madvise(data_ + begin, end - begin, advice(access));
    if (access == Access::sparse) ::madvise(data_ + begin, end - begin, MADV_NOHUGEPAGE);
  }

  bool read(std::size_t offset, std::span<std::byte> out) const noexcept override {
    std::call_once(opened_, [&] { open_for_reads(); });
    if (!file_) return false;
    for (std::size_t done = 0; done < out.size();) {
      const ::ssize_t got = ::pread(file_->get(), out.data() + done, out.size() - done,
                                    static_cast<::off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      done += static_cast<std::size_t>(got);
    }
    return true;
  }

  std::uint64_t resident_bytes() const override {
    if (size_ == 0) return 0;
    const std::size_t page = page_bytes();
    const std::size_t pages = (size_ + page - 1) / page;
    std::vector<unsigned char> resident(pages);
    if (::mincore(data_, size_, resident.data()) != 0) {
      throw_system(errno, "cannot tell how much of " + path_ + " is in memory");
    }
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < pages; ++i) {
      if ((resident[i] & 1) != 0) total += std::min(page, size_ - i * page);
    }
    return total;
  }

 private:
  static std::size_t page_bytes() noexcept {
    return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }
  // Sets file_ if it is still the mapped one, and not too many are open so.
  void open_for_reads() const noexcept {
    Descriptor file = open_descriptor(path_, O_RDONLY);
    struct ::stat status {};
    if (!file.is_open() || ::fstat(file.get(), &status) != 0) return;
    if (status.st_dev != device_ || status.st_ino != inode_) return;
    if (++read_files_ > kMostReadFiles) {
      --read_files_;
      return;
    }
    file_.emplace(std::move(file));
  }
  static int advice(Access access) noexcept {
    switch (access) {
      case Access::normal:
        return MADV_NORMAL;
      case Access::random:
      case Access::sparse:
        return MADV_RANDOM;
      case Access::sequential:
        return MADV_SEQUENTIAL;
      case Access::will_need:
        return MADV_WILLNEED;
      case Access::dont_need:
        return MADV_DONTNEED;
    }
    return MADV_NORMAL;
  }

  static inline std::atomic<int> read_files_{0};

  std::string path_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  ::dev_t device_ = 0;
  ::ino_t inode_ = 0;
  mutable std::once_flag opened_;
  mutable std::optional<Descriptor> file_;  // from the first read() on
};

class PosixNewFile final : public NewFile {
 public:
  explicit PosixNewFile(const std::string& path)
      : path_(path), file_(open_descriptor(path, O_RDWR | O_CREAT | O_EXCL)) {
    if (!file_.is_open()) throw_system(errno, "cannot create " + path);
    buffer_.reserve(kBufferBytes);
  }
  ~PosixNewFile() override {
    if (state_ == State::writing || state_ == State::failed) discard();
  }
  PosixNewFile(const PosixNewFile&) = delete;
  PosixNewFile& operator=(const PosixNewFile&) = delete;

  void append(std::span<const std::byte> data) override {
    require_writing();
    while (!data.empty()) {
      const std::size_t whole = data.size() / kBufferBytes * kBufferBytes;
      if (buffer_.empty() && whole > 0) {
        write(written_, data.first(whole), written_ + data.size());
        written_ += whole;
        data = data.subspan(whole);
        continue;
      }
      const auto some = data.first(std::min(data.size(), kBufferBytes - buffer_.size()));
      buffer_.insert(buffer_.end(), some.begin(), some.end());
      data = data.subspan(some.size());
      if (buffer_.size() == kBufferBytes) flush_buffer();
    }
  }

  void write_at(std::uint64_t offset, std::span<const std::byte> data) override {
    require_writing();
    if (offset > size() || data.size() > size() - offset) {
      throw Error(ErrorCode::invalid_argument, "cannot write " + path_ + " at " +
                                                   std::to_string(offset) + ": it has only " +
                                                   std::to_string(size()) + " bytes");
    }
    const std::uint64_t on_disk =
        offset >= written_ ? 0 : std::min<std::uint64_t>(data.size(), written_ - offset);
    if (on_disk > 0) write(offset, data.first(on_disk), size());
    const auto rest = data.subspan(on_disk);
    if (rest.empty()) return;
    std::copy(rest.begin(), rest.end(),
              buffer_.begin() + static_cast<std::ptrdiff_t>(offset + on_disk - written_));
  }

  std::uint64_t size() const noexcept override { return written_ + buffer_.size(); }

  void expect_reads(MappedFile::Access access) override {
    require_writing();
    const std::size_t piece =
        access == MappedFile::Access::sparse ? kSmallPieceBytes : kBufferBytes;
    if (piece != piece_) flush_buffer();
    piece_ = piece;
  }

  void publish() override {
    require_writing();
    flush_buffer();
    state_ = State::failed;  // until all of the below has worked
    // R2: the bytes, then the name. After a failed sync the kernel may have dropped the pages and
    // marked them clean, so a second sync would succeed without them: the file goes instead.
    int error = ::fdatasync(file_.get()) == 0 ? 0 : errno;
    if (const int close_error = file_.close(); error == 0) error = close_error;
    if (error != 0) {
      discard();
      throw_system(error, "cannot sync " + path_);
    }
    try {
      sync_directory_at(parent_of(path_));
    } catch (...) {
      discard();
      throw;
    }
    state_ = State::published;
  }

 private:
  enum class State { writing, failed, published, removed };

  void require_writing() const {
    if (state_ == State::writing) return;
    throw Error(state_ == State::published ? ErrorCode::invalid_argument : ErrorCode::io_error,
                "cannot write " + path_ +
                    (state_ == State::published ? ": it is published" : ": writing failed before"));
  }

  void flush_buffer() {
    if (buffer_.empty()) return;
    write(written_, buffer_, size());
    written_ += buffer_.size();
    buffer_.clear();
  }

  // `total`: how many bytes the file was going to have, for the message.
  void write(std::uint64_t offset, std::span<const std::byte> data, std::uint64_t total) {
    std::size_t done = 0;
    while (done < data.size()) {
      const std::size_t in_piece = piece_ - (offset + done) % piece_;
      const auto piece = data.subspan(done, std::min(in_piece, data.size() - done));
      const std::size_t wrote = write_fully(file_.get(), offset + done, piece);
      done += wrote;
      if (wrote < piece.size()) break;
    }
    if (done == data.size()) {
      // Lets the disk begin, so that publish() does not wait for all of a large file. A hint: it is
      // publish() that learns whether writing failed.
      ::sync_file_range(file_.get(), static_cast<::off64_t>(offset),
                        static_cast<::off64_t>(data.size()), SYNC_FILE_RANGE_WRITE);
      return;
    }
    const int error = errno;
    state_ = State::failed;
    throw_system(
        error, "cannot write " + path_,
        " (wrote " + std::to_string(offset + done) + " of " + std::to_string(total) + " bytes)");
  }

  void discard() noexcept {
    file_.close();
    ::unlink(path_.c_str());
    state_ = State::removed;
  }

  std::string path_;
  Descriptor file_;
  State state_ = State::writing;
  std::vector<std::byte> buffer_;  // what follows the first written_ bytes
  std::uint64_t written_ = 0;
  std::size_t piece_ = kBufferBytes;  // no write goes across a multiple of it
};

// A lock that belongs to the open file description, so that two opens within one process exclude
// each other too, and closing another descriptor of the file does not drop it.
struct ::flock whole_file(short type) noexcept {
  struct ::flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

class PosixFileLock final : public FileLock {
 public:
  PosixFileLock(Descriptor file, const std::string& path, std::string_view holder)
      : file_(std::move(file)), path_(path), owner_(::getpid()) {
    // The text is a courtesy to whoever waits, so a full disk must not keep the lock from us.
    if (::ftruncate(file_.get(), 0) == 0) {
      write_fully(file_.get(), 0, std::as_bytes(std::span(holder)));
    }
  }
  ~PosixFileLock() override {
    if (::getpid() != owner_) return;  // after fork() the parent still holds it
    [[maybe_unused]] const int truncated = ::ftruncate(file_.get(), 0);
    struct ::flock unlock = whole_file(F_UNLCK);
    ::fcntl(file_.get(), F_OFD_SETLK, &unlock);  // even if a child still has the descriptor
  }
  bool excludes() const noexcept override {
    struct ::stat about {};
    if (::fstat(file_.get(), &about) != 0) return true;
    struct ::stat named {};
    if (::stat(path_.c_str(), &named) != 0) return about.st_nlink > 0;
    return named.st_ino == about.st_ino && named.st_dev == about.st_dev;
  }
  PosixFileLock(const PosixFileLock&) = delete;
  PosixFileLock& operator=(const PosixFileLock&) = delete;

 private:
  Descriptor file_;
  const std::string path_;
  ::pid_t owner_;
};

void copy_file(const std::string& from, const std::string& to) {
  const Descriptor source = open_to_read(from);
  PosixNewFile copy(to);
  std::vector<std::byte> buffer(kBufferBytes);
  while (true) {
    const ::ssize_t got = read_fully(source.get(), buffer);
    if (got < 0) throw_system(errno, "cannot read " + from);
    if (got == 0) break;
    copy.append(std::span(buffer).first(static_cast<std::size_t>(got)));
  }
  copy.publish();
}

class PosixFileSystem final : public FileSystem {
 public:
  std::unique_ptr<MappedFile> map(const std::string& path) override {
    return std::make_unique<PosixMappedFile>(path);
  }

  std::unique_ptr<NewFile> create(const std::string& path) override {
    return std::make_unique<PosixNewFile>(path);
  }

  std::unique_ptr<FileLock> try_lock(const std::string& path, std::string_view holder) override {
    Descriptor file = open_descriptor(path, O_RDWR | O_CREAT);
    if (!file.is_open()) throw_system(errno, "cannot open " + path);
    struct ::flock lock = whole_file(F_WRLCK);
    if (::fcntl(file.get(), F_OFD_SETLK, &lock) != 0) {
      if (errno == EAGAIN || errno == EACCES) return nullptr;
      throw_system(errno, "cannot lock " + path);
    }
    return std::make_unique<PosixFileLock>(std::move(file), path, holder);
  }

  std::string lock_holder(const std::string& path) override {
    const Descriptor file = open_descriptor(path, O_RDONLY);
    if (!file.is_open()) {
      if (errno == ENOENT) return "";
      throw_system(errno, "cannot open " + path);
    }
    struct ::flock lock = whole_file(F_WRLCK);
    if (::fcntl(file.get(), F_OFD_GETLK, &lock) != 0) throw_system(errno, "cannot test " + path);
    if (lock.l_type == F_UNLCK) return "";
    std::array<char, 512> text{};
    const ::ssize_t got = read_fully(file.get(), std::as_writable_bytes(std::span(text)));
    if (got < 0) throw_system(errno, "cannot read " + path);
    // Between locking and writing its name a holder has none.
    return got == 0 ? "another process" : std::string(text.data(), static_cast<std::size_t>(got));
  }

  void make_directory(const std::string& path) override {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) return;
    std::string plain = path;
    while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
    const std::string parent = parent_of(plain);
    if (parent != plain) make_directory(parent);
    if (::mkdir(plain.c_str(), kDirectoryMode) == 0) {
      sync_directory_at(parent);  // or a crash could take it, and what is in it, away again
      return;
    }
    const int error = errno;
    if (error == EEXIST && std::filesystem::is_directory(plain, ignored)) return;
    throw_system(error, "cannot create directory " + plain);
  }

  bool exists(const std::string& path) override {
    struct ::stat status {};
    if (::stat(path.c_str(), &status) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw_system(errno, "cannot look at " + path);
  }

  bool is_writable(const std::string& path) override {
    return ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0;
  }

  std::string network_file_system(const std::string& path) override {
    struct statfs about {};
    std::error_code unknown;
    std::filesystem::path at = std::filesystem::absolute(path, unknown);
    while (::statfs(at.c_str(), &about) != 0) {
      if (errno == EINTR) continue;
      if (errno != ENOENT || at == at.parent_path()) return "";  // whoever opens files says why
      at = at.parent_path();
    }
    switch (static_cast<std::uint32_t>(about.f_type)) {  // statfs(2)
      case 0x6969:
        return "NFS";
      case 0x517B:
      case 0xFF534D42:
      case 0xFE534D42:
        return "SMB";
      case 0x5346414F:
        return "AFS";
      default:
        return "";
    }
  }

  std::vector<std::string> list(const std::string& directory) override {
    std::vector<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator entry(directory, error);
    while (!error && entry != std::filesystem::directory_iterator()) {
      names.push_back(entry->path().filename().string());
      entry.increment(error);
    }
    if (error) throw_unreadable(error.value(), "cannot list " + directory);
    std::sort(names.begin(), names.end());
    return names;
  }

  std::uint64_t file_size(const std::string& path) override {
    struct ::stat status {};
    if (::stat(path.c_str(), &status) == 0) return static_cast<std::uint64_t>(status.st_size);
    if (errno == ENOENT) return 0;
    throw_system(errno, "cannot look at " + path);
  }

  void remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return;
    throw_system(errno, "cannot remove " + path);
  }

  void rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return;
    throw_system(errno, "cannot rename " + from + " to " + to);
  }

  void exchange(const std::string& one, const std::string& other) override {
    if (::renameat2(AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE) == 0) return;
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP || errno == EXDEV ||
        errno == EBUSY) {
      throw Error(ErrorCode::unsupported, "cannot exchange " + one + " and " + other +
                                              ": this file system has no such operation, or one "
                                              "is a mount point; move the old one away, or use a "
                                              "directory below it");
    }
    throw_system(errno, "cannot exchange " + one + " and " + other);
  }

  void sync_directory(const std::string& path) override { sync_directory_at(path); }

  void hard_link_or_copy(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) == 0) {
      sync_directory_at(parent_of(to));
      return;
    }
    switch (errno) {
      case EXDEV:       // another file system
      case EPERM:       // one without links, or fs.protected_hardlinks
      case EOPNOTSUPP:  // network and user-space file systems
      case ENOSYS:
      case EMLINK:  // too many links already
        copy_file(from, to);
        return;
      default:
        throw_system(errno, "cannot link " + from + " to " + to);
    }
  }
};

}  // namespace

FileSystem& posix_file_system() {
  static PosixFileSystem files;
  return files;
}

}  // namespace vkb

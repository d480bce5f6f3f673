// SPDX-License-Identifier: Apache-2.0
#include "storage/file_hash.h"

#include <xxhash.h>

#include <algorithm>
#include <new>
#include <vector>

namespace vkb {
namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 20;

}  // namespace

class FileHash::State {
 public:
  State() : xxh3_(XXH3_createState()) {
    if (!xxh3_) throw std::bad_alloc();
    XXH3_128bits_reset(xxh3_.get());
  }
  XXH3_state_t* get() const noexcept { return xxh3_.get(); }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> xxh3_;
};

FileHash::FileHash() : state_(std::make_unique<State>()) {}
FileHash::~FileHash() = default;

void FileHash::update(std::span<const std::byte> bytes) noexcept {
  XXH3_128bits_update(state_->get(), bytes.data(), bytes.size());
}

std::string FileHash::value() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->get()));
  std::string hex;
  for (const unsigned char byte : canonical.digest) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 0xF];
  }
  return hex;
}

void read_pieces(const MappedFile& file, std::uint64_t offset, std::uint64_t bytes,
                 const std::function<void(std::span<const std::byte>)>& visit) {
  std::vector<std::byte> buffer(std::min(bytes, kPieceBytes));
  for (std::uint64_t done = 0; done < bytes;) {
    const std::uint64_t step = std::min(bytes - done, kPieceBytes);
    const auto piece = std::span(buffer).first(step);
    visit(file.read(offset + done, piece) ? std::span<const std::byte>(piece)
                                          : file.bytes().subspan(offset + done, step));
    done += step;
  }
}

void read_pieces(DatabaseFile& file, const std::function<void(std::span<const std::byte>)>& visit) {
  std::vector<std::byte> buffer(std::min(file.size(), kPieceBytes));
  for (std::uint64_t at = 0; at < file.size(); at += buffer.size()) {
    const auto piece = std::span(buffer).first(std::min(file.size() - at, kPieceBytes));
    if (!file.read(at, piece)) return;
    visit(piece);
  }
}

}  // namespace vkb

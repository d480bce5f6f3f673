// SPDX-License-Identifier: Apache-2.0
#include "engine/page_array.h"

#include <sys/mman.h>

#include <new>

namespace vkb {

void Pages::grow(std::size_t bytes) {
  if (bytes <= bytes_) return;
  void* const address = data_ == nullptr ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                         : ::mremap(data_, bytes_, bytes, MREMAP_MAYMOVE);
  if (address == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(address);
  bytes_ = bytes;
  ::madvise(data_, bytes_, MADV_HUGEPAGE);  // a hint: failing changes nothing
}

void Pages::clear() noexcept {
  if (data_ != nullptr) ::munmap(data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "storage/compression.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/support/test_data.h"

namespace vkb {
namespace {

TEST(Compression, TextsComeBackAsTheyWere) {
  for (const std::size_t size : {0, 1, 1000, 5'000'000}) {
    const std::string same(size, 'x');
    EXPECT_TRUE(decompress(compress(same), "same") == same);
    std::string random;
    TestRandom numbers(size);
    for (std::size_t i = 0; i < size; ++i) random += static_cast<char>(numbers.below(256));
    EXPECT_TRUE(decompress(compress(random), "random") == random);
  }
}

// R8: the frame says how much memory its text takes, and is believed no more than it can be true.
TEST(Compression, AFrameThatClaimsMoreThanItCanHoldIsCorruption) {
  std::vector<std::byte> frame = {std::byte{0x28}, std::byte{0xB5}, std::byte{0x2F},
                                  std::byte{0xFD}, std::byte{0xA0}};  // then the size, in 4 bytes
  const std::uint32_t claimed = 900'000'000;
  frame.resize(frame.size() + sizeof(claimed));
  std::memcpy(&frame[5], &claimed, sizeof(claimed));
  frame.resize(frame.size() + 16);
  VKB_EXPECT_ERROR(decompress(frame, "metadata"), ErrorCode::corruption,
                   "metadata: not a Zstandard frame");
}

TEST(Compression, ADamagedFrameIsCorruption) {
  const std::vector<std::byte> frame = compress(std::string(100, 'x') + std::string(100, 'y'));
  for (std::size_t size = 0; size < frame.size(); ++size) {
    std::vector<std::byte> cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
    VKB_EXPECT_ERROR(decompress(cut, "metadata"), ErrorCode::corruption, "Zstandard frame");
  }
}

}  // namespace
}  // namespace vkb

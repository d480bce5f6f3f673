// SPDX-License-Identifier: Apache-2.0
#include "engine/page_array.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <new>

namespace vkb {
namespace {

TEST(PageArrayTest, GrowsKeepingWhatItHolds) {
  PageArray<std::uint32_t> array;
  array.grow(10);
  for (std::uint32_t i = 0; i < 10; ++i) {
    EXPECT_EQ(array[i], 0U);
    array[i] = 100 + i;
  }
  array.grow(3'000'000);
  array.grow(5);  // never shrinks
  for (std::uint32_t i = 0; i < 10; ++i) EXPECT_EQ(array[i], 100 + i);
  EXPECT_EQ(array[2'999'999], 0U);
  EXPECT_EQ(array.at(8, 2)[1], 109U);
}

TEST(PageArrayTest, IsZeroAgainOnceCleared) {
  PageArray<std::uint8_t> array;
  array.clear();
  array.grow(4096);
  array[7] = 1;
  array.clear();
  array.grow(4096);
  EXPECT_EQ(array[7], 0);
}

TEST(PageArrayTest, MoreThanThereIsThrows) {
  PageArray<std::byte> array;
  array.grow(1);
  array[0] = std::byte{9};
  EXPECT_THROW(array.grow(std::numeric_limits<std::size_t>::max() / 2), std::bad_alloc);
  EXPECT_EQ(array[0], std::byte{9});
}

}  // namespace
}  // namespace vkb

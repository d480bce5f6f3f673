// SPDX-License-Identifier: Apache-2.0
#include "engine/kernels.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace vkb {
namespace {

// Every length that meets each combination of whole batches and tails, and some large ones.
std::vector<std::size_t> lengths() {
  std::vector<std::size_t> lengths(201);
  std::iota(lengths.begin(), lengths.end(), std::size_t{0});
  lengths.insert(lengths.end(), {255, 256, 257, 384, 768, 1023, 1536, 4097, 16384});
  return lengths;
}

std::vector<float> random_floats(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n);
  for (float& x : values) x = normal(random);
  return values;
}

std::vector<std::int8_t> random_bytes(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int> code(-127, 127);
  std::vector<std::int8_t> values(n);
  for (std::int8_t& x : values) x = static_cast<std::int8_t>(code(random));
  return values;
}

std::int32_t sum_of(const std::int8_t* values, std::size_t n) {
  return std::accumulate(values, values + n, std::int32_t{0});
}

std::int32_t dot_i8(const Kernels& set, const std::int8_t* query, const std::int8_t* row,
                    std::size_t n) {
  std::int32_t dot = 0;
  set.dot_i8(query, sum_of(query, n), &row, 1, n, &dot);
  return dot;
}

// A sum of n rounded terms, in whatever order, is off by at most n epsilon times the sum of their
// magnitudes (Higham 2002, section 3.1); two more for the rounding of each term.
double tolerance(std::size_t n, double magnitudes) {
  return (static_cast<double>(n) + 2) * double{std::numeric_limits<float>::epsilon()} * magnitudes;
}

class KernelsTest : public testing::TestWithParam<const Kernels*> {};

TEST_P(KernelsTest, FloatSumsAgreeWithDouble) {
  const Kernels& set = *GetParam();
  const auto values_a = random_floats(16384 + 4, 1);
  const auto values_b = random_floats(16384 + 4, 2);
  for (const std::size_t n : lengths()) {
    for (std::size_t offset = 0; offset < 4; ++offset) {
      const float* a = values_a.data() + offset;
      const float* b = values_b.data() + 3 - offset;
      double dot = 0;
      double dot_magnitude = 0;
      double squared_l2 = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double difference = double{a[i]} - double{b[i]};
        dot += double{a[i]} * double{b[i]};
        dot_magnitude += std::abs(double{a[i]} * double{b[i]});
        squared_l2 += difference * difference;
      }
      EXPECT_NEAR(set.dot_f32(a, b, n), dot, tolerance(n, dot_magnitude)) << n << '+' << offset;
      EXPECT_NEAR(set.squared_l2_f32(a, b, n), squared_l2, tolerance(n + 2, squared_l2))
          << n << '+' << offset;
    }
  }
}

TEST_P(KernelsTest, IntegerDotIsExact) {
  const Kernels& set = *GetParam();
  const auto values_a = random_bytes(16384 + 67, 3);
  const auto values_b = random_bytes(16384 + 67, 4);
  for (const std::size_t n : lengths()) {
    for (const std::size_t offset : {0, 1, 15, 33, 64, 67}) {
      const std::int8_t* a = values_a.data() + offset;
      const std::int8_t* b = values_b.data() + 67 - offset;
      const std::int32_t dot = std::inner_product(a, a + n, b, std::int32_t{0});
      ASSERT_EQ(dot_i8(set, a, b, n), dot) << n << '+' << offset;
    }
  }
}

TEST_P(KernelsTest, IntegerDotHoldsTheExtremes) {
  const Kernels& set = *GetParam();
  for (const int x : {-127, 127}) {
    for (const int y : {-127, 127}) {
      const std::vector<std::int8_t> a(16384, static_cast<std::int8_t>(x));
      const std::vector<std::int8_t> b(16384, static_cast<std::int8_t>(y));
      EXPECT_EQ(dot_i8(set, a.data(), b.data(), a.size()), 16384 * x * y);
    }
  }
}

// Every count of rows, which a kernel may take some at a time.
TEST_P(KernelsTest, IntegerDotsOfManyRows) {
  const std::size_t n = 200;
  const auto query = random_bytes(n, 11);
  std::vector<std::vector<std::int8_t>> rows;
  std::vector<const std::int8_t*> places;
  std::vector<std::int32_t> expected;
  for (std::size_t count = 0; count < 20; ++count) {
    std::vector<std::int32_t> dots(count + 1, -1);
    GetParam()->dot_i8(query.data(), sum_of(query.data(), n), places.data(), count, n, dots.data());
    EXPECT_EQ(dots.back(), -1) << count;  // nothing is written behind
    dots.pop_back();
    EXPECT_EQ(dots, expected);
    rows.push_back(random_bytes(n, 100 + count));
    places.push_back(rows.back().data());
    expected.push_back(
        std::inner_product(query.begin(), query.end(), rows.back().begin(), std::int32_t{0}));
  }
}

// Code by code, with the extremes; every count of rows.
TEST_P(KernelsTest, Int4DotIsExact) {
  std::mt19937_64 random(12);
  for (std::size_t blocks = 1; blocks <= 4; ++blocks) {
    for (const bool extreme : {false, true}) {
      auto query = random_bytes(128 * blocks, blocks);
      if (extreme) std::ranges::fill(query, static_cast<std::int8_t>(127));
      std::vector<std::vector<std::byte>> rows;
      std::vector<const std::byte*> places;
      std::vector<std::int32_t> expected;
      for (std::size_t count = 0; count < 10; ++count) {
        std::vector<std::int32_t> dots(count + 1, -1);
        GetParam()->dot_i4(query.data(), sum_of(query.data(), query.size()), places.data(), count,
                           blocks, dots.data());
        EXPECT_EQ(dots.back(), -1) << count;  // nothing is written behind
        dots.pop_back();
        EXPECT_EQ(dots, expected);
        std::vector<std::byte>& row = rows.emplace_back(64 * blocks);
        std::int32_t dot = 0;
        for (std::size_t i = 0; i < row.size(); ++i) {
          row[i] = extreme ? std::byte{0xFF} : static_cast<std::byte>(random());
          const std::size_t low = i / 64 * 128 + i % 64;
          dot += ((std::to_integer<int>(row[i]) & 15) - 8) * query[low];
          dot += ((std::to_integer<int>(row[i]) >> 4) - 8) * query[low + 64];
        }
        places.push_back(row.data());
        expected.push_back(dot);
      }
    }
  }
}

// Bit by bit: bits times numbers of four bits in two's complement, given as planes.
std::int32_t bit_dot_by_definition(const std::byte* row, const std::byte* planes) {
  std::int32_t sum = 0;
  for (std::size_t bit = 0; bit < 512; ++bit) {
    const auto at = [&](const std::byte* bytes) {
      return static_cast<std::int32_t>(bytes[bit / 8] >> (bit % 8)) & 1;
    };
    const std::int32_t number =
        at(planes) + 2 * at(planes + 64) + 4 * at(planes + 128) - 8 * at(planes + 192);
    sum += at(row) * number;
  }
  return sum;
}

// Every count of rows, which a kernel may take some at a time, in any order and twice.
TEST_P(KernelsTest, BitDotIsExact) {
  const Kernels& set = *GetParam();
  std::mt19937_64 random(5);
  for (std::size_t count = 0; count < 100; ++count) {
    std::vector<std::byte> rows(64 * 64);
    std::array<std::byte, 256> planes{};
    // All ones and all zeros are among them: the largest and the smallest sums side by side.
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t kind = i / 64 % 4;
      rows[i] = kind == 0 ? std::byte{0xFF} : kind == 1 ? std::byte{0} : std::byte(random());
    }
    for (std::byte& byte : planes) byte = count % 5 == 0 ? std::byte{0xFF} : std::byte(random());
    if (count % 3 == 1) std::fill(planes.begin(), planes.begin() + 192, std::byte{0xFF});
    if (count % 3 == 2) std::fill(planes.begin() + 192, planes.end(), std::byte{0});
    std::vector<std::uint32_t> numbers(count);
    for (std::uint32_t& number : numbers) number = static_cast<std::uint32_t>(random() % 64);
    std::vector<std::int32_t> dots(count + 1, 12345);
    set.dot_bits(rows.data(), numbers.data(), count, planes.data(), dots.data());
    for (std::size_t i = 0; i < count; ++i) {
      const std::byte* row = rows.data() + 64 * std::size_t{numbers[i]};
      ASSERT_EQ(dots[i], bit_dot_by_definition(row, planes.data())) << count << ' ' << i;
    }
    ASSERT_EQ(dots[count], 12345) << "wrote beyond the last";
  }
}

// Memory between two pages that may not be touched.
class GuardedMemory {
 public:
  static constexpr std::size_t kBytes = 16384;

  GuardedMemory() : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    void* mapped = mmap(nullptr, kBytes + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) std::abort();
    base_ = static_cast<std::byte*>(mapped);
    if (mprotect(begin(), kBytes, PROT_READ | PROT_WRITE) != 0) std::abort();
  }
  ~GuardedMemory() { munmap(base_, kBytes + 2 * page_); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  std::byte* begin() const { return base_ + page_; }
  // The values, ending or beginning where the memory does.
  template <typename T>
  const T* place(const std::vector<T>& values, bool at_end) const {
    const std::size_t bytes = values.size() * sizeof(T);
    std::byte* at = at_end ? begin() + kBytes - bytes : begin();
    if (bytes > 0) std::memcpy(at, values.data(), bytes);
    return reinterpret_cast<const T*>(at);
  }

 private:
  std::size_t page_;
  std::byte* base_ = nullptr;
};

TEST_P(KernelsTest, NothingOutsideTheVectorsIsRead) {
  const Kernels& set = *GetParam();
  const GuardedMemory memory_a;
  const GuardedMemory memory_b;
  for (std::size_t n = 0; n <= 200; ++n) {
    for (const bool at_end : {false, true}) {
      const auto bytes_a = random_bytes(n, 5);
      const auto bytes_b = random_bytes(n, 6);
      const std::int8_t* a = memory_a.place(bytes_a, at_end);
      const std::int8_t* b = memory_b.place(bytes_b, at_end);
      EXPECT_EQ(dot_i8(set, a, b, n), dot_i8(kPlainKernels, bytes_a.data(), bytes_b.data(), n));
      const float* x = memory_a.place(random_floats(n, 7), at_end);
      const float* y = memory_b.place(random_floats(n, 8), at_end);
      EXPECT_TRUE(std::isfinite(set.dot_f32(x, y, n)));
      EXPECT_TRUE(std::isfinite(set.squared_l2_f32(x, y, n)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, KernelsTest,
                         testing::ValuesIn(available_kernels().begin(), available_kernels().end()),
                         [](const auto& set) { return std::string(set.param->name); });

TEST(KernelChoice, IsTheNamedSetElseTheBest) {
  const auto sets = available_kernels();
  EXPECT_EQ(sets.front()->name, "plain");
  EXPECT_EQ(choose_kernels(sets, "plain").name, "plain");
  EXPECT_EQ(choose_kernels(sets, "").name, sets.back()->name);
  EXPECT_EQ(choose_kernels(sets, "sse9").name, sets.back()->name);
  EXPECT_EQ(choose_kernels(sets.first(1), "avx512").name, "plain");
}

// In a fresh process each, as the choice is made once.
TEST(KernelChoiceDeathTest, FollowsTheEnvironment) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const Kernels* set : available_kernels()) {
    EXPECT_EXIT(
        {
          setenv("VKB_KERNELS", std::string(set->name).c_str(), 1);
          std::_Exit(kernels().name == set->name ? 0 : 1);
        },
        testing::ExitedWithCode(0), "");
  }
  EXPECT_EXIT(
      {
        setenv("VKB_KERNELS", "no such set", 1);
        std::_Exit(kernels().name == available_kernels().back()->name ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vkb

// SPDX-License-Identifier: Apache-2.0
#include "tools/npy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "storage/error.h"
#include "tests/support/temp_directory.h"

namespace vkb {
namespace {

std::string header_text(const std::string& dtype, const std::string& shape,
                        const std::string& fortran = "False") {
  return "{'descr': '" + dtype + "', 'fortran_order': " + fortran + ", 'shape': " + shape + ", }\n";
}

std::string npy(const std::string& header, const std::string& data, int version = 1) {
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  for (std::size_t i = 0; i < length_bytes; ++i) {
    file += static_cast<char>(header.size() >> 8 * i & 0xFF);
  }
  return file + header + data;
}

template <typename Number>
std::string bytes_of(std::initializer_list<Number> numbers) {
  std::string bytes(numbers.size() * sizeof(Number), '\0');
  std::memcpy(bytes.data(), std::data(numbers), bytes.size());
  return bytes;
}

class NpyTest : public ::testing::Test {
 protected:
  std::string write(const std::string& bytes) { return directory_.write("a.npy", bytes); }
  std::string error_of(const std::string& bytes) {
    try {
      read_npy_floats(write(bytes));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
    return "";
  }
  TempDirectory directory_;
};

TEST_F(NpyTest, ReadsFloatsOfEachVersion) {
  for (int version = 1; version <= 3; ++version) {
    const Matrix<float> matrix = read_npy_floats(
        write(npy(header_text("<f4", "(2, 3)"), bytes_of<float>({1, 2, 3, 4, 5, 6.5f}), version)));
    EXPECT_EQ(matrix.rows, 2u);
    EXPECT_EQ(matrix.columns, 3u);
    EXPECT_EQ(matrix.row(1)[2], 6.5f);
  }
}

TEST_F(NpyTest, OneDimensionIsOneRow) {
  const Matrix<float> matrix =
      read_npy_floats(write(npy(header_text("<f4", "(3,)"), bytes_of<float>({1, 2, 3}))));
  EXPECT_EQ(matrix.rows, 1u);
  EXPECT_EQ(matrix.columns, 3u);
}

TEST_F(NpyTest, ReadsHalfFloats) {
  // 1, -2, the largest, the smallest normal, the smallest subnormal, 0, -0
  const Matrix<float> matrix = read_npy_floats(
      write(npy(header_text("<f2", "(1, 7)"),
                bytes_of<std::uint16_t>({0x3C00, 0xC000, 0x7BFF, 0x0400, 0x0001, 0, 0x8000}))));
  const std::vector<float> expected{1,    -2,  65504, std::ldexp(1.0f, -14), std::ldexp(1.0f, -24),
                                    0.0f, 0.0f};
  EXPECT_EQ(matrix.values, expected);
  EXPECT_TRUE(std::signbit(matrix.values[6]));
  EXPECT_TRUE(std::isinf(half_to_float(0x7C00)));
  EXPECT_TRUE(std::isnan(half_to_float(0x7E00)));
}

TEST_F(NpyTest, ReadsIntegersOfBothWidths) {
  const Matrix<std::int64_t> narrow =
      read_npy_integers(write(npy(header_text("<i4", "(2, 1)"), bytes_of<std::int32_t>({7, -1}))));
  EXPECT_EQ(narrow.values, (std::vector<std::int64_t>{7, -1}));
  const Matrix<std::int64_t> wide = read_npy_integers(
      write(npy(header_text("<i8", "(1, 2)"), bytes_of<std::int64_t>({1LL << 40, 3}))));
  EXPECT_EQ(wide.values[0], 1LL << 40);
  EXPECT_THROW(read_npy_integers(write(npy(header_text("<f4", "(1, 1)"), bytes_of<float>({1})))),
               Error);
}

TEST_F(NpyTest, RefusesWhatItCannotRead) {
  const std::string four = bytes_of<float>({1, 2, 3, 4});
  EXPECT_NE(error_of("hello, this is text").find("not a .npy file"), std::string::npos);
  EXPECT_NE(error_of("").find("not a .npy file"), std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "(2, 2)"), four, 9)).find("version"),
            std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f8", "(2, 1)"), four)).find("<f8"), std::string::npos);
  EXPECT_NE(error_of(npy(header_text(">f4", "(2, 2)"), four)).find(">f4"), std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<i4", "(2, 2)"), four)).find("float32"), std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "(2, 2)", "True"), four)).find("column-major"),
            std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "(1, 2, 2)"), four)).find("dimensions"),
            std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "()"), bytes_of<float>({1}))).find("dimensions"),
            std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "(0, 4)"), "")).find("empty"), std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "(2, 3)"), four)).find("2 x 3"), std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "(1, 2)"), four)).find("1 x 2"), std::string::npos);
  EXPECT_NE(error_of(npy(header_text("<f4", "(4611686018427387904, 4)"), four)), "");
  EXPECT_NE(error_of(npy(header_text("<f4", "(99999999999999999999, 4)"), four)), "");
  EXPECT_NE(error_of(npy(header_text("<f4", "(-1, 4)"), four)), "");
  EXPECT_NE(error_of(npy("{}", four)).find("descr"), std::string::npos);
  EXPECT_NE(error_of(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}", four)),
            "");
  EXPECT_NE(error_of(npy(header_text("<f4", "(1, 1)"), bytes_of<float>({NAN}))).find("NaN"),
            std::string::npos);
}

TEST_F(NpyTest, EveryCutAndFlippedHeaderByteIsAnErrorOrStillAnArray) {
  const std::string whole = npy(header_text("<f4", "(2, 2)"), bytes_of<float>({1, 2, 3, 4}));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(parse_npy_header(whole.substr(0, size), size, "a.npy"), Error) << size;
  }
  for (std::size_t at = 0; at < whole.size() - 16; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 1 << bit);
      try {
        const NpyHeader header = parse_npy_header(damaged, damaged.size(), "a.npy");
        EXPECT_EQ(header.rows * header.columns * (header.dtype == "<f2" ? 2 : 4), 16u);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      }
    }
  }
}

TEST_F(NpyTest, AMissingFileIsNotFound) {
  try {
    read_npy_floats(directory_.file("none.npy"));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
  }
}

}  // namespace
}  // namespace vkb

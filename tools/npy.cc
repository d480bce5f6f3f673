// SPDX-License-Identifier: Apache-2.0
#include "tools/npy.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "storage/error.h"

namespace vkb {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they are");

[[noreturn]] void fail(const std::string& name, const std::string& message) {
  throw Error(ErrorCode::invalid_argument, name + ": " + message);
}

// The text after `'key':` in the header's dict, without leading spaces.
std::string_view value_of(std::string_view header, const std::string& key,
                          const std::string& name) {
  std::size_t at = header.find("'" + key + "'");
  if (at == std::string_view::npos) at = header.find("\"" + key + "\"");
  if (at == std::string_view::npos) fail(name, "the .npy header has no '" + key + "'");
  header.remove_prefix(at + key.size() + 2);
  at = header.find_first_not_of(" :");
  if (at == std::string_view::npos) fail(name, "the .npy header ends after '" + key + "'");
  return header.substr(at);
}

std::vector<std::size_t> parse_shape(std::string_view text, const std::string& name) {
  const std::size_t end = text.find(')');
  if (text.empty() || text.front() != '(' || end == std::string_view::npos) {
    fail(name, "the .npy header's 'shape' is not a tuple");
  }
  text = text.substr(1, end - 1);
  std::vector<std::size_t> shape;
  while (true) {
    const std::size_t begin = text.find_first_not_of(" ,");
    if (begin == std::string_view::npos) return shape;
    text.remove_prefix(begin);
    std::size_t number = 0;
    const std::from_chars_result result =
        std::from_chars(text.data(), text.data() + text.size(), number);
    if (result.ec != std::errc{}) fail(name, "the .npy header's 'shape' holds no plain number");
    text.remove_prefix(static_cast<std::size_t>(result.ptr - text.data()));
    shape.push_back(number);
  }
}

std::size_t item_size(const std::string& dtype, const std::string& name) {
  if (dtype == "<f2") return 2;
  if (dtype == "<f4" || dtype == "<i4") return 4;
  if (dtype == "<i8") return 8;
  fail(name, "dtype '" + dtype +
                 "' is not read here: save it as float32 or float16 (vectors), or int32 or int64 "
                 "(row numbers), little-endian");
}

struct NpyFile {
  NpyHeader header;
  std::string data;
};

NpyFile read_npy(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(file, error);
  if (!stream || error) throw Error(ErrorCode::not_found, file + ": cannot read this .npy file");
  std::string head(std::min<std::uint64_t>(size, kNpyHeaderLimit), '\0');
  stream.read(head.data(), static_cast<std::streamsize>(head.size()));
  if (!stream) throw Error(ErrorCode::io_error, file + ": cannot read");
  NpyFile result{parse_npy_header(head, size, file), {}};
  result.data.resize(size - result.header.data_offset);
  stream.seekg(static_cast<std::streamoff>(result.header.data_offset));
  stream.read(result.data.data(), static_cast<std::streamsize>(result.data.size()));
  if (!stream) throw Error(ErrorCode::io_error, file + ": cannot read");
  return result;
}

template <typename Stored, typename Number, typename Convert>
std::vector<Number> convert(const std::string& data, const Convert& to_number) {
  std::vector<Number> values(data.size() / sizeof(Stored));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, data.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = to_number(stored);
  }
  return values;
}

}  // namespace

NpyHeader parse_npy_header(std::string_view bytes, std::uint64_t file_size,
                           const std::string& name) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  if (bytes.size() < 10 || bytes.substr(0, 6) != kMagic) fail(name, "not a .npy file");
  const int version = bytes[6];
  if (version < 1 || version > 3) {
    fail(name, ".npy version " + std::to_string(version) + ", expected 1 to 3");
  }
  const auto byte = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at]));
  };
  std::size_t header_size = byte(8) | byte(9) << 8;
  std::size_t header_offset = 10;
  if (version > 1) {
    if (bytes.size() < 12) fail(name, "the .npy header is cut off");
    header_size |= byte(10) << 16 | byte(11) << 24;
    header_offset = 12;
  }
  if (header_size > bytes.size() - header_offset) {
    fail(name, "the .npy header claims " + std::to_string(header_size) + " bytes, the file has " +
                   std::to_string(file_size));
  }
  const std::string_view text = bytes.substr(header_offset, header_size);
  const std::string_view descr = value_of(text, "descr", name);
  const std::size_t quote = descr.substr(1).find(descr.front());
  if ((descr.front() != '\'' && descr.front() != '"') || quote == std::string_view::npos) {
    fail(name, "the .npy header's 'descr' is not text (a structured dtype?)");
  }
  if (value_of(text, "fortran_order", name).substr(0, 5) != "False") {
    fail(name, "column-major order is not read: save numpy.ascontiguousarray(a)");
  }
  const std::vector<std::size_t> shape = parse_shape(value_of(text, "shape", name), name);
  if (shape.size() != 1 && shape.size() != 2) {
    fail(name, "expected an array of 1 or 2 dimensions, found " + std::to_string(shape.size()));
  }
  NpyHeader header;
  header.dtype = descr.substr(1, quote);
  header.one_dimension = shape.size() == 1;
  header.rows = header.one_dimension ? 1 : shape[0];
  header.columns = shape.back();
  header.data_offset = header_offset + header_size;
  if (header.rows == 0 || header.columns == 0) fail(name, "the array is empty");
  std::size_t data_bytes = 0;
  if (__builtin_mul_overflow(header.rows, header.columns, &data_bytes) ||
      __builtin_mul_overflow(data_bytes, item_size(header.dtype, name), &data_bytes) ||
      data_bytes != file_size - header.data_offset) {
    fail(name, "the .npy header describes " + std::to_string(header.rows) + " x " +
                   std::to_string(header.columns) + " numbers of " + header.dtype +
                   ", which is not the " + std::to_string(file_size - header.data_offset) +
                   " bytes that follow");
  }
  return header;
}

float half_to_float(std::uint16_t bits) noexcept {
  const int exponent = bits >> 10 & 0x1F;
  const int fraction = bits & 0x3FF;
  const float magnitude =
      exponent == 0x1F
          ? (fraction == 0 ? HUGE_VALF : NAN)
          : (exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                           : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25));
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

Matrix<float> read_npy_floats(const std::string& file) {
  const NpyFile npy = read_npy(file);
  Matrix<float> matrix{npy.header.rows, npy.header.columns, {}};
  if (npy.header.dtype == "<f4") {
    matrix.values = convert<float, float>(npy.data, [](float value) { return value; });
  } else if (npy.header.dtype == "<f2") {
    matrix.values = convert<std::uint16_t, float>(npy.data, half_to_float);
  } else {
    fail(file, "expected float32 or float16 numbers, found '" + npy.header.dtype + "'");
  }
  for (std::size_t i = 0; i < matrix.values.size(); ++i) {
    if (!std::isfinite(matrix.values[i])) {
      fail(file, "row " + std::to_string(i / matrix.columns) + " holds NaN or infinity");
    }
  }
  return matrix;
}

Matrix<std::int64_t> read_npy_integers(const std::string& file) {
  const NpyFile npy = read_npy(file);
  if (npy.header.one_dimension) fail(file, "expected an array of 2 dimensions, found 1");
  Matrix<std::int64_t> matrix{npy.header.rows, npy.header.columns, {}};
  const auto widen = [](auto value) { return std::int64_t{value}; };
  if (npy.header.dtype == "<i4") {
    matrix.values = convert<std::int32_t, std::int64_t>(npy.data, widen);
  } else if (npy.header.dtype == "<i8") {
    matrix.values = convert<std::int64_t, std::int64_t>(npy.data, widen);
  } else {
    fail(file, "expected int32 or int64 row numbers, found '" + npy.header.dtype + "'");
  }
  return matrix;
}

}  // namespace vkb

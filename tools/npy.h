// SPDX-License-Identifier: Apache-2.0
//
// NumPy's .npy files, as numpy.lib.format describes them: the magic "\x93NUMPY", two version
// bytes, the header's length, a Python dict literal with 'descr', 'fortran_order' and 'shape', then
// the numbers. Read here: versions 1 to 3, C order, '<f4', '<f2', '<i4' and '<i8', 1 or 2
// dimensions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vkb {

// rows x columns numbers, row after row.
template <typename Number>
struct Matrix {
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<Number> values;
  const Number* row(std::size_t index) const { return values.data() + index * columns; }
};

struct NpyHeader {
  std::string dtype;  // "<f4"
  std::size_t rows = 0;
  std::size_t columns = 0;
  bool one_dimension = false;
  std::size_t data_offset = 0;
};

// Reads the header from the first bytes of a file of `file_size` bytes, whose data must fit in it
// exactly. `name` is for messages. Throws Error{invalid_argument} for anything else.
NpyHeader parse_npy_header(std::string_view bytes, std::uint64_t file_size,
                           const std::string& name);
constexpr std::size_t kNpyHeaderLimit = 1 << 16;  // bytes of the file that hold any header

// Reads a float32 or float16 file, [rows, columns], or [columns] as one row. Throws
// Error{not_found} when it cannot be opened, invalid_argument as above and for another dtype.
Matrix<float> read_npy_floats(const std::string& file);
// Reads an int32 or int64 file, [rows, columns].
Matrix<std::int64_t> read_npy_integers(const std::string& file);

// IEEE 754 binary16 to float, exactly.
float half_to_float(std::uint16_t bits) noexcept;

}  // namespace vkb

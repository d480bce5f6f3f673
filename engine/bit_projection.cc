// SPDX-License-Identifier: Apache-2.0
//
// Fitting a projection: principal components by Eigen, the only file that knows it.
#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <random>

#include "engine/bit_codes.h"
#include "engine/codes.h"

namespace vkb {
namespace {

using Matrix = Eigen::MatrixXf;

// Rows that are looked at: ten for each component are plenty for the directions, and the mean.
constexpr std::size_t kSampleRows = 8192;

// [dim][n] rows, evenly from all, less their mean, which goes to `mean`.
Matrix centred_sample(Space space, std::size_t dim, std::size_t count,
                      const std::function<const float*(std::size_t)>& row, Eigen::VectorXf& mean) {
  const std::size_t size = std::min(count, kSampleRows);
  const auto columns = static_cast<Eigen::Index>(size);
  Matrix sample(static_cast<Eigen::Index>(dim), columns);
  for (Eigen::Index i = 0; i < columns; ++i) {
    const float* vector = row(static_cast<std::size_t>(i) * count / size);
    const float norm = norm_of({vector, dim});
    // What is shorter than kNormFloor has the distance of a zero vector, and no direction here: one
    // whose length is no normal float would make all of them infinite.
    const float scale = space != Space::cosine ? 1.0F : norm > kNormFloor ? 1.0F / norm : 0.0F;
    sample.col(i) = scale * Eigen::Map<const Eigen::VectorXf>(vector, sample.rows());
  }
  mean = sample.rowwise().mean();
  sample.colwise() -= mean;
  return sample;
}

// The eigenvectors of the sample's covariance, those of the largest values first, as columns.
Matrix principal_directions(const Matrix& sample) {
  Matrix covariance = Matrix::Zero(sample.rows(), sample.rows());
  covariance.selfadjointView<Eigen::Lower>().rankUpdate(sample,
                                                        1.0F / static_cast<float>(sample.cols()));
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(covariance.selfadjointView<Eigen::Lower>());
  return solver.eigenvectors().rowwise().reverse();
}

// [rows][columns] with orthonormal rows or columns, whichever are fewer.
Matrix random_rotation(Eigen::Index rows, Eigen::Index columns) {
  std::mt19937_64 random(1);  // the same everywhere, unlike std::normal_distribution
  const Eigen::Index larger = std::max(rows, columns);
  const Eigen::Index smaller = std::min(rows, columns);
  Matrix noise(larger, smaller);
  for (float& x : noise.reshaped()) {
    // A sum of twelve uniform numbers is normal enough for directions.
    float sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<float>(random() >> 40) * 0x1p-24F;
    x = sum;
  }
  const Eigen::HouseholderQR<Matrix> qr(noise);
  const Matrix orthonormal = qr.householderQ() * Matrix::Identity(larger, smaller);
  return rows >= columns ? orthonormal : Matrix(orthonormal.transpose());
}

}  // namespace

BitProjection fit_bit_projection(Space space, std::size_t dim, std::size_t count,
                                 const std::function<const float*(std::size_t)>& row) {
  Eigen::VectorXf mean;
  const Matrix sample = centred_sample(space, dim, count, row, mean);
  const auto bits = static_cast<Eigen::Index>(kBitCodeBits);
  const Eigen::Index kept = std::min(sample.rows(), bits);
  Matrix directions = principal_directions(sample).leftCols(kept) * random_rotation(kept, bits);
  if (!directions.allFinite()) directions.setZero();  // values beyond what floats can square

  BitProjection projection;
  const std::size_t stride = row_stride(code_bytes(dim));
  projection.directions.resize(kBitCodeBits * stride);
  projection.centre.resize(kBitCodeBits);
  std::vector<std::byte> code(code_bytes(dim));
  encode_int8({mean.data(), dim}, norm_of({mean.data(), dim}), Space::ip, code.data());
  for (std::size_t i = 0; i < kBitCodeBits; ++i) {
    const std::span<const float> direction(directions.col(static_cast<Eigen::Index>(i)).data(),
                                           dim);
    std::byte* out = projection.directions.data() + i * stride;
    encode_int8(direction, norm_of(direction), Space::ip, out);
    const std::byte* const coded = out;
    code_dots(code.data(), {&coded, 1}, dim, kernels(), &projection.centre[i]);
  }
  return projection;
}

}  // namespace vkb

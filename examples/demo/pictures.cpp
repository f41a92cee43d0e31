// Draws samples, and features as colours by their principal components.
// SPDX-License-Identifier: MIT
#include "judge.hpp"
#include "pictures.hpp"

#include <sra/extra/pca.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace demo {

namespace {

constexpr int grid = side / config.patch, tokens = config.tokens();
constexpr double student_time = 0.3,
                 teacher_time = 0.2;  // the teacher's is up to 0.2 closer to the data, 0.1 in the mean
using Rows = Eigen::MatrixXd;

void append(std::vector<float>& to, const std::vector<float>& from, index_t picture) {
  const auto first = from.begin() + picture * picture_size;
  to.insert(to.end(), first, first + picture_size);
}

/// Tokens as rows of length one: a direction is what the alignment compares.
Rows directions(const std::vector<float>& features) {
  const Shape<dynamic, config.hidden> shape{std::ssize(features) / config.hidden};
  Rows rows = sra::as_eigen(sra::dense(features.data(), shape)).cast<double>();
  // What all pictures share at a place says where a token is and not what it shows.
  for (int t = 0; t < tokens; ++t) {
    Eigen::RowVectorXd mean = Eigen::RowVectorXd::Zero(rows.cols());
    for (index_t i = t; i < rows.rows(); i += tokens) mean += rows.row(i) * tokens / static_cast<double>(rows.rows());
    for (index_t i = t; i < rows.rows(); i += tokens) rows.row(i) -= mean;
  }
  rows.rowwise().normalize();
  return rows;
}

/// Colours in [-1, 1] of tokens: each component from its second to its 98th percentile.
void to_colours(Rows& components) {
  for (index_t k = 0; k < components.cols(); ++k) {
    std::vector<double> sorted(components.col(k).begin(), components.col(k).end());
    std::ranges::sort(sorted);
    const double low = sorted[sorted.size() / 50], high = sorted[sorted.size() - 1 - sorted.size() / 50];
    components.col(k) = (2 * (components.col(k).array() - low) / (high - low) - 1).cwiseMax(-1).cwiseMin(1);
  }
}

/// A picture whose patches have the colours of their tokens, blended between their centres.  @param first row of its tokens
void append_tokens(std::vector<float>& to, const Rows& colours, index_t first) {
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      const double v = std::clamp((y + 0.5) / config.patch - 0.5, 0.0, grid - 1.0);
      const double u = std::clamp((x + 0.5) / config.patch - 0.5, 0.0, grid - 1.0);
      const int row = std::min(static_cast<int>(v), grid - 2), column = std::min(static_cast<int>(u), grid - 2);
      const double b = v - row, a = u - column;
      const auto at = [&](int r, int c) { return colours.row(first + (row + r) * grid + column + c); };
      const Eigen::RowVector3d mixed =
          (1 - b) * ((1 - a) * at(0, 0) + a * at(0, 1)) + b * ((1 - a) * at(1, 0) + a * at(1, 1));
      for (int c = 0; c < 3; ++c) to.push_back(static_cast<float>(mixed(c)));
    }
}

void write(const std::filesystem::path& path, const std::vector<float>& values, index_t columns, int scale) {
  sra::write_grid(path, values, std::ssize(values) / picture_size, side, side, 3, columns, scale, 4);
}

}  // namespace

void draw_look(const std::filesystem::path& path, Run& run, const std::vector<Pictures>& over_time) {
  const Pictures real = real_pictures(200, 11);  // the basis is that of all, ten are shown
  const std::array<int, 1> student{student_block}, teacher{teacher_block};
  const Rows seen = directions(run.through_head(run.features(real, {false, student_time}, student)[0]));
  const Rows target = directions(run.features(real, {true, teacher_time}, teacher)[0]);
  Rows both(seen.rows() + target.rows(), seen.cols());
  both << seen, target;
  const sra::Pca pca = sra::Pca::of(both, 3);
  Rows colours = pca.project(both);
  to_colours(colours);

  const std::vector<float> noised = run.noised(real, student_time);
  const std::size_t last = over_time.size() - 1, times[] = {last / 4, last / 2, last};
  std::vector<float> all;
  for (index_t i = 0; i < 10; ++i) {
    append(all, noised, i);
    append_tokens(all, colours, i * tokens);
    append_tokens(all, colours, seen.rows() + i * tokens);
    for (const std::size_t t : times) append(all, over_time[t].values, i);
  }
  write(path, all, 6, 96 / side);
}

void draw_over_time(const std::filesystem::path& path, const std::vector<Pictures>& over_time) {
  std::vector<float> all;
  for (index_t i = 0; i < 10; ++i)
    for (const Pictures& p : over_time) append(all, p.values, i);
  write(path, all, std::ssize(over_time), 64 / side);
}

void draw_samples(const std::filesystem::path& path, const Pictures& samples) {
  const auto shown = std::min<std::ptrdiff_t>(std::ssize(samples.values), 60 * picture_size);
  write(path, {samples.values.begin(), samples.values.begin() + shown}, 10, 96 / side);
}

}  // namespace demo

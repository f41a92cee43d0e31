// A picture of what a model draws, one column per class.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/view.hpp>
#include <sra/diffusion/sampler.hpp>
#include <sra/io/grid.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

namespace sra {

/// Draws images and writes them as a grid, see Trainer::sample_grid.
/// @tparam Passes an Instantiated
template <class Model, class B, class Passes>
void write_samples(const std::filesystem::path& path, typename Passes::Draws& sampler, const SamplerOptions& options,
                   index_t rows, int scale) {
  using Shape4 = typename Model::ImageShape;
  const index_t columns = Model::Condition::count > 0 && Model::Condition::count < 10 ? Model::Condition::count : 10;
  const index_t n = columns * rows;
  std::vector<typename B::sampler_type> images(static_cast<std::size_t>(n * Shape4::sample_size()));
  std::vector<std::int32_t> labels(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < labels.size(); ++i)
    labels[i] = static_cast<std::int32_t>(i) % static_cast<std::int32_t>(columns);
  typename Model::Condition::View condition{};
  if constexpr (requires { Model::Condition::null_class; })
    condition = dense(std::as_const(labels).data(), Shape<dynamic>{n});
  std::vector<float> vectors;
  if constexpr (
      requires { condition.data; } && !requires { Model::Condition::null_class; }) {
    vectors.resize(static_cast<std::size_t>(n * Model::Condition::count));  // the null condition
    condition = dense(std::as_const(vectors).data(), decltype(condition.shape){n});
  }
  Passes::sample(sampler, dense(images.data(), Shape4{n}), condition, options);
  const std::vector<float> shown(images.begin(), images.end());
  write_grid(path, shown, n, Shape4::extent(1), Shape4::extent(2), Shape4::width, columns, scale);
}

}  // namespace sra

// What parity checks: the model that the macros describe, its trainer on one backend, and batches as golden files give them.
// SPDX-License-Identifier: MIT
#pragma once

#include "comparison.hpp"
#include "golden_file.hpp"

#include <sra/sra.hpp>
#include <sra/train/trainer.hpp>

#ifdef SRA_PARITY_CUDA
#include <sra/cuda/around.cuh>
#include <sra/cuda/kernels.cuh>
#endif

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace parity {

using sra::Error, sra::text, sra::Layer, sra::Shape, sra::View;

/// The backend that is checked.
#ifdef SRA_PARITY_CUDA
using Place = sra::Cuda;
#else
using Place = sra::Cpu;
#endif

constexpr sra::DiTConfig config{.height = SRA_PARITY_INPUT,
                                .width = SRA_PARITY_INPUT,
                                .channels = SRA_PARITY_CHANNELS,
                                .patch = SRA_PARITY_PATCH,
                                .hidden = SRA_PARITY_HIDDEN,
                                .depth = SRA_PARITY_DEPTH,
                                .heads = SRA_PARITY_HEADS,
                                .qk_norm = SRA_PARITY_QK_NORM};
using Model = sra::SiT<config, sra::Classes<SRA_PARITY_CLASSES>>;
constexpr bool known_family = std::string_view(SRA_PARITY_FAMILY) == "SiT";
constexpr index_t channels = config.channels, pixels = config.height * config.width;

/// The distance that a file names: chosen at run time, so that a trainer is compiled once for all of them.
struct Distance {
  std::variant<sra::TokenCosine, sra::SmoothL1, sra::L1, sra::L2> chosen{};

  static sra::Schedule default_weight() { return sra::constant(0); }
  /// @param a, b [B, T, D]  @return one number
  auto operator()(sra::Variable auto a, sra::Variable auto b) const {
    return std::visit([&](auto d) { return d(a, b); }, chosen);
  }
};
/// The distances by the names that files and metadata have for them.
inline const std::map<std::string, Distance>& distances() {
  static const std::map<std::string, Distance> all{
      {"cos", {sra::TokenCosine{}}}, {"sml1", {sra::SmoothL1{}}}, {"l1", {sra::L1{}}}, {"l2", {sra::L2{}}}};
  return all;
}
inline Distance distance(const GoldenFile& file) {
  const auto at = distances().find(file.metadata("loss_type"));
  if (at == distances().end())
    throw Error(
        text(file.name(), ": metadata: expected a loss_type cos, sml1, l1 or l2, got ", file.metadata("loss_type")));
  return at->second;
}

template <class T, class Path>
using Subject = sra::Trainer<Model, sra::SRALoss<Layer<>, Layer<>, Distance>, Place, T, sra::FlowMatching<Path>>;

inline std::vector<index_t> image_shape(index_t batch) { return {batch, channels, config.height, config.width}; }
inline std::vector<index_t> token_shape(index_t batch) { return {batch, config.tokens(), config.hidden}; }

inline std::vector<double> doubles(auto begin, auto end) { return {begin, end}; }
/// All elements of a view of the host's memory, row after row.
template <class T, class S>
std::vector<double> elements(View<T, S> v) {
  std::vector<double> x;
  for (index_t r = 0; r < v.shape.rows(); ++r)
    for (index_t i = 0; i < S::width; ++i) x.push_back(sra::number_cast<double>(v.row(r)[i]));
  return x;
}

/// All elements of a value on the backend.
template <sra::Variable V>
std::vector<double> elements(const V& value) {
  if constexpr (Place::is_host) {
    return elements(value.value);
  } else {
    auto v = value.value;
    std::vector<typename V::type> copy(static_cast<std::size_t>(v.span()));
    value.context().backend().download(copy.data(), v.data, copy.size() * sizeof(typename V::type));
    v.data = copy.data();
    return elements(v);
  }
}

template <class T>
std::vector<T> read_images(GoldenFile& file, const std::string& tensor, index_t batch) {
  return channels_last(file.read<T>(tensor, image_shape(batch)), channels, pixels);
}
inline void expect_images(Comparison& c, GoldenFile& file, const std::string& tensor, const std::vector<double>& ours,
                          index_t batch, double allowed) {
  if (file.has(tensor))
    c.expect(tensor, ours, read_images<double>(file, tensor, batch), allowed);
  else
    c.missing(tensor);
}
inline void expect_number(Comparison& c, GoldenFile& file, const std::string& tensor, double ours, double allowed) {
  c.expect(file, tensor, {ours}, {1}, allowed);
}

/// A batch and its draws as a file gives them.
struct Inputs {
  index_t batch;
  std::vector<float> x, noise, t, t_teacher;
  std::vector<std::int32_t> labels;

  /// @param prefix of the draws' names
  explicit Inputs(GoldenFile& file, const std::string& prefix = "")
      : batch(file.batch("x")),
        x(read_images<float>(file, "x", batch)),
        noise(read_images<float>(file, prefix + "noise", batch)),
        t(file.read<float>(prefix + "t", {batch})),
        t_teacher(file.read<float>(prefix + "t_teacher", {batch})),
        labels(file.read<std::int32_t>(prefix + "labels_dropped", {batch})) {}

  sra::MicroBatch<Model> micro_batch() const { return {images(x), dense(labels.data(), Shape<sra::dynamic>{batch})}; }
  sra::Draws<Model, float> draws() const { return {times(t), times(t_teacher), images(noise), true}; }
  View<const float, Model::ImageShape> images(const std::vector<float>& v) const {
    return dense(v.data(), Model::ImageShape{batch});
  }
  View<const float, Shape<sra::dynamic>> times(const std::vector<float>& v) const {
    return dense(v.data(), Shape<sra::dynamic>{batch});
  }
};

/// Images of the host as a value on the backend.
template <sra::Context C>
auto placed(C& context, View<const float, Model::ImageShape> images) {
  auto x = sra::make_dense<float>(context, images.shape);
  copy_in(context, x.value, images);
  return x;
}

/// Options of a Trainer that starts from the goldens' weights.
template <class Trainer>
typename Trainer::Options options(int student, int teacher, double weight, Distance distance = {}) {
  typename Trainer::Options o{.ema = {0.99}, .ema_warmup = false, .quiet = true};
  o.align.student = Layer{student};
  o.align.teacher = Layer{teacher};
  o.align.distance = distance;
  o.align.weight = sra::constant(weight);
  return o;
}
/// A block's number in the metadata.
inline int layer(const GoldenFile& file, const std::string& key) {
  const double x = file.number(key);
  if (!(x >= 1 && x <= config.depth && x == std::floor(x)))
    throw Error(text(file.name(), ": metadata ", key, ": expected a block from 1 to ", config.depth, ", got ", x));
  return static_cast<int>(x);
}

}  // namespace parity

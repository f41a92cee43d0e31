// The weights of a model alone: read from a checkpoint or a state dict, for sampling and for starting another run.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/context.hpp>
#include <sra/core/arena.hpp>
#include <sra/io/safetensors.hpp>
#include <sra/train/checkpoint.hpp>
#include <sra/train/store.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sra {

namespace backend {
class Cpu;
}

/// Whether a file has tensors whose names begin so.
inline bool has_prefix(const SafeTensors& file, std::string_view prefix) {
  return std::any_of(file.tensors().begin(), file.tensors().end(),
                     [&](const TensorInfo& info) { return info.name.starts_with(prefix); });
}

/// Everything in which the tensors prefix.* of a file differ from a list of parameters in name and shape, one line each.
/// @param all whether tensors prefix.* that are no parameter are a difference too
inline std::string differences(const SafeTensors& file, const std::vector<ParamInfo>& list, const std::string& prefix,
                               bool all) {
  std::vector<TensorSpec> specs;
  for (const ParamInfo& p : list) {
    const TensorInfo* info = file.find(prefix + p.name);
    // Every type of numbers is converted, except those of eight bits, which mean nothing without their scales.
    const bool converted = info && !info->dtype.starts_with("F8");
    specs.push_back({prefix + p.name, converted ? info->dtype : "F32", p.shape});
  }
  return diff(specs, file, [&](const std::string& name) { return all && name.starts_with(prefix); });
}

/// Reads the tensors prefix.* of a file that has no differences() into a flat buffer of a backend, one after the other.
template <Backend B, class W>
void read_weights(B& backend, const SafeTensors& file, const std::vector<ParamInfo>& list, const std::string& prefix,
                  W* to) {
  for (const ParamInfo& p : list) {
    const auto values = file.read<W>(prefix + p.name);
    backend.upload(to + p.offset, values.data(), values.size() * sizeof(W));
  }
}

/// Reads masters and averages of a store from a file, see Trainer::load_weights.
template <Backend B, class Weights>
void read_weights(B& backend, const std::filesystem::path& path, Weights& store) {
  const SafeTensors file(path);
  const std::string live = has_prefix(file, "model.") ? "model." : "", mean = has_prefix(file, "ema.") ? "ema." : live;
  std::string lines = differences(file, store.parameters(), live, true);
  if (mean != live) lines += differences(file, store.parameters(), mean, true);
  if (!lines.empty()) throw Error(text("weights: ", path.string(), ": does not fit the model:\n", lines));
  store.invalidate();
  read_weights(backend, file, store.parameters(), live, store.master());
  for (int i = 0; i < store.emas(); ++i) read_weights(backend, file, store.parameters(), mean, store.ema(i));
  store.refresh();  // a sampler may have been handed out
}

/// A model with weights, for a Sampler.
///
///     sra::Cpu cpu;
///     const sra::Weights<Model> weights(cpu, "runs/shapes");
///     sra::Sampler sampler(cpu, weights.model(), weights.table());
///
/// @tparam T type that products read: float, double or bf16
template <class Model, Backend B = backend::Cpu, class T = float>
class Weights {
  using W = wide_t<T>;

 public:
  /// @param path a safetensors file with the keys ema.* (preferred), model.* or those of a bare state dict, or a run's folder,
  ///   whose newest checkpoint is read; further tensors, such as an alignment's head, are passed over
  /// @throws Error naming every missing and misshapen tensor, before anything is allocated
  Weights(B& backend, const std::filesystem::path& path) {
    const SafeTensors file(newest(path));
    const std::string prefix = has_prefix(file, "ema.") ? "ema." : has_prefix(file, "model.") ? "model." : "";
    size_ = place(model_);
    const std::vector<ParamInfo> list = parameters_of(model_);
    if (const std::string lines = differences(file, list, prefix, false); !lines.empty())
      throw Error(text("weights: ", path.string(), ": does not fit the model:\n", lines));
    masters_ = Memory(MemorySource::of(backend), static_cast<std::size_t>(size_) * sizeof(W));
    backend.zero(masters_.data(), masters_.bytes());
    read_weights(backend, file, list, prefix, masters());
    if constexpr (!std::is_same_v<T, W>) {
      values_ = Memory(MemorySource::of(backend), static_cast<std::size_t>(size_) * sizeof(T));
      round_values(backend, reinterpret_cast<T*>(values_.data()), masters(), size_);
    }
  }

  const Model& model() const { return model_; }
  ParameterTable<T> table() const {
    if constexpr (std::is_same_v<T, W>)
      return {masters(), masters(), nullptr, nullptr, size_};
    else
      return {reinterpret_cast<const T*>(values_.data()), masters(), nullptr, nullptr, size_};
  }

 private:
  static std::filesystem::path newest(const std::filesystem::path& path) {
    if (!std::filesystem::is_directory(path)) return path;
    const auto all = checkpoints_in(path / "checkpoints");
    if (all.empty()) throw Error(text("weights: ", path.string(), ": expected a run with a checkpoint, found none"));
    return all.back();
  }
  W* masters() const { return reinterpret_cast<W*>(masters_.data()); }

  Model model_{};
  index_t size_ = 0;
  Memory masters_, values_;
};

}  // namespace sra

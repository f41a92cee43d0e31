// Checkpoints: everything that a run needs to go on bit for bit, as one safetensors file.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/io/safetensors.hpp>
#include <sra/train/store.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace sra {

/// Version of the layout below; files of another version are refused.
inline constexpr int checkpoint_format = 1;

/// What a checkpoint says about its run beside the tensors.
struct RunState {
  index_t step = 0;                               ///< finished updates
  index_t skipped = 0;                            ///< of them, skipped because of a non-finite gradient
  std::map<std::string, std::string> settings{};  ///< must be the same on resume
};

namespace detail {

inline index_t parse_integer(const std::string& who, const std::string& key, const std::map<std::string, std::string>& from) {
  const auto at = from.find(key);
  index_t value = 0;
  if (at == from.end()) throw Error(text(who, ": expected metadata \"", key, "\", got none: not a checkpoint of this library"));
  const auto [end, code] = std::from_chars(at->second.data(), at->second.data() + at->second.size(), value);
  if (code != std::errc{} || end != at->second.data() + at->second.size() || value < 0)
    throw Error(text(who, ": metadata \"", key, "\": expected a number, got \"", at->second, "\""));
  return value;
}

/// Calls f(key, parameter, buffer) for every tensor of a checkpoint: model.*, ema.* (ema1.*, …), adam_m.*, adam_v.*.
template <class S, class F>
void for_each_tensor(const S& store, F f) {
  for (const ParamInfo& p : store.parameters()) f("model." + p.name, p, store.master());
  for (int i = 0; i < store.emas(); ++i)
    for (const ParamInfo& p : store.parameters()) f((i ? "ema" + std::to_string(i) : "ema") + "." + p.name, p, store.ema(i));
  for (const ParamInfo& p : store.parameters()) f("adam_m." + p.name, p, store.first_moment());
  for (const ParamInfo& p : store.parameters()) f("adam_v." + p.name, p, store.second_moment());
}

}  // namespace detail

/// Writes a checkpoint: whole, or not at all.
template <class S>
void save_checkpoint(const std::filesystem::path& path, const S& store, const RunState& run) {
  SafeTensorsWriter writer;
  using W = typename S::W;
  detail::for_each_tensor(store, [&](const std::string& key, const ParamInfo& p, const W* buffer) {
    writer.add(key, p.shape, std::span<const W>(buffer + p.offset, static_cast<std::size_t>(p.size)));
  });
  writer.set_metadata("format", std::to_string(checkpoint_format));
  writer.set_metadata("step", std::to_string(run.step));
  writer.set_metadata("skipped", std::to_string(run.skipped));
  for (const auto& [key, value] : run.settings) writer.set_metadata("setting." + key, value);
  writer.write(path);
}

/// Reads a checkpoint into the store, which is not touched before everything has been compared.
/// @param expected settings that the file's must equal  @throws Error with every difference of names, shapes and settings
template <class S>
RunState load_checkpoint(const std::filesystem::path& path, S& store, const std::map<std::string, std::string>& expected) {
  using W = typename S::W;
  const std::string who = "checkpoint: " + path.string();
  const SafeTensors file(path);
  const auto& meta = file.metadata();
  if (const index_t format = detail::parse_integer(who, "format", meta); format != checkpoint_format)
    throw Error(text(who, ": expected format ", checkpoint_format, ", got ", format));
  RunState run{detail::parse_integer(who, "step", meta), detail::parse_integer(who, "skipped", meta), {}};
  std::string different;
  for (const auto& [key, value] : expected) {
    const auto at = meta.find("setting." + key);
    const std::string has = at == meta.end() ? "nothing" : at->second;
    if (has != value) different += text("\n  ", key, ": the run has \"", has, "\", the program \"", value, "\"");
  }
  for (const auto& [name, value] : meta)
    if (const std::string key = name.starts_with("setting.") ? name.substr(8) : ""; !key.empty() && !expected.contains(key))
      different += text("\n  ", key, ": the run has \"", value, "\", the program nothing");
  if (!different.empty()) throw Error(text(who, ": cannot resume with another configuration:", different));
  std::vector<TensorSpec> specs;
  detail::for_each_tensor(store, [&](const std::string& key, const ParamInfo& p, const W*) {
    specs.push_back({key, std::string(dtype_of<W>()), p.shape});
  });
  if (const std::string lines = diff(specs, file); !lines.empty()) throw Error(text(who, ": does not fit the model:\n", lines));
  run.settings = expected;
  detail::for_each_tensor(store, [&](const std::string& key, const ParamInfo& p, W* buffer) {
    const auto bytes = file.bytes(*file.find(key));
    std::memcpy(buffer + p.offset, bytes.data(), bytes.size());
  });
  return run;
}

/// The name of a run's checkpoint after `step` updates.
inline std::string checkpoint_name(index_t step) {
  std::string digits = std::to_string(step);
  return "step-" + std::string(digits.size() < 9 ? 9 - digits.size() : 0, '0') + digits + ".safetensors";
}

/// A run's checkpoints, oldest first.
inline std::vector<std::filesystem::path> checkpoints_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> list;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.ends_with(".safetensors"))
      list.insert(std::upper_bound(list.begin(), list.end(), entry.path()), entry.path());
  }
  return list;
}

}  // namespace sra

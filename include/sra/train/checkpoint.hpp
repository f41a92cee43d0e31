// Checkpoints: everything that a run needs to go on bit for bit, as one safetensors file.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/io/safetensors.hpp>
#include <sra/train/store.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra {

/// Version of the layout below; files of another version are refused.
inline constexpr int checkpoint_format = 2;

/// What a checkpoint says about its run beside the tensors.
struct RunState {
  index_t step = 0;                               ///< finished updates
  index_t skipped = 0;                            ///< of them, skipped because of a non-finite gradient
  index_t items = 0;                              ///< of the data; 0 if endless
  std::map<std::string, std::string> settings{};  ///< must be the same on resume
};

namespace detail {

inline index_t parse_integer(const std::string& who, const std::string& key,
                             const std::map<std::string, std::string>& from) {
  const auto at = from.find(key);
  index_t value = 0;
  if (at == from.end())
    throw Error(text(who, ": expected metadata \"", key, "\", got none: not a checkpoint of this library"));
  const auto [end, code] = std::from_chars(at->second.data(), at->second.data() + at->second.size(), value);
  if (code != std::errc{} || end != at->second.data() + at->second.size() || value < 0)
    throw Error(text(who, ": metadata \"", key, "\": expected a number, got \"", at->second, "\""));
  return value;
}

/// Calls f(key, parameter, buffer) for every tensor of a checkpoint: model.*, adam_m.*, adam_v.*, ema.*, ema1.*, …; buffers
/// are counted in this order from 0.
template <class F>
void for_each_tensor(const std::vector<ParamInfo>& parameters, int emas, F f) {
  for (int buffer = 0; buffer < 3 + emas; ++buffer) {
    constexpr const char* names[] = {"model", "adam_m", "adam_v", "ema"};
    std::string prefix = names[std::min(buffer, 3)];
    if (buffer > 3) prefix += std::to_string(buffer - 3);
    for (const ParamInfo& p : parameters) f(prefix + "." + p.name, p, buffer);
  }
}

template <class S>
auto* buffer_of(const S& store, int buffer) {
  if (buffer == 0) return store.master();
  if (buffer == 1) return store.first_moment();
  return buffer == 2 ? store.second_moment() : store.ema(buffer - 3);
}

}  // namespace detail

/// Writes a checkpoint: whole, or not at all.  Memory that the host cannot read is fetched in pieces of at most 4 MiB.
template <class S>
void save_checkpoint(const std::filesystem::path& path, const S& store, const RunState& run) {
  SafeTensorsWriter writer;
  using W = typename S::W;
  detail::for_each_tensor(
      store.parameters(), store.emas(), [&](const std::string& key, const ParamInfo& p, int buffer) {
        writer.add(key, p.shape,
                   std::span<const W>(detail::buffer_of(store, buffer) + p.offset, static_cast<std::size_t>(p.size)));
      });
  writer.set_metadata("format", std::to_string(checkpoint_format));
  writer.set_metadata("step", std::to_string(run.step));
  writer.set_metadata("skipped", std::to_string(run.skipped));
  writer.set_metadata("items", std::to_string(run.items));
  for (const auto& [key, value] : run.settings) writer.set_metadata("setting." + key, value);
  if constexpr (std::remove_reference_t<decltype(store.backend())>::is_host) {
    writer.write(path);
  } else {
    std::vector<std::byte> piece(std::size_t{4} << 20);
    writer.write(path, [&](FileWriter& out, std::span<const std::byte> bytes) {
      for (; !bytes.empty(); bytes = bytes.subspan(std::min(bytes.size(), piece.size()))) {
        const std::size_t n = std::min(bytes.size(), piece.size());
        store.backend().download(piece.data(), bytes.data(), n);
        out.write(piece.data(), n);
      }
    });
  }
}

/// Opens a checkpoint and compares it with the program.  Nothing of the size of a model is allocated.
/// @param emas number of averages  @param expected settings that the file's must equal
/// @throws Error with every difference of names, shapes and settings
template <class W>
std::pair<SafeTensors, RunState> open_checkpoint(const std::filesystem::path& path,
                                                 const std::vector<ParamInfo>& parameters, int emas,
                                                 const std::map<std::string, std::string>& expected) {
  const std::string who = "checkpoint: " + path.string();
  SafeTensors file(path);
  const auto& meta = file.metadata();
  if (const index_t format = detail::parse_integer(who, "format", meta); format != checkpoint_format)
    throw Error(text(who, ": expected format ", checkpoint_format, ", got ", format));
  RunState run{detail::parse_integer(who, "step", meta), detail::parse_integer(who, "skipped", meta),
               detail::parse_integer(who, "items", meta), expected};
  if (run.skipped > run.step || run.step > index_t{1} << 48)
    throw Error(text(who, ": expected skipped <= step <= 2^48, got ", run.skipped, " and ", run.step));
  std::string different;
  for (const auto& [key, value] : expected) {
    const auto at = meta.find("setting." + key);
    const std::string has = at == meta.end() ? "nothing" : at->second;
    if (has != value) different += text("\n  ", key, ": the run has \"", has, "\", the program \"", value, "\"");
  }
  for (const auto& [name, value] : meta)
    if (const std::string key = name.starts_with("setting.") ? name.substr(8) : "";
        !key.empty() && !expected.contains(key))
      different += text("\n  ", key, ": the run has \"", value, "\", the program nothing");
  if (!different.empty()) throw Error(text(who, ": cannot resume with another configuration:", different));
  std::vector<TensorSpec> specs;
  detail::for_each_tensor(parameters, emas, [&](const std::string& key, const ParamInfo& p, int) {
    specs.push_back({key, std::string(dtype_of<W>()), p.shape});
  });
  if (const std::string lines = diff(specs, file); !lines.empty())
    throw Error(text(who, ": does not fit the model:\n", lines));
  return {std::move(file), std::move(run)};
}

/// Reads a checkpoint into the store, which is not touched before everything has been compared.
template <class S>
RunState load_checkpoint(const std::filesystem::path& path, S& store,
                         const std::map<std::string, std::string>& expected) {
  using W = typename S::W;
  const auto [file, run] = open_checkpoint<W>(path, store.parameters(), store.emas(), expected);
  detail::for_each_tensor(
      store.parameters(), store.emas(), [&, &opened = file](const std::string& key, const ParamInfo& p, int buffer) {
        const auto bytes = opened.bytes(*opened.find(key));
        store.backend().upload(detail::buffer_of(store, buffer) + p.offset, bytes.data(), bytes.size());
      });
  store.invalidate();
  return run;
}

/// A number of updates as it stands in names of files: at least nine digits.
inline std::string step_digits(index_t step) {
  const std::string digits = std::to_string(step);
  return std::string(digits.size() < 9 ? 9 - digits.size() : 0, '0') + digits;
}
/// The name of a run's checkpoint after `step` updates.
inline std::string checkpoint_name(index_t step) { return "step-" + step_digits(step) + ".safetensors"; }

/// A run's checkpoints, oldest first: the files named as checkpoint_name() does.  @throws Error if the folder cannot be read
inline std::vector<std::filesystem::path> checkpoints_in(const std::filesystem::path& folder) {
  std::map<index_t, std::filesystem::path> found;
  std::error_code code;
  std::filesystem::directory_iterator entry(folder, code);
  for (; !code && entry != std::filesystem::directory_iterator{}; entry.increment(code)) {
    const std::string name = entry->path().filename().string();
    constexpr std::size_t prefix = 5, suffix = 12;  // "step-", ".safetensors"
    index_t step = -1;
    if (name.size() > prefix + suffix) std::from_chars(name.data() + prefix, name.data() + name.size() - suffix, step);
    if (step >= 0 && name == checkpoint_name(step)) found[step] = entry->path();
  }
  if (code && code != std::errc::no_such_file_or_directory)
    throw Error(text("checkpoints: ", folder.string(), ": cannot read the folder: ", code.message()));
  std::vector<std::filesystem::path> list;
  for (const auto& [step, path] : found) list.push_back(path);
  return list;
}

}  // namespace sra

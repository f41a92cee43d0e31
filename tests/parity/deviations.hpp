// How far PyTorch's bf16 is from goldens, as torch_bf16.py wrote it down.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace parity {

/// ‖a − b‖ / ‖b‖ by tensor.
using FileDeviations = std::map<std::string, double>;
/// By file.
using Deviations = std::map<std::string, FileDeviations>;

/// Reads lines `# comment`, `FILE.safetensors`, and `DEVIATION DEVIATION TENSOR` for the tensors of the file before them: under
/// autocast, whose residual stream is wide, and with a stream in bf16.
/// @throws Error for another line
inline Deviations read_deviations(const std::filesystem::path& path, bool wide_residual) {
  std::ifstream in(path);
  if (!in) throw sra::Error(sra::text(path.string(), ": cannot open"));
  Deviations all;
  FileDeviations* file = nullptr;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    double wide = 0, narrow = 0;
    int end = 0;
    if (line.ends_with(".safetensors"))
      file = &all[line];
    else if (file && std::sscanf(line.c_str(), "%lf %lf %n", &wide, &narrow, &end) == 2 && end > 0)
      (*file)[line.substr(static_cast<std::size_t>(end))] = wide_residual ? wide : narrow;
    else
      throw sra::Error(
          sra::text(path.string(), ": expected FILE.safetensors or DEVIATION DEVIATION TENSOR, got \"", line, "\""));
  }
  return all;
}

}  // namespace parity

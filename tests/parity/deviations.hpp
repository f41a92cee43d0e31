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

/// Reads lines `# comment`, `FILE.safetensors`, and `DEVIATION TENSOR` for the tensors of the file before them.
/// @throws Error for another line
inline Deviations read_deviations(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) throw sra::Error(sra::text(path.string(), ": cannot open"));
  Deviations all;
  FileDeviations* file = nullptr;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    double d = 0;
    int end = 0;
    if (line.ends_with(".safetensors"))
      file = &all[line];
    else if (file && std::sscanf(line.c_str(), "%lf %n", &d, &end) == 1 && end > 0)
      (*file)[line.substr(static_cast<std::size_t>(end))] = d;
    else
      throw sra::Error(sra::text(path.string(), ": expected FILE.safetensors or DEVIATION TENSOR, got \"", line, "\""));
  }
  return all;
}

}  // namespace parity

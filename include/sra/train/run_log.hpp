// What a killed run leaves in its log beyond its newest checkpoint is cut off, since the resumed run writes it again.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/io/file.hpp>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace sra {

namespace detail {

/// The step of a line `{"step":12,…}`; −1 for other lines.
inline index_t step_of_line(std::string_view line) {
  constexpr std::string_view begin = "{\"step\":";
  index_t step = -1;
  if (!line.starts_with(begin)) return step;
  line.remove_prefix(begin.size());
  return std::from_chars(line.data(), line.data() + line.size(), step).ec == std::errc{} ? step : -1;
}

}  // namespace detail

/// Removes the lines of steps beyond `last` from a run's log, whole or not at all.  Other lines stay; no file is fine.
inline void cut_log(const std::filesystem::path& path, index_t last) {
  std::ifstream file(path, std::ios::binary);
  std::string kept;
  bool cut = false;
  for (std::string line; std::getline(file, line);) {
    const bool beyond = detail::step_of_line(line) > last;
    cut = cut || beyond;
    if (!beyond && !file.eof()) kept += line + '\n';
  }
  if (cut) atomic_write(path, [&](FileWriter& out) { out.write(kept); });
}

}  // namespace sra

// Where the time of training steps goes: every kernel beside what the machine could do at best.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/kernel_times.hpp>
#include <sra/backend/limits.hpp>
#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/io/file.hpp>
#include <sra/io/json_lines.hpp>
#include <sra/io/json_tree.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sra {

/// All launches of one kernel in a step.
struct KernelProfile {
  std::string name{};
  double calls = 0, seconds = 0, bytes = 0, flops = 0;  ///< of a step, the mean
  double limit = 0;  ///< the least seconds these launches could take, see Limits::seconds; 0: not known

  /// How near the launches come to their limit.  Above 1 where caches are faster than the copies that were measured.
  double of_limit() const { return seconds > 0 ? limit / seconds : 0; }
};

/// Where the time of training steps goes.
struct Profile {
  index_t steps = 0;                   ///< that were measured
  double seconds = 0;                  ///< of a step as the host sees it, data and launches included, the mean
  Limits limits{};                     ///< of the machine
  std::vector<KernelProfile> kernels;  ///< the longest first

  /// Seconds of a step in kernels.
  double in_kernels() const {
    double sum = 0;
    for (const KernelProfile& k : kernels) sum += k.seconds;
    return sum;
  }

  /// A table, a line a kernel.
  std::string text() const {
    char line[256], of_limit[16];
    std::snprintf(line, sizeof line, "%lld steps of %.3f ms; limits %.1f GB/s, %.1f GFLOP/s\n",
                  static_cast<long long>(steps), 1e3 * seconds, limits.bytes_per_second / 1e9,
                  limits.flops_per_second / 1e9);
    std::string table = line;
    std::snprintf(line, sizeof line, "%-24s %6s %10s %7s %9s %10s %9s\n", "kernel", "calls", "ms", "share", "GB/s",
                  "GFLOP/s", "of limit");
    table += line;
    for (const KernelProfile& k : kernels) {
      std::snprintf(of_limit, sizeof of_limit, k.limit > 0 ? "%.1f %%" : "-", 100 * k.of_limit());
      std::snprintf(line, sizeof line, "%-24.100s %6.4g %10.3f %5.1f %% %9.2f %10.1f %9s\n", k.name.c_str(), k.calls,
                    1e3 * k.seconds, 100 * k.seconds / seconds, k.bytes / k.seconds / 1e9, k.flops / k.seconds / 1e9,
                    of_limit);
      table += line;
    }
    const double rest = seconds - in_kernels();
    std::snprintf(line, sizeof line, "%-24s %6s %10.3f %5.1f %%\n", "not in kernels", "", 1e3 * rest,
                  100 * rest / seconds);
    return table + line;
  }

  /// Writes lines of JSON, the first about the step, then one a kernel; whole or not at all.
  /// @throws Error if the file cannot be written
  void write(const std::filesystem::path& path) const {
    std::string lines;
    append_json_line(lines, {{"profiled_steps", steps},
                             {"seconds", seconds},
                             {"bytes_per_second", limits.bytes_per_second},
                             {"flops_per_second", limits.flops_per_second}});
    for (const KernelProfile& k : kernels)
      append_json_line(lines, {{"kernel", k.name},
                               {"calls", k.calls},
                               {"seconds", k.seconds},
                               {"bytes", k.bytes},
                               {"flops", k.flops},
                               {"limit", k.limit},
                               {"of_limit", k.of_limit()}});
    atomic_write(path, [&](FileWriter& out) { out.write(lines); });
  }

  /// Reads such a file.  @throws Error if there is none, or something else stands in it
  static Profile read(const std::filesystem::path& path) {
    const MappedFile file(path);
    std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    Profile profile;
    for (bool first = true; !rest.empty(); first = false) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const Json line = Json::parse(rest.substr(0, end), "Profile: " + path.string());
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const auto number = [&](const char* key) { return line[key].number(); };
      if (line.has("profiled_steps") != first || line.has("kernel") == first)
        throw Error(sra::text("Profile: ", path.string(), ": expected a line about the step, then one a kernel"));
      if (first)
        profile = {static_cast<index_t>(number("profiled_steps")),
                   number("seconds"),
                   {number("bytes_per_second"), number("flops_per_second")},
                   {}};
      else
        profile.kernels.push_back({line["kernel"].string(), number("calls"), number("seconds"), number("bytes"),
                                   number("flops"), number("limit")});
    }
    return profile;
  }
};

/// Adds up what was measured, by names.
template <class B>
Profile profile_of(const KernelTimes<B>& times, double seconds, const Limits& limits) {
  const double n = times.passes();
  std::map<std::string, KernelProfile> kernels;
  for (const auto& [key, samples] : times.samples()) {
    KernelProfile& k = kernels[key.name];
    const double calls = static_cast<double>(samples.size()) / n;
    for (const double s : samples) k.seconds += s / n;
    k.calls += calls;
    k.bytes += calls * key.bytes;
    k.flops += calls * key.flops;
    const Cost cost{key.bytes, key.flops};  // nvcc 13.0.88 loses a brace of it as an argument
    k.limit += calls * limits.seconds(cost);
  }
  Profile profile{times.passes(), seconds / n, limits, {}};
  for (auto& [name, kernel] : kernels) {
    kernel.name = name;
    profile.kernels.push_back(kernel);
  }
  std::stable_sort(profile.kernels.begin(), profile.kernels.end(),
                   [](const KernelProfile& a, const KernelProfile& b) { return a.seconds > b.seconds; });
  return profile;
}

}  // namespace sra

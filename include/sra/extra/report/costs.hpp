// What a run costs: where a step's time goes, and its memory.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/extra/report/markup.hpp>
#include <sra/extra/report/run_files.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sra::report {

/// A part of a bar.
struct Part {
  std::string name;
  int colour = 0;
  double size = 0;
  double solid = 1;  ///< the part of it that is drawn solid, in [0, 1]
};

/// A bar as wide as the page; of each part the solid fraction comes first, then a pale rest.
inline std::string stacked_bar(const std::vector<Part>& parts, const std::string& description) {
  double total = 0, at = 0;
  for (const Part& p : parts) total += p.size;
  if (!(total > 0)) return "";
  std::string s =
      text("<svg class=\"stack\" viewBox=\"0 0 1000 34\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"",
           escaped(description), "\">");
  for (const Part& p : parts) {
    const double width = std::max(0.0, 1000 * p.size / total - 1.5), solid = width * std::clamp(p.solid, 0.0, 1.0);
    const auto rect = [&](double x, double w, const char* rest) {
      s += text("<rect class=\"f", p.colour, rest, "\" x=\"", fixed(x, 1), "\" y=\"0\" height=\"34\" width=\"",
                fixed(w, 1), "\"><title>", escaped(p.name), "</title></rect>");
    };
    if (solid > 0) rect(at, solid, "");
    if (width > solid) rect(at + solid, width - solid, " rest");
    at += 1000 * p.size / total;
  }
  return s + "</svg>\n";
}

/// What a kernel is a part of, and its colour.
inline std::pair<std::string_view, int> op_of(std::string_view kernel) {
  constexpr std::pair<std::string_view, std::pair<std::string_view, int>> ops[] = {
      {"linear", {"linear layers", 1}},
      {"gelu", {"linear layers", 1}},
      {"bias", {"linear layers", 1}},
      {"attention", {"attention", 2}},
      {"norm_", {"norms", 3}},
      {"pointwise", {"pointwise", 4}},
      {"update", {"update", 5}},
      {"gradient_norm", {"update", 5}},
      {"cosine", {"alignment", 6}},
      {"normalize", {"alignment", 6}},
      {"batched_product", {"products", 7}}};
  for (const auto& [prefix, op] : ops)
    if (kernel.starts_with(prefix)) return op;
  return {"other kernels", 0};
}

namespace detail {

/// The ops of a step, the longest first, and what is in no kernel.
inline std::vector<Part> parts_of(const Profile& profile) {
  std::map<std::string, std::pair<Part, double>> ops;  // and the seconds of its limit
  for (const KernelProfile& k : profile.kernels) {
    const auto [name, colour] = op_of(k.name);
    auto& [part, limit] = ops[std::string(name)];
    part.name = name;
    part.colour = colour;
    part.size += k.seconds;
    limit += std::min(k.limit, k.seconds);
  }
  std::vector<Part> parts;
  for (auto& [name, op] : ops) {
    auto& [part, limit] = op;
    part.solid = limit > 0 ? limit / part.size : 1;
    parts.push_back(part);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.size > b.size; });
  if (const double rest = profile.seconds - profile.in_kernels(); rest > 0)
    parts.push_back({"not in kernels", 0, rest, 0});
  return parts;
}

inline std::string percent(double part, double whole) { return fixed(whole > 0 ? 100 * part / whole : 0, 1) + " %"; }

/// The key of a bar with the share of every part.
inline std::string key_of_parts(const std::vector<Part>& parts) {
  double total = 0;
  for (const Part& p : parts) total += p.size;
  std::string s = "<div class=\"key\">";
  for (const Part& p : parts)
    s += text("<span class=\"k", p.colour, "\"><i>", escaped(p.name), " <small>", percent(p.size, total),
              "</small></i></span>");
  return s + "</div>\n";
}

inline std::string kernel_rows(const Profile& profile) {
  constexpr std::size_t most = 14;
  std::string s;
  double others = 0;
  const auto row = [&](const std::string& name, const std::string& calls, double seconds, const std::string& rest) {
    s += "<tr><td>" + name + "</td><td class=\"n opt\">" + calls + "</td><td class=\"n\">" + fixed(1e3 * seconds, 2) +
         "</td><td class=\"n\">" + percent(seconds, profile.seconds) + "</td>" + rest + "</tr>\n";
  };
  for (std::size_t i = 0; i < profile.kernels.size(); ++i) {
    const KernelProfile& k = profile.kernels[i];
    if (i >= most) {
      others += k.seconds;
      continue;
    }
    const std::string swatch = text("<span class=\"swatch k", op_of(k.name).second, "\"></span>");
    row(swatch + escaped(k.name, 100), fixed(k.calls, k.calls == std::floor(k.calls) ? 0 : 1), k.seconds,
        "<td class=\"n opt\">" + fixed(k.bytes / k.seconds / 1e9, 1) + "</td><td class=\"n opt\">" +
            (k.flops > 0 ? fixed(k.flops / k.seconds / 1e9, 1) : "–") + "</td><td class=\"n\">" +
            (k.limit > 0 ? fixed(100 * k.of_limit(), 0) + " %" : "–") + "</td>");
  }
  const std::string blank = "<td class=\"opt\"></td><td class=\"opt\"></td><td></td>";
  if (others > 0) row("other kernels", "", others, blank);
  row("not in kernels", "", profile.seconds - profile.in_kernels(), blank);
  return s;
}

}  // namespace detail

/// Where the time of a run's steps goes; "" without a profile.
inline std::string time_section(const Run& run, bool named) {
  if (!run.profile || run.profile->kernels.empty()) return "";
  const Profile& p = *run.profile;
  const auto parts = detail::parts_of(p);
  std::string s = named ? "<h3>" + escaped(run.name, 200) + "</h3>\n" : "";
  s += "<p class=\"note\">" + seconds_text(p.seconds) + " a step, mean of " + grouped(p.steps);
  if (p.limits.bytes_per_second > 0 || p.limits.flops_per_second > 0)
    s += "; limits " + fixed(p.limits.bytes_per_second / 1e9, 1) + " GB/s and " +
         fixed(p.limits.flops_per_second / 1e9, 0) + " GFLOP/s";
  s += ".</p>\n" + stacked_bar(parts, "time of a step by op") + detail::key_of_parts(parts);
  return s + text("<details", named ? "" : " open", "><summary>Kernels</summary>") +
         "<div class=\"scroll\"><table><thead><tr><th>kernel</th><th class=\"n opt\">calls</th><th class=\"n\">ms</th>"
         "<th class=\"n\">share</th><th class=\"n opt\">GB/s</th><th class=\"n opt\">GFLOP/s</th><th class=\"n\">of "
         "limit</th>"
         "</tr></thead><tbody>\n" +
         detail::kernel_rows(p) + "</tbody></table></div></details>\n";
}

/// The memory that a run planned for; "" if its record does not say.
inline std::string memory_section(const Run& run, bool named) {
  const Json& memory = run.record["memory"];
  const std::pair<const char*, const char*> kinds[] = {{"parameters", "parameters and optimizer"},
                                                       {"activations", "activations"},
                                                       {"gradients", "gradients of activations"}};
  std::vector<Part> parts;
  double total = 0;
  for (const auto& [key, name] : kinds) {
    const double bytes = memory[key].number();
    if (bytes <= 0) continue;
    parts.push_back({text(name, ", ", bytes_text(bytes)), static_cast<int>(parts.size()) + 1, bytes});
    total += bytes;
  }
  if (parts.empty()) return "";
  return (named ? "<h3>" + escaped(run.name, 200) + "</h3>\n" : std::string()) + "<p class=\"note\">" +
         bytes_text(total) + " in all.</p>\n" + stacked_bar(parts, "planned memory") + detail::key_of_parts(parts);
}

}  // namespace sra::report

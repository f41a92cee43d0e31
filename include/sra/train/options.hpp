// Everything that a training run can be told.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/core/schedule.hpp>
#include <sra/core/settings.hpp>
#include <sra/io/json_lines.hpp>
#include <sra/models/dit.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sra {

namespace backend {
class Cpu;
}

/// Settings of a Trainer; the defaults are the authors' where they have one (arXiv:2505.02831, released code).
template <class Align, class Objective, class B = backend::Cpu>
struct TrainerOptions {
  std::string run{};       ///< folder of checkpoints, log and pictures; resumed if it exists; empty: nothing is written
  index_t batch = 256;     ///< samples per update
  index_t accumulate = 1;  ///< micro-batches per update; divides batch
  std::uint64_t seed = 0;  ///< of everything random
  Schedule lr = constant(1e-4);
  AdamW<double> adamw{};
  double clip = 1.0;                ///< largest gradient norm; 0: no clipping
  std::vector<double> ema{0.9999};  ///< 1 to 4 decays; the first average is the teacher and what samplers use
  bool ema_warmup = true;           ///< decay min(decay, (1 + n) / (10 + n)) at update n
  float condition_dropout = 0.1f;   ///< probability that a sample's condition becomes the null condition
  Align align{};
  Objective objective{};
  std::vector<std::string> frozen{};  ///< name patterns of parameters that are not updated; '*' stands for anything
  int max_skipped = 10;  ///< non-finite steps in a row that are an error; known one step later where Trainer::late
  int keep = 3;          ///< newest checkpoints that stay
  int threads = 0;       ///< of the backend, if it has any; 0: as `backend` says, the cores of this process
  int readers = 1;       ///< threads that read data ahead
  bool quiet = false;    ///< step.log() writes its file only, and the memory plan is not said
  typename B::options_type backend{};  ///< what else may be chosen about the backend
};

/// Options in which every setting is in its range.  @throws Error that names the first that is not
template <class Align, class Objective, class B>
TrainerOptions<Align, Objective, B> checked_options(TrainerOptions<Align, Objective, B> o) {
  if (o.batch < 1) throw Error(text("Trainer: batch: expected at least 1, got ", o.batch));
  if (o.accumulate < 1 || o.batch % o.accumulate)
    throw Error(text("Trainer: accumulate: expected a divisor of batch ", o.batch, ", got ", o.accumulate));
  if (o.ema.empty())
    throw Error("Trainer: ema: expected at least one decay, got none: the teacher is the first average");
  if (std::cmp_greater(o.ema.size(), max_averages))
    throw Error(text("Trainer: ema: expected at most ", max_averages, " decays, got ", o.ema.size()));
  for (const double d : o.ema)
    if (!(d >= 0 && d <= 1)) throw Error(text("Trainer: ema: expected decays in [0, 1], got ", d));
  if (!(o.condition_dropout >= 0 && o.condition_dropout <= 1))
    throw Error(text("Trainer: condition_dropout: expected a number in [0, 1], got ", o.condition_dropout));
  if (o.max_skipped < 1) throw Error(text("Trainer: max_skipped: expected at least 1, got ", o.max_skipped));
  if (!(o.clip >= 0)) throw Error(text("Trainer: clip: expected a number >= 0, got ", o.clip));
  const double betas[] = {o.adamw.beta1, o.adamw.beta2}, others[] = {o.adamw.eps, o.adamw.weight_decay};
  for (const double beta : betas)
    if (!(beta >= 0 && beta < 1)) throw Error(text("Trainer: adamw: expected betas in [0, 1), got ", beta));
  for (const double x : others)
    if (!(x >= 0 && std::isfinite(x))) throw Error(text("Trainer: adamw: expected eps and weight_decay >= 0, got ", x));
  return o;
}

/// What the trainer's backend is made from.
template <class Align, class Objective, class B>
typename B::options_type backend_options(const TrainerOptions<Align, Objective, B>& o) {
  auto options = o.backend;
  if constexpr (requires { options.threads; })
    if (o.threads != 0) options.threads = o.threads;
  return options;
}

/// Whether a name matches a pattern in which '*' stands for any run of characters.
inline bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*') {
    for (std::size_t i = 0; i <= name.size(); ++i)
      if (matches(pattern.substr(1), name.substr(i))) return true;
    return false;
  }
  return !name.empty() && pattern[0] == name[0] && matches(pattern.substr(1), name.substr(1));
}

/// Whether each parameter matches one of the patterns of TrainerOptions::frozen.  @throws Error if a pattern matches none
template <class List>
std::vector<bool> matching(const std::vector<std::string>& patterns, const List& parameters) {
  std::vector<bool> matched(parameters.size());
  for (const std::string& pattern : patterns) {
    bool any = false;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      if (matches(pattern, parameters[i].name)) matched[i] = any = true;
    if (!any) throw Error(text("Trainer: frozen: expected a pattern that matches a parameter, got \"", pattern, "\""));
  }
  return matched;
}

namespace detail {

/// The fewest digits that read back as the same number.
inline std::string digits(JsonValue number) {
  std::string s;
  number.append_to(s);
  return s;
}

}  // namespace detail

/// What must not change between a run and its resumption.
template <class Model, class W, class Align, class Objective, class B>
std::map<std::string, std::string> settings_of(const TrainerOptions<Align, Objective, B>& o) {
  using detail::digits;
  std::map<std::string, std::string> s{{"model", summary<Model>()},
                                       {"objective", o.objective.describe()},
                                       {"batch", std::to_string(o.batch)},
                                       {"accumulate", std::to_string(o.accumulate)},
                                       {"seed", std::to_string(o.seed)},
                                       {"condition_dropout", digits(o.condition_dropout)},
                                       {"type", sizeof(W) == 8 ? "double" : "float"}};
  s["align"] = "an alignment of the user's";
  if constexpr (requires { o.align.describe(); }) s["align"] = o.align.describe();
  s["adamw"] = text("beta1 ", digits(o.adamw.beta1), " beta2 ", digits(o.adamw.beta2), " eps ", digits(o.adamw.eps),
                    " weight_decay ", digits(o.adamw.weight_decay), " clip ", digits(o.clip));
  for (const double d : o.ema) s["ema"] += digits(d) + " ";
  s["ema"] += o.ema_warmup ? "warm-up" : "fixed";
  s["frozen"] = o.frozen.empty() ? "nothing" : "";
  for (const std::string& pattern : o.frozen) s["frozen"] += pattern + " ";
  return s;
}

}  // namespace sra

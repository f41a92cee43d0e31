// Samplers: from noise to images along the velocity of a model, with guidance.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/host.hpp>
#include <sra/autograd/var.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/error.hpp>
#include <sra/core/philox.hpp>
#include <sra/diffusion/flow_matching.hpp>
#include <sra/diffusion/path.hpp>
#include <sra/expr/pointwise.hpp>
#include <sra/ops/slice.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace sra {

namespace backend {
class Cpu;
}

/// How a sampler goes from time 1 to time 0.
enum class SamplerMethod {
  ode_euler,  ///< x ← x + Δ v
  ode_heun,  ///< the mean of the velocities at both ends of a step; the last step is Euler's; 2 steps − 1 evaluations
  sde_euler_maruyama  ///< with a last step without noise
};

/// What may be chosen about samples.
struct SamplerOptions {
  SamplerMethod method = SamplerMethod::ode_euler;
  index_t steps = 50;       ///< at least 1; for sde at least 2, the last one included
  double guidance = 1;      ///< w: velocity v_u + w (v_c − v_u) where w > 1; else the conditional velocity alone
  double guidance_low = 0;  ///< guided at times in [low, high] only
  double guidance_high = 1;
  int guidance_channels = 0;  ///< 0: all; k: the first k, the others keep the conditional velocity
  double last_step = 0.04;    ///< sde: the time at which the step without noise begins, in (0, 1)
  std::uint64_t seed = 0;     ///< of what is drawn
  index_t first_sample = 0;   ///< number of the first sample; a sample's draws depend on seed, step and its number
  index_t max_batch = 32;     ///< samples at a time; guided evaluations see twice as many
};

/// Random numbers that a caller gives instead of having them drawn, in memory of the host without gaps; what is empty is drawn.
/// @tparam State type of a sampler's state, see Sampler
template <class Model, class State = double>
struct SamplerDraws {
  View<const State, typename Model::ImageShape> start{};  ///< [N, H, W, C], the state at time 1
  std::span<const State> noise{};                         ///< [steps − 1, N, H, W, C], of the sde's steps
};

/// n numbers from `first` to `last` in equal steps: the first half counts from the front, the second from the back, as
/// PyTorch's linspace does.  @param grid has room for n  @param n at least 1
inline void linspace(double first, double last, std::span<double> grid) {
  const auto n = static_cast<index_t>(grid.size());
  const double step = n > 1 ? (last - first) / static_cast<double>(n - 1) : 0;
  for (index_t i = 0; i < n; ++i)
    grid[static_cast<std::size_t>(i)] =
        i < n / 2 || n == 1 ? first + step * static_cast<double>(i) : last - step * static_cast<double>(n - 1 - i);
}

/// The steps + 1 times that a sampler visits, from 1 to 0: equally spaced; for the sde equally spaced down to last_step
/// and then 0.
inline void sampler_times(const SamplerOptions& options, std::vector<double>& times) {
  const auto steps = static_cast<std::size_t>(options.steps);
  times.resize(steps + 1);
  if (options.method == SamplerMethod::sde_euler_maruyama) {
    linspace(1.0, options.last_step, std::span(times).first(steps));
    times[steps] = 0;
  } else {
    linspace(1.0, 0.0, times);
  }
}

/// Draws images from a model by weights that it is given: a trainer's average, or a checkpoint.  Times in double, state and
/// update in the backend's sampler_type, which is double on the CPU, the model in T.  Conditions, draws and images are memory
/// of the host.  Independent of the number of threads.  A sample does not depend on the other samples, nor on max_batch, as
/// long as the backend's products of a row do not depend on the number of rows: those of the CPU do not.
///
///     const sra::Weights<Model> weights(cpu, "runs/shapes");
///     sra::Sampler sampler(cpu, weights.model(), weights.table());
///     const auto images = sampler.sample(labels, {.steps = 250, .guidance = 1.8});
///
/// SiT, arXiv:2401.08740; guidance: Ho and Salimans, arXiv:2207.12598, with an interval: Kynkäänniemi et al.,
/// arXiv:2404.07724.
/// @tparam Model any type with ImageShape, Condition and a velocity operator()(x [B, H, W, C], t [B], condition), x in T's wide type; of
///   more than C output channels the first C are the velocity  @tparam Path what the sde's score is computed by
template <class Model, Backend B = backend::Cpu, class T = float, class Path = LinearPath>
class Sampler {
 public:
  using ImageShape = typename Model::ImageShape;
  using Condition = typename Model::Condition::View;
  using Number = typename B::sampler_type;
  using Draws = SamplerDraws<Model, Number>;

  /// @param module, weights must outlive the sampler; the module's offsets point into the weights
  /// The path is the one that the model was trained on; only the sde depends on it.
  Sampler(B& backend, const Model& module, ParameterTable<T> weights, Path = {})
      : backend_(backend), model_(module), weights_(weights), workspace_(backend) {}

  /// As many images as the condition has rows.  Nothing is allocated when sizes are those of the call before.
  /// @param condition labels [N] or vectors [N, K]
  /// @return [N, H, W, C] in memory of the sampler, valid until its next call
  /// @throws Error for settings and labels out of range, and when a step's result is not finite
  View<const Number, ImageShape> sample(Condition condition, const SamplerOptions& options = {},
                                        const Draws& draws = {}) {
    static_assert(Model::Condition::count > 0,
                  "Sampler: without a condition, give the tensor to fill: it says how many images");
    return sample_own(condition.shape.batch, condition, options, draws);
  }

  /// The same into memory of the caller, without a condition too.  @param images [N, H, W, C] without gaps, written
  void sample(View<Number, ImageShape> images, Condition condition, const SamplerOptions& options = {},
              const Draws& draws = {}) {
    check(images.shape.batch, condition, options, draws);
    sampler_times(options, times_);
    try {
      for (index_t first = 0; first < images.shape.batch; first += options.max_batch) {
        const index_t count = std::min(options.max_batch, images.shape.batch - first);
        sample_chunk({images, first, count}, rows_of(condition, first, count), options, draws);
        backend_.wait();
        workspace_.roll_back();
      }
    } catch (...) {
      workspace_.roll_back();
      throw;
    }
  }

 private:
  static constexpr index_t channels = ImageShape::width;
  using W = wide_t<T>;
  using Exact = Detached<B, Number>;
  using State = Var<Number, ImageShape, Exact>;

  /// Samples [first, first + count) of all.
  struct Chunk {
    View<Number, ImageShape> images;  ///< all of them, memory of the host
    index_t first, count;
  };
  /// What the velocity of a chunk is computed from.
  struct Guidance {
    Condition condition, with_null;              ///< rows of the chunk; and the null condition after them
    Var<Number, Shape<channels>, Exact> excess;  ///< w − 1 where a channel is guided, else 0
  };

  View<const Number, ImageShape> sample_own(index_t n, Condition condition, const SamplerOptions& options,
                                            const Draws& draws) {
    const auto numbers = static_cast<std::size_t>(std::max<index_t>(n, 0) * ImageShape::sample_size());
    if (images_.size() < numbers) images_.resize(numbers);
    const auto images = dense(images_.data(), ImageShape{n});
    sample(images, condition, options, draws);
    return images;
  }

  void sample_chunk(Chunk chunk, Condition condition, const SamplerOptions& o, const Draws& draws) {
    Exact exact(workspace_, {});
    State x = make_dense<Number>(exact, ImageShape{chunk.count});  // [n, H, W, C]
    if (draws.start.data)
      copy_in(exact, x.value, samples_of(draws.start, chunk.first, chunk.count));
    else
      draw_normal(exact, x.value, DrawKey{o.seed, 0, o.first_sample + chunk.first}, Purpose::sampler_start);
    const Guidance guidance = guidance_of(exact, on_device(exact, condition), o);
    const index_t last = static_cast<index_t>(times_.size()) - 2;
    for (index_t i = 0; i <= last; ++i) {
      const Arena::Mark before = workspace_.activations.mark();
      if (o.method == SamplerMethod::sde_euler_maruyama)
        step_sde(x, guidance, o, i, i < last ? noise(exact, chunk, o, draws, i) : State(exact, {}, nullptr));
      else
        step_ode(x, guidance, o, i, o.method == SamplerMethod::ode_heun && i < last);
      workspace_.activations.pop(before);
      if (!std::isfinite(squared_norm(exact, static_cast<const Number*>(x.value.data), x.value.shape.size())))
        throw Error(text("Sampler: step ", i, " of ", o.steps, ", from t = ", time(i), " to ", time(i + 1),
                         ": expected finite values, got NaN or infinity"));
    }
    copy_out(exact, samples_of(chunk.images, chunk.first, chunk.count), View<const Number, ImageShape>(x.value));
  }

  /// x ← x + Δ v, or x + Δ (v + v′) / 2 with v′ at the end of Euler's step.
  void step_ode(State x, const Guidance& guidance, const SamplerOptions& o, index_t i, bool heun) {
    const double t = time(i), delta = time(i + 1) - t;
    const bool guided = is_guided(o, t);
    const State v = velocity(x, t, guidance, guided);  // [n, H, W, C]
    State next = x + delta * v;                        // [n, H, W, C]
    if (heun) {
      const State end = velocity(next, time(i + 1), guidance, guided);  // [n, H, W, C]
      next = x + delta * (0.5 * v + 0.5 * end);                         // [n, H, W, C]
    }
    copy(x.context(), x.value, next.value);
  }

  /// x ← x + d Δ + √w ε √|Δ| with d = v − w s / 2, w = 2 t and the score s = ((α/α′) v − x) / (σ² − (α/α′) σ′ σ).
  /// @param noise ε, or empty for the last step
  void step_sde(State x, const Guidance& guidance, const SamplerOptions& o, index_t i, State noise) {
    const double t = time(i), delta = time(i + 1) - t, w = 2 * t;
    const PathPoint p = Path::at(t);
    const double ratio = p.alpha / p.dalpha, variance = p.sigma * p.sigma - ratio * p.dsigma * p.sigma;
    const State v = velocity(x, t, guidance, is_guided(o, t));                // [n, H, W, C]
    State next = x + delta * (v - (0.5 * w) * ((ratio * v - x) / variance));  // [n, H, W, C]
    if (noise.value.data) next = next + (std::sqrt(w) * std::sqrt(std::abs(delta))) * noise;
    copy(x.context(), x.value, next.value);
  }

  /// The velocity at x, guided or conditional.
  State velocity(State x, double t, const Guidance& guidance, bool guided) {
    const index_t n = x.batch(), batch = guided ? 2 * n : n;
    Exact& exact = x.context();
    State v = make_dense<Number>(exact, ImageShape{n});  // [n, H, W, C]
    const Arena::Mark before = workspace_.activations.mark();
    Detached<B, T> context(workspace_, weights_);
    const auto input = make_dense<W>(context, ImageShape{batch});          // [n or 2n, H, W, C]
    const auto times = context.template tensor<W>(Shape<dynamic>{batch});  // [n or 2n]
    for (index_t first = 0; first < batch; first += n) copy(context, samples_of(input.value, first, n), x.value);
    fill(context, times, static_cast<W>(t));
    const auto output =
        model_(input, View<const W, Shape<dynamic>>(times), guided ? guidance.with_null : guidance.condition);
    static_assert(decltype(output)::shape::width >= channels,
                  "Sampler: the model must have an output for every channel");
    const auto all = slice<0, channels>(output);                            // [n or 2n, H, W, C]
    const auto conditional = constant(exact, samples_of(all.value, 0, n));  // [n, H, W, C]
    if (guided) {
      const auto null = constant(exact, samples_of(all.value, n, n));          // [n, H, W, C]
      const State sum = conditional + guidance.excess * (conditional - null);  // v_u + w (v_c − v_u)
      copy(exact, v.value, sum.value);
    } else {
      copy(exact, v.value, conditional.value);
    }
    workspace_.activations.pop(before);
    return v;
  }

  Guidance guidance_of(Exact& exact, Condition condition, const SamplerOptions& o) {
    Guidance g{condition, condition, make_dense<Number>(exact, Shape<channels>{})};
    if constexpr (Model::Condition::count > 0) {
      if (o.guidance > 1) g.with_null = Model::Condition::with_null(exact, condition);
    }
    for (index_t c = 0; c < channels; ++c)
      fill(exact, dense(g.excess.value.data + c, Shape<1>{}),
           static_cast<Number>(o.guidance_channels == 0 || c < o.guidance_channels ? o.guidance - 1 : 0.0));
    return g;
  }

  /// ε of step i for the samples of a chunk.
  State noise(Exact& exact, Chunk chunk, const SamplerOptions& o, const Draws& draws, index_t i) {
    if (!draws.noise.empty()) {
      const index_t at = (i * chunk.images.shape.batch + chunk.first) * ImageShape::sample_size();
      const auto given = on_device(exact, dense(draws.noise.data() + at, ImageShape{chunk.count}));
      Number* data = const_cast<Number*>(given.data);  // a State has one pointer type; nobody writes here
      return constant(exact, dense(data, ImageShape{chunk.count}));
    }
    State drawn = make_dense<Number>(exact, ImageShape{chunk.count});
    draw_normal(exact, drawn.value, DrawKey{o.seed, i, o.first_sample + chunk.first}, Purpose::sampler_noise);
    return drawn;
  }

  static bool is_guided(const SamplerOptions& o, double t) {
    return Model::Condition::count > 0 && o.guidance > 1 && o.guidance_low <= t && t <= o.guidance_high;
  }
  double time(index_t i) const { return times_[static_cast<std::size_t>(i)]; }

  static Condition rows_of(Condition condition, index_t first, index_t count) {
    if constexpr (Model::Condition::count > 0)
      return samples_of(condition, first, count);
    else
      return condition;
  }

  static void check(index_t n, Condition condition, const SamplerOptions& o, const Draws& draws) {
    const bool sde = o.method == SamplerMethod::sde_euler_maruyama;
    if (n < 1) throw Error(text("Sampler: expected at least 1 sample, got ", n));
    if (o.steps < (sde ? 2 : 1))
      throw Error(text("Sampler: steps: expected at least ", sde ? 2 : 1, ", got ", o.steps));
    if (o.max_batch < 1) throw Error(text("Sampler: max_batch: expected at least 1, got ", o.max_batch));
    if (!std::isfinite(o.guidance)) throw Error(text("Sampler: guidance: expected a finite number, got ", o.guidance));
    if (o.guidance_channels < 0 || o.guidance_channels > channels)
      throw Error(text("Sampler: guidance_channels: expected 0 (all) to ", channels, ", got ", o.guidance_channels));
    if (sde && !(o.last_step > 0 && o.last_step < 1))
      throw Error(text("Sampler: last_step: expected a time in (0, 1), got ", o.last_step));
    if (draws.start.data && draws.start.shape.batch != n)
      throw Error(text("Sampler: draws.start: expected ", n, " samples, got ", draws.start.shape.batch));
    const index_t numbers = (o.steps - 1) * n * ImageShape::sample_size();
    if (sde && !draws.noise.empty() && std::cmp_not_equal(draws.noise.size(), numbers))
      throw Error(text("Sampler: draws.noise: expected ", numbers, " numbers, got ", draws.noise.size()));
    if constexpr (Model::Condition::count > 0) {
      if (condition.shape.batch != n)
        throw Error(text("Sampler: condition: expected ", n, " rows, got ", condition.shape.batch));
    }
    if constexpr (requires { Model::Condition::complaint(condition); }) {
      if (const auto sentence = Model::Condition::complaint(condition); !sentence.empty())
        throw Error("Sampler: " + sentence);
    }
  }

  B& backend_;
  const Model& model_;
  ParameterTable<T> weights_;
  Workspace<B> workspace_;
  std::vector<Number> images_;
  std::vector<double> times_;
};

template <class Model, Backend B, class T>
Sampler(B&, const Model&, ParameterTable<T>) -> Sampler<Model, B, T>;

}  // namespace sra

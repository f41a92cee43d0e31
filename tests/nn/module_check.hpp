// Modules under test: weights in flat buffers, results and gradients as numbers, and arithmetic to hold them against.
// SPDX-License-Identifier: MIT
#pragma once

#include "../ops/op_check.hpp"

#include <sra/cpu/attention_launch.hpp>
#include <sra/cpu/embedding.hpp>
#include <sra/cpu/linear.hpp>
#include <sra/cpu/norm.hpp>
#include <sra/cpu/patch.hpp>
#include <sra/train/store.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace sra::module_check {

using op_check::Accuracy;
using op_check::Argument;
using op_check::argument;
using op_check::expect_close;
using op_check::Outcome;

/// A module with memory to run in.  Weights are drawn so that no result is zero: 0.3 n, n standard normal.
template <class M, class T>
class Rig {
 public:
  using Context = Recording<Cpu, T>;

  explicit Rig(backend::CpuOptions options = {.threads = 2}) : cpu_(options), store_(cpu_, 1), workspace_(cpu_) {
    store_.allocate();
    for (std::size_t i = 0; i < list().size(); ++i) {
      const Rng rng(11, Purpose::user, 2, i);
      for (index_t k = 0; k < list()[i].size; ++k)
        store_.master()[list()[i].offset + k] = static_cast<T>(0.3f * rng.normal(k));
    }
  }

  Store<M, Cpu, T>& store() { return store_; }
  const M& module() const { return store_.module(); }
  const std::vector<ParamInfo>& list() const { return store_.parameters(); }
  Workspace<Cpu>& workspace() { return workspace_; }

  std::vector<double> values(std::string_view name) const {
    const ParamInfo& p = store_.find(name);
    return {store_.master() + p.offset, store_.master() + p.offset + p.size};
  }

  /// y = f(module, inputs...) and the gradients of Σ w y, w standard normal: of every input, then of all parameters,
  /// one after the other.  Whatever nobody writes is NaN; parameters whose gradient nobody writes have gradient 0.
  template <class F, class... S>
  Outcome run(const F& f, const Argument<S>&... inputs) {
    return run_on(store_.student(), f, inputs...);
  }
  /// The result alone.
  template <class F, class... S>
  std::vector<double> value(const F& f, const Argument<S>&... inputs) {
    return run_on(store_.live(), f, inputs...).y;
  }

 private:
  template <class F, class... S>
  Outcome run_on(ParameterTable<T> table, const F& f, const Argument<S>&... inputs) {
    fill_with_nan();
    Context context(workspace_, table);
    Outcome out;
    const auto leaves = Pack<Var<T, S, Context>...>{{{placed(context, inputs)}...}};
    leaves.apply([&](auto... x) {
      const auto y = eval(f(module(), x...));
      out.y = op_check::read(y.value);
      const auto dy = y.grad();
      const Rng rng(1, Purpose::user, 1, 0);
      if (dy)
        for (std::size_t i = 0; i < out.y.size(); ++i)
          dy.to.row(static_cast<index_t>(i) / width_of(y))[static_cast<index_t>(i) % width_of(y)] =
              static_cast<typename decltype(y)::type>(rng.normal(i));
      context.tape().unwind(context);
      (out.gradients.push_back(x.slot->filled ? op_check::read(x.at(x.slot->data)) : std::vector<double>()), ...);
    });
    out.gradients.push_back({});
    for (std::size_t i = 0; i < list().size(); ++i)
      for (index_t k = 0; k < list()[i].size; ++k)
        out.gradients.back().push_back(
            store_.states()[i] == unwritten ? 0.0 : static_cast<double>(store_.gradient()[list()[i].offset + k]));
    workspace_.roll_back();
    return out;
  }

  template <class Y>
  static constexpr index_t width_of(const Y&) {
    return Y::shape::width;
  }

  template <class S>
  static Var<T, S, Context> placed(Context& context, const Argument<S>& o) {
    const auto x = make<T>(context, o.shape);
    for (index_t r = 0; r < o.shape.rows(); ++r)
      for (index_t i = 0; i < S::width; ++i)
        x.value.row(r)[i] = static_cast<T>(o.values[static_cast<std::size_t>(r * S::width + i)]);
    return x;
  }

  /// Memory that is handed out next, and all gradients.
  void fill_with_nan() {
    constexpr std::size_t bytes = std::size_t{4} << 20;
    std::memset(workspace_.activations.take(bytes), 0xff, bytes);
    workspace_.activations.pop({});
    workspace_.gradients.plan(false);
    std::memset(workspace_.gradients.take(bytes), 0xff, bytes);
    workspace_.gradients.plan(false);
    std::fill_n(store_.gradient(), store_.size(), std::numeric_limits<T>::quiet_NaN());
    std::fill(store_.states().begin(), store_.states().end(), static_cast<unsigned char>(unwritten));
  }

  Cpu cpu_;
  Store<M, Cpu, T> store_;
  Workspace<Cpu> workspace_;
};

/// Central differences of Σ w y in double, for up to 12 elements of every parameter and up to 60 of every input.
/// Allowed: 1e-7 of the largest gradient, for the difference's own error h² f'''/6, plus what rounding of the sum makes
/// of 2 h.
template <class M, class F, class... S>
void matches_finite_differences(const F& f, const Argument<S>&... inputs) {
  Rig<M, double> rig;
  const Outcome exact = rig.run(f, inputs...);
  const Rng rng(1, Purpose::user, 1, 0);
  double magnitude = 0, largest = 0;
  for (std::size_t i = 0; i < exact.y.size(); ++i) magnitude += std::abs(exact.y[i] * rng.normal_double(i));
  for (const auto& g : exact.gradients)
    for (const double x : g) largest = std::max(largest, std::abs(x));
  const double h = 1e-5;
  const double allowed = 1e-7 * largest + 4 * std::numeric_limits<double>::epsilon() * magnitude / h;
  Pack<Argument<S>...> moved = pack(inputs...);
  const auto functional = [&] {
    const auto y = moved.apply([&](const auto&... o) { return rig.value(f, o...); });
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * rng.normal_double(i);
    return sum;
  };
  const auto difference = [&](double& at) {
    const double x = at;
    at = x + h;
    const double up = functional();
    at = x - h;
    const double down = functional();
    at = x;
    return (up - down) / (2 * h);
  };
  const auto check_input = [&](std::size_t number, std::vector<double>& values) {
    std::vector<double> expected, differences;
    for (std::size_t i = 0; i < values.size(); i += 1 + values.size() / 60) {
      expected.push_back(exact.gradients[number][i]);
      differences.push_back(difference(values[i]));
    }
    expect_close(text("input ", number), expected, differences, allowed);
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (check_input(I, const_cast<std::vector<double>&>(get<I>(moved).values)), ...);
  }
  (std::index_sequence_for<S...>{});
  std::size_t first = 0;
  for (const ParamInfo& p : rig.list()) {
    std::vector<double> expected, differences;
    if (p.kind == ParamKind::trained)
      for (index_t i = 0; i < p.size; i += 1 + p.size / 12) {
        expected.push_back(exact.gradients.back()[first + static_cast<std::size_t>(i)]);
        differences.push_back(difference(rig.store().master()[p.offset + i]));
      }
    expect_close(p.name, expected, differences, allowed);
    first += static_cast<std::size_t>(p.size);
  }
}

/// "name [shape]" of every parameter, in order.
template <class M>
std::vector<std::string> keys() {
  M module{};
  std::vector<std::string> list;
  for_each_param(module, [&](const std::string& name, const auto& p) {
    list.push_back(name + " " + to_string(typename std::remove_cvref_t<decltype(p)>::shape{}));
  });
  return list;
}

inline void expect_keys(const std::vector<std::string>& got, const std::vector<std::string>& expected) {
  BOOST_CHECK_EQUAL_COLLECTIONS(got.begin(), got.end(), expected.begin(), expected.end());
}

/// Rows of numbers: plain arithmetic in double, the definitions.
using Numbers = std::vector<double>;

/// x Wᵀ + b.  @param x rows of `in`  @param w [out, in]  @param b [out]
inline Numbers linear(const Numbers& x, const Numbers& w, const Numbers& b) {
  const std::size_t out = b.size(), in = w.size() / out;
  Numbers y;
  for (std::size_t r = 0; r < x.size() / in; ++r)
    for (std::size_t o = 0; o < out; ++o) {
      double sum = b[o];
      for (std::size_t k = 0; k < in; ++k) sum += x[r * in + k] * w[o * in + k];
      y.push_back(sum);
    }
  return y;
}
/// The linear layer of this name.
template <class R>
Numbers linear(const R& rig, const std::string& name, const Numbers& x) {
  return linear(x, rig.values(name + ".weight"), rig.values(name + ".bias"));
}

inline Numbers silu(Numbers x) {
  for (double& v : x) v /= 1 + std::exp(-v);
  return x;
}
inline Numbers gelu(Numbers x) {
  for (double& v : x) v *= (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v))) / 2;
  return x;
}
/// (x − mean) / √(var + eps) over rows of `width`.
inline Numbers norm(Numbers x, std::size_t width, double eps) {
  for (std::size_t r = 0; r < x.size(); r += width) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < width; ++i) mean += x[r + i] / double(width);
    for (std::size_t i = 0; i < width; ++i) variance += (x[r + i] - mean) * (x[r + i] - mean) / double(width);
    for (std::size_t i = 0; i < width; ++i) x[r + i] = (x[r + i] - mean) / std::sqrt(variance + eps);
  }
  return x;
}
/// Columns [first, first + count) of rows of `width`.
inline Numbers columns(const Numbers& x, std::size_t width, std::size_t first, std::size_t count) {
  Numbers y;
  for (std::size_t r = 0; r < x.size(); r += width)
    for (std::size_t i = 0; i < count; ++i) y.push_back(x[r + first + i]);
  return y;
}
/// norm(x) (1 + scale) + shift, shift and scale one row per sample.
inline Numbers modulated(Numbers x, const Numbers& shift, const Numbers& scale, std::size_t tokens, std::size_t width) {
  x = norm(x, width, 1e-6f);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t at = i / (tokens * width) * width + i % width;
    x[i] = x[i] * (1 + scale[at]) + shift[at];
  }
  return x;
}
/// softmax(q kᵀ / √d) v of every head of every sample; heads lie side by side in rows of `width`.
inline Numbers attention(const Numbers& q, const Numbers& k, const Numbers& v, std::size_t tokens, std::size_t width,
                         std::size_t heads) {
  const std::size_t d = width / heads;
  Numbers y(q.size());
  for (std::size_t row = 0; row < q.size() / width; ++row)
    for (std::size_t h = 0; h < heads; ++h) {
      const std::size_t sample = row / tokens * tokens;
      Numbers p;
      double sum = 0;
      for (std::size_t j = 0; j < tokens; ++j) {
        double score = 0;
        for (std::size_t i = 0; i < d; ++i) score += q[row * width + h * d + i] * k[(sample + j) * width + h * d + i];
        p.push_back(std::exp(score / std::sqrt(double(d))));
        sum += p.back();
      }
      for (std::size_t j = 0; j < tokens; ++j)
        for (std::size_t i = 0; i < d; ++i)
          y[row * width + h * d + i] += p[j] / sum * v[(sample + j) * width + h * d + i];
    }
  return y;
}

}  // namespace sra::module_check

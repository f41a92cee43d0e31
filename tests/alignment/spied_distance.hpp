// A distance chosen at run time that keeps what it saw: features, target, and the gradient of the features.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <string>
#include <vector>

namespace user {

enum class Kind { cosine, token_cosine, smooth_l1, l1, l2 };

/// What a distance saw in the last micro-batch: dense [B, T, D].
struct Seen {
  std::vector<double> a, b, da;
};

/// One of the library's distances.  @tparam Any type of the elements
struct Spied {
  Kind kind = Kind::cosine;
  Seen* seen = nullptr;
  float beta = 0.05f;

  static sra::Schedule default_weight() { return sra::constant(0.5); }
  std::string describe() const { return "Spied"; }

  template <sra::Variable A, sra::Variable B>
  auto operator()(A a, B b) const {
    using C = typename A::context_type;
    using Loss = sra::Var<typename C::wide, sra::Shape<1>, C>;
    if (seen && !a.context().planning()) {
      seen->a = dense_copy(a.value);
      seen->b = dense_copy(b.value);
      // Reached by the backward pass when the distance is behind it: the gradient of a is complete.
      sra::mark(a.context(), [a, to = seen](C&) { to->da = dense_copy(a.at(a.slot->data)); });
    }
    return distance<Loss>(a, b);
  }

  template <class View>
  static std::vector<double> dense_copy(const View& v) {
    std::vector<double> all;
    for (sra::index_t s = 0; s < v.shape.batch; ++s)
      for (sra::index_t t = 0; t < View::shape_type::sample_rows; ++t)
        for (sra::index_t d = 0; d < View::shape_type::width; ++d) all.push_back(static_cast<double>(v.row(s, t)[d]));
    return all;
  }

 private:
  template <class Loss, class A, class B>
  Loss distance(A a, B b) const {
    switch (kind) {
      case Kind::cosine:
        return sra::Cosine{}(a, b);
      case Kind::token_cosine:
        return sra::TokenCosine{}(a, b);
      case Kind::smooth_l1:
        return sra::SmoothL1{beta}(a, b);
      case Kind::l1:
        return sra::L1{}(a, b);
      default:
        return sra::L2{}(a, b);
    }
  }
};

}  // namespace user

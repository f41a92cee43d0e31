// What describes a matrix product for a library: matrices as columns, and what happens to the result on its way out.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/dtype.hpp>

#include <compare>
#include <type_traits>

namespace sra::arch {

class Blas;

enum class Number { f32, bf16 };
template <class T>
inline constexpr Number number_of = std::is_same_v<std::remove_const_t<T>, bf16> ? Number::bf16 : Number::f32;

/// A matrix whose columns lie at a distance of `stride` elements, each without gaps; of a batch, the next begins `step`
/// elements further.
struct ProductMatrix {
  Number number = Number::f32;
  index_t rows = 0, columns = 0, stride = 0, step = 0;
  auto operator<=>(const ProductMatrix&) const = default;
};

enum class Epilogue {
  none,
  bias,          ///< adds bias[row], of c's type
  gelu,          ///< adds bias[row], keeps that in aux if there is one, applies GELU
  gelu_slope,    ///< multiplies by GELU'(aux)
  column_sums_b  ///< bias[column of c] = sum over the depth of op(b), in c's type, beside the product
};

/// c = op(a) op(b), or added to c; sums in float.  Products with the same key run the same code.
struct ProductKey {
  bool transpose_a = false, transpose_b = false, accumulate = false;
  ProductMatrix a{}, b{}, c{};
  index_t batch = 1, bias_step = 0;
  Epilogue epilogue = Epilogue::none;
  index_t aux_stride = 0;  ///< of aux, which has c's shape and type; 0: no aux
  int alignment = 16;      ///< bytes that all addresses and strides are multiples of
  auto operator<=>(const ProductKey&) const = default;
};

/// The addresses of a product.
struct ProductOperands {
  const void *a = nullptr, *b = nullptr;
  void* c = nullptr;
  const void* bias = nullptr;
  const void* aux = nullptr;
};

}  // namespace sra::arch

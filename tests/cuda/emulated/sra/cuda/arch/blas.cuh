// The arch header of this name on the host: products as their definitions say, sums in float.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cuda/arch/product.cuh>
#include <sra/cuda/arch/runtime.cuh>
#include <sra/expr/maths.hpp>

#include <set>
#include <string>
#include <vector>

namespace sra::arch {

namespace emulated {

/// Epilogues for which there is no algorithm; tests put some in.
inline std::set<Epilogue>& refused() {
  static std::set<Epilogue> all;
  return all;
}

inline float read(Number n, const void* p, index_t i) {
  return n == Number::bf16 ? static_cast<float>(static_cast<const bf16*>(p)[i]) : static_cast<const float*>(p)[i];
}
inline void write(Number n, void* p, index_t i, float x) {
  if (n == Number::bf16)
    static_cast<bf16*>(p)[i] = bf16(x);
  else
    static_cast<float*>(p)[i] = x;
}
inline float read(const ProductMatrix& m, const void* p, bool transposed, index_t r, index_t c) {
  return read(m.number, p, transposed ? c + r * m.stride : r + c * m.stride);
}

/// One product of a batch.
inline void multiply_one(const ProductKey& k, const ProductOperands& o) {
  const index_t depth = k.transpose_a ? k.a.rows : k.a.columns;
  for (index_t c = 0; c < k.c.columns; ++c) {
    for (index_t r = 0; r < k.c.rows; ++r) {
      float sum = 0;
      for (index_t i = 0; i < depth; ++i)
        sum += read(k.a, o.a, k.transpose_a, r, i) * read(k.b, o.b, k.transpose_b, i, c);
      if (k.accumulate) sum += read(k.c, o.c, false, r, c);
      if (k.epilogue == Epilogue::bias || k.epilogue == Epilogue::gelu) sum += read(k.c.number, o.bias, r);
      if (k.epilogue == Epilogue::gelu) {
        if (k.aux_stride > 0) write(k.c.number, const_cast<void*>(o.aux), r + c * k.aux_stride, sum);
        sum = maths::gelu(sum);
      }
      if (k.epilogue == Epilogue::gelu_slope) sum *= maths::gelu_slope(read(k.c.number, o.aux, r + c * k.aux_stride));
      write(k.c.number, o.c, r + c * k.c.stride, sum);
    }
    if (k.epilogue == Epilogue::column_sums_b) {
      float sum = 0;
      for (index_t i = 0; i < depth; ++i) sum += read(k.b, o.b, k.transpose_b, i, c);
      write(k.c.number, const_cast<void*>(o.bias), c, sum);
    }
  }
}

inline void multiply(const ProductKey& k, const ProductOperands& o) {
  const auto at = [](Number n, const void* p, index_t i) -> const void* {
    return p ? static_cast<const std::byte*>(p) + i * (n == Number::bf16 ? 2 : 4) : nullptr;
  };
  for (index_t i = 0; i < k.batch; ++i)
    multiply_one(
        k, {at(k.a.number, o.a, i * k.a.step), at(k.b.number, o.b, i * k.b.step),
            const_cast<void*>(at(k.c.number, o.c, i * k.c.step)), at(k.c.number, o.bias, i * k.bias_step), o.aux});
}

}  // namespace emulated

struct Algorithm {
  int number = 0;
  std::size_t workspace = 0;
  std::string to_text() const { return std::to_string(number); }
  static bool from_text(const std::string& s, Algorithm& a) {
    a.number = s == "1";
    return s == "0" || s == "1";
  }
};

class Blas {
 public:
  static std::size_t version() { return 1; }
};

class Product {
 public:
  explicit Product(const ProductKey& key) : key_(key) {
    const auto dims = [](const ProductMatrix& m, bool t) {
      return std::pair(t ? m.columns : m.rows, t ? m.rows : m.columns);
    };
    const auto [m, k] = dims(key.a, key.transpose_a);
    const auto [k2, n] = dims(key.b, key.transpose_b);
    if (k != k2 || m != key.c.rows || n != key.c.columns) throw Error("emulated product: sizes that do not fit");
    for (const auto* x : {&key.a, &key.b, &key.c})
      if (x->stride < x->rows) throw Error("emulated product: columns that overlap");
  }
  void point(const ProductOperands&) {}
  void run(Blas&, Stream stream, const Algorithm&, const ProductOperands& o, void*, std::size_t) {
    if (const bool needs = key_.epilogue == Epilogue::bias || key_.epilogue == Epilogue::gelu ||
                           key_.epilogue == Epilogue::column_sums_b;
        needs != (o.bias != nullptr) || (key_.aux_stride > 0) != (o.aux != nullptr))
      throw Error("emulated product: operands that the epilogue does not have, or lacks");
    stream->add([key = key_, o] { emulated::multiply(key, o); });
  }
  std::vector<Algorithm> candidates(Blas&, int most, std::size_t) {
    if (emulated::refused().count(key_.epilogue)) return {};
    if (key_.epilogue != Epilogue::none && key_.alignment < 16) return {};
    return std::vector<Algorithm>(static_cast<std::size_t>(most > 1 ? 2 : 1));
  }
  bool fits(Blas&, Algorithm&, std::size_t) { return true; }

 private:
  ProductKey key_;
};

}  // namespace sra::arch

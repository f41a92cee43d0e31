// Matrix products by cuBLASLt: what can be asked for, which algorithms there are, and one call.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cuda/arch/product.cuh>
#include <sra/cuda/arch/runtime.cuh>

#include <cublasLt.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sra::arch {

namespace detail {

inline void check(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error(text("Cuda: ", call, ": ", cublasLtGetStatusName(status)));
}

inline void destroy(cublasLtMatrixLayout_t t) { cublasLtMatrixLayoutDestroy(t); }
inline void destroy(cublasLtMatmulDesc_t t) { cublasLtMatmulDescDestroy(t); }
inline void destroy(cublasLtMatmulPreference_t t) { cublasLtMatmulPreferenceDestroy(t); }

/// A cuBLASLt handle that is destroyed when it goes.
template <class T>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T t) : t_(t) {}
  Handle(Handle&& other) noexcept : t_(std::exchange(other.t_, T{})) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(t_, other.t_);
    return *this;
  }
  ~Handle() {
    if (t_) destroy(t_);
  }
  T get() const { return t_; }

 private:
  T t_{};
};
using Layout = Handle<cublasLtMatrixLayout_t>;
using Description = Handle<cublasLtMatmulDesc_t>;
using Preference = Handle<cublasLtMatmulPreference_t>;

inline cudaDataType_t data_type(Number n) { return n == Number::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

inline Layout layout(const ProductMatrix& m, index_t batch) {
  cublasLtMatrixLayout_t l = nullptr;
  check(cublasLtMatrixLayoutCreate(&l, data_type(m.number), static_cast<std::uint64_t>(m.rows),
                                   static_cast<std::uint64_t>(m.columns), m.stride),
        "cublasLtMatrixLayoutCreate");
  Layout owned(l);
  if (batch == 1) return owned;
  const auto count = static_cast<std::int32_t>(batch);
  const std::int64_t step = m.step;
  check(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
        "cublasLtMatrixLayoutSetAttribute");
  check(cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step),
        "cublasLtMatrixLayoutSetAttribute");
  return owned;
}

}  // namespace detail

/// An algorithm of cuBLASLt and the workspace it needs.
struct Algorithm {
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace = 0;

  /// As text without spaces, and back; the same library and device only.
  std::string to_text() const {
    std::string s = std::to_string(workspace);
    for (const std::uint64_t word : algorithm.data) s += ":" + std::to_string(word);
    return s;
  }
  static bool from_text(const std::string& s, Algorithm& a) {
    std::size_t at = 0;
    const auto number = [&](std::uint64_t& x) {
      const std::size_t begin = at;
      for (x = 0; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at)
        x = 10 * x + static_cast<std::uint64_t>(s[at] - '0');
      return at > begin;
    };
    std::uint64_t workspace = 0;
    if (!number(workspace)) return false;
    a.workspace = workspace;
    for (std::uint64_t& word : a.algorithm.data)
      if (at >= s.size() || s[at++] != ':' || !number(word)) return false;
    return at == s.size();
  }
};

/// One product, described once and called often.
class Product {
 public:
  explicit Product(const ProductKey& key)
      : key_(key),
        a_(detail::layout(key.a, key.batch)),
        b_(detail::layout(key.b, key.batch)),
        c_(detail::layout(key.c, key.batch)) {
    cublasLtMatmulDesc_t d = nullptr;
    detail::check(cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    description_ = detail::Description(d);
    set(CUBLASLT_MATMUL_DESC_TRANSA, key.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, key.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue(key));
    if (key.bias_step > 0) set(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, static_cast<std::int64_t>(key.bias_step));
    if (key.aux_stride > 0) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, static_cast<std::int64_t>(key.aux_stride));
  }

  /// Says where bias and aux are: the library looks at them when it chooses algorithms, too.
  void point(const ProductOperands& o) {
    if (o.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, o.bias);
    if (o.aux) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, o.aux);
  }
  /// Runs the product.  @throws Error if the algorithm is none of this product
  void run(Blas& blas, Stream stream, const Algorithm& algorithm, const ProductOperands& o, void* workspace,
           std::size_t bytes);
  std::vector<Algorithm> candidates(Blas& blas, int most, std::size_t workspace);
  bool fits(Blas& blas, Algorithm& algorithm, std::size_t workspace);

 private:
  static cublasLtEpilogue_t epilogue(const ProductKey& key) {
    switch (key.epilogue) {
      case Epilogue::bias:
        return CUBLASLT_EPILOGUE_BIAS;
      case Epilogue::gelu:
        return key.aux_stride > 0 ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_BIAS;
      case Epilogue::gelu_slope:
        return CUBLASLT_EPILOGUE_DGELU;
      case Epilogue::column_sums_b:
        return CUBLASLT_EPILOGUE_BGRADB;
      default:
        return CUBLASLT_EPILOGUE_DEFAULT;
    }
  }
  template <class T>
  void set(cublasLtMatmulDescAttributes_t what, T value) {
    detail::check(cublasLtMatmulDescSetAttribute(description_.get(), what, &value, sizeof value),
                  "cublasLtMatmulDescSetAttribute");
  }
  ProductKey key_;
  detail::Layout a_, b_, c_;
  detail::Description description_;
};

/// The library's handle.
class Blas {
 public:
  Blas() { detail::check(cublasLtCreate(&handle_), "cublasLtCreate"); }
  ~Blas() { cublasLtDestroy(handle_); }
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;
  cublasLtHandle_t get() const { return handle_; }
  /// What an algorithm's text is valid for, beside the device.
  static std::size_t version() { return cublasLtGetVersion(); }

 private:
  cublasLtHandle_t handle_ = nullptr;
};

inline void Product::run(Blas& blas, Stream stream, const Algorithm& algorithm, const ProductOperands& o,
                         void* workspace, std::size_t bytes) {
  point(o);
  const float alpha = 1, beta = key_.accumulate ? 1.0f : 0.0f;
  detail::check(cublasLtMatmul(blas.get(), description_.get(), &alpha, o.a, a_.get(), o.b, b_.get(), &beta, o.c,
                               c_.get(), o.c, c_.get(), &algorithm.algorithm, workspace, bytes, stream),
                "cublasLtMatmul");
}

/// At most `most` algorithms, and no more than 32, those that should be fast first; none if the library cannot do this product.
inline std::vector<Algorithm> Product::candidates(Blas& blas, int most, std::size_t workspace) {
  cublasLtMatmulPreference_t p = nullptr;
  detail::check(cublasLtMatmulPreferenceCreate(&p), "cublasLtMatmulPreferenceCreate");
  const detail::Preference preference(p);
  detail::check(
      cublasLtMatmulPreferenceSetAttribute(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace),
      "cublasLtMatmulPreferenceSetAttribute");
  const auto alignment = static_cast<std::uint32_t>(key_.alignment);
  for (const auto what : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    detail::check(cublasLtMatmulPreferenceSetAttribute(p, what, &alignment, sizeof alignment),
                  "cublasLtMatmulPreferenceSetAttribute");
  constexpr int limit = 32;
  // nvcc 13.0.88 fails on a vector of this type, which has no name of its own.
  cublasLtMatmulHeuristicResult_t results[limit];
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(blas.get(), description_.get(), a_.get(), b_.get(), c_.get(), c_.get(), p,
                                     std::min(most, limit), results, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return {};
  detail::check(status, "cublasLtMatmulAlgoGetHeuristic");
  std::vector<Algorithm> all;
  for (int i = 0; i < found; ++i)
    if (const auto& r = results[i]; r.state == CUBLAS_STATUS_SUCCESS) all.push_back({r.algo, r.workspaceSize});
  return all;
}

/// Whether the library takes this algorithm, say from a file, for this product.
inline bool Product::fits(Blas& blas, Algorithm& algorithm, std::size_t workspace) {
  cublasLtMatmulHeuristicResult_t r{};
  if (cublasLtMatmulAlgoCheck(blas.get(), description_.get(), a_.get(), b_.get(), c_.get(), c_.get(),
                              &algorithm.algorithm, &r) != CUBLAS_STATUS_SUCCESS ||
      r.state != CUBLAS_STATUS_SUCCESS || r.workspaceSize > workspace)
    return false;
  algorithm.workspace = r.workspaceSize;
  return true;
}

}  // namespace sra::arch

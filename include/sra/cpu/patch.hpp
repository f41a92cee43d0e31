// Images to rows of patches and back on the CPU: copies, one row of patches per task.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/memory.hpp>

namespace sra::backend {

namespace detail {

/// Order is a PatchOrder: channels_first or channels_last.  Calls f(image element, patch element) for every pair of one row of patches.
template <int P, auto Order, class Image, class Patches, class F>
[[gnu::always_inline]] inline void for_pairs(const Image& image, const Patches& patches, index_t b, index_t row,
                                             const F& f) {
  using I = typename Image::shape_type;
  constexpr index_t C = I::width, W = I::extent(2), G = W / P;
  for (index_t column = 0; column < G; ++column) {
    auto* patch = patches.row(b, row * G + column);
    for (index_t i = 0; i < P; ++i)
      for (index_t j = 0; j < P; ++j) {
        auto* pixel = image.row(b, (row * P + i) * W + column * P + j);
        for (index_t ch = 0; ch < C; ++ch)
          f(pixel[ch], patch[Order == decltype(Order)::channels_first ? (ch * P + i) * P + j : (i * P + j) * C + ch]);
      }
  }
}

template <int P, auto Order, class Image, class Patches, class F>
void patch_rows(Cpu& cpu, const Image& image, const Patches& patches, const F& f) {
  constexpr index_t rows = Image::shape_type::extent(1) / P;
  for_rows(cpu, image.shape.samples() * rows, 8, [=](index_t begin, index_t end, int) {
    for (index_t k = begin; k < end; ++k) for_pairs<P, Order>(image, patches, k / rows, k % rows, f);
  });
}

template <class C, class Image>
Cost patch_cost(const Image& image) {
  return {2.0 * double(image.shape.size()) * sizeof(typename C::type), 0};
}

template <class T, class U>
[[gnu::always_inline]] inline void put(T& to, U from, bool add) {
  using W = wide_t<T>;
  to = static_cast<T>(add ? static_cast<W>(to) + static_cast<W>(from) : static_cast<W>(from));
}
struct FromPixel {
  bool add;
  [[gnu::always_inline]] void operator()(auto& pixel, auto& value) const { put(value, pixel, add); }
};
struct FromPatch {
  bool add;
  [[gnu::always_inline]] void operator()(auto& pixel, auto& value) const { put(pixel, value, add); }
};

}  // namespace detail

/// to = patches of x, written or added.  @param to [B, T, P P C]  @param x [B, H, W, C]
template <int P, auto Order, ContextOn<Cpu> C, class T, class Patches, class X>
void patches_from_image(C& context, Grad<T, Patches> to, X x) {
  if (!to) return;
  launch(context, "patches_from_image", detail::patch_cost<C>(x), [&](Cpu& cpu) {
    detail::patch_rows<P, Order>(cpu, x, to.to, detail::FromPixel{to.mode == GradMode::accumulate});
  });
}

/// to = image of the patches x, written or added.  @param to [B, H, W, C]  @param x [B, T, P P C]
template <int P, auto Order, ContextOn<Cpu> C, class T, class Image, class X>
void image_from_patches(C& context, Grad<T, Image> to, X x) {
  if (!to) return;
  launch(context, "image_from_patches", detail::patch_cost<C>(to.to), [&](Cpu& cpu) {
    detail::patch_rows<P, Order>(cpu, to.to, x, detail::FromPatch{to.mode == GradMode::accumulate});
  });
}

}  // namespace sra::backend

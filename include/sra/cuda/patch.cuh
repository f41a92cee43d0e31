// Images to rows of patches and back on the GPU: copies, a thread for each number.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/kernel.cuh>

namespace sra::gpu {

namespace detail {

/// The number of a patch and the number of the image that belong together, copied one way or the other.
/// @tparam ToPatches whether patches are written  @tparam ChannelsFirst order of a patch's numbers
template <int P, bool ChannelsFirst, bool ToPatches, class Image, class Patches>
struct PatchCopy {
  using I = typename Image::shape_type;
  static constexpr index_t channels = I::width, width = I::extent(2), across = width / P, size = P * P * channels;

  Image image;
  Patches patches;
  bool add;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t k = at % size, token = at / size % Patches::shape_type::sample_rows,
                  b = at / size / Patches::shape_type::sample_rows;
    const index_t ch = ChannelsFirst ? k / (P * P) : k % channels, i = ChannelsFirst ? k / P % P : k / channels / P,
                  j = ChannelsFirst ? k % P : k / channels % P;
    auto& pixel = image.row(b, (token / across * P + i) * width + token % across * P + j)[ch];
    auto& value = patches.row(b, token)[k];
    if constexpr (ToPatches)
      write(value, pixel);
    else
      write(pixel, value);
  }

 private:
  template <class T, class U>
  SRA_DEVICE void write(T& to, const U& from) const {
    using W = wide_t<T>;
    to = number_cast<T>(add ? number_cast<W>(to) + number_cast<W>(from) : number_cast<W>(from));
  }
};

template <bool ToPatches, int P, auto Order, class Image, class Patches>
void copy_patches(Cuda& cuda, const Image& image, const Patches& patches, bool add) {
  using Kernel = PatchCopy<P, Order == decltype(Order)::channels_first, ToPatches, Image, Patches>;
  for_each(cuda, image.shape.samples() * Image::shape_type::sample_size(), Kernel{image, patches, add});
}

}  // namespace detail

/// to = patches of x, written or added.  @param to [B, T, P P C]  @param x [B, H, W, C]
template <int P, auto Order, ContextOn<Cuda> C, class T, class Patches, class X>
void patches_from_image(C& context, Grad<T, Patches> to, X x) {
  if (!to) return;
  launch(context, "patches_from_image", {double(x.shape.size()) * (sizeof(*x.data) + sizeof(T)), 0},
         [&](Cuda& cuda) { detail::copy_patches<true, P, Order>(cuda, x, to.to, to.mode == GradMode::accumulate); });
}

/// to = image of the patches x, written or added.  @param to [B, H, W, C]  @param x [B, T, P P C]
template <int P, auto Order, ContextOn<Cuda> C, class T, class Image, class X>
void image_from_patches(C& context, Grad<T, Image> to, X x) {
  if (!to) return;
  launch(context, "image_from_patches", {double(x.shape.size()) * (sizeof(*x.data) + sizeof(T)), 0},
         [&](Cuda& cuda) { detail::copy_patches<false, P, Order>(cuda, to.to, x, to.mode == GradMode::accumulate); });
}

}  // namespace sra::gpu

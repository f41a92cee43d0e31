// Images to rows of patches and back.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>

namespace sra {

/// Order of a patch's values in its token: as a convolution's weight has them, (channel, row, column), or as the final
/// layer writes them, (row, column, channel).
enum class PatchOrder { channels_first, channels_last };

/// Cuts images into P x P patches, row by row of patches.
/// @param x [B, H, W, C]  @return [B, (H/P) (W/P), P P C].  DiT, arXiv:2212.09748, §3.2.
template <int P, PatchOrder Order, Variable X>
auto patchify(X x) {
  using S = typename X::shape;
  static_assert(S::rank == 4 && S::batched, "patchify<P>: images are [B, H, W, C]");
  static_assert(S::extent(1) % P == 0 && S::extent(2) % P == 0, "patchify<P>: height and width must be multiples of P");
  using Out = Shape<dynamic, (S::extent(1) / P) * (S::extent(2) / P), P * P * S::extent(3)>;
  auto y = make<typename X::type>(x.context(), Out{x.batch()});
  patches_from_image<P, Order>(x.context(), Grad<typename X::type, Out>{y.value, GradMode::overwrite}, x.value);
  if (!x.slot) return y.stop_gradient();
  return record(y, [=](auto& c, auto dy) { image_from_patches<P, Order>(c, x.grad(), dy); });
}

/// Puts patches back together: the inverse of patchify.
/// @param x [B, (H/P) (W/P), P P C]  @return [B, H, W, C]
template <int P, PatchOrder Order, index_t H, index_t W, Variable X>
auto unpatchify(X x) {
  using S = typename X::shape;
  static_assert(S::rank == 3 && S::batched && S::width % (P * P) == 0, "unpatchify<P>: patches are [B, T, P P C]");
  static_assert(S::extent(1) == (H / P) * (W / P),
                "unpatchify<P, Order, H, W>: (H/P) (W/P) must be the number of tokens");
  using Out = Shape<dynamic, H, W, S::width / (P * P)>;
  auto y = make<typename X::type>(x.context(), Out{x.batch()});
  image_from_patches<P, Order>(x.context(), Grad<typename X::type, Out>{y.value, GradMode::overwrite},
                               View<const typename X::type, S>(x.value));
  return record(y, [=](auto& c, auto dy) { patches_from_image<P, Order>(c, x.grad(), dy); });
}

}  // namespace sra

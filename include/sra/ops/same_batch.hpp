// The one run-time rule of ops with several operands: all of them have the same batch.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/error.hpp>

namespace sra::detail {

/// @throws Error naming `who` unless all operands have the batch of the first
template <Variable First, Variable... More>
void expect_same_batch(const char* who, const First& first, const More&... more) {
  [[maybe_unused]] const auto expect = [&](index_t batch) {
    if (batch != first.batch())
      throw Error(text(who, ": operands of one batch, expected ", first.batch(), ", got ", batch));
  };
  (expect(more.batch()), ...);
}

}  // namespace sra::detail

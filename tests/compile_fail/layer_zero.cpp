// A layer before the first.
// SPDX-License-Identifier: MIT
// expect: Layer<I>: layers are counted from 1, as in the paper
#include <sra/alignment/layer.hpp>

sra::Layer<0> layer;

// The whole library: a header-only trainer for diffusion transformers with self-representation alignment.
// SPDX-License-Identifier: MIT
#pragma once

// Every op's kernels are found by the backend's type when the op is used, so that the order of these does not matter.
#include <sra/alignment/sra_loss.hpp>
#include <sra/autograd/checkpoint.hpp>
#include <sra/cpu/attention_launch.hpp>
#include <sra/cpu/cross_entropy.hpp>
#include <sra/cpu/distance.hpp>
#include <sra/cpu/draw.hpp>
#include <sra/cpu/embedding.hpp>
#include <sra/cpu/limits.hpp>
#include <sra/cpu/linear.hpp>
#include <sra/cpu/matmul.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/cpu/norm.hpp>
#include <sra/cpu/normalize.hpp>
#include <sra/cpu/patch.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/cpu/reduce.hpp>
#include <sra/cpu/softmax.hpp>
#include <sra/cpu/statistics.hpp>
#include <sra/cpu/update.hpp>
#include <sra/data/prefetch.hpp>
#include <sra/data/shapes.hpp>
#include <sra/diffusion/embedder.hpp>
#include <sra/io/grid.hpp>
#include <sra/io/json_tree.hpp>
#include <sra/io/npy.hpp>
#include <sra/io/safetensors.hpp>
#include <sra/models/dit.hpp>
#include <sra/ops/concat.hpp>
#include <sra/ops/cross_entropy.hpp>
#include <sra/ops/matmul.hpp>
#include <sra/ops/normalize.hpp>
#include <sra/ops/slice.hpp>
#include <sra/ops/softmax.hpp>
#include <sra/train/trainer.hpp>
#ifdef __CUDACC__
#include <sra/cuda/around.cuh>
#include <sra/cuda/kernels.cuh>
#endif

// All kernels of the CUDA backend.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention.cuh>
#include <sra/cuda/cross_entropy.cuh>
#include <sra/cuda/distance.cuh>
#include <sra/cuda/draw.cuh>
#include <sra/cuda/embedding.cuh>
#include <sra/cuda/limits.cuh>
#include <sra/cuda/linear.cuh>
#include <sra/cuda/matmul.cuh>
#include <sra/cuda/memory.cuh>
#include <sra/cuda/norm.cuh>
#include <sra/cuda/patch.cuh>
#include <sra/cuda/pointwise.cuh>
#include <sra/cuda/reduce.cuh>
#include <sra/cuda/rows.cuh>
#include <sra/cuda/update.cuh>

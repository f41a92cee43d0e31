// The runs of tests/train/far_runs.hpp on the CUDA backend, whose passes are compiled once.
// SPDX-License-Identifier: MIT
#pragma once

#include "../train/far_runs.hpp"

#include <sra/cuda/kernels.cuh>

#ifndef __CUDACC__  // a program for a GPU is one source
extern SRA_INSTANTIATE(sra::test::Carried<sra::bf16>, sra::Cpu, sra::bf16);
extern SRA_INSTANTIATE(sra::test::Carried<float>, sra::Cuda);
extern SRA_INSTANTIATE(sra::test::Carried<sra::bf16>, sra::Cuda, sra::bf16);
#endif

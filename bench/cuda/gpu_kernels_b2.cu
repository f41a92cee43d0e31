// The kernels of SiT-B/2, alone in a program because it compiles long.
// SPDX-License-Identifier: MIT
#include "kernels.cuh"

int main(int argc, char** argv) { return bench::kernels_main<sra::sit_b_2>("B/2", argc, argv); }

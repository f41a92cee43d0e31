#!/usr/bin/env bash
# Compiles sra.hpp for later programs with the same flags, which `-include FOLDER/sra.hpp`: precompile.sh COMPILER FOLDER FLAGS...
# SPDX-License-Identifier: MIT
set -euo pipefail
compiler=$1 folder=$2
shift 2
mkdir -p "$folder"
echo '#include <sra/sra.hpp>' >"$folder/sra.hpp"
"$compiler" -std=c++20 "$@" -x c++-header "$folder/sra.hpp" -o "$folder/sra.hpp.gch"

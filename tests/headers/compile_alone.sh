#!/usr/bin/env bash
# Compiles one header alone: compile_alone.sh COMPILER HEADER FLAGS...
# SPDX-License-Identifier: MIT
set -euo pipefail
compiler=$1 header=$2
shift 2
if [[ ${compiler##*/} == nvcc ]]; then  # its front end; tests/cuda/links.sh compiles a whole program
  empty=$(mktemp --suffix .cu)
  trap 'rm -f "$empty"' EXIT
  "$compiler" -std=c++20 -arch=sm_90 -Werror all-warnings "$@" -include "$header" -ptx -fdevice-syntax-only -o /dev/null "$empty"
  exit
fi
# -include instead of naming the header: g++ warns about #pragma once in a main file, and that cannot be turned off.
exec "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
  "$@" -include "$header" -x c++ /dev/null

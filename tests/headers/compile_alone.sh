#!/usr/bin/env bash
# Compiles one header alone: compile_alone.sh COMPILER HEADER FLAGS...  Skipped (77) without the compiler.
# SPDX-License-Identifier: MIT
set -euo pipefail
compiler=$1 header=$2
shift 2
if [[ $compiler == *-NOTFOUND ]]; then
  echo "skipped: this machine lacks the compiler"
  exit 77
fi
# -include instead of naming the header: g++ warns about #pragma once in a main file, and that cannot be turned off.
exec "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wconversion -Werror "$@" -include "$header" -x c++ /dev/null

#!/bin/sh
# Compiles and runs philox_test's bit-exactness case with every compiler found and with flags that change contraction.
# SPDX-License-Identifier: MIT
# usage: philox_bits.sh [repository root]
set -eu
root=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fma=
grep -qw fma /proc/cpuinfo 2>/dev/null && fma="-O2_-mfma"
tried=0
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  "$compiler" -std=c++20 -DBOOST_TEST_DYN_LINK -c "$root/tests/main.cpp" -o "$work/main.o"
  for flags in -O0 -O2 $fma -O2_-march=native -O3_-march=native_-ffp-contract=fast; do
    flags=$(echo "$flags" | tr _ ' ')
    # shellcheck disable=SC2086
    "$compiler" -std=c++20 $flags -I"$root/include" -DBOOST_TEST_DYN_LINK "$root/tests/core/philox_test.cpp" \
      "$work/main.o" -o "$work/test" -lboost_unit_test_framework
    "$work/test" --run_test=philox/draws_are_the_same_bits_for_every_compiler_and_flag --log_level=error >"$work/out" 2>&1 || {
      echo "philox_bits: $compiler $flags: draws differ"
      cat "$work/out"
      exit 1
    }
    tried=$((tried + 1))
  done
done
echo "philox_bits: same draws in $tried builds"
[ "$tried" -gt 0 ]

#!/bin/sh
# Draws with every compiler found and with flags that change contraction, and compares the bits.
# SPDX-License-Identifier: MIT
# usage: philox_bits.sh [repository root]
set -eu
root=${1:-$(cd "$(dirname "$0")/../.." && pwd)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/draws.cpp" <<'CPP'
#include "philox_draws.hpp"

int main() { return sra::test::hash_of_draws() == sra::test::hash_of_draws_expected ? 0 : 1; }
CPP
fma=
grep -qw fma /proc/cpuinfo 2>/dev/null && fma="-O2_-mfma"
tried=0
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  for flags in -O0 -O2 $fma -O2_-march=native -O3_-march=native_-ffp-contract=fast; do
    flags=$(echo "$flags" | tr _ ' ')
    # shellcheck disable=SC2086
    "$compiler" -std=c++20 $flags -I"$root/include" -I"$root/tests/core" "$work/draws.cpp" -o "$work/draws"
    "$work/draws" || {
      echo "philox_bits: $compiler $flags: draws differ"
      exit 1
    }
    tried=$((tried + 1))
  done
done
echo "philox_bits: same draws in $tried builds"
[ "$tried" -gt 0 ]

#!/usr/bin/env bash
# Compile times relative to <Eigen/Core> and the standard headers of the library, medians of 3 interleaved runs.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
compiler=${CXX:-g++}
eigen=${EIGEN3_INCLUDE_DIR:-/usr/include/eigen3}
program=${1:-examples/train_shapes.cpp}
flags=(-std=c++20 -O2 -I include -isystem "$eigen" -c -o /dev/null)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The base is what every user of the library pays anyway: Eigen and the standard headers it includes itself.
"$compiler" -std=c++20 -I include -isystem "$eigen" -MM include/sra/sra.hpp 2>/dev/null | tr -d '\\' | tr ' ' '\n' |
  grep -E '^include/sra/' | sort -u >"$folder/headers"
{
  echo '#include <Eigen/Core>'
  xargs sed -nE 's/^[[:space:]]*(#include <[a-z_0-9]+>).*/\1/p' <"$folder/headers" | sort -u
} >"$folder/base.cpp"
echo '#include <sra/sra.hpp>' >"$folder/umbrella.cpp"

names=(base umbrella) sources=("$folder/base.cpp" "$folder/umbrella.cpp")
texts=("Eigen/Core and $(($(wc -l <"$folder/base.cpp") - 1)) standard headers" "sra/sra.hpp alone") budgets=(- 2.5)
if [[ -f $program ]]; then
  names+=(program) sources+=("$program") texts+=("$program") budgets+=(12)
else
  echo "bench: $program is not there, so no complete program is measured" >&2
fi

TIMEFORMAT='%3U %3S'
for run in 1 2 3; do
  for i in "${!names[@]}"; do
    # Processor time, which other programs on the machine disturb less than the clock.
    { time "$compiler" "${flags[@]}" "${sources[i]}" 2>"$folder/messages"; } 2>"$folder/time" || {
      cat "$folder/messages" >&2
      exit 1
    }
    awk '{ printf "%.0f\n", ($1 + $2) * 1000 }' "$folder/time" >>"$folder/${names[i]}.ms"
  done
  echo "run $run of 3 done" >&2
done

median() { sort -n "$1" | sed -n 2p; }
base=$(median "$folder/base.ms")
echo "$("$compiler" --version | head -n 1), -O2, medians of 3 interleaved runs"
printf '%-44s %9s %7s %7s\n' "translation unit" "CPU/s" "ratio" "budget"
for i in "${!names[@]}"; do
  awk -v text="${texts[i]}" -v ms="$(median "$folder/${names[i]}.ms")" -v base="$base" -v budget="${budgets[i]}" \
    'BEGIN { printf "%-44s %9.2f %6.2fx %7s\n", text, ms / 1000, ms / base, budget == "-" ? "" : budget "x" }'
done

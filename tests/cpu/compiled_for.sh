#!/usr/bin/env bash
# A program compiled for AVX2 has no further kernels for it, and trains as one that chooses it when it starts: compiled_for.sh ROOT.
# SPDX-License-Identifier: MIT
set -euo pipefail
root=$(cd "$1" && pwd)
grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo || {
  echo "skipped: this machine lacks AVX2"
  exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/train.cpp" <<'CPP'
#include <sra/sra.hpp>

#include <cstdio>

inline constexpr sra::DiTConfig config{
    .height = 8, .width = 8, .channels = 3, .patch = 4, .hidden = 16, .depth = 2, .heads = 2};

int main() {
  sra::Trainer<sra::SiT<config, sra::Classes<10>>> trainer{{.batch = 4, .threads = 1, .quiet = true}};
  const sra::Shapes<8> data;
  for (auto step : trainer.train(data, 3)) std::printf("%.6g\n", step.report().losses.total);
}
CPP

# program NAME FLAGS...: compiles it and leaves its losses in NAME.txt and the number of its kernels for AVX2 alone in NAME.kernels.
program() {
  local name=$1
  shift
  g++ -std=c++20 -O1 "$@" -I "$root/include" "$folder/train.cpp" -pthread -o "$folder/$name"
  (cd "$folder" && SRA_ISA=avx2 "./$name" >"$name.txt")
  nm -C "$folder/$name" | grep -c 'detail::run_avx2<' >"$folder/$name.kernels" || true
}
program chooses
program compiled -mavx2 -mfma

losses=$(paste "$folder/chooses.txt" "$folder/compiled.txt")
[[ $(wc -l <"$folder/compiled.txt") == 3 ]] && awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5 * $1) exit 1 }' <<<"$losses" || {
  printf 'expected the same losses, got\n%s\n' "$losses"
  exit 1
}
[[ $(<"$folder/chooses.kernels") -gt 0 && $(<"$folder/compiled.kernels") == 0 ]] || {
  echo "expected kernels for AVX2 beside others only without -mavx2, got $(<"$folder/chooses.kernels") and $(<"$folder/compiled.kernels")"
  exit 1
}
ls -l "$folder/chooses" "$folder/compiled" | awk '{ print $5, "bytes" }'

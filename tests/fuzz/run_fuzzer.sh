#!/usr/bin/env bash
# Builds a fuzzer with clang and gives it 20,000 inputs, always the same: run_fuzzer.sh CLANG PROGRAM FOLDER FLAGS...
# SPDX-License-Identifier: MIT
set -euo pipefail
compiler=$1 program=$2 folder=$3
shift 3
name=$(basename "$program" .cpp)
mkdir -p "$folder"
flags=(-std=c++20 -g1 -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
if ! "$compiler" "${flags[@]}" -x c++ - -o "$folder/empty" 2>/dev/null \
  <<<'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'; then
  echo "skipped: this clang++ has no fuzzer (package libclang-rt-14-dev)"
  exit 77
fi
"$compiler" "${flags[@]}" "$@" "$program" -o "$folder/$name"
cd "$folder"
exec "./$name" -runs=20000 -seed=1 -max_len=4096 -rss_limit_mb=2048

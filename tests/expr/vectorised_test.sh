#!/usr/bin/env bash
# Checks that expressions are packed code under plain -O2 and call no mathematical library: vectorised_test.sh ROOT.
# SPDX-License-Identifier: MIT
set -euo pipefail
root=$(cd "$1" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0

expect() {  # what, expected, got
  if [[ $2 == "$3" ]]; then
    passed=$((passed + 1))
  else
    echo "vectorised: $1: expected $2, got $3"
    failed=$((failed + 1))
  fi
}

# For every instruction set and direction: "packed" if all arithmetic on floats is on whole registers of that set, but for
# one operation that scales a constant.  "elsewhere" is arithmetic that was left outside the kernels.
arithmetic() {  # object
  objdump -d -C --no-show-raw-insn "$1" | awk '
    /^[0-9a-f]+ <.*>:$/ {
      where = match($0, /run_(portable|avx2|avx512)/) ? substr($0, RSTART + 4, RLENGTH - 4) : "elsewhere"
      if (index($0, "run_as")) where = "portable"  # clang++ may put the portable kernel into its caller
      register = where == "avx512" ? "%zmm" : where == "avx2" ? "%ymm" : "%xmm"
      if (where != "elsewhere") where = where (index($0, "pointwise_backward") ? " backward" : " forward")
      next
    }
    $2 ~ /^v?(add|sub|mul|div|fn?m(add|sub)[0-9]*)[sp]s$/ { if ($2 ~ /ps$/ && index($0, register)) ++packed[where]; else ++single[where] }
    END {
      n = split("portable forward,portable backward,avx2 forward,avx2 backward,avx512 forward,avx512 backward", kernels, ",")
      for (i = 1; i <= n; ++i) {
        k = kernels[i]
        ok = packed[k] > 0 && single[k] <= 1
        print k ":" (ok ? "packed" : packed[k] + 0 " packed and " single[k] + 0 " other operations")
      }
      printf "elsewhere:%d operations\n", packed["elsewhere"] + single["elsewhere"]
    }'
}

if [[ $(uname -m) != x86_64 ]]; then
  echo "vectorised: knows the instructions of x86_64 only"
  exit 77
fi
for compiler in g++ clang++; do
  command -v "$compiler" >/dev/null || continue
  object=$folder/$compiler.o
  "$compiler" -std=c++20 -O2 -I "$root/include" -c "$root/tests/expr/vectorised.cpp" -o "$object"
  while IFS=: read -r kernel found; do
    expect "$compiler: $kernel" "$([[ $kernel == elsewhere ]] && echo '0 operations' || echo packed)" "$found"
  done < <(arithmetic "$object")
  calls=$(nm -u "$object" | grep -oE '\b(exp|tanh|sqrt|pow|log|exp2|expm1|erf|fabs|fmin|fmax)f?(@.*)?$' | sort -u | tr '\n' ' ' || true)
  expect "$compiler: calls of the mathematical library" "" "$calls"
done
echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))

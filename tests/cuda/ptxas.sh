#!/usr/bin/env bash
# Compares registers, stack and spills of every kernel of a training step with ptxas.txt: ptxas.sh ROOT [--update].
# SPDX-License-Identifier: MIT
#
# A kernel is named without its types; of all that have one name the most counts.  More registers than the table has, a stack
# or spills are failures, and so are kernels that are not in the table or not in the program.  --update writes the table.
set -euo pipefail
export LC_ALL=C
root=$(cd "$1" && pwd)
table=$root/tests/cuda/ptxas.txt
nvcc=$(PATH=$PATH:/usr/local/cuda/bin command -v nvcc) || {
  echo "skipped: this machine lacks nvcc"
  exit 77
}
version=$("$nvcc" --version | sed -nE 's/.*release ([0-9.]+), V([0-9.]+).*/\2/p')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$nvcc" -std=c++20 -gencode=arch=compute_90a,code=sm_90a -cubin -Xptxas -v \
  -I "$root/include" "$root/tests/cuda/ptxas.cu" -o "$folder/kernels.cubin" >"$folder/report" 2>&1 || {
  cat "$folder/report"
  exit 1
}

# Lines "kernel registers stack spilled", sorted.
c++filt <"$folder/report" | awk '
  # sra::arch::run_kernel<sra::gpu::ForEach<sra::gpu::detail::Norm<8, 256l, T> > >(…) is Norm<8, 256>.
  function name_of(text,   inner, arguments, n, part, i, kept) {
    sub(/.*run_kernel</, "", text)
    while (text ~ /^sra::gpu::(ForEach|detail::WarpRows)</) sub(/^[A-Za-z_:]*</, "", text)
    inner = text
    sub(/[^A-Za-z0-9_:].*/, "", inner)
    arguments = substr(text, length(inner) + 1)
    sub(/.*::/, "", inner)
    if (substr(arguments, 1, 1) != "<") return inner
    n = split(substr(arguments, 2), part, /[,>]/)
    for (i = 1; i <= n; ++i) {
      gsub(/^ +|l$/, "", part[i])
      if (part[i] !~ /^([0-9]+|true|false)$/) break
      kept = kept (kept == "" ? "" : ",") part[i]
    }
    return kept == "" ? inner : inner "<" kept ">"
  }
  /Compiling entry function/ { ours = /run_kernel</; name = name_of($0) }
  !ours { next }  # CUB brings an empty kernel along
  /bytes stack frame/ { if ($1 > stack[name]) stack[name] = $1; if ($5 + $9 > spilled[name]) spilled[name] = $5 + $9 }
  match($0, /Used [0-9]+ registers/) {
    used = substr($0, RSTART + 5, RLENGTH - 15) + 0
    if (used > registers[name]) registers[name] = used
  }
  END { for (name in registers) print name, registers[name], stack[name] + 0, spilled[name] + 0 }' | sort >"$folder/found"

if [[ ${2:-} == --update ]]; then
  {
    echo "# Registers, bytes of stack and bytes spilled of every kernel, at most, as nvcc $version compiles it for sm_90a."
    cat "$folder/found"
  } >"$table"
fi
expected_version=$(sed -nE '1s/.* nvcc ([0-9.]+) .*/\1/p' "$table")
if [[ $version != "$expected_version" ]]; then
  echo "skipped: the table is of nvcc $expected_version, this is $version"
  exit 77
fi

passed=$(wc -l <"$folder/found")
if ! awk '
  FNR == NR { if ($0 !~ /^#/) { registers[$1] = $2; stack[$1] = $3; spilled[$1] = $4 } ; next }
  { found[$1] }
  !($1 in registers) { print "ptxas: " $1 ": expected a line in tests/cuda/ptxas.txt, got none"; failed = 1; next }
  $2 > registers[$1] { print "ptxas: " $1 ": expected at most " registers[$1] " registers, got " $2; failed = 1 }
  $3 > stack[$1] { print "ptxas: " $1 ": expected at most " stack[$1] " bytes of stack, got " $3; failed = 1 }
  $4 > spilled[$1] { print "ptxas: " $1 ": expected at most " spilled[$1] " bytes spilled, got " $4; failed = 1 }
  END {
    for (name in registers) if (!(name in found)) { print "ptxas: " name ": is in the table and not in the program"; failed = 1 }
    exit failed
  }' "$table" "$folder/found"; then
  exit 1
fi
echo "$passed kernels have no more registers, stack and spills than the table allows"

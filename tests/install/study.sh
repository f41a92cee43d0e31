#!/usr/bin/env bash
# Makes a study by scripts/new, builds it without network and runs it: study.sh BUILD SOURCE CMAKE GENERATOR COMPILER
# SPDX-License-Identifier: MIT
set -euo pipefail
build=$1 source=$2 cmake=$3 generator=$4 compiler=$5
folder=$build/consumer/study
rm -rf "$folder"
mkdir -p "$folder/bin"

# expect WHAT COMMAND...: COMMAND must succeed.
expect() {
  local what=$1
  shift
  "$@" || { echo "study: expected $what"; exit 1; }
}

"$source/scripts/new" "$folder/study"
if "$source/scripts/new" "$folder/study" 2>"$folder/refusal"; then
  echo "study: expected a folder that exists to be refused"
  exit 1
fi
cd "$folder/study"
"$cmake" -G "$generator" -S . -B build -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_DISABLE_FIND_PACKAGE_sra=ON
"$cmake" --build build

# The passes of the model are compiled in model.cpp alone, and an edit of the alignment does not compile them again.
object() { find build -name "$1.cpp.o*"; }
expect "the model's kernels in model.cpp" grep -q norm_backward <(nm "$(object model)")
if grep -q norm_backward <(nm "$(object train)"); then
  echo "study: expected train.cpp to have none of the model's kernels"
  exit 1
fi
touch -d '+2 seconds' alignment.hpp
"$cmake" --build build -- -n >"$folder/again"
expect "an edit of alignment.hpp to compile train.cpp" grep -q 'Building.*train\.cpp' "$folder/again"
if grep -q 'Building.*model\.cpp' "$folder/again"; then
  echo "study: expected an edit of alignment.hpp to leave model.cpp as it is"
  exit 1
fi

build/train runs/first batch=4 steps=2 every=0 threads=1
expect "a checkpoint" test -s runs/first/checkpoints/*2.safetensors
if build/train runs/other batch; then
  echo "study: expected an option without a number to be refused"
  exit 1
fi

# Rows run once; what failed runs again.
printf 'build/train runs/%s batch=2 steps=1 every=0 threads=1 weight=%s\n' none 0 some 0.5 >ablation.txt
if command -v parallel >"$folder/parallel"; then
  ./ablate 2
  expect "two rows in the log of jobs" test "$(awk 'NR > 1 && $7 == 0' ablation.log | wc -l)" -eq 2
  ./ablate 2 >"$folder/again" 2>&1
  expect "rows that are done not to be run again" test ! -s "$folder/again"
fi

# SLURM's commands, as the script needs them.
printf '#!/bin/sh\n[ -z "$STOPPED" ] || exit 75\nexec "$@"\n' >"$folder/bin/srun"
printf '#!/bin/sh\necho "$*" >>"%s/requeued"\n' "$folder" >"$folder/bin/scontrol"
chmod +x "$folder"/bin/*
export PATH=$folder/bin:$PATH SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=2
STOPPED='' bash ablation.slurm
expect "row 2 to have run" test -d runs/some/checkpoints
expect "nothing to be queued again" test ! -e "$folder/requeued"
STOPPED=yes bash ablation.slurm
expect "a row that was stopped to be queued again" grep -qx 'requeue 7_2' "$folder/requeued"

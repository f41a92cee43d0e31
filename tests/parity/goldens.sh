#!/usr/bin/env bash
# Runs scripts/parity on the committed goldens, and on damaged copies of them that must fail for the right reason.
# SPDX-License-Identifier: MIT
set -euo pipefail
export LC_ALL=C
cd "$1"
goldens=tests/parity/golden/sit_qknorm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect LAST_LINE PATTERN...: the last run ended with this line and printed lines that match each pattern.
expect() {
  local last=$1 pattern
  shift
  if [[ $(tail -n 1 "$work/log") != "$last" ]]; then
    echo "parity: expected the last line '$last', got '$(tail -n 1 "$work/log")'"
    failures=1
  fi
  for pattern in "$@"; do
    if ! grep -qE "$pattern" "$work/log"; then
      echo "parity: expected a line that matches '$pattern', got none"
      failures=1
    fi
  done
  if ((failures)); then cat "$work/log"; fi
}
# damaged NAME: a fresh copy of the goldens.
damaged() {
  mkdir "$work/$1"
  cp "$goldens"/*.safetensors "$work/$1"
  chmod u+w "$work/$1"/*
}

scripts/parity "$goldens" >"$work/log" 2>&1 || failures=1
expect '5 passed, 0 failed' '^passed forward.safetensors: 7 tensors' '^passed train3.safetensors: bf16, 122 tensors'
for file in "$goldens"/[!w]*.safetensors; do  # every file in every instruction set in both types
  if (($(grep -c "^passed ${file##*/}: bf16" "$work/log") != $(grep -c '^parity: .* with ' "$work/log"))); then
    echo "parity: expected a pass in bf16 of ${file##*/} for each instruction set"
    failures=1
  fi
done

damaged one
head -c 20000 "$goldens/forward.safetensors" >"$work/one/forward.safetensors"                    # truncated
printf '\0\0\200\77' | dd of="$work/one/train3.safetensors" bs=1 conv=notrunc status=none \
  seek=$(($(wc -c <"$work/one/train3.safetensors") - 4))                                          # its last number is 1
sed -i 's/"total_loss"/"total_lost"/' "$work/one/loss_cos_linear.safetensors"                    # an entry is missing
cp "$goldens/forward.safetensors" "$work/one/notes.safetensors"                                  # foreign
scripts/parity "$work/one" >"$work/log" 2>&1 && failures=1
expect '2 passed, 3 failed' '^unknown notes.safetensors' '^failed forward.safetensors: .*past the end' \
  '^failed train3.safetensors: .* of the allowed error' \
  'loss_cos_linear.safetensors: total_loss: expected in the file, found none' \
  'loss_cos_linear.safetensors: unknown entry total_lost'

mkdir "$work/none"
cp "$goldens/weights.safetensors" "$work/none"
scripts/parity "$work/none" >"$work/log" 2>&1 && failures=1
sets=$(grep -c '^parity: .* with ' "$work/log")  # instruction sets of this machine, each of which fails
expect "0 passed, $sets failed" 'expected a file that SiT has, found none'

exit $failures

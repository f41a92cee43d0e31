#!/usr/bin/env bash
# Holds the emulated kernels of the CUDA backend to the committed goldens, in float and bf16.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$1"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
scripts/parity --cuda tests/parity/golden/sit_qknorm >"$log" 2>&1 || status=$?
for file in forward loss_cos_linear loss_sml1_linear samples train3; do
  for type in '' 'bf16, '; do
    if ! grep -qE "^passed $file.safetensors: ${type}[0-9]+ tensors" "$log"; then
      echo "goldens: expected a line 'passed $file.safetensors: ${type}N tensors', got none"
      status=1
    fi
  done
done
if ((status)); then cat "$log"; fi
exit $status

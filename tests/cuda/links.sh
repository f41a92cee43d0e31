#!/usr/bin/env bash
# Compiles and links examples/train_gpu.cu as its head says, and starts it where there is no device: links.sh ROOT.
# SPDX-License-Identifier: MIT
set -euo pipefail
root=$(cd "$1" && pwd)
export PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || {
  echo "skipped: this machine lacks nvcc"
  exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
command=$(sed -nE 's|^// +(nvcc .*)|\1|p' "$root/examples/train_gpu.cu")
[[ -n $command ]] || {
  echo "examples/train_gpu.cu: expected a line that compiles it, found none"
  exit 1
}
# The host's code is started and does nothing, so it need not be fast.
(cd "$root" && bash -c "${command/-o train_gpu/-Werror all-warnings -O0 -cudart static -o $folder/train_gpu}")

cd "$folder"
if nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "compiles and links; the tests of the label gpu run on this machine's device"
  exit 0
fi
status=0
./train_gpu >out 2>&1 || status=$?
if ((status != 1)) || ! grep -q '^Cuda: expected a device, got none' out; then
  echo "expected the program to end with 1 and to say that there is no device, got status $status:"
  cat out
  exit 1
fi
[[ ! -e runs ]] || { echo "expected nothing to be written without a device"; exit 1; }
echo "compiles, links, and says that there is no device"

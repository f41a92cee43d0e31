#!/usr/bin/env bash
# Installs PyTorch, builds our programs, and compares the two.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=build/bench
python=$folder/torch/bin/python

scripts/setup build
cmake --preset cpu -B "$folder" -DSRA_BUILD_TESTS=OFF -DSRA_BUILD_EXAMPLES=OFF >/dev/null
cmake --build "$folder" --target ceilings sra_kernels sra_step >&2

# Debian packages that PyTorch's guide advises; without root and without them it runs as it is.
install() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then return; fi
  if [[ $(id -u) -ne 0 ]]; then
    echo "bench: missing packages; as root run: apt-get install ${missing[*]}" >&2
    return
  fi
  echo "bench: installing ${missing[*]}" >&2
  DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

if [[ " $* " != *" --no-torch "* ]]; then
  packages=(libtcmalloc-minimal4 libjemalloc2)
  python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
  # torch.compile compiles programs that include Python.h.
  python3 -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
    packages+=(python3-dev)
  install "${packages[@]}"
  if ! "$python" -c 'import torch' 2>/dev/null; then
    echo "bench: installing PyTorch" >&2
    python3 -m venv --clear "$folder/torch"
    "$python" -m pip install -q torch numpy setuptools >&2
    "$python" -m pip install -q intel-openmp >&2 || echo "bench: no libiomp5 here; going on without" >&2
  fi
elif [[ ! -x $python ]]; then
  python=$(command -v python3)
fi
exec python3 -B bench/cpu/compare.py --build "$folder" --python "$python" "$@"

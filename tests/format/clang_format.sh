#!/usr/bin/env bash
# Compares every source with what clang-format 14 makes of it: clang_format.sh ROOT.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$1"
if ! clang-format --version 2>/dev/null | grep -q ' version 14\.'; then
  echo "skipped: this machine lacks clang-format 14"
  exit 77
fi
find include tests examples tools bench template -name '*.hpp' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu' | sort | xargs clang-format --dry-run -Werror

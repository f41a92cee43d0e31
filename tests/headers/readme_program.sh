#!/usr/bin/env bash
# Compiles the README's first program, at most 25 lines, without a warning of what it instantiates: readme_program.sh COMPILER README FLAGS...
# SPDX-License-Identifier: MIT
set -euo pipefail
compiler=$1 readme=$2
shift 2
program=$(awk '/^```cpp/ && !seen { inside = seen = 1; next } /^```/ { inside = 0 } inside' "$readme")
lines=$(wc -l <<<"$program")
if [[ -z $program ]]; then
  echo "README: expected a program between \`\`\`cpp and \`\`\`, found none"
  exit 1
fi
if ((lines > 25)); then
  echo "README: expected a program of at most 25 lines, got $lines"
  exit 1
fi
exec "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror \
  "$@" -x c++ - <<<"$program"

#!/usr/bin/env bash
# Compiles the listings of README and docs: code_blocks.sh ROOT.
# SPDX-License-Identifier: MIT
#
# All ```cpp blocks of a page in order are one source; a block that includes sra.hpp begins a new one.  What a reader need not
# see stands between a line "<!-- cpp" and "-->".
set -euo pipefail
root=$(cd "$1" && pwd)
compiler=${CXX:-g++}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$root/tests/precompile.sh" "$compiler" "$folder" -Wall -Wextra -Wno-unused-variable -I "$root/include"
compiled=0 failed=0
for page in "$root"/README.md "$root"/docs/*.md; do
  name=$(basename "$page" .md)
  awk -v to="$folder/$name" '
    /^```cpp$/ || /^<!-- cpp$/ { inside = 1; next }
    /^```$/ || /^-->$/ { inside = 0; next }
    inside && /^#include <sra\/sra.hpp>$/ { ++n }
    inside { print > (to "." n + 0 ".cpp") }' "$page"
done
for source in "$folder"/*.cpp; do
  name=$(basename "$source" .cpp)
  compiled_headers=()  # for what includes them by itself
  if grep -q '^#include <sra/sra.hpp>$' "$source"; then compiled_headers=(-include "$folder/sra.hpp"); fi
  if "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wno-unused-variable -Werror -I "$root/include" \
    "${compiled_headers[@]}" "$source" >"$source.log" 2>&1; then
    compiled=$((compiled + 1))
  else
    failed=$((failed + 1))
    echo "${name%.*}.md: listing ${name##*.} does not compile:"
    head -20 "$source.log"
  fi
done
if ((compiled + failed == 0)); then echo "expected listings in README.md and docs, found none"; failed=1; fi
echo "$compiled listings compile, $failed do not"
((failed == 0))

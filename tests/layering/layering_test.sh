#!/usr/bin/env bash
# Shows that layering.sh finds every kind of violation, in a small tree that has one of each.
# SPDX-License-Identifier: MIT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0
head=$'// What this is for.\n// SPDX-License-Identifier: MIT\n#pragma once\n'

# write PATH TEXT
write() {
  mkdir -p "$(dirname "$tree/$1")"
  printf '%s\n' "$2" >"$tree/$1"
}

# finds CHECK PATH TEXT: with TEXT in PATH the check fails and names the file; without, it passes.
finds() {
  local status=0 output
  if ! output=$(bash "$here/layering.sh" "$tree" "$1"); then
    echo "layering_test: $1: expected the clean tree to pass: $output"
    failed=1
  fi
  write "$2" "$3"
  output=$(bash "$here/layering.sh" "$tree" "$1") || status=$?
  if ((status == 0)) || [[ $output != *"$2"* ]]; then
    echo "layering_test: $1: expected a complaint about $2: ${3//$'\n'/ }"
    failed=1
  fi
  rm "${tree:?}/$2"
}

write include/sra/core/a.hpp "$head#include <vector>"
write include/sra/cpu/kernel.hpp "$head#include <immintrin.h>"$'\n#include <sra/core/a.hpp>\n#include <sra/cpu/kernel.hpp>'
write include/sra/sra.hpp "$head#include <sra/cpu/kernel.hpp>"$'\n#include <sra/train/trainer.hpp>\n#ifdef __CUDACC__\n#endif'
write include/sra/extra/image_file.hpp "$head#include <sra/sra.hpp>"$'\n#include <png.h>'
write include/sra/train/trainer.hpp "$head#include <sra/core/a.hpp>"

finds arrows include/sra/core/b.hpp "$head#include <sra/io/png.hpp>"
finds arrows include/sra/data/b.hpp "$head#include <sra/train/trainer.hpp>"
finds arrows include/sra/train/b.hpp "$head#include <sra/cpu/kernel.hpp>"
finds arrows include/sra/train/b.hpp "$head#include <sra/sra.hpp>"
finds arrows include/sra/cpu/b.hpp "$head#include <sra/ops/norm.hpp>"
finds arrows include/sra/ops/b.hpp "$head# include <sra/extra/image_file.hpp>"
finds arrows include/sra/io/b.hpp "$head#include \"png.hpp\""
finds arrows include/sra/misc/b.hpp "$head#include <sra/core/a.hpp>"
finds umbrella include/sra/ops/b.hpp "$head"
finds third_party include/sra/core/b.hpp "$head#include <Eigen/Core>"
finds third_party include/sra/ops/b.hpp "$head  #include <immintrin.h>"
finds third_party examples/b.cpp "$head#include <png.h>"
finds cuda_macro include/sra/core/b.hpp "$head#ifdef __CUDACC__"
finds files include/sra/core/b.hpp $'#pragma once\n// SPDX-License-Identifier: MIT'
finds files include/sra/core/b.hpp $'// What this is for.\n#pragma once'
finds files include/sra/core/b.hpp $'// What this is for.\n// SPDX-License-Identifier: MIT'
finds files include/sra/core/b.hpp "$head$(printf '// line %s\n' {1..400})"
finds files include/sra/core/utils.hpp "$head"
finds files scripts/b $'#!/usr/bin/env bash\necho'
finds files bench/b.py $'# What this is for.\nimport os'
finds machine_paths docs/b.md "see /""home/somebody/data"
exit $failed

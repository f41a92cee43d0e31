#!/usr/bin/env bash
# Builds and runs the consumer project: consume.sh find_package|add_subdirectory BUILD SOURCE CMAKE GENERATOR COMPILER
# SPDX-License-Identifier: MIT
set -euo pipefail
way=$1 build=$2 source=$3 cmake=$4 generator=$5 compiler=$6
folder=$build/consumer/$way
rm -rf "$folder"
mkdir -p "$folder"

# The compile commands show what sra::sra imposes on others: it must be no flag but the language standard.
options=(-DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCONSUMER_WAY="$way")
if [[ $way == find_package ]]; then
  "$cmake" --install "$build" --prefix "$folder/prefix" >"$folder/install.log"
  options+=(-DCMAKE_PREFIX_PATH="$folder/prefix")
else
  options+=(-DCONSUMER_SRA="$source")
fi
"$cmake" -G "$generator" -S "$source/tests/install/consumer" -B "$folder/build" "${options[@]}"
"$cmake" --build "$folder/build"
"$folder/build/consumer"
if grep -Eo ' -(W|m|f|O)[^ "]*' "$folder/build/compile_commands.json"; then
  echo "install: expected no flags beside -std, -I and -D, found those above"
  exit 1
fi
if [[ $way == add_subdirectory && -n $(find "$folder/build" -name '*_test*' -print -quit) ]]; then
  echo "install: expected the tests of sra to stay out of somebody else's build"
  exit 1
fi

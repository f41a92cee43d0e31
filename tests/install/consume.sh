#!/usr/bin/env bash
# Builds and runs the consumer project: consume.sh WAY BUILD SOURCE CMAKE GENERATOR COMPILER
# SPDX-License-Identifier: MIT
#
# WAY: find_package (installed), fetch_content (from an archive), add_subdirectory, include_path (no CMake: compiler and headers)
set -euo pipefail
way=$1 build=$2 source=$3 cmake=$4 generator=$5 compiler=$6
consumer=$source/tests/install/consumer
folder=$build/consumer/$way
rm -rf "$folder"
mkdir -p "$folder"

# The compile commands show what sra::sra imposes on others: it must be no flag but the language standard.
options=(-DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCONSUMER_WAY="$way")
case $way in
  find_package)
    "$cmake" --install "$build" --prefix "$folder/prefix" >"$folder/install.log"
    options+=(-DCMAKE_PREFIX_PATH="$folder/prefix")
    ;;
  fetch_content)
    (cd "$source" && "$cmake" -E tar cf "$folder/sra.tar" CMakeLists.txt cmake include)
    options+=(-DCONSUMER_SRA="$folder/sra.tar")
    ;;
  add_subdirectory)
    options+=(-DCONSUMER_SRA="$source")
    ;;
  include_path)
    "$compiler" -std=c++20 -I "$source/include" "$consumer"/*.cpp -o "$folder/consumer" -pthread
    exec "$folder/consumer"
    ;;
esac
"$cmake" -G "$generator" -S "$consumer" -B "$folder/build" "${options[@]}"
"$cmake" --build "$folder/build"
"$folder/build/consumer"
if grep -Eo ' -(W|m|f|O)[^ "]*' "$folder/build/compile_commands.json"; then
  echo "install: expected no flags beside -std, -I and -D, found those above"
  exit 1
fi
if [[ $way != find_package && -n $(find "$folder/build" -name '*_test*' -print -quit) ]]; then
  echo "install: expected the tests of sra to stay out of somebody else's build"
  exit 1
fi

#!/bin/sh
# Gives clang++ what CMake asks of another compiler: by_clang.sh CLANG++ COMPILER [ARGUMENT...].
# SPDX-License-Identifier: MIT
clang=$1
shift 2
# Where a header is compiled ahead, clang++ would read the last result for the header itself.
case " $* " in *" -x c++-header "*)
  output=''
  for argument; do
    if [ "$output" = next ]; then rm -f "$argument"; fi
    output=''
    if [ "$argument" = -o ]; then output=next; fi
  done
  set -- -fpch-instantiate-templates "$@" ;;
esac
exec "$clang" "$@"

#!/usr/bin/env bash
# Shows that expect_failure.sh refuses what it must: harness_test.sh COMPILER
# SPDX-License-Identifier: MIT
set -euo pipefail
compiler=$1
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0

# check STATUS NAME PROGRAM: the harness must end with STATUS on PROGRAM.
check() {
  local status=0
  printf '%s\n' "$3" >"$folder/$2.cpp"
  bash "$here/expect_failure.sh" "$compiler" "$folder/$2.cpp" >"$folder/output" 2>&1 || status=$?
  if ((status != $1)); then
    echo "harness: $2: expected status $1, got $status"
    cat "$folder/output"
    failed=1
  fi
}

check 0 fails_as_expected $'// expect: one thing\nstatic_assert(false, "one thing");'
check 0 control_compiles $'// expect-ok\nint one;'
check 0 flags_are_passed_on $'// expect-ok\n// flags: -DONE=int -DTWO=one\nONE TWO;'
check 1 compiles_although_it_should_not $'// expect: one thing\nint one;'
check 1 says_something_else $'// expect: one thing\nstatic_assert(false, "another");'
check 1 says_nothing_of_what_it_expects 'static_assert(false, "one thing");'
check 1 control_fails $'// expect-ok\nstatic_assert(false, "one thing");'
check 1 says_too_much "// expect: one thing"$'\n'"$(for i in {1..30}; do echo "static_assert(false, \"one thing\");"; done)"
exit $failed

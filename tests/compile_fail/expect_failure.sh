#!/usr/bin/env bash
# Compiles a wrong program and looks for the sentence it asks for: expect_failure.sh COMPILER PROGRAM FLAGS...
# SPDX-License-Identifier: MIT
#
# The first lines of PROGRAM say what must happen:
#   // expect: REGEX   compilation fails, one line of the output matches the extended REGEX, and there are at most 40 lines
#   // expect-ok       compilation succeeds: the control that shows that the program next to it fails for one reason only
# and may add
#   // flags: FLAG...  further flags of the compiler
# Exit status: 0 as expected, 1 otherwise.
set -euo pipefail
compiler=$1 program=$2
shift 2

sentence=$(sed -n '1,5s|^// expect: *||p' "$program")
control=$(sed -n '1,5{/^\/\/ expect-ok *$/p}' "$program")
if [[ $(wc -l <<<"$sentence$control") -ne 1 || -z $sentence$control ]]; then
  echo "$program: expected one line '// expect: REGEX' or '// expect-ok' among the first five"
  exit 1
fi

read -ra flags < <(sed -n '1,5s|^// flags: *||p' "$program"; echo)

status=0
output=$("$compiler" -std=c++20 -fsyntax-only "${flags[@]}" "$@" "$program" 2>&1) || status=$?
lines=$(wc -l <<<"$output")
printf '%s\n' "$output"

if [[ -n $control ]]; then
  if ((status != 0)); then echo "$program: expected to compile"; exit 1; fi
  exit 0
fi
if ((status == 0)); then echo "$program: expected not to compile"; exit 1; fi
if ! grep -Eq -- "$sentence" <<<"$output"; then echo "$program: expected the sentence '$sentence'"; exit 1; fi
if ((lines > 40)); then echo "$program: expected at most 40 lines of output, got $lines"; exit 1; fi

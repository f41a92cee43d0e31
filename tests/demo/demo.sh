#!/usr/bin/env bash
# Runs the demo with a few steps of everything: demo.sh DEMO.  All files come out, all numbers are finite, SIGINT ends it.
# SPDX-License-Identifier: MIT
set -euo pipefail
demo=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

complain() {
  echo "demo: $*" >&2
  exit 1
}

"$demo" --quick >output.txt 2>errors.txt || complain "expected exit status 0, got $?: $(cat errors.txt)"
[[ ! -s errors.txt ]] || complain "expected nothing on standard error, got $(cat errors.txt)"
! grep -q "$(printf '[\r\033]')" output.txt || complain "expected no control characters on a pipe"
for label in machine data model runs training validation probe judge coverage written next; do
  grep -q "^$label " output.txt || complain "output: expected a line '$label', got none"
done

for file in report.html look.png samples.png samples_over_time.png demo.json {sra,none}/{log,profile}.jsonl; do
  [[ -s sra-demo/$file ]] || complain "expected the file sra-demo/$file, got none"
done
for run in sra none; do
  compgen -G "sra-demo/$run/checkpoints/*.safetensors" >/dev/null || complain "$run: expected a checkpoint, got none"
  compgen -G "sra-demo/$run/samples/*.png" >/dev/null || complain "$run: expected samples, got none"
done

# The program lies in a checkout, wherever it is started.
if commit=$(git -C "$(dirname "$demo")" rev-parse HEAD 2>/dev/null); then
  grep -q "\"commit\": \"$commit\"" sra-demo/sra/run.json || complain "run.json: expected the commit $commit"
fi

# Numbers that are not finite are written as null.
! grep -q null sra-demo/demo.json || complain "demo.json: expected finite numbers, got $(grep -m1 null sra-demo/demo.json)"
for field in side seed steps batch machine type model align student_block teacher_block parameters \
  flops_per_picture_and_step memory_plan_bytes training processor_seconds_of_training cost validation sra_minus_none \
  sra_minus_none_standard_error probe judge real untrained shuffled_labels blank_called_none coverage combinations \
  near_duplicates seconds; do
  grep -q "\"$field\": " sra-demo/demo.json || complain "demo.json: expected the field $field, got none"
done
[[ $(tr -cd '{' <sra-demo/demo.json | wc -c) == $(tr -cd '}' <sra-demo/demo.json | wc -c) ]] ||
  complain "demo.json: expected as many opening as closing braces"

# It begins anew, so that a second run has the same numbers; only times differ.
measured() { sed -E '/seconds/d' sra-demo/demo.json; }
measured >first.json
"$demo" --quick >/dev/null
cmp -s first.json <(measured) || complain "expected the same numbers from a second run, got $(diff first.json <(measured) | head -4)"

"$demo" 100000 >stopped.txt 2>&1 &
for ((i = 0; i < 3000; ++i)); do
  [[ -s sra-demo/none/log.jsonl ]] && grep -q '^training' stopped.txt && break
  sleep 0.1
done
kill -INT $!
status=0
wait $! || status=$?
[[ $status == 130 ]] || complain "SIGINT: expected exit status 130, got $status: $(tail -n 1 stopped.txt)"
tail -n 1 stopped.txt | grep -q '^stopped by a signal' || complain "SIGINT: expected a last line that says so"
for run in sra none; do
  compgen -G "sra-demo/$run/checkpoints/*.safetensors" >/dev/null || complain "SIGINT: $run: expected a checkpoint"
done

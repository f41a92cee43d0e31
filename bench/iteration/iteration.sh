#!/usr/bin/env bash
# From an edit of a study's alignment.hpp to the first loss of a SiT-B/2: seconds and processor seconds, medians of 3.
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
study=$folder/study
scripts/new "$study" >&2
sed -i 's/.patch = 4, .hidden = 192, .depth = 12, .heads = 3/.patch = 2, .hidden = 768, .depth = 12, .heads = 12/' \
  "$study/model.hpp"
grep -q 'hidden = 768' "$study/model.hpp" || { echo "iteration: expected a model to enlarge in model.hpp" >&2; exit 1; }

# timed WHAT COMMAND...: appends seconds and processor seconds of COMMAND to a file.
timed() {
  local what=$1
  shift
  TIMEFORMAT='%3R %3U %3S'
  { time "$@" >"$folder/output" 2>&1; } 2>"$folder/time" || { cat "$folder/output" >&2; exit 1; }
  awk '{ print $1, $2 + $3 }' "$folder/time" >>"$folder/$what"
}
# Trains until the first loss is shown.  What it has used by then is read before it is stopped.
first_loss() {
  local log=$folder/log began=$EPOCHREALTIME
  "$study/build/train" "$folder/run" batch=2 steps=1000 2>"$log" &
  local train=$!
  until grep -q '^step 1/' "$log"; do
    kill -0 "$train" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.02
  done
  awk -v seconds="$(awk "BEGIN { print $EPOCHREALTIME - $began }")" -v ticks="$(getconf CLK_TCK)" \
    '{ print seconds, ($14 + $15) / ticks }' "/proc/$train/stat" >>"$folder/run_time"
  kill -KILL "$train"
  wait "$train" 2>/dev/null || true
  rm -rf "$folder/run"
}

cmake -G Ninja -S "$study" -B "$study/build" >&2
timed first cmake --build "$study/build"
for run in 1 2 3; do
  sed -i "s/weight = 0.5[0-9]*f/weight = 0.50${run}f/" "$study/alignment.hpp"
  timed build cmake --build "$study/build"
  first_loss
  echo "edit $run of 3 done" >&2
done

median() { sort -n -k "$2" "$folder/$1" | awk -v column="$2" '{ v[NR] = $column } END { printf "%.1f", v[int((NR + 1) / 2)] }'; }
echo "$(g++ --version | head -n 1), -O2, $(nproc) cores, SiT-B/2 on 32x32x3, batch 2, medians of 3 edits"
printf '%-44s %9s %9s\n' "" "seconds" "CPU/s"
printf '%-44s %9s %9s\n' "first build of the study" "$(median first 1)" "$(median first 2)" \
  "build after an edit of alignment.hpp" "$(median build 1)" "$(median build 2)" \
  "from the start to the first loss" "$(median run_time 1)" "$(median run_time 2)"

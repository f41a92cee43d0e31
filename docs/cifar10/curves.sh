#!/usr/bin/env bash
# Draws the training losses of two runs and their difference: curves.sh RUN_A RUN_B OUT.svg (needs jq and gnuplot).
# SPDX-License-Identifier: MIT
set -euo pipefail
(($# == 3)) || { echo "usage: docs/cifar10/curves.sh RUN_A/log.jsonl RUN_B/log.jsonl OUT.svg" >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for i in 1 2; do jq -r 'select(.denoising) | "\(.step) \(.denoising)"' "${!i}" >"$folder/$i"; done
join <(sort -k1,1 "$folder/1") <(sort -k1,1 "$folder/2") | sort -n | awk '{ print $1, $2 - $3 }' >"$folder/difference"
last=$(cat "$folder/1" "$folder/2" | sort -n | tail -n 1 | cut -d " " -f 1)
gnuplot <<TEXT
set terminal svg size 800,520 background "white" font "sans-serif,13"
set output "$3"
set multiplot
set grid lc rgb "#dddddd"
set border lc rgb "#888888"
set lmargin 10
set xrange [0:$last]
set origin 0,0.4
set size 1,0.6
set yrange [0.15:0.6]
set ylabel "denoising loss"
set format x ""
plot "$folder/2" with lines lw 2 lc rgb "#888888" title "no alignment", "$folder/1" with lines lw 2 lc rgb "#1f6fb4" title "SRA"
set origin 0,0
set size 1,0.4
set yrange [*:*]
set format x "%g"
set xlabel "update"
set ylabel "SRA - none"
plot 0 lc rgb "#888888" notitle, "$folder/difference" with lines lw 2 lc rgb "#1f6fb4" notitle
TEXT

#!/usr/bin/env bash
# Checks that links of README and docs lead to files, and that the sentences of docs/errors.md are the library's: pages.sh ROOT.
# SPDX-License-Identifier: MIT
set -euo pipefail
root=$(cd "$1" && pwd)
failed=0
fail() {
  echo "$*"
  failed=1
}

links=0
for page in "$root"/*.md "$root"/docs/*.md "$root"/bench/results/*.md; do
  while read -r link; do
    links=$((links + 1))
    [[ -e $(dirname "$page")/${link%%#*} ]] || fail "${page#"$root"/}: expected a file at $link, found none"
  done < <(grep -oE '\]\([^)[:space:]]+\)' "$page" | sed -E 's/^\]\(//; s/\)$//' | grep -vE '^(https?:|#|mailto:)' || true)
done
((links > 0)) || fail "expected links in README.md and docs, found none"

# A sentence of the table, as far as it is fixed: between "…", and before what a program puts in.
code=$(grep -rhvE '^ *//' "$root/include/sra" | tr -d '\n' | sed -E 's/" +"//g')
sentences=0
while IFS= read -r sentence; do
  while IFS= read -r part; do
    part=$(sed -E 's/^[ :,]+//; s/[ :,=]+$//' <<<"$part")
    ((${#part} >= 6)) || continue
    sentences=$((sentences + 1))
    [[ $code == *"$part"* ]] || fail "docs/errors.md: expected a message with \"$part\" in include/sra, found none"
  done < <(sed 's/…/\n/g' <<<"$sentence")
done < <(sed -nE 's/^\| `([^`]+)`.*/\1/p' "$root/docs/errors.md")
((sentences > 0)) || fail "expected sentences in docs/errors.md, found none"

echo "$links links, $sentences parts of sentences"
((failed == 0))

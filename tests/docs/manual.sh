#!/usr/bin/env bash
# Makes the manual without a warning; everything in a namespace of include/sra has a comment: manual.sh ROOT.
# SPDX-License-Identifier: MIT
set -euo pipefail
root=$(cd "$1" && pwd)
command -v doxygen >/dev/null || {
  echo "skipped: this machine lacks doxygen"
  exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$root"
warnings=$({
  cat Doxyfile
  echo "OUTPUT_DIRECTORY = $folder"
  echo "WARN_IF_UNDOCUMENTED = YES"
} | doxygen - 2>&1 | grep -vE 'warning: Member .* of (struct|class) .* is not documented' || true)
[[ -s $folder/html/index.html ]] || warnings="$warnings no index.html was written"
if [[ -n $warnings ]]; then
  head -40 <<<"$warnings"
  exit 1
fi
echo "$(find "$folder/html" -name '*.html' | wc -l) pages without a warning"

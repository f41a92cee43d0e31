#!/usr/bin/env bash
# Checks who includes whom and what files look like: layering.sh ROOT [CHECK...], all checks when none is named.
# SPDX-License-Identifier: MIT
#
#   arrows         a header includes only headers of its own folder or of those to its left (docs: architecture)
#   umbrella       sra.hpp reaches every header but those of extra/ and cuda/
#   third_party    headers of others are included in the files listed in third_party.txt only
#   cuda_macro     __CUDACC__ stands in core/config.hpp and sra.hpp only
#   files          first line a comment, second the licence, #pragma once, length limits
#   machine_paths  no path that exists on one machine only
# Prints one sentence per violation; the exit status tells whether there was one.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$1" && pwd)
shift
cd "$root"
failed=0

complain() {
  echo "layering: $*"
  failed=1
}

# Files of the tree, without what was built or is ignored.
tree() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1 && [[ $(git rev-parse --show-toplevel) == "$root" ]]; then
    git ls-files --cached --others --exclude-standard | while read -r file; do [[ -f $file ]] && echo "$file"; done
  else
    find . -name .git -prune -o -name 'build*' -prune -o -name '*.run' -prune -o -name runs -prune -o -type f -print | sed 's|^\./||'
  fi | sort
}

# Lines "file included-header" of the #includes in the given files.
includes() {
  xargs -r awk '/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    line = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
    quote = substr(line, 1, 1)
    sub(/^[<"]/, "", line)
    sub(/[>"].*/, "", line)
    print FILENAME, (quote == "\"" ? "\"" : "") line
  }'
}

check_arrows() {
  local violations
  violations=$(tree | grep -E '^include/sra/.*\.(hpp|cuh)$' | includes | awk '
    BEGIN {
      n = split("core io backend autograd expr ops nn models diffusion alignment data train", order, " ")
      for (i = 1; i <= n; ++i) place[order[i]] = i
      for (i = split("core backend expr", list, " "); i > 0; --i) kernel_may[list[i]] = 1
    }
    function folder_of(path) { sub(/^sra\//, "", path); return path ~ /\// ? substr(path, 1, index(path, "/") - 1) : "sra.hpp" }
    $2 ~ /^"/ { print $1 ": expected #include <sra/...>, got #include " $2 "\""; next }
    $2 !~ /^sra\// { next }
    {
      from = $1
      sub(/^include\//, "", from)
      from = folder_of(from)
      to = folder_of($2)
      ok = 0
      if (from == "sra.hpp") ok = to != "extra"
      else if (from == "extra") ok = 1
      else if (from == "cpu" || from == "cuda") ok = to == from || (to in kernel_may)
      else if (from in place) ok = (to in place) && place[to] <= place[from]
      else { print $1 ": expected a folder that has a place in the layering, got " from; next }
      if (!ok) print $1 ": " from " may not include " $2
    }')
  if [[ -n $violations ]]; then
    while read -r line; do complain "$line"; done <<<"$violations"
  fi
}

check_umbrella() {
  local missing
  missing=$(tree | grep -E '^include/sra/.*\.hpp$' | includes | awk '
    $2 ~ /^sra\// { edges[$1] = edges[$1] " include/" $2 }
    END {
      queue[n = 1] = "include/sra/sra.hpp"
      reached[queue[1]]
      for (i = 1; i <= n; ++i) {
        for (j = split(edges[queue[i]], next_files, " "); j > 0; --j) {
          if (!(next_files[j] in reached)) { reached[next_files[j]]; queue[++n] = next_files[j] }
        }
      }
      for (i = 1; i <= n; ++i) print queue[i]
    }' | sort | comm -13 - <(tree | grep -E '^include/sra/.*\.hpp$' | grep -vE '^include/sra/(extra|cuda)/'))
  if [[ -n $missing ]]; then
    while read -r file; do complain "$file: sra.hpp does not reach this header"; done <<<"$missing"
  fi
}

check_third_party() {
  local violations
  violations=$(tree | grep -E '^(include|examples|tools|bench|tests)/.*\.(hpp|cuh|cpp|cu)$' | includes | awk '
    # A glob of third_party.txt as a regular expression: * stays within a folder, ** does not.
    function regex(glob) {
      gsub(/[.+]/, "\\\\&", glob)
      gsub(/\*\*/, "\001", glob)
      gsub(/\*/, "[^/]*", glob)
      gsub(/\001/, ".*", glob)
      return "^" glob "$"
    }
    FNR == NR { if ($0 !~ /^#/ && NF == 2) { header[++rules] = regex($1); file[rules] = regex($2) } ; next }
    $2 ~ /^"/ || $2 ~ /^sra\// { next }                                              # arrows sees to quoted ones
    $2 ~ /^[a-z_0-9]+$/ { next }                                                    # the standard library of C++
    {
      allowed = 0
      for (i = 1; i <= rules; ++i) if ($2 ~ header[i] && $1 ~ file[i]) allowed = 1
      if (!allowed) print $1 ": <" $2 "> is not listed for this file in tests/layering/third_party.txt"
    }' "$here/third_party.txt" -)
  if [[ -n $violations ]]; then
    while read -r line; do complain "$line"; done <<<"$violations"
  fi
}

check_cuda_macro() {
  local file
  for file in $(tree | grep -E '^include/' | xargs -r grep -l '__CUDACC__' || true); do
    case $file in
      include/sra/core/config.hpp | include/sra/sra.hpp) ;;
      *) complain "$file: __CUDACC__ may stand in core/config.hpp and sra.hpp only" ;;
    esac
  done
}

check_files() {
  local file limit lines first comment
  while read -r file; do
    case $file in
      *.hpp | *.cuh | *.cpp | *.cu) comment='// ' ;;
      *.sh | scripts/* | .ci/run | *.cmake | *.cmake.in | *CMakeLists.txt | *.py | *.cff | template/ablate | *.slurm) comment='# ' ;;
      *) continue ;;
    esac
    mapfile -t -n 3 first <"$file"
    if [[ ${first[0]:-} == '#!'* ]]; then first=("${first[@]:1}"); fi
    [[ ${first[0]:-} == "$comment"?* ]] || complain "$file: the first line must be a comment that says what the file is for"
    [[ ${first[1]:-} == "${comment}SPDX-License-Identifier: MIT" ]] ||
      complain "$file: the second line must be '${comment}SPDX-License-Identifier: MIT'"

    lines=$(wc -l <"$file")
    limit=400
    if [[ $file == include/sra/cpu/* || $file == include/sra/cuda/* ]]; then limit=500; fi
    if ((lines > limit)); then complain "$file: expected at most $limit lines, got $lines"; fi
    if [[ $file == include/*.hpp || $file == include/*.cuh ]] && [[ $(grep -c '^#pragma once$' "$file") -ne 1 ]]; then
      complain "$file: expected #pragma once"
    fi
    case ${file##*/} in
      detail.hpp | utils.hpp | util.hpp | common.hpp | helpers.hpp) complain "$file: the name must say what is inside" ;;
    esac
  done < <(tree)
}

check_machine_paths() {
  local found
  found=$(tree | tr '\n' '\0' | xargs -0 -r grep -IHnE '(^|[^A-Za-z0-9_.*})/-])/(work|root|home|tmp|Users)/' || true)
  if [[ -n $found ]]; then
    while read -r line; do complain "path of one machine: $line"; done <<<"$found"
  fi
}

if (($# == 0)); then set -- arrows umbrella third_party cuda_macro files machine_paths; fi
for check in "$@"; do
  "check_$check"
done
exit $failed

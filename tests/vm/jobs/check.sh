#!/bin/bash
# `nodescope-sensor --check` prints a verdict for each hook; they are those of hooks.txt for this kernel.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

# The row that holds for this kernel and hook; a row for the series comes before one for all.
expected_row() {
    awk -F'\t+' -v series="$series" -v hook="$1" '
        /^#/ || ($1 != series && $1 != "*") || ($2 != hook && $2 != "*") { next }
        { print; exit }' hooks.txt
}

compare() {
    local hook=$1 verdict=$2 rest=$3 row want_verdict want_part
    row=$(expected_row "$hook")
    IFS=$'\t' read -r _ _ want_verdict want_part <<<"${row//$'\t'+($'\t')/$'\t'}"
    if [ "$verdict" = "$want_verdict" ] && [[ "$rest" == *"$want_part"* ]]; then
        ok "$hook: $verdict  $rest"
    else
        fail "$hook: $verdict  $rest (expected: $want_verdict, with '$want_part')"
    fi
}

shopt -s extglob
release=$(uname -r)
series=$(cut -d. -f1-2 <<<"${release%%[-+]*}")
table=$("$bin/nodescope-sensor" --check)
is "exit status of --check" $? 0
printf '  | %s\n' "${table//$'\n'/$'\n'  | }"

# The rows after the empty line; columns are two or more spaces apart.
count=0
while IFS='|' read -r hook verdict rest; do
    compare "$hook" "$verdict" "$rest"
    count=$((count + 1))
done < <(sed '1,/^$/d' <<<"$table" | sed -E 's/  +/|/; s/  +/|/')
check "$count hooks" [ "$count" -ge 10 ]

# The same for programs.
"$bin/nodescope-sensor" --check --json | grep -q '"good":true'
is "exit status of --check --json, good" $? 0

# Without rights it says so.
setpriv --reuid nodescope --regid nodescope --clear-groups "$bin/nodescope-sensor" --check
is "exit status as another user" $? 77
finish

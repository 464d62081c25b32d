#!/usr/bin/env bash
# What no file may hold: a TODO without an issue's number, a path of somebody's machine, a tab or a
# space at the end of a line of code.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t files < <(sources '*.[ch]' '*.cu' '*.cuh' '*.sh' '*.py' '*.md' '*CMakeLists.txt' '*.json' \
    'Makefile' '.ci/*' 'tools/*' | grep -v '^tests/lint/text.sh$')
if grep -nE 'TODO|FIXME' "${files[@]}" /dev/null | grep -vE '(TODO|FIXME)\(#[0-9]+\)'; then
    bad "write TODO(#issue), or do it"
fi
if grep -nE '(^|[^A-Za-z0-9_.])/(work|root|Users)/|/home/[a-z]' "${files[@]}" /dev/null; then
    bad "a path of one machine"
fi
if grep -nE '[[:blank:]]+$' "${files[@]}" /dev/null; then
    bad "blanks at the end of a line"
fi
mapfile -t files < <(sources '*.c' '*.h' '*.cu' '*.cuh' '*.sh' '*.py')
if grep -nP '\t' "${files[@]}" /dev/null; then
    bad "a tab"
fi
exit "$status"

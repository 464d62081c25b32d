#!/usr/bin/env bash
# Shell scripts parse, and pass shellcheck where there is one.
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

mapfile -t scripts < <(sources '*.sh' '.ci/run' 'tools/*' | xargs -r grep -lE '^#!.*sh$|shellcheck shell')
for script in "${scripts[@]}"; do
    bash -n "$script" || bad "$script"
done
[ "$status" = 0 ] || exit "$status"
command -v shellcheck >/dev/null || skip "parsed only: no shellcheck"
shellcheck -x -S warning "${scripts[@]}"

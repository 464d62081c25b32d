#!/usr/bin/env bash
# A library never prints and never ends the process: errors are values (codec/err.h).
# shellcheck source=tests/lint/lib.sh
. "$(dirname "$0")/lib.sh"

files=$(sources 'codec/*.[ch]' 'fetch/*.[ch]' 'cuda/*.[ch]' 'cuda/*.cu' 'fs/*.[ch]' 'infer/*.[ch]')
calls='printf|fprintf|vprintf|vfprintf|dprintf|puts|fputs|putchar|perror|warnx?|errx?|psignal'
calls="$calls|exit|_exit|_Exit|quick_exit|abort"
# shellcheck disable=SC2086
if grep -nE "(^|[^A-Za-z0-9_.>\"])($calls) *\(|(^|[^A-Za-z0-9_])(stdout|stderr)([^A-Za-z0-9_]|$)" $files /dev/null |
    grep -vE ':[0-9]+: *(/?\*|//)' | grep -v 'format(printf'; then
    bad "libraries return a weir_err; only cli/ prints and exits"
fi
exit "$status"

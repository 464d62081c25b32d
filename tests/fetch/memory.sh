#!/usr/bin/env bash
# The most memory that a fetch with 16 connections takes: 64 MiB.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
[ -z "${WEIR_SANITIZE:-}" ] || skip "a sanitizer takes memory of its own"

mkdir tree
head -c 150000000 /dev/urandom >tree/random
expect 0 "$WEIR" pack tree a.weir
serve a.weir
peak_of() { # peak_of WHAT COMMAND...
    local what=$1
    shift
    expect 0 python3 -c 'import os, resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)' "$@"
    peak=$(tail -n 1 <<<"$out")
    echo "$what: $peak KiB at most"
    [ "$peak" -le 65536 ] || die "$what: $peak KiB"
}
peak_of store "$WEIR" fetch -q -x 16 "$root/b.weir"
cmp a.weir b.weir || die "other bytes"
peak_of plain "$WEIR" fetch -q -x 16 --plain "$root/b.weir" got
same_tree tree got

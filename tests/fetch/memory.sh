#!/usr/bin/env bash
# The most memory that a fetch with 16 connections takes: 64 MiB.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
[ -z "${WEIR_SANITIZE:-}" ] || skip "a sanitizer takes memory of its own"

mkdir tree
head -c 150000000 /dev/urandom >tree/random
expect 0 "$WEIR" pack tree a.weir
serve a.weir
expect 0 python3 -c 'import os, resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)' "$WEIR" fetch -q -x 16 "$root/b.weir"
cmp a.weir b.weir || die "other bytes"
peak=$(tail -n 1 <<<"$out")
echo "peak: $peak KiB"
[ "$peak" -le 65536 ] || die "$peak KiB"

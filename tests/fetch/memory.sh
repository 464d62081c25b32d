#!/usr/bin/env bash
# The most memory that a fetch with 16 connections and an unpack of a URL take: 64 MiB; and a mount
# of one: 128 MiB.
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
}

peak_of store "$WEIR" fetch -q -x 16 "$root/b.weir"
cmp a.weir b.weir || die "other bytes"
[ "$peak" -le 65536 ] || die "$peak KiB"

peak_of plain "$WEIR" fetch -q -x 16 --plain "$root/b.weir" got
same_tree tree got
[ "$peak" -le 65536 ] || die "$peak KiB"

# More processors, more extents at once (fetch/remote.h).
more=$(($(nproc) + 5 > 9 ? ($(nproc) + 5 < 18 ? $(nproc) - 4 : 9) : 0))
peak_of unpack "$WEIR" unpack -q -j 2 --cache c "$root/a.weir" out
same_tree tree out
[ "$peak" -le $((65536 + more * 4300)) ] || die "$peak KiB"

"$WEIR" --version | grep -q 'mount yes' && [ -w /dev/fuse ] || exit 0
mkdir mnt
mounts+=("$tmp/mnt")
"$WEIR" mount -f --cache c2 "$root/a.weir" mnt &
daemon=$!
until grep -q "$tmp/mnt " /proc/mounts; do kill -0 "$daemon" || die "not mounted"; sleep 0.02; done
cmp tree/random mnt/random || die "other bytes"
peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$daemon/status")
echo "peak of mount: $peak KiB"
kill "$daemon"
wait "$daemon"
[ "$peak" -le $((131072 + more * (4300 + 2 * 1400))) ] || die "$peak KiB"

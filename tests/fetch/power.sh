#!/usr/bin/env bash
# The power is cut in the middle of a fetch: whatever the disk may hold then (power_cuts.py), no mark is
# ahead of its data, nothing wrong has the store's name, and the same command makes it whole.
# WEIR_POWER_CUTS: how many states (default: 24); WEIR_POWER_SEED.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/fetch/power_lib.sh
. "$here/power_lib.sh"

mkdir tree
head -c 26000000 /dev/urandom >tree/random
expect 0 "$WEIR" pack tree a.weir
serve a.weir slow:8000000
record -- "$WEIR" fetch -q -x 4 "$root/b.weir" "$watched/b.weir"
cmp a.weir "$watched/b.weir" || die "other bytes"

# marks STATE: every extent that a sidecar marks is there.
marks() {
    python3 -c 'import json, sys
store = open(sys.argv[1], "rb").read()
extents = json.load(open(sys.argv[2]))
try:
    side = open(sys.argv[3] + "/b.weir.weir-fetch", "rb").read()
    data = open(sys.argv[3] + "/b.weir.weir-partial", "rb").read()
except FileNotFoundError:
    sys.exit(0)
if len(side) != 64 + (len(extents) + 7) // 8 or side[:8] != b"\x89weirp\r\n" or len(data) != len(store):
    sys.exit(0)  # counts as none
for i, (at, n) in enumerate(extents):
    if side[64 + i // 8] >> i % 8 & 1:
        assert data[at : at + n] == store[at : at + n], f"extent {i} is marked, and wrong"
        print("marked")' a.weir extents.json "$1"
}
# Where the extents lie is what a whole fetch asks for.
logged 'sorted([int(r["range"][6:].split("-")[0]), int(r["range"].split("-")[1]) + 1 - int(r["range"][6:].split("-")[0])]
    for r in d if r["range"][6] not in "-0")' >extents.json

serve a.weir
marked=0 whole=0
check() { # check STATE
    marks "$1" >marked || die "$1"
    marked=$((marked + $(wc -l <marked)))
    if [ -e "$1/b.weir" ]; then
        cmp a.weir "$1/b.weir" || die "$1: a name before its bytes"
        whole=$((whole + 1))
    fi
    expect 0 "$WEIR" fetch -q -x 4 "$root/b.weir" "$1/b.weir"
    cmp a.weir "$1/b.weir" || die "$1: other bytes"
    [ "$(ls "$1")" = b.weir ] || die "$1: left: $(ls "$1")"
}
after_cuts check
echo "$marked marks checked, $whole states had the name"
[ "$marked" -gt 0 ] || die "no state had a mark"

#!/usr/bin/env bash
# A part of a store (docs/format.md, 10) mounted: what was fetched is served, what was not is an error of
# its own and one line in the log for a whole tensor.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || exit 77

mkdir "$work/tree"
head -c 10000000 /dev/urandom >"$work/tree/noise" # tiles 0 to 76: extents 0, 1 and 2
echo small >"$work/tree/small"
"$WEIR" pack -q "$work/tree" "$work/t.weir"
size=$(stat -c %s "$work/t.weir")
python3 -c 'import struct, sys
store = open(sys.argv[1], "rb").read()
digest = store[-48:-16]
end = struct.pack("<QII", len(store), 3, 0) + digest + struct.pack("<HHI", 1, 0, 0) + b"weirpart"
open(sys.argv[2], "wb").write(store + b"\5" + end)' "$work/t.weir" "$work/p.weir"

mount_up "$work/p.weir"
cmp "$work/tree/small" "$mnt/small"
[ "$(stat -c %s "$mnt/noise")" = 10000000 ] || fail "not its size"
tile() { # tile NUMBER: its bytes, through the mount
    dd if="$mnt/noise" bs=131072 skip="$1" count=1 iflag=direct status=none
}
for i in 0 5 31 64 75; do
    tile $i | cmp - <(tail -c +$((i * 131072 + 1)) "$work/tree/noise" | head -c 131072)
done
for i in 32 40 63; do
    ! tile $i >/dev/null 2>"$work/said" || fail "tile $i is there"
    grep -q 'No data available' "$work/said" || fail "$(cat "$work/said")"
done
! cat "$mnt/noise" >"$work/out" 2>"$work/said" || fail "cat gets through"
cmp -n "$(stat -c %s "$work/out")" "$work/tree/noise" "$work/out"
[ "$(stat -c %s "$work/out")" -le $((32 * 131072)) ] || fail "cat goes too far"
[ "$(wc -l <"$log")" = 1 ] || fail "not one line in the log: $(head "$log")"
grep -q "^weir mount: noise: opaque bytes, tile [0-9]* of 77, extent 1: .*was not fetched; 'weir fetch URL STORE'" \
    "$log" || fail "the log: $(cat "$log")"

# The store, as far as it is there.
[ "$(stat -c %s "$mnt/.weir/store")" = "$size" ] || fail "the store has $(stat -c %s "$mnt/.weir/store") bytes"
head -c 4000000 "$mnt/.weir/store" | cmp - <(head -c 4000000 "$work/t.weir")
tail -c 1000000 "$mnt/.weir/store" | cmp - <(tail -c 1000000 "$work/t.weir")
! cat "$mnt/.weir/store" >/dev/null 2>"$work/said" || fail "all of the store"
grep -q 'No data available' "$work/said" || fail "$(cat "$work/said")"
mount_down

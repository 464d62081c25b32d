#!/usr/bin/env bash
# A damaged tile is an error and one line in the log; everything else is served as before.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"

# Random bytes are stored as they are, so it is known where a tile is (docs/format.md, 4).
mkdir "$work/tree"
head -c 10000000 /dev/urandom >"$work/tree/noise"
echo small >"$work/tree/small"
"$WEIR" pack -q "$work/tree" "$work/t.weir"
flip "$work/t.weir" $((4096 + 32 * 16 + 5 * 131072 + 77777))

mount_up "$work/t.weir"
cmp "$work/tree/small" "$mnt/small"
for i in 1 2; do
    bad=$("$probe" pages "$work/tree/noise" "$mnt/noise") || fail "$bad"
    [ "$bad" = "32 160 191" ] || fail "bad pages: $bad"
done
! cat "$mnt/noise" >"$work/out" 2>"$work/said" || fail "cat gets through"
grep -q 'Input/output error' "$work/said" || fail "cat: $(cat "$work/said")"
cmp -n "$(stat -c %s "$work/out")" "$work/tree/noise" "$work/out"
[ "$(stat -c %s "$work/out")" -ge $((4 * 131072)) ] || fail "cat stops early"
dd if="$mnt/noise" bs=131072 skip=6 iflag=direct status=none | cmp - <(tail -c +$((6 * 131072 + 1)) "$work/tree/noise")
! dd if="$mnt/noise" of=/dev/null bs=131072 skip=5 count=1 iflag=direct status=none 2>/dev/null ||
    fail "direct read of the bad tile"
[ "$(wc -l <"$log")" = 1 ] || fail "not one line in the log"
for word in noise 'tile 5' 'extent 0'; do
    grep -q "$word" "$log" || fail "the log does not name $word: $(cat "$log")"
done
mount_down

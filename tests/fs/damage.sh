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
said_once() { # said_once TEXT: is how the only line of the log begins
    [ "$(wc -l <"$log")" = 1 ] || fail "not one line in the log: $(head "$log")"
    [[ $(<"$log") == "weir mount: $1: "?* ]] || fail "the log does not name $1: $(cat "$log")"
    : >"$log"
}
said_once "noise: opaque bytes, tile 5 of 77, extent 0"
mount_down

# ---- in a tensor ----

gen_tensor=$WEIR_BUILD/tests/gen_tensor
[ -x "$gen_tensor" ] || exit 0
mkdir "$work/model"
"$gen_tensor" "$work/model/m.safetensors" BF16 9
"$WEIR" pack -q "$work/model" "$work/m.weir"

heads_and() { # heads_and EXTENT N: bytes of an extent's 32 heads and its first N payloads
    od -An -v -tu4 -w16 -j "$1" -N 512 "$work/m.weir" |
        awk -v n="$2" 'NR <= n { sum += int(($3 + 15) / 16) * 16 } END { print 512 + sum }'
}

# The file's header is the store's tile 0, so the tensor's tile 40 is its tile 41: extent 1, the
# tenth there.  It is not raw, and bits inside its payload change bytes or do not decode.
extent=$((4096 + ($(heads_and 4096 32) + 4095) / 4096 * 4096))
flip "$work/m.weir" $((extent + $(heads_and "$extent" 9) + 70000))
from=$(($(stat -c %s "$work/model/m.safetensors") - 9 * 1048576 + 40 * 131072))
mount_up "$work/m.weir"
for _ in 1 2; do
    bad=$("$probe" pages "$work/model/m.safetensors" "$mnt/m.safetensors") || fail "$bad"
    [ "$bad" = "33 $((from / 4096)) $(((from + 131071) / 4096))" ] || fail "bad pages: $bad"
done
said_once "m.safetensors: tensor weight, tile 40 of 72, extent 1"
mount_down

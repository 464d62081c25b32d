#!/usr/bin/env bash
# weir fetch --seed and --repair: only what is missing or damaged comes over the network.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir tree
for i in 1 2 3 4 5 6; do
    head -c 8388608 /dev/urandom >"tree/part$i"
done
expect 0 "$WEIR" pack tree old.weir
head -c 8388608 /dev/urandom >tree/part3
expect 0 "$WEIR" pack tree new.weir
size=$(stat -c %s new.weir)

serve new.weir
expect 0 "$WEIR" fetch --json --seed old.weir "$root/a.weir"
cmp new.weir a.weir || die "other bytes"
sent=$(logged 'sum(r["sent"] for r in d)')
[ "$sent" -lt 14000000 ] || die "$sent bytes for a change of 8 MB"
# A seed that is itself damaged gives what is fine of it.
cp old.weir bad.weir
printf x | dd of=bad.weir bs=1 seek=5000 conv=notrunc status=none
rm a.weir
serve new.weir
expect 0 "$WEIR" fetch --seed bad.weir "$root/a.weir"
cmp new.weir a.weir || die "other bytes"
[ "$(logged 'sum(r["sent"] for r in d)')" -lt 19000000 ] || die "the seed was no use"
# One that is no store, or is not there.
rm a.weir
expect 3 "$WEIR" fetch --seed tree/part1 "$root/a.weir"
says 'the seed tree/part1'
expect 2 "$WEIR" fetch --seed none.weir "$root/a.weir"
says 'the seed none.weir'
[ ! -e a.weir ] || die "a store in spite of that"
rm -f a.weir*

# Repair: damage in extents, in the padding behind one, in header, index and trailer.
flip() { # flip FILE OFFSET
    python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    byte = f.read(1)[0] ^ 0x41
    f.seek(int(sys.argv[2]))
    f.write(bytes([byte]))' "$1" "$2"
}
for spots in "5000 20000000" 3 $((size - 1)) "3 5000 $((size - 70)) 9000000"; do
    cp new.weir hurt.weir
    for at in $spots; do flip hurt.weir "$at"; done
    ! cmp -s new.weir hurt.weir || die "no damage"
    serve new.weir
    expect 0 "$WEIR" fetch --repair "$root/a.weir" hurt.weir
    cmp new.weir hurt.weir || die "not whole: $spots"
    sent=$(logged 'sum(r["sent"] for r in d)')
    [ "$sent" -lt 14000000 ] || die "$spots: $sent bytes"
done
serve new.weir
expect 0 "$WEIR" fetch --json --repair "$root/a.weir" hurt.weir # nothing to do
[ "$(logged 'len(d)')" = 2 ] || die "$(logged 'len(d)') requests"
# What comes damaged is not the end of it.
flip hurt.weir 5000
serve new.weir flip:5001,2
expect 0 "$WEIR" fetch --repair "$root/a.weir" hurt.weir
cmp new.weir hurt.weir || die "not whole"
# Another store, or none, stays as it is.
for name in old.weir tree/part1; do
    cp "$name" kept
    serve new.weir
    expect 3 "$WEIR" fetch --repair "$root/a.weir" "$name"
    says "$name: not"
    cmp kept "$name" || die "$name was written to"
done
truncate -s "$size" zeros
expect 3 "$WEIR" fetch --repair "$root/a.weir" zeros
says 'not the store at the URL'
expect 2 "$WEIR" fetch --repair "$root/a.weir" none.weir

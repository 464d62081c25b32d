#!/usr/bin/env bash
# What unpack does to a folder that has something in it already, and where it may not write.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

mkdir -p tree/sub
words 200000 >tree/sub/words.txt
echo new >tree/note
chmod 0444 tree/note
expect 0 "$WEIR" pack tree t.weir

mkdir out && echo mine >out/mine && echo old >out/note
expect 2 "$WEIR" unpack t.weir out
says '^weir unpack: out/note: exists already; use -f'
[ "$(cat out/note)" = old ] && [ ! -e out/sub ] || die "changed"
expect 2 "$WEIR" unpack t.weir out --json
json 'd["error"]["code"] == 2 and "out/note" in d["error"]["message"]'
expect 0 "$WEIR" unpack -f t.weir out
[ "$(cat out/note)" = new ] && [ "$(cat out/mine)" = mine ] || die "-f"
rm out/mine
same_tree tree out
expect 0 "$WEIR" unpack --force t.weir out --json
json 'd["plain_bytes"] == 200004 and d["files"] == 2 and d["seconds"] >= 0'

# A folder where a file belongs, and a file where a folder belongs: not even with -f.
rm -rf out && mkdir -p out/note/x
expect 2 "$WEIR" unpack -f t.weir out
rm -rf out && mkdir out && echo file >out/sub
expect 2 "$WEIR" unpack -f t.weir out
[ "$(ls -A out)" = sub ] || die "left: $(ls out)"

expect 2 "$WEIR" unpack t.weir no/such/parent
expect 2 "$WEIR" unpack t.weir t.weir
expect 2 "$WEIR" unpack nowhere out2
[ ! -e out2 ] || die "DIR without a store"
expect 2 "$WEIR" pack nowhere x.weir
expect 2 "$WEIR" pack tree no/such/x.weir
says '^weir pack: no/such/x.weir: '
if [ -w /dev/full ]; then
    got=0
    "$WEIR" ls t.weir >/dev/full 2>err.txt || got=$?
    [ "$got" = 2 ] || die "a full stdout gives $got"
    got=0
    "$WEIR" pack tree - >/dev/full 2>err.txt || got=$?
    [ "$got" = 2 ] || die "pack to a full stdout gives $got"
    grep -q 'standard output: No space left' err.txt || die "$(cat err.txt)"
fi

# A folder that may not be written to (root may all the same).
if [ "$(id -u)" != 0 ]; then
    mkdir locked && chmod 0555 locked
    expect 2 "$WEIR" unpack t.weir locked
    expect 2 "$WEIR" pack tree locked/x.weir
    says 'Permission denied; choose a place you may write to'
    chmod 0000 tree/sub
    expect 2 "$WEIR" pack tree y.weir
    says '^weir pack: tree/sub: Permission denied'
    [ ! -e y.weir ] || die "half a store"
fi
no_leftovers .

#!/usr/bin/env bash
# Damage is found and named; trees that differ from a store are, too.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp"

mkdir -p tree/sub
words 400000 >tree/sub/words.txt
words 1000 >tree/short.txt
: >tree/empty
expect 0 "$WEIR" pack tree good.weir
size=$(stat -c %s good.weir)

# put FILE OFFSET: flips a bit there.
put() {
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# One bit: in the header, the zeros after it, heads, a payload, the index, the trailer.
for at in 0 9 40 100 4000 4096 4105 4120 9000 $((size - 300)) $((size - 60)) $((size - 1)); do
    cp good.weir bad.weir
    put bad.weir "$at"
    code=0
    "$WEIR" verify bad.weir >v.out 2>v.err || code=$?
    case $code in 3 | 4) ;; *) die "bit at $at: verify gives $code" ;; esac
    grep -q '^weir verify: bad.weir: ' v.err || die "bit at $at: $(cat v.err)"
    expect "$code" "$WEIR" verify bad.weir --json
    json 'd["error"]["code"] == '"$code"' and d["error"]["kind"] in ("corrupt", "unsupported")'
done
# Cut short, or with something after it.
for n in 0 1 63 64 4095 4096 4200 $((size - 64)) $((size - 1)); do
    head -c "$n" good.weir >bad.weir
    expect 3 "$WEIR" verify bad.weir
    expect 3 "$WEIR" ls bad.weir
    expect 3 "$WEIR" unpack bad.weir out
done
cp good.weir bad.weir && echo >>bad.weir
expect 3 "$WEIR" verify bad.weir

# A damaged tile: unpack leaves nothing of it.
cp good.weir bad.weir
put bad.weir 9000
expect 3 "$WEIR" unpack bad.weir out
[ ! -e out ] || die "left: $(find out)"
mkdir out && echo mine >out/mine
expect 3 "$WEIR" unpack bad.weir out
[ "$(find out -mindepth 1)" = out/mine ] || die "left: $(find out)"

# A damaged head: ls, which reads nothing else of a tile, says where.
cp good.weir bad.weir
put bad.weir 4107
expect 3 "$WEIR" ls bad.weir
says '^weir ls: bad.weir: [a-z./]+: extent 0, tile [0-9]+: '

# --against
expect 0 "$WEIR" verify good.weir --against tree
cp -r tree other
printf X | dd of=other/sub/words.txt bs=1 seek=123456 conv=notrunc status=none
printf X | dd of=other/sub/words.txt bs=1 seek=300000 conv=notrunc status=none
expect 3 "$WEIR" verify good.weir --against other
[ "$out" = 'sub/words.txt: differs, first at byte 123456' ] || die "$out"
says '^weir verify: other: 1 difference from the store'
rm other/empty && echo >>other/short.txt && echo new >other/new && mkdir other/dir
expect 3 "$WEIR" verify good.weir --against other
for line in 'empty: is in the store only' 'new: is not in the store' 'dir: is not in the store' \
    "short.txt: has 1001 bytes, not the store's 1000; differs from byte 1000 on"; do
    grep -qxF "$line" <<<"$out" || die "no '$line' in: $out"
done
expect 3 "$WEIR" verify good.weir --against other --json
json 'd["ok"] is False and d["error"]["kind"] == "mismatch" and len(d["differences"]) == 5'
json '[x["at"] for x in d["differences"] if x["path"] == "sub/words.txt"] == [123456]'
rm other/short.txt && mkdir other/short.txt
expect 3 "$WEIR" verify good.weir --against other -q
[ -z "$out" ] || die "-q says $out"
expect 2 "$WEIR" verify good.weir --against nowhere
expect 2 "$WEIR" verify nowhere
expect 2 "$WEIR" verify tree
says 'not a regular file'
expect 3 "$WEIR" verify tree/sub/words.txt

#!/usr/bin/env bash
# weir fetch --layers and --tensors: a part of a store, what it can be used for, and how it becomes the
# store.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"
[ -x "${WEIR_GEN:-}" ] || skip "no gen_checkpoint"

"$WEIR_GEN" tree --megabytes 120 --shards 2 >/dev/null
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
expect 0 "$WEIR" ls --tensors --json a.weir
layers=$(python3 -c 'import json, re, sys
print(max(int(m.group(1)) for e in json.load(sys.stdin)["entries"] for t in e.get("tensors", [])
    if (m := re.search(r"layers\.(\d+)\.", t["name"]))) + 1)' <<<"$out")
[ "$layers" -ge 60 ] || die "$layers layers"

# tensors EXPRESSION: of the last command, d is its JSON, ts the tensors in it.
tensors() {
    python3 -c 'import json, sys
d = json.load(sys.stdin)
ts = [t for e in d["entries"] for t in e.get("tensors", [])]
sys.exit(not eval(sys.argv[1]))' "$1" <<<"$out" || die "not so: $1"
}

# A part: only what it needs comes, at its place; the rest are holes.
serve a.weir
expect 0 "$WEIR" fetch --json --layers 40-49 "$root/b.weir"
json_line=$(tail -n 1 <<<"$out")
present=$(sed -n 's/.*"present_extents":\([0-9]*\).*/\1/p' <<<"$json_line")
all=$(sed -n 's/.*"extents":\([0-9]*\),"present.*/\1/p' <<<"$json_line")
[ "$present" -lt "$all" ] && [ "$present" -gt 1 ] || die "$json_line"
sent=$(logged 'sum(r["sent"] for r in d)')
[ "$sent" -lt $((size * 3 / 4)) ] || die "$sent bytes of $size for ten of $layers layers"
[ "$(logged 'len(d)')" = $((present + 2)) ] || die "$(logged 'len(d)') requests for $present extents"
disk=$(($(stat -c %b b.weir) * 512))
[ "$disk" -lt $((sent + 300000)) ] || die "$disk bytes on disk"
[ "$(stat -c %s b.weir)" = $((size + (all + 7) / 8 + 64)) ] || die "$(stat -c %s b.weir) bytes"
[ -z "$(find . -name '*.weir-*')" ] || die "left: $(find . -name '*.weir-*')"

# It says what it lacks.
expect 0 "$WEIR" ls --tensors --json b.weir
tensors 'any(t["absent_bytes"] == t["plain_bytes"] for t in ts)'
tensors 'all(t["absent_bytes"] == 0 for t in ts if ".layers.4" in t["name"] and ".layers.4." not in t["name"])'
tensors 'all(e["absent_bytes"] == 0 for e in d["entries"] if ".safetensors" not in e["path"] or "index" in e["path"])'
tensors "d['present_extents'] == $present and d['extents'] == $all"
expect 0 "$WEIR" ls --tensors b.weir
grep -q ' absent  *[0-9.]* b/w' <<<"$out" || die "$out"
grep -q "^a part: $present of $all extents" <<<"$out" || die "$out"
expect 2 "$WEIR" verify b.weir
says "^weir verify: b.weir: lacks $((all - present)) of $all extents, .*'weir fetch URL STORE'"
expect 2 "$WEIR" verify --json b.weir
json "d['error']['kind'] == 'absent' and d['present_extents'] == $present and not d['ok']"
expect 2 "$WEIR" verify b.weir --against tree
expect 2 "$WEIR" unpack b.weir out
says "^weir unpack: b.weir: lacks $((all - present)) of $all extents"
[ ! -e out ] || die "it was unpacked in part"
# Damage is found, and is worse than a lack.
cp --sparse=always b.weir hurt.weir
at=$(python3 -c 'import sys
with open(sys.argv[1], "rb") as f:
    b = f.read()
print(next(i for i in range(4096 + 3000, len(b)) if b[i]))' b.weir)
printf '\377\377' | dd of=hurt.weir bs=1 seek="$at" conv=notrunc status=none
expect 3 "$WEIR" verify hurt.weir
serve a.weir
expect 0 "$WEIR" fetch --repair "$root/b.weir" hurt.weir
cmp b.weir hurt.weir || die "not mended"
[ "$(logged 'len(d)')" = 3 ] || die "$(logged 'len(d)') requests for one extent"
# A version that knows no parts sees no store: the trailer is not at the end.
[ "$(tail -c 8 b.weir)" = weirpart ] || die "$(tail -c 8 b.weir)"

# More of it: only what is new comes.
serve a.weir
expect 0 "$WEIR" fetch --json --layers 20 --tensors '*embed*,*lm_head*' "$root/b.weir"
expect 0 "$WEIR" ls --tensors --json b.weir
tensors 'all(t["absent_bytes"] == 0 for t in ts if ".layers.4" in t["name"] and ".layers.4." not in t["name"]
    or ".layers.20." in t["name"] or "embed" in t["name"] or "lm_head" in t["name"])'
tensors "d['present_extents'] > $present"
more=$(sed -n 's/.*"present_extents": \([0-9]*\).*/\1/p' <<<"$out" | head -n 1)
[ "$(logged 'len(d)')" = $((more - present + 2)) ] || die "$(logged 'len(d)') requests"
# All of it: the store, to the byte.
inode=$(stat -c %i b.weir)
serve a.weir
expect 0 "$WEIR" fetch "$root/b.weir"
cmp a.weir b.weir || die "other bytes"
[ "$(stat -c %i b.weir)" = "$inode" ] || die "not in its place"
[ "$(logged 'len(d)')" = $((all - more + 2)) ] || die "$(logged 'len(d)') requests"
expect 0 "$WEIR" verify b.weir
# And a part of what is there is nothing to do.
expect 0 "$WEIR" fetch --layers 0 "$root/b.weir"
grep -q 'already there' <<<"$out" || die "$out"

# Nothing that matches; a command line that makes no sense.
expect 2 "$WEIR" fetch --layers 1000- "$root/none.weir"
says 'no tensor of the store is among those'
[ ! -e none.weir ] || die "a store of nothing"
for layers in x 2-1 -1 1-x 1--2 99999999999 ''; do
    expect 1 "$WEIR" fetch "--layers=$layers" "$root/none.weir"
done
for tensors in '' ',' ',,'; do
    expect 1 "$WEIR" fetch "--tensors=$tensors" --layers 1 "$root/none.weir"
done
expect 1 "$WEIR" fetch --plain --layers 1 "$root/none.weir" out
expect 1 "$WEIR" fetch --repair --layers 1 "$root/none.weir" b.weir

# A part of another store is not touched, unless -f says so.
cp -r tree other
printf '{}' >other/config.json
expect 0 "$WEIR" pack other other.weir
serve other.weir
expect 0 "$WEIR" fetch --layers 1 "$root/c.weir"
cp --sparse=always c.weir kept.weir
serve a.weir
expect 2 "$WEIR" fetch "$root/c.weir"
says 'c.weir: exists already; use -f'
cmp c.weir kept.weir || die "it was written to"
expect 0 "$WEIR" fetch -f --layers 0 "$root/c.weir"
expect 2 "$WEIR" verify c.weir
# A part as a seed; a part behind a URL.
expect 0 "$WEIR" fetch --json --seed kept.weir "$root/d.weir"
cmp a.weir d.weir || die "other bytes"
grep -q '"seeded_bytes":[1-9]' <<<"$out" || die "$out"
serve c.weir
expect 0 "$WEIR" ls "$root/c.weir"
expect 2 "$WEIR" verify "$root/c.weir"
says 'lacks [0-9]* of'
expect 2 "$WEIR" fetch "$root/e.weir"
says 'itself a part of a store'
expect 2 "$WEIR" fetch --plain "$root/e.weir" out
says 'itself a part of a store'
[ ! -e out ] || die "a folder for nothing"

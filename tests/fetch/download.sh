#!/usr/bin/env bash
# weir fetch: what arrives, under which name, and what it says.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir tree
head -c 16000000 /dev/urandom >tree/random
words 3000000 >tree/words
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
expect 0 "$WEIR" verify --json a.weir
n_extents=$(sed -n 's/.*"extents": \([0-9]*\).*/\1/p' <<<"$out")
digest=$(sed -n 's/.*"digest": "\(.*\)".*/\1/p' <<<"$out")

nothing_left() { # nothing_left FOLDER: no half-fetched files
    [ -z "$(find "$1" -name '*.weir-*')" ] || die "left: $(find "$1" -name '*.weir-*')"
}

# Names: given, a folder, none.
serve a.weir
expect 0 "$WEIR" fetch "$root/some/b.weir?signature=secret" c.weir
cmp a.weir c.weir || die "other bytes"
[ "$(tail -n 1 <<<"$out")" = c.weir ] || die "$out"
grep -q "sha256:$digest" <<<"$out" || die "$out"
nothing_left .
[ "$(logged 'len(d)')" = $((n_extents + 2)) ] || die "$(logged 'len(d)') requests"
[ "$(logged "sum(r['sent'] for r in d) <= $size + 270000")" = True ] || die "bytes twice"
mkdir folder
expect 0 "$WEIR" fetch -q "$root/some/b.weir?signature=secret" folder
[ "$out" = folder/b.weir ] || die "$out"
cmp a.weir folder/b.weir || die "other bytes"
expect 0 "$WEIR" fetch "$root/b.weir"
[ "$(tail -n 1 <<<"$out")" = b.weir ] || die "$out"
cmp a.weir b.weir || die "other bytes"
[ "$(stat -c %a b.weir)" = "$(printf '%o' $((0666 & ~$(umask))))" ] || die "$(stat -c %a b.weir)"
expect 1 "$WEIR" fetch "$root/"
says 'names no file'
expect 1 "$WEIR" fetch a.weir
says 'not a URL'
expect 1 "$WEIR" fetch "$root/a.weir" ''
expect 1 "$WEIR" fetch -x 17 "$root/a.weir"
expect 1 "$WEIR" fetch --repair "$root/a.weir"

# It is there already; something else is there.
expect 0 "$WEIR" fetch "$root/b.weir"
grep -q 'already there' <<<"$out" || die "$out"
[ "$(tail -n 1 <<<"$out")" = b.weir ] || die "$out"
echo mine >d.weir
expect 2 "$WEIR" fetch "$root/d.weir"
says '^weir fetch: d.weir: exists already; use -f'
[ "$(cat d.weir)" = mine ] || die "it was replaced"
expect 0 "$WEIR" fetch -f "$root/d.weir"
cmp a.weir d.weir || die "other bytes"
expect 2 "$WEIR" fetch -f "$root/folder" folder/b.weir/x
nothing_left .

# With --json, every line is an event.
rm d.weir
serve a.weir slow:10000000
expect 0 "$WEIR" fetch --json -x 2 "$root/d.weir"
python3 -c 'import json, sys
e = [json.loads(line) for line in sys.stdin]
assert e[-1]["event"] == "done" and e[-1]["path"] == "d.weir" and e[-1]["digest"] == sys.argv[1], e
assert [x["event"] for x in e[:-1]] == ["progress"] * (len(e) - 1) and len(e) > 1, e
assert all(x["done_bytes"] <= x["total_bytes"] for x in e[:-1]), e' "$digest" <<<"$out" || die "$out"

# Bytes that were damaged on their way: found, and only their extent is asked for again.
for at in 5000 4300000 $((size / 2)); do
    serve a.weir "flip:$at,2"
    rm -f d.weir
    expect 0 "$WEIR" fetch --json "$root/d.weir"
    cmp a.weir d.weir || die "other bytes"
    [ "$(logged 'len(d)')" = $((n_extents + 4)) ] || die "$at: $(logged 'len(d)') requests"
    grep -q '"refetched_extents":2' <<<"$out" || die "$out"
done
for at in 3 $((size - 1)) $((size - 100)); do # header, trailer, index
    serve a.weir "flip:$at,2"
    rm -f d.weir
    expect 0 "$WEIR" fetch "$root/d.weir"
    cmp a.weir d.weir || die "other bytes"
done
# Damaged for good: exit code 3, no file of that name; the rest is kept.
serve a.weir flip:4300000,1000
rm -f d.weir
expect 3 "$WEIR" fetch "$root/d.weir"
says 'extent 1: its SHA-256'
[ ! -e d.weir ] || die "a damaged store"
serve a.weir
expect 0 "$WEIR" fetch "$root/d.weir"
cmp a.weir d.weir || die "other bytes"
[ "$(logged 'len(d)')" -lt $((n_extents + 2)) ] || die "nothing was kept"
nothing_left .

# The server is gone, or says no: exit code 5, and why.
rm -f d.weir
serve a.weir gone:gone
: >gone
expect 5 "$WEIR" fetch --retry 2 "$root/d.weir?signature=secret"
says '^weir fetch: http://127.0.0.1:[0-9]*/d.weir: .*\(3 tries\); try again later'
! grep -q secret <<<"$err" || die "the signature is shown"
serve a.weir status:403,1
expect 5 "$WEIR" fetch "$root/d.weir"
says 'refuses \(403\)'
serve a.weir changed:etag
expect 2 "$WEIR" fetch "$root/d.weir"
says 'changed on the server'
nothing_left . || true
rm -f d.weir*

# Two at once: the second says so.
serve a.weir slow:2000000
"$WEIR" fetch -x 2 "$root/d.weir" >first.out 2>&1 &
first=$!
for _ in {1..200}; do
    [ ! -s d.weir.weir-partial ] || break
    sleep 0.05
done
expect 2 "$WEIR" fetch "$root/d.weir"
says "d.weir: another 'weir fetch' is fetching it"
# Interrupted: 130, what has come is kept, and it says so.
sleep 2.5
kill -TERM "$first"
code=0
wait "$first" || code=$?
[ "$code" = 130 ] || die "interrupted: $code"
grep -q '^weir fetch: interrupted' first.out || die "$(cat first.out)"
[ ! -e d.weir ] || die "half a store"
[ -e d.weir.weir-partial ] || die "nothing is kept"
serve a.weir
expect 0 "$WEIR" fetch --json "$root/d.weir"
cmp a.weir d.weir || die "other bytes"
nothing_left .

# What an earlier run has left of another store is no use.
cp a.weir other.weir
head -c 9000000 /dev/urandom >tree/random
expect 0 "$WEIR" pack -f tree other.weir
rm d.weir
serve a.weir flip:4300000,1000
expect 3 "$WEIR" fetch "$root/d.weir"
serve other.weir
expect 0 "$WEIR" fetch "$root/d.weir"
cmp other.weir d.weir || die "other bytes"

# What earlier runs have left of a target that is there goes.
echo x >d.weir.weir-partial
echo x >d.weir.weir-fetch
expect 0 "$WEIR" fetch "$root/d.weir"
nothing_left .

# On a terminal there is a bar, unless the Hugging Face tools' switch says no.
if command -v script >/dev/null; then
    serve a.weir slow:12000000
    for off in '' 1; do
        rm -f t.weir
        TERM=xterm HF_HUB_DISABLE_PROGRESS_BARS=$off script -qec "'$WEIR' fetch '$root/t.weir'" /dev/null \
            >shown </dev/null || die "$(cat shown)"
        bars=$(grep -caE 'fetching \[[#.]+\] +[0-9]+%' shown || true)
        [ "$bars" = "$([ -n "$off" ] && echo 0 || echo 1)" ] || die "bars: $bars, switch '$off'"
    done
fi

# A store without extents.
mkdir empty
expect 0 "$WEIR" pack empty empty.weir
serve empty.weir
expect 0 "$WEIR" fetch "$root/e.weir"
cmp empty.weir e.weir || die "other bytes"

# A full disk, a place where nobody may write.
if mkdir small && mount -t tmpfs -o size=8m tmpfs small 2>/dev/null; then
    mounts+=("$tmp/small")
    serve a.weir
    expect 2 "$WEIR" fetch "$root/d.weir" small
    says 'small/d.weir.weir-partial: No space left on device; free some space'
    says 'are kept; the same command goes on from there'
    mount -o remount,size=64m small
    expect 0 "$WEIR" fetch "$root/d.weir" small
    cmp a.weir small/d.weir || die "other bytes"
    mount -o remount,ro small
    expect 2 "$WEIR" fetch "$root/e.weir" small
    says 'Read-only file system; choose a place'
fi
expect 2 "$WEIR" fetch "$root/d.weir" no/such/folder/d.weir

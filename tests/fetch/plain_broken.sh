#!/usr/bin/env bash
# weir fetch --plain that is broken off or goes wrong: what is kept, what is not, and what it says.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir -p tree/sub
head -c 16000000 /dev/urandom >tree/random
words 1000000 >tree/sub/words
expect 0 "$WEIR" pack tree a.weir
size=$(stat -c %s a.weir)
expect 0 "$WEIR" unpack a.weir want

nothing_left() { # nothing_left FOLDER: no half-fetched files
    [ ! -e "$1/.weir-fetch" ] || die "left: $(find "$1/.weir-fetch")"
}

# Damaged on the way: that extent alone is asked for again.
serve a.weir flip:4300000,1
expect 0 "$WEIR" fetch --json --plain "$root/a.weir" hurt
same_tree want hurt
grep -q '"refetched_extents":1' <<<"$out" || die "$out"
[ "$(logged "sum(r['sent'] for r in d) <= $size + 270000 + 4200000")" = True ] || die "more than that"
# For good: exit code 3, no file of that name; the rest is kept.
rm -r hurt
serve a.weir flip:4300000,1000
expect 3 "$WEIR" fetch --plain "$root/a.weir" hurt
says 'extent 1: its SHA-256'
says 'are kept; the same command goes on from there'
[ ! -e hurt/random ] || die "a damaged file"
serve a.weir
expect 0 "$WEIR" fetch --json --plain "$root/a.weir" hurt
same_tree want hurt
nothing_left hurt
[ "$(logged "sum(r['sent'] for r in d) < 13000000")" = True ] || die "nothing was kept"

# Somebody changes what is not whole yet: exit code 3 names the file, the next run gets it anew.
rm -r hurt
serve a.weir flip:4300000,1000
expect 3 "$WEIR" fetch --plain "$root/a.weir" hurt
staged=$(find hurt/.weir-fetch -size +15000k -name '[0-9]*' | LC_ALL=C sort | head -n 1)
printf wrong | dd of="$staged" bs=1 seek=20 conv=notrunc status=none
serve a.weir
expect 3 "$WEIR" fetch --plain "$root/a.weir" hurt
says '^weir fetch: hurt/random: its SHA-256 is not the one in the index; run it again'
[ ! -e hurt/random ] || die "a damaged file"
expect 0 "$WEIR" fetch --plain "$root/a.weir" hurt
same_tree want hurt
# Half of it is taken away.
rm -r hurt
serve a.weir flip:4300000,1000
expect 3 "$WEIR" fetch --plain "$root/a.weir" hurt
rm "$staged"
serve a.weir
expect 0 "$WEIR" fetch --plain "$root/a.weir" hurt
same_tree want hurt

# The server is gone: nothing is left of a folder that was made for nothing.
serve a.weir gone:gone
: >gone
expect 5 "$WEIR" fetch --retry 2 --plain "$root/a.weir" none
[ ! -e none ] || die "a folder for nothing"

# Two at once: the second says so.  Interrupted: 130, and what has come is kept.
serve a.weir slow:1500000
"$WEIR" fetch -x 2 --plain "$root/a.weir" two >first.out 2>&1 &
first=$!
for _ in {1..200}; do
    [ ! -s two/.weir-fetch/coming ] || break
    sleep 0.05
done
expect 2 "$WEIR" fetch --plain "$root/a.weir" two
says "two: another 'weir fetch' is fetching it"
for _ in {1..200}; do
    [ "$(logged "sum(r['sent'] for r in d) > 4400000")" = False ] || break
    sleep 0.05
done
kill -TERM "$first"
code=0
wait "$first" || code=$?
[ "$code" = 130 ] || die "interrupted: $code"
grep -q '^weir fetch: interrupted' first.out || die "$(cat first.out)"
grep -q 'are kept' first.out || die "$(cat first.out)"
[ ! -e two/random ] || cmp tree/random two/random || die "half a file"
serve a.weir
expect 0 "$WEIR" fetch --plain "$root/a.weir" two
same_tree want two
[ "$(logged "sum(r['sent'] for r in d) < 14000000")" = True ] || die "nothing was kept"

# What an earlier run has left of another store is no use, and goes.
rm -r two
serve a.weir flip:4300000,1000
expect 3 "$WEIR" fetch --plain "$root/a.weir" two
cp a.weir other.weir
head -c 9000000 /dev/urandom >tree/random
expect 0 "$WEIR" pack -f tree other.weir
expect 0 "$WEIR" unpack other.weir want2
serve other.weir
expect 0 "$WEIR" fetch --plain "$root/a.weir" two
same_tree want2 two
nothing_left two

# Stores without extents, and with a name that is taken.
mkdir bare
expect 0 "$WEIR" pack bare bare.weir
serve bare.weir
expect 0 "$WEIR" fetch --plain "$root/e.weir" bare2
nothing_left bare2
mkdir bare/.weir-fetch
expect 0 "$WEIR" pack -f bare bare.weir
serve bare.weir
expect 4 "$WEIR" fetch --plain "$root/e.weir" bare3
says 'has an entry .weir-fetch'

# A full disk, a place where nobody may write.
if mkdir small && mount -t tmpfs -o size=16m tmpfs small 2>/dev/null; then
    mounts+=("$tmp/small")
    serve a.weir
    expect 2 "$WEIR" fetch --plain "$root/a.weir" small/out
    says 'small/out/.*: No space left on device; free some space, then run it again'
    mount -o remount,size=60m small
    expect 0 "$WEIR" fetch --plain "$root/a.weir" small/out
    same_tree want small/out
    mount -o remount,ro small
    expect 0 "$WEIR" unpack a.weir ro
    expect 2 "$WEIR" fetch --plain "$root/a.weir" small/new
    says 'Read-only file system; choose a place'
fi

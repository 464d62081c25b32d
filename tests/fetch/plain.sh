#!/usr/bin/env bash
# weir fetch --plain: the files, under which names, what stays of what was there, and what it says.
# shellcheck source=tests/fetch/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir -p tree/sub/deep tree/empty
head -c 16000000 /dev/urandom >tree/random
words 3000000 >tree/sub/words
cp tree/random tree/sub/deep/again # shown twice, stored once
: >tree/nothing
ln -s sub/words tree/link
ln -s ../../random tree/sub/deep/up
chmod 0750 tree/sub/deep
chmod 0555 tree/empty
chmod 0600 tree/random
expect 0 "$WEIR" pack --keep-links tree a.weir
size=$(stat -c %s a.weir)
expect 0 "$WEIR" unpack a.weir want

nothing_left() { # nothing_left FOLDER: no half-fetched files
    [ ! -e "$1/.weir-fetch" ] || die "left: $(find "$1/.weir-fetch")"
}

# The same as unpack makes; every byte comes once.
serve a.weir
expect 0 "$WEIR" fetch --plain "$root/a.weir?signature=secret" got
same_tree want got
nothing_left got
[ "$(tail -n 1 <<<"$out")" = got ] || die "$out"
[ "$(logged "sum(r['sent'] for r in d) <= $size + 270000")" = True ] || die "bytes twice"

# Files that are there and right stay; others come, and only what they need.
inode=$(stat -c %i got/random)
expect 0 "$WEIR" fetch --plain "$root/a.weir" got
grep -q 'already there' <<<"$out" || die "$out"
[ "$(stat -c %i got/random)" = "$inode" ] || die "it was made anew"
rm got/sub/words got/link
serve a.weir
expect 0 "$WEIR" fetch --json --plain "$root/a.weir" got
same_tree want got
[ "$(stat -c %i got/random)" = "$inode" ] || die "it was made anew"
[ "$(logged "sum(r['sent'] for r in d) < 9000000")" = True ] || die "more than was needed"
grep -q '"files_there":3' <<<"$out" || die "$out"

# What else is in the folder stays; what is in the way is not replaced, unless -f says so.
mkdir mine
echo mine >mine/mine
serve a.weir
expect 0 "$WEIR" fetch --plain "$root/a.weir" mine
[ "$(cat mine/mine)" = mine ] || die "it is gone"
rm mine/mine
same_tree want mine
echo other >mine/sub/words
expect 2 "$WEIR" fetch --plain "$root/a.weir" mine
says '^weir fetch: mine/sub/words: exists already; use -f to replace it'
[ "$(cat mine/sub/words)" = other ] || die "it was replaced"
nothing_left mine
rm mine/link
echo other >mine/link
expect 0 "$WEIR" fetch -f --plain "$root/a.weir" mine
same_tree want mine
rm mine/sub/words
mkdir mine/sub/words
expect 2 "$WEIR" fetch -f --plain "$root/a.weir" mine
says 'mine/sub/words: something else is where it belongs'
nothing_left mine
rm -r mine

# Links that lie in the folder lead nowhere.
mkdir planted outside
ln -s ../outside planted/sub
expect 2 "$WEIR" fetch -f --plain "$root/a.weir" planted
says 'planted/sub: something else is where it belongs'
rm planted/sub
ln -s ../outside planted/.weir-fetch
expect 2 "$WEIR" fetch --plain "$root/a.weir" planted
says 'planted/.weir-fetch: '
rm planted/.weir-fetch
ln -s ../outside/random planted/random
expect 2 "$WEIR" fetch --plain "$root/a.weir" planted
says 'planted/random: exists already'
expect 0 "$WEIR" fetch -f --plain "$root/a.weir" planted
same_tree want planted
[ -z "$(ls outside)" ] || die "outside: $(ls outside)"

# A command line that makes no sense.
expect 1 "$WEIR" fetch --plain "$root/a.weir"
expect 1 "$WEIR" fetch --plain --seed a.weir "$root/a.weir" x
expect 1 "$WEIR" fetch --plain --repair "$root/a.weir" x
expect 2 "$WEIR" fetch --plain "$root/a.weir" a.weir
expect 2 "$WEIR" fetch --plain "$root/a.weir" no/such/folder

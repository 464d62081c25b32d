#!/usr/bin/env bash
# -o subdir=PATH: that directory of the store is the mount's root, and nothing leads out of it.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"

mkdir -p tree/a/b/deep "tree/odd, name" tree/ab
echo outside >tree/outside
echo inside >tree/a/inside
echo deep >tree/a/b/deep/file
echo odd >"tree/odd, name/file"
head -c 500000 /dev/urandom >tree/a/b/noise
chmod 750 tree/a
ln -s b/deep/file tree/a/stays
ln -s ../inside tree/a/b/stays-too
ln -s ../../outside tree/a/b/leaves
ln -s ../a/inside tree/a/leaves-and-returns
"$WEIR" pack -q --keep-links tree t.weir

for dir in a /a/ a//; do
    mount_up t.weir -o "subdir=$dir"
    [ "$(ls -A "$mnt")" = "$(ls -A tree/a)" ] || fail "the root has $(ls -A "$mnt")"
    diff -r --no-dereference --exclude='leaves*' tree/a mnt || fail "not that directory"
    [ "$(stat -c '%F %a' mnt)" = "directory 550" ] || fail "the root is $(stat -c '%F %a' mnt)"
    [ "$(cat mnt/stays)" = deep ] || fail "a link inside"
    [ "$(readlink mnt/b/stays-too)" = ../inside ] || fail "a link up, inside"
    for link in b/leaves leaves-and-returns; do
        ! said=$(LC_ALL=C cat "mnt/$link" 2>&1) || fail "$link leads out"
        [[ $said == *"Invalid cross-device link"* ]] || fail "$link: $said"
        ! readlink "mnt/$link" || fail "$link can be read"
    done
    [ ! -e mnt/outside ] && [ ! -e mnt/a ] || fail "more than that directory"
    mount_down
done
mount_up t.weir -o subdir=a/b
diff -r --no-dereference --exclude='leaves*' --exclude='stays*' tree/a/b mnt || fail "a deep one"
! readlink mnt/stays-too || fail "what stayed in a/ leaves a/b/"
mount_down
mount_up t.weir -o 'subdir=odd\, name,umask=022'
[ "$(ls -A mnt)" = file ] && [ "$(cat mnt/file)" = odd ] || fail "an odd name: $(ls -A mnt)"
mount_down
mount_up t.weir -o subdir=/
cmp tree/outside mnt/outside
mount_down

# Not there, or no directory: an error that names it, and no mount.
for dir in missing a/missing a/inside a/stays ../tree . ab/..; do
    for how in "" -f; do
        # shellcheck disable=SC2086
        expect 2 "$WEIR" mount $how t.weir mnt -o "subdir=$dir"
        says "$dir"
        ! is_mounted "$mnt" || fail "mounted in spite of $dir"
    done
done

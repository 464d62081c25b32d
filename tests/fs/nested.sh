#!/usr/bin/env bash
# A store that lies in a mounted store can be mounted: a packed one, and the mount's own.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"

mkdir tree outer in
words=$(seq 200000)
echo "$words" >tree/words
head -c 1000000 /dev/urandom >tree/noise
"$WEIR" pack -q tree outer/inner.weir
"$WEIR" pack -q outer outer.weir
"$WEIR" mount outer.weir mnt
"$WEIR" mount "$work/mnt/inner.weir" in
diff -r tree in || fail "a store in a store"
expect 2 "$WEIR" umount mnt # in use by the inner one
expect 0 "$WEIR" umount in
wait_for no_process_of "$work/mnt/inner.weir"
expect 0 "$WEIR" umount mnt

"$WEIR" mount outer/inner.weir mnt
"$WEIR" mount "$work/mnt/.weir/store" in
diff -r tree in || fail "the mount's own store"
expect 0 "$WEIR" verify in/.weir/store
expect 0 "$WEIR" umount in
wait_for no_process_of "$work/mnt/.weir/store"
expect 0 "$WEIR" umount mnt

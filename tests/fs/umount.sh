#!/usr/bin/env bash
# weir umount: several, busy, lazily, what is no mount of weir, and one whose process has died.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"

mkdir tree two
head -c 3000000 /dev/urandom >tree/noise
"$WEIR" pack -q tree t.weir
ln -s mnt by-link

# However it is named, and several at once.
for place in "$mnt" mnt/ ./mnt//. by-link; do
    "$WEIR" mount "$work/t.weir" mnt
    expect 0 "$WEIR" umount "$place"
    [ -z "$said" ] && [ ! -s printed ] || fail "something to say: $said"
    wait_for no_process_of "$work/t.weir"
done
"$WEIR" mount "$work/t.weir" mnt
"$WEIR" mount "$work/t.weir" two
expect 0 "$WEIR" umount -q mnt two
wait_for no_process_of "$work/t.weir"
"$WEIR" mount "$work/t.weir" mnt
expect 0 "$WEIR" umount --json mnt
grep -q '"unmounted"' printed || fail "--json says $(cat printed)"
wait_for no_process_of "$work/t.weir"

# One that is none does not keep the others from being unmounted.
"$WEIR" mount "$work/t.weir" mnt
expect 2 "$WEIR" umount tree mnt nowhere
says "weir umount: tree: no weir mount; 'findmnt -t fuse.weir'"
says "weir umount: nowhere: no weir mount"
! is_mounted "$mnt" || fail "still mounted"
wait_for no_process_of "$work/t.weir"
expect 2 "$WEIR" umount --json tree nowhere
grep -q '"failed":\["tree","nowhere"\]' printed || fail "--json says $(cat printed)"
expect 1 "$WEIR" umount

# Busy: it stays, and says what to do; with -l it goes with its last user.
mount_up t.weir
exec 7<mnt/noise
expect 2 "$WEIR" umount mnt
says 'weir umount: '
says 'busy; close the programs that use it, or use -l'
is_mounted "$mnt" || fail "unmounted while it is busy"
cmp tree/noise mnt/noise
expect 0 "$WEIR" umount -l mnt
! is_mounted "$mnt" || fail "still mounted"
cmp -n 1000000 tree/noise - <&7
exec 7<&-
mount_ends

# Its process has died: nothing answers there, and it can be unmounted and mounted again.
for how in "" --lazy; do
    mount_up t.weir
    kill -9 "$daemon"
    wait "$daemon" 2>/dev/null || true
    daemon=
    ! cat mnt/noise >/dev/null 2>"$work/dead" || fail "the dead answer"
    is_mounted "$mnt" || fail "gone with its process"
    # shellcheck disable=SC2086
    expect 0 "$WEIR" umount $how mnt
    ! is_mounted "$mnt" || fail "still mounted"
done
mount_up t.weir
cmp tree/noise mnt/noise
mount_down

# Somebody else's mount stays.
if [ "$(id -u)" = 0 ]; then
    mkdir other
    mount -t tmpfs none other
    code=0
    "$WEIR" umount other 2>said || code=$?
    [ -z "$(mountpoint -q other || echo gone)" ] || fail "unmounted a tmpfs"
    umount other
    [ "$code" = 2 ] || fail "a tmpfs: exit code $code"
    grep -q 'other: no weir mount' said || fail "a tmpfs: $(cat said)"
fi

#!/usr/bin/env bash
# /dev/fd/N as the mountpoint: somebody else has mounted, weir only serves.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"
passfd=$WEIR_BUILD/tests/fs_passfd
[ "$(id -u)" = 0 ] || skip "not root"

mkdir tree dir
head -c 5000000 /dev/urandom >tree/noise
echo small >tree/small
"$WEIR" pack -q tree t.weir

serves() {
    diff -r tree mnt || fail "differs"
    dd if=mnt/noise bs=4M iflag=direct status=none | cmp - tree/noise || fail "long reads"
    "$probe" mmap tree/noise mnt/noise || fail "mmap"
}

# In the background, with any number, and ended by the one who mounted.
for n in 3 9 57 0; do
    "$passfd" mnt "$n" "$WEIR" mount "$work/t.weir" "/dev/fd/$n" >said 2>&1 || fail "on /dev/fd/$n: $(cat said)"
    serves
    umount mnt
    wait_for no_process_of "$work/t.weir"
done

# In the foreground; a signal ends it and leaves the mount, which is not weir's, dead.
"$passfd" mnt 9 "$WEIR" mount -f "$work/t.weir" /dev/fd/9 2>>"$log" &
daemon=$!
wait_for test -e mnt/small
serves
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
daemon=
[ "$status" = 0 ] || fail "SIGTERM gives $status"
is_mounted "$mnt" || fail "unmounted what another has mounted"
! ls mnt >/dev/null 2>&1 || fail "the dead answer"
expect 0 "$WEIR" umount mnt
[ ! -s "$log" ] || fail "there was something to say"

# No device behind the number.
for how in "" -f; do
    # shellcheck disable=SC2086
    expect 2 "$WEIR" mount $how t.weir /dev/fd/77
    says '/dev/fd/77: No such file'
    # shellcheck disable=SC2086
    expect 2 bash -c '"$@" 9</dev/null' bash "$WEIR" mount $how t.weir /dev/fd/9
    says '/dev/fd/9: not a directory'
done
# A directory is a mountpoint by any name.
"$WEIR" mount t.weir /dev/fd/9 9<dir
cmp tree/noise dir/noise || fail "a directory's descriptor"
expect 0 "$WEIR" umount dir

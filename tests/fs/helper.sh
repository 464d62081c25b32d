#!/usr/bin/env bash
# mount(8) and fstab: mount -t weir, mount -t fuse.weir, mount -a; and where the helpers are put.
# The helpers lie over /sbin in a mount namespace of this test's own.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
private_mounts
helpers_in_sbin
cd "$work"

mkdir tree one two ns
head -c 3000000 /dev/urandom >tree/noise
"$WEIR" pack -q tree t.weir
digest=$("$WEIR" verify t.weir | sed -n 's/^sha256://p')
down() { # down DIR: as everybody unmounts
    umount "$1"
    wait_for no_process_of "$work/t.weir"
}
row() { # row DIR: its line of /proc/mounts
    grep -F " $work/$1 " /proc/mounts
}

# The helper itself, by either name.
for name in mount.weir mount.fuse.weir; do
    expect 0 "/sbin/$name" "$work/t.weir" "$mnt" -n -o ro,nofail,x-test
    [ -z "$said" ] || fail "something to say: $said"
    cmp tree/noise mnt/noise
    down mnt
done
expect 32 mount.weir "$work/t.weir" "$work/nowhere" -o ro
[ "$said" = "mount.weir: $work/nowhere: No such file or directory; check the name" ] || fail "$said"
expect 32 mount.weir tree/noise mnt
expect 32 mount.weir t.weir mnt -o "digest=$(printf %064d 0)"
expect 1 mount.weir t.weir mnt -o ro,frobnicate
expect 0 mount.weir -s t.weir mnt -o ro,frobnicate,umask=077
[ "$(stat -c %a mnt/noise)" = 400 ] || fail "sloppy, but with the options that are known"
"$WEIR" umount mnt

# mount(8).  It says rw where nobody says ro.
for how in "-t weir" "-t weir -o ro" "-r -t fuse.weir" "-t fuse.weir -o ro,nofail,allow_other,user" \
    "-t weir -o uid=123,gid=234,umask=077,digest=$digest,timeout=0"; do
    # shellcheck disable=SC2086
    expect 0 mount $how t.weir mnt
    cmp tree/noise mnt/noise || fail "$how"
    [[ $(row mnt) == "$work/t.weir $mnt fuse.weir ro,"* ]] || fail "$how: $(row mnt)"
    [[ $how != *uid=123* ]] || [ "$(stat -c %u:%g:%a mnt/noise)" = 123:234:400 ] || fail "$how: $(stat mnt/noise)"
    down mnt
done
expect 1 mount -t weir t.weir mnt -o frobnicate
says "mount.weir: unknown mount option 'frobnicate'"
expect 32 mount -t weir tree/noise mnt
says "mount.weir: $work/tree/noise: "
expect 0 mount -f -t weir t.weir mnt
! is_mounted "$mnt" || fail "mount -f mounts"

# fstab.
cat >fstab <<END
$work/t.weir $work/one fuse.weir ro,nofail,_netdev,x-systemd.automount 0 0
$work/t.weir $work/two weir defaults,allow_other,umask=022,x-mark=1 0 0
$work/t.weir $work/mnt weir noauto,user,ro 0 0
END
expect 0 mount -a -T fstab
cmp tree/noise one/noise
cmp tree/noise two/noise
! is_mounted "$mnt" || fail "noauto is mounted"
expect 0 mount -a -T fstab # what is mounted already is not mounted again
[ "$(grep -cF "$work/t.weir " /proc/mounts)" = 2 ] || fail "mounted twice: $(grep -F "$work/" /proc/mounts)"
expect 0 mount -T fstab "$mnt"
cmp tree/noise mnt/noise
umount one two
down mnt
echo "$work/t.weir $work/nowhere fuse.weir ro 0 0" >fstab
expect 32 mount -a -T fstab

# In another mount namespace; the store lies in this one.
unshare -m sleep 60 &
holder=$!
there() { [ "$(readlink "/proc/$holder/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ]; }
wait_for there
for ns in "$holder" "/proc/$holder/ns/mnt"; do
    expect 0 mount.weir "$work/t.weir" "$mnt" -N "$ns" -o ro
    ! is_mounted "$mnt" || fail "mounted here"
    nsenter -m -t "$holder" cmp "$work/tree/noise" "$mnt/noise" || fail "not mounted there"
    nsenter -m -t "$holder" umount "$mnt"
    wait_for no_process_of "$work/t.weir"
done
expect 32 mount.weir "$work/t.weir" "$mnt" -N /nowhere
kill "$holder"

# Where an installation puts them, unless this build was told otherwise.
if command -v cmake >/dev/null && grep -q '^WEIR_MOUNT_HELPER_DIR:STRING=/sbin$' "$WEIR_BUILD/CMakeCache.txt"; then
    DESTDIR=$work/dest cmake --install "$WEIR_BUILD" --prefix /opt/weir >installed 2>&1 || fail "$(cat installed)"
    for name in mount.weir mount.fuse.weir; do
        to=$(readlink "dest/sbin/$name") || fail "no $name: $(cat installed)"
        [ -x "dest$to" ] || fail "$name leads to $to, where no weir is"
    done
fi

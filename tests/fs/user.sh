#!/usr/bin/env bash
# As an ordinary user: fusermount3 mounts and unmounts; what it refuses is said.
# A private /dev and /etc/fuse.conf make that independent of this system's.
cd "${TMPDIR:-/tmp}" || exit 1
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
private_mounts
[ -u "$(command -v fusermount3)" ] || skip "fusermount3 is not setuid"
command -v setpriv >/dev/null || skip "no setpriv"
private_dev
chmod 755 "$work"
cd "$work"
cp "$WEIR" weir
WEIR=$work/weir
as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
user() { "${as_user[@]}" "$@"; }
other() { setpriv --reuid=65533 --regid=65533 --clear-groups "$@"; }
user test -x "$WEIR" || skip "$work is out of a user's reach"

mkdir tree home locked
head -c 3000000 /dev/urandom >tree/noise
"$WEIR" pack -q tree t.weir
chown 65534:65534 mnt home
chmod 700 locked
[ -e /etc/fuse.conf ] || skip "no /etc/fuse.conf to replace"
echo '# nothing' >fuse.conf
mount --bind fuse.conf /etc/fuse.conf

# Back and forth, by weir and by fusermount3, in the background and here.
for how in "weir umount" "fusermount3 -u"; do
    user "$WEIR" mount "$work/t.weir" mnt -o uid=65534
    user cmp tree/noise mnt/noise
    ! other ls mnt >/dev/null 2>&1 || fail "others may look"
    [ "$(user stat -c '%u %g' mnt/noise)" = "65534 65534" ] || fail "the owner"
    # shellcheck disable=SC2086
    PATH=$work:$PATH user $how mnt
    wait_for no_process_of "$work/t.weir"
done
"${as_user[@]}" "$WEIR" mount -f "$work/t.weir" mnt 2>>"$log" &
daemon=$!
wait_for is_mounted "$mnt"
user cmp tree/noise mnt/noise
kill "$daemon"
mount_ends

# Busy, lazily, and when its process has died.
user "$WEIR" mount "$work/t.weir" mnt
"${as_user[@]}" bash -c 'exec 7<mnt/noise; : >home/open; exec sleep 60' &
holder=$!
wait_for test -e home/open
expect 2 user "$WEIR" umount mnt
says 'busy; close the programs that use it, or use -l'
expect 0 user "$WEIR" umount -l mnt
kill "$holder"
wait "$holder" 2>/dev/null || true
wait_for no_process_of "$work/t.weir"
user "$WEIR" mount "$work/t.weir" mnt
kill -9 "$(processes_of "$work/t.weir")"
wait_for no_process_of "$work/t.weir"
expect 0 user "$WEIR" umount mnt

# Somebody else's mount is not his to take down, nor his folder theirs to mount on.
user "$WEIR" mount "$work/t.weir" mnt
expect 2 other "$WEIR" umount mnt
says 'whoever mounted it, or root, can unmount it'
is_mounted "$mnt" || fail "unmounted by somebody else"
expect 0 "$WEIR" umount mnt # by root
expect 2 other "$WEIR" mount "$work/t.weir" mnt
says 'mnt'
expect 2 user "$WEIR" mount "$work/t.weir" locked
wait_for no_process_of "$work/t.weir"

# Other users only where the administrator lets them.
for how in "" -f; do
    # shellcheck disable=SC2086
    expect 2 user "$WEIR" mount $how "$work/t.weir" mnt -o allow_other
    says 'allow_other takes user_allow_other in /etc/fuse.conf'
    ! is_mounted "$mnt" || fail "mounted"
done
ln -s "$WEIR" mount.weir
expect 32 user ./mount.weir "$work/t.weir" mnt -o ro,allow_other
[[ $said == "mount.weir: cannot mount on mnt: "*"(fusermount3: "*allow_other*")"* ]] || fail "$said"
[ "$(wc -l <<<"$said")" = 1 ] || fail "not one line: $said"
echo user_allow_other >fuse.conf
expect 0 user ./mount.weir "$work/t.weir" mnt -o ro,allow_other
other cmp tree/noise mnt/noise
expect 0 user "$WEIR" umount mnt
wait_for no_process_of "$work/t.weir"

#!/usr/bin/env bash
# What the options of a mount do, seen through it.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"

mkdir -p tree/sub
echo hello >tree/file
echo script >tree/sub/run
chmod 644 tree/file
chmod 755 tree/sub tree/sub/run
"$WEIR" pack -q tree t.weir
"$WEIR" pack -q tree/sub other.weir
digest=$("$WEIR" verify t.weir | sed -n 's/^sha256://p')
other=$("$WEIR" verify other.weir | sed -n 's/^sha256://p')

sees() { # sees WANT: owner, group and mode of root, file, directory, program
    local is
    is=$(cd "$mnt" && stat -c '%u:%g:%a' . file sub sub/run | tr '\n' ' ')
    [ "$is" = "$1 " ] || fail "$is, not $1"
}
me=$(id -u):$(id -g)

mount_up t.weir -o ro,nofail,x-test=1
sees "$me:555 $me:444 $me:555 $me:555"
# As fstab names it, from wherever it is asked.
grep -qF "$work/t.weir $mnt fuse.weir ro," /proc/mounts || fail "$(grep "$mnt" /proc/mounts)"
mount_down
mount_up t.weir -o uid=12345,gid=23456
sees "12345:23456:555 12345:23456:444 12345:23456:555 12345:23456:555"
mount_down
mount_up t.weir -o uid=root -o gid=root,umask=027
sees "0:0:550 0:0:440 0:0:550 0:0:550"
mount_down
mount_up t.weir -o umask=133,umask=111 # the last one counts
sees "$me:444 $me:444 $me:444 $me:444"
mount_down

# cache and threads, in both spellings.
for how in "-o cache=256k,threads=1" "--cache 256k -j 1"; do
    # shellcheck disable=SC2086
    mount_up t.weir $how
    cmp tree/file "$mnt/file"
    mount_down
done

# Which store it must be.
mount_up t.weir -o "digest=$digest"
cmp tree/file "$mnt/file"
mount_down
mount_up t.weir -o "digest=sha256:${digest^^}"
mount_down
for how in "" -f; do
    # shellcheck disable=SC2086
    expect 3 "$WEIR" mount $how t.weir "$mnt" -o "ro,digest=$other"
    says "$digest"
    says "$other"
    ! is_mounted "$mnt" || fail "mounted in spite of the digest"
done

# Who may look.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    as_other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
    chmod 755 "$work"
    if as_other ls "$work" >/dev/null 2>&1; then
        mount_up t.weir
        ! as_other cat "$mnt/file" >/dev/null 2>&1 || fail "others may look"
        mount_down
        mount_up t.weir -o allow_other
        [ "$(as_other cat "$mnt/file")" = hello ] || fail "others may not look"
        mount_down
        mount_up t.weir -o allow_other,umask=007
        ! as_other cat "$mnt/file" >/dev/null 2>&1 || fail "others may look in spite of umask"
        mount_down
        mount_up t.weir -o allow_other,umask=077,uid=65534
        [ "$(as_other cat "$mnt/file")" = hello ] || fail "the owner may not look"
        mount_down
    fi
fi

# What is logged: every request, or nothing but errors.
mount_up t.weir -o loglevel=debug
cat "$mnt/file" >/dev/null
mount_down
grep -q '^weir mount: .*LOOKUP' "$log" || fail "no requests in the log: $(head "$log")"
: >"$log"
mount_up t.weir -o loglevel=error
cat "$mnt/file" >/dev/null
mount_down
[ ! -s "$log" ] || fail "a log of errors has $(cat "$log")"
# In the background the log is not the terminal's, nor what was inherited the daemon's.
exec 7>"$work/inherited"
"$WEIR" mount "$work/t.weir" mnt -o loglevel=debug 2>"$work/said"
exec 7>&-
daemon_is=$(processes_of "$work/t.weir")
cat "$mnt/file" >/dev/null
[ ! -s "$work/said" ] || fail "said in the background: $(head "$work/said")"
! find "/proc/$daemon_is/fd" -lname '*/inherited' | grep . || fail "an inherited file is still open"
[ "$(readlink "/proc/$daemon_is/cwd")" = / ] || fail "the daemon holds $(readlink "/proc/$daemon_is/cwd")"
"$WEIR" umount "$mnt"
wait_for no_process_of "$work/t.weir"

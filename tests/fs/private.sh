#!/usr/bin/env bash
# What a mount does not give away: .weir/store to those who may not read the store itself, nor
# beside a part of it; and with noexec nothing in it can be executed.
place=${TMPDIR:-/tmp} # where every user gets
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "not root"
command -v setpriv >/dev/null || skip "no setpriv"
command -v jq >/dev/null || skip "no jq"
other() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
chmod 755 "$work"
cd "$work"
other ls . >/dev/null 2>&1 || skip "$work is out of a user's reach"

mkdir -p tree/part
echo hello >tree/file
echo inside >tree/part/file
printf '#!/bin/sh\necho ran\n' >tree/script
chmod 755 tree tree/part tree/script
chmod 644 tree/file tree/part/file
"$WEIR" pack -q tree t.weir

# ---- .weir/store has the permissions of the store, status.json those of all the rest ----

digest=$("$WEIR" verify t.weir | sed -n 's/^sha256://p')
status_is_read() { # status_is_read [COMMAND...]
    [ "$("$@" cat "$mnt/.weir/status.json" | jq -r .digest)" = "$digest" ] || fail "status.json: $*"
}

# MODE shows as SHOWN with umask UMASK, and another user can read it or not.
while read -r mode umask shown readable; do
    chmod "$mode" t.weir
    mount_up t.weir -o "allow_other,umask=$umask"
    [ "$(stat -c %a mnt/.weir/store)" = "$shown" ] || fail "$mode shows as $(stat -c %a mnt/.weir/store)"
    if [ "$readable" = yes ]; then
        other cmp t.weir mnt/.weir/store || fail "$mode, umask=$umask: another user cannot read it"
    else
        ! other cat mnt/.weir/store >/dev/null 2>said || fail "$mode, umask=$umask: another user reads it"
        grep -q 'Permission denied' said || fail "not because of permissions: $(cat said)"
    fi
    cmp t.weir mnt/.weir/store || fail "$mode: root cannot read it"
    [ "$umask" != 0 ] || [ "$(other cat mnt/file)" = hello ] || fail "$mode: another user's files"
    [ "$umask" != 0 ] || status_is_read other
    mount_down
done <<END
0600 0 400 no
0640 0 440 no
0644 0 444 yes
0755 0 444 yes
0644 077 400 no
END

# ---- a part of the store does not show the whole ----

chmod 644 t.weir
mount_up t.weir -o allow_other,subdir=part
[ "$(cat mnt/file)" = inside ] || fail "not that part"
[ "$(ls -A mnt/.weir)" = status.json ] || fail ".weir lists $(ls -A mnt/.weir)"
for command in stat cat; do
    ! "$command" mnt/.weir/store >/dev/null 2>said || fail "$command finds the store beside a part"
    grep -q 'No such file or directory' said || fail "$command: $(cat said)"
done
status_is_read env
status_is_read other
mount_down
mount_up t.weir -o subdir=/ # all of it is no part
cmp t.weir mnt/.weir/store || fail "not there with subdir=/"
mount_down

# ---- noexec ----

has_noexec() {
    grep -F " $mnt fuse.weir " /proc/mounts | cut -d' ' -f4 | tr ',' '\n' | grep -qx noexec
}
executes() { # executes WHAT
    ! has_noexec || fail "noexec: $1"
    [ "$(mnt/script)" = ran ] || fail "does not execute: $1"
}
does_not() { # does_not WHAT
    has_noexec || fail "no noexec: $1"
    ! mnt/script >said 2>&1 || fail "executes: $1"
    grep -q 'Permission denied' said || fail "$1: $(cat said)"
    [ "$(sh mnt/script)" = ran ] || fail "it can still be read: $1"
}

while read -r what options; do
    mount_up t.weir -o "$options"
    "$what" "$options"
    mount_down
done <<END
executes ro
executes exec
executes noexec,exec
does_not noexec
does_not exec,noexec
END

ln -s "$WEIR" mount.weir
while read -r what options; do
    expect 0 ./mount.weir "$work/t.weir" mnt -o "$options"
    "$what" "mount.weir -o $options"
    expect 0 "$WEIR" umount mnt
    wait_for no_process_of "$work/t.weir"
done <<END
executes ro
executes ro,user,exec
does_not ro,noexec
does_not ro,user
does_not ro,users
does_not ro,exec,user
END
[ ! -s "$log" ] || fail "there was something to say"

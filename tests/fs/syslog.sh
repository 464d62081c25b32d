#!/usr/bin/env bash
# What is logged to syslog: by the mount in the background, and with -o syslog in the foreground.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
private_mounts
command -v python3 >/dev/null || skip "no python3"
private_dev
cd "$work"

mkdir tree
head -c 1000000 /dev/urandom >tree/noise
"$WEIR" pack -q tree t.weir
printf '\377\377\377\377\377' | dd of=t.weir bs=1 seek=300000 conv=notrunc status=none

listener=
listen() {
    [ -z "$listener" ] || kill "$listener"
    rm -f /dev/log "$work/heard"
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("/dev/log")
with open(sys.argv[1], "wb", 0) as to:
    while True:
        to.write(s.recv(4096) + b"\n")' "$work/heard" &
    listener=$!
    wait_for test -e "$work/heard"
}
trap '[ -z "$listener" ] || kill "$listener"; cleanup' EXIT
heard() { # heard PATTERN
    grep -aqE "$1" "$work/heard" 2>/dev/null
}
read_noise() {
    ! cat "$mnt/noise" >/dev/null 2>&1 || fail "the damage is not seen"
}

listen
"$WEIR" mount "$work/t.weir" "$mnt"
read_noise
wait_for heard "^<27>.* weir\[[0-9]+\]: $mnt: .*tile" # daemon.err
! heard LOOKUP || fail "requests are logged"
"$WEIR" umount "$mnt"
wait_for no_process_of "$work/t.weir"

listen
"$WEIR" mount "$work/t.weir" "$mnt" -o loglevel=debug
read_noise
wait_for heard "^<31>.* weir\[[0-9]+\]: $mnt: .*LOOKUP" # daemon.debug
"$WEIR" umount "$mnt"
wait_for no_process_of "$work/t.weir"

listen
mount_up t.weir -o syslog,loglevel=error
read_noise
wait_for heard "^<27>.* weir\[$daemon\]: $mnt: .*tile"
mount_down
[ ! -s "$log" ] || fail "on stderr as well: $(cat "$log")"

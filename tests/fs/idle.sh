#!/usr/bin/env bash
# -o timeout=SECONDS: a mount that nobody uses goes by itself; one that is in use stays.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"

mkdir tree
head -c 3000000 /dev/urandom >tree/noise
"$WEIR" pack -q tree t.weir

unmounted() { ! is_mounted "$mnt"; }
goes() { # goes WHAT: within four seconds
    local i
    for ((i = 0; i < 80; i++)); do
        ! unmounted || return 0
        sleep 0.05
    done
    fail "still mounted: $1"
}
stays() { # stays WHAT: for three seconds
    local i
    for ((i = 0; i < 60; i++)); do
        is_mounted "$mnt" || fail "unmounted: $1"
        sleep 0.05
    done
}

# Never used; in the foreground it ends with success, in the background its process goes, too.
mount_up t.weir -o timeout=1
goes "never used"
mount_ends
"$WEIR" mount "$work/t.weir" mnt -o timeout=1
cmp tree/noise mnt/noise
goes "used once"
wait_for no_process_of "$work/t.weir"

mount_up t.weir -o timeout=1
exec 7<mnt/noise
stays "a file is open"
cmp tree/noise - <&7
exec 7<&-
goes "the file was closed"
mount_ends

mount_up t.weir -o timeout=1
(cd mnt && exec sleep 60) &
sleeper=$!
stays "somebody's working directory"
kill "$sleeper"
wait "$sleeper" 2>/dev/null || true
goes "the working directory was left"
mount_ends

mount_up t.weir -o timeout=1
for _ in {1..12}; do
    dd if=mnt/noise of=/dev/null bs=128k count=2 iflag=direct status=none
    is_mounted "$mnt" || fail "unmounted: being read"
    sleep 0.25
done
goes "reading has ended"
mount_ends

mount_up t.weir -o timeout=60,timeout=0
stays "without a timeout"
mount_down
mount_up t.weir -o timeout=1
mount_down # before its time
[ ! -s "$log" ] || ! grep -iE 'error|cannot|fail' "$log" || fail "something went wrong"

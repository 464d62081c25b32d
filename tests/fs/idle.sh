#!/usr/bin/env bash
# -o timeout=SECONDS: a mount that nobody uses goes by itself; one that is in use stays.
# Each case has a mount of its own, and all of them wait at the same time.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"

mkdir tree
head -c 3000000 /dev/urandom >tree/noise
"$WEIR" pack -q tree t.weir

seconds=3 # of a mount that must not go; long for what is done in between, on a slow machine, too
longer=5  # without being in use it would be gone

stays() { # stays WHAT
    is_mounted "$mnt" || fail "unmounted: $1"
}
goes() { # goes WHAT: by itself, and ends with success
    unmounted() { ! is_mounted "$mnt"; }
    within 20 unmounted || fail "still mounted: $1"
    mount_ends
}

# Waiting for its end cannot miss it, however short it was: it says why it went.
never_used() {
    "$WEIR" mount -f t.weir "$mnt" -o timeout=1 2>>"$log" &
    daemon=$!
    mount_ends
    grep -qxF 'weir mount: unmounted: nobody used it for 1 s' "$log" || fail "it ended otherwise"
}

in_the_background() { # its process goes, too
    "$WEIR" mount "$mnt.weir" "$mnt" -o "timeout=$longer"
    cmp tree/noise "$mnt/noise"
    sleep 2
    stays "before its time"
    wait_for no_process_of "$mnt.weir"
    ! is_mounted "$mnt" || fail "still mounted: used once"
}

open_file() {
    mount_up t.weir -o "timeout=$seconds"
    exec 7<"$mnt/noise"
    sleep "$longer"
    stays "a file is open"
    cmp tree/noise - <&7
    exec 7<&-
    goes "the file was closed"
}

working_directory() {
    local sleeper
    mount_up t.weir -o "timeout=$seconds"
    (cd "$mnt" && exec sleep 60) &
    sleeper=$!
    sleep "$longer"
    stays "somebody's working directory"
    kill "$sleeper"
    wait "$sleeper" 2>/dev/null || true
    goes "the working directory was left"
}

being_read() { # opened, read and closed again and again, over two times that it waits
    local until_ms
    mount_up t.weir -o "timeout=$seconds"
    until_ms=$(($(now_ms) + 2000 * seconds + 1000))
    while [ "$(now_ms)" -lt "$until_ms" ]; do
        dd if="$mnt/noise" of=/dev/null bs=128k count=2 iflag=direct status=none
        stays "being read"
        sleep 0.5
    done
    goes "reading has ended"
}

without_timeout() {
    mount_up t.weir -o "timeout=$seconds,timeout=0" # the last one counts
    sleep "$longer"
    stays "without a timeout"
    mount_down
}

before_its_time() {
    mount_up t.weir -o timeout=60
    mount_down
}

ln t.weir in_the_background.weir # now: a link is a change to the store, too
cases=(never_used in_the_background open_file working_directory being_read without_timeout before_its_time)
for name in "${cases[@]}"; do
    mkdir "$name"
    (
        mnt=$work/$name log=$work/$name.log
        "$name"
    ) &
    helpers+=($!)
done
for i in "${!cases[@]}"; do
    wait "${helpers[i]}" || fail "${cases[i]}: $(cat "${cases[i]}.log" 2>/dev/null)"
done
helpers=()
! cat ./*.log | grep -iE 'error|cannot|fail' || fail "something went wrong"

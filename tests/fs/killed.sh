#!/usr/bin/env bash
# The mount goes while many read from it: the daemon is killed, ended by a signal, unmounted.  The
# readers get errors, nobody hangs, nothing stays, and the next mount is right.
# WEIR_ROUNDS is how often; half of them kill.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=40 megabytes=48
if sanitized; then
    rounds=8 megabytes=16
fi
rounds=${WEIR_ROUNDS:-$rounds}
RANDOM=1

tree=$work/tree
mkdir "$tree"
if [ -n "${WEIR_GEN:-}" ]; then
    "$WEIR_GEN" "$tree/model" --megabytes "$megabytes" --shards 1
else
    mkdir "$tree/model"
    head -c "${megabytes}000000" /dev/urandom >"$tree/model/noise"
fi
head -c 10000001 /dev/urandom >"$tree/noise"
big=$(cd "$tree" && find . -type f -printf '%s %P\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
"$WEIR" pack -q "$tree" "$work/t.weir"

# Listings come from the kernel's memory and so need not fail; but none may take long.
list_again_and_again() {
    local status
    until [ -e "$work/over" ]; do
        status=0
        timeout -k 1 10 ls -lR "$mnt" >"$work/listed" 2>&1 || status=$?
        [ "$status" -lt 124 ] || echo "ls: $status" >>"$work/hangs"
        sleep 0.01
    done
}

start_readers() { # $readers: each ends with 0 when it was stopped by an error
    rm -f "$work/over" "$work"/reader.*
    readers=()
    "$probe" load 60 "$mnt/$big" "$mnt/noise" >"$work/reader.1" & # 16 threads each
    readers+=($!)
    "$probe" load 60 "$mnt/$big" >"$work/reader.2" &
    readers+=($!)
    "$probe" drain "$mnt/$big" >"$work/reader.3" &
    readers+=($!)
    "$probe" drain "$mnt/noise" >"$work/reader.4" &
    readers+=($!)
    list_again_and_again &
    lister=$!
    helpers=("${readers[@]}" "$lister")
    have_begun() { [ "$(cat "$work"/reader.* | grep -c reading)" = ${#readers[@]} ]; }
    wait_for have_begun
    sleep "0.$(printf %03d $((RANDOM % 250)))"
}

no_reader() {
    local pid
    for pid in "${readers[@]}"; do
        gone "$pid" || return 1
    done
}

readers_end() { # readers_end HOW: all of them by an error, in 10 seconds
    local pid
    within 10 no_reader || fail "readers hang: $1"
    for pid in "${readers[@]}"; do
        wait "$pid" || fail "a reader ended otherwise: $1"
    done
    lister_ends "$1"
}

lister_ends() {
    : >"$work/over"
    within 10 gone "$lister" || fail "ls hangs: $1"
    [ ! -e "$work/hangs" ] || fail "$1: $(cat "$work/hangs")"
    helpers=()
}

daemon_ends() { # daemon_ends HOW: by itself, in 10 seconds
    local status=0
    within 10 gone "$daemon" || fail "the daemon hangs: $1"
    wait "$daemon" || status=$?
    daemon=
    [ "$status" = 0 ] || fail "the daemon's exit code is $status: $1"
}

bytes_are_right() {
    cmp "$tree/noise" "$mnt/noise"
    cmp "$tree/$big" "$mnt/$big"
}

killed() {
    disown "$daemon" # nobody need say that it was killed
    kill -KILL "$daemon"
    within 10 gone "$daemon" || fail "the daemon survives"
    daemon=
    readers_end SIGKILL
    fusermount3 -u "$mnt" || fail "fusermount3 -u after SIGKILL"
}

signalled() { # signalled SIGNAL: the mount ends although it is busy
    kill -s "$1" "$daemon"
    daemon_ends "SIG$1"
    readers_end "SIG$1"
}

unmounted() { # refused while the mount is busy; lazily it ends with its last reader
    ! fusermount3 -u "$mnt" 2>/dev/null || fail "unmounted while files are open"
    fusermount3 -uz "$mnt"
    sleep "0.$(printf %03d $((RANDOM % 100)))"
    lister_ends "fusermount3 -uz"
    disown "${readers[@]}"
    kill -KILL "${readers[@]}" 2>/dev/null || true # with requests on their way
    within 10 no_reader || fail "readers survive: fusermount3 -uz"
    daemon_ends "fusermount3 -uz"
}

endings=(killed "signalled TERM" killed unmounted killed "signalled INT" killed unmounted
    killed "signalled HUP" killed unmounted)
for ((i = 0; i < rounds; i++)); do
    mount_up "$work/t.weir"
    [ $((i % 10)) != 9 ] || bytes_are_right # after nine endings
    start_readers
    ${endings[i % ${#endings[@]}]}
    ! is_mounted "$mnt" || fail "still mounted: ${endings[i % ${#endings[@]}]}"
done
mount_up "$work/t.weir"
bytes_are_right
mount_down
wait_for no_process_of "$work/t.weir"
[ ! -s "$log" ] || fail "there was something to say"

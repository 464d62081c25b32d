#!/usr/bin/env bash
# How a mount comes and goes: in the background, by signal, under a reader; it leaves nothing behind.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir "$work/tree"
head -c 20000000 /dev/urandom >"$work/tree/noise"
"$WEIR" pack -q "$work/tree" "$work/t.weir"

# In the background: it answers as soon as the command is back, whatever the mountpoint looks like.
ln -s mnt "$work/by-link"
cd "$work"
for place in "$mnt" mnt/ ./mnt//. by-link; do
    "$WEIR" mount "$work/t.weir" "$place" || fail "mount on $place"
    cmp "$work/tree/noise" "$mnt/noise" || fail "on $place"
    [ "$(processes_of "$work/t.weir" | wc -l)" = 1 ] || fail "not one process"
    fusermount3 -u "$mnt"
    wait_for no_process_of "$work/t.weir"
done

# By signal, with a reader at work: the reader gets an error, nobody hangs.
for signal in TERM INT HUP; do
    mount_up "$work/t.weir"
    : >"$work/reader"
    "$probe" drain "$mnt/noise" >"$work/reader" &
    reader=$!
    wait_for grep -q reading "$work/reader"
    kill -s "$signal" "$daemon"
    wait_for gone "$reader"
    wait "$reader" || fail "the reader ended otherwise"
    mount_ends
    wait_for no_process_of "$work/t.weir"
done

# A busy mount is unmounted lazily; it ends when its last reader has closed.
mount_up "$work/t.weir"
exec 7<"$mnt/noise"
! fusermount3 -u "$mnt" 2>/dev/null || fail "unmounted while a file is open"
cmp "$work/tree/noise" "$mnt/noise"
fusermount3 -uz "$mnt"
cmp -n 1000000 "$work/tree/noise" - <&7
exec 7<&-
mount_ends

# A mount that cannot be: an error, and no process.
status=0
"$WEIR" mount "$work/t.weir" "$work/nowhere" 2>"$work/said" || status=$?
[ "$status" != 0 ] || fail "mounted nowhere"
grep -q nowhere "$work/said" || fail "the error does not name the mountpoint: $(cat "$work/said")"
status=0
"$WEIR" mount "$work/t.weir" "$work/t.weir" 2>"$work/said" || status=$?
[ "$status" != 0 ] || fail "mounted on a file"
wait_for no_process_of "$work/t.weir"

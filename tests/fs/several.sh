#!/usr/bin/env bash
# Several stores at once, one store twice, one on top of the other: none knows of the others.
# shellcheck source=tests/fs/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"

for i in 1 2 3; do
    mkdir "tree$i" "at$i"
    head -c 2000000 /dev/urandom >"tree$i/noise"
    "$WEIR" pack -q "tree$i" "$i.weir"
done
for i in 1 2 3; do "$WEIR" mount "$work/$i.weir" "at$i" & done
for job in $(jobs -p); do wait "$job" || fail "a mount beside others"; done
"$WEIR" mount "$work/1.weir" mnt
"$WEIR" mount "$work/2.weir" mnt # hides the first
for i in 1 2 3; do cmp "tree$i/noise" "at$i/noise" & done
cmp tree2/noise mnt/noise
for job in $(jobs -p); do wait "$job" || fail "readers of several"; done
[ "$(wc -l < <(grep -F "$work/" /proc/mounts))" = 5 ] || fail "not five mounts"

expect 0 "$WEIR" umount mnt
cmp tree1/noise mnt/noise
expect 0 "$WEIR" umount at2
for i in 1 3; do cmp "tree$i/noise" "at$i/noise"; done
wait_for no_process_of "$work/2.weir"
kill "$(processes_of "$work/3.weir")" # by signal, in the background, too
wait_for no_process_of "$work/3.weir"
! is_mounted "$work/at3" || fail "SIGTERM leaves it mounted"
cmp tree1/noise at1/noise
expect 0 "$WEIR" umount at1 mnt
wait_for no_process_of "$work/1.weir"
